"""A first call, streamed and not, and what its owner may read about it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.store


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_paid_by_its_receipt(shop, stream):
    me = shop.account("1")
    answer = me.chat("gpt-4", "Hello there", stream=stream)
    assert answer.status == 200
    assert answer.text == "[sandbox] You said: Hello there"
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["usage"], receipt["charge_micro"]) == ("R02", {"input": 4, "output": 10}, 720)
    assert me.balance == (1_000_000 - 720, 0)
