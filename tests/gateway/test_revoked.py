"""A key that is switched off or expires, an account that is closed, under a running call (R21)."""

from __future__ import annotations

import time

import pytest

from kit.talk import Talk, chat, on_sale, wait_for

pytestmark = [pytest.mark.store, pytest.mark.rule("R21")]

TOKEN = 10
START = 1_000_000


@pytest.fixture
def name(shop):
    shop.reset_health()
    return shop.model("cut", {"input": "0", "output": "10"}, output_tokens_max=4_000_000, context_tokens=8_000_000)


def revoke(shop, me) -> None:
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    shop.write(keys.revoke, me.key_id, now_us=clock.now_us(), actor="test")


def close(shop, me) -> None:
    from farebox.accounts import accounts
    from farebox.kit import clock

    shop.write(accounts.close, me.account, leave_money=True, now_us=clock.now_us(), actor="test")


def freeze(shop, me) -> None:
    from farebox.accounts import accounts

    shop.write(accounts.freeze, me.account, actor="test")


def bar(shop, me) -> None:
    from farebox.accounts import accounts

    shop.write(accounts.bar, me.account, actor="test")


@pytest.mark.slow
@pytest.mark.parametrize("how", [revoke, close, freeze, bar])
def test_a_running_stream_is_cut_and_what_came_is_charged(shop, name, how):
    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=1000+pace=20", stream=True))
    talk.until(b"data: ", times=5)
    begun = time.monotonic()
    how(shop, me)
    talk.rest()
    assert time.monotonic() - begun < 5
    assert b'"invalid_api_key"' in talk.data
    assert b"[DONE]" not in talk.data
    call = talk.call
    receipt = shop.read(receipt_of, call, me.account)
    assert (receipt["rule"], receipt["outcome"], receipt["status"]) == ("R21", "revoked", 200)
    delivered = talk.data.count(b'"content":"')
    assert 0 < receipt["charge_micro"] <= delivered * TOKEN
    assert me.balance == (START - receipt["charge_micro"], 0)
    shop.loop.run(shop.sandbox.idle())
    assert shop.sandbox.requests[-1].ended == "client-left"


def receipt_of(tx, call, account):
    from farebox.calls import log

    return log.receipt(tx, call, account)


def test_a_running_call_without_a_stream_gets_a_401_and_is_free(shop, name):
    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: slow=30+tokens=5"))
    wait_for(lambda: me.balance[1] > 0)
    revoke(shop, me)
    talk.rest()
    assert b" 401 " in talk.data.split(b"\r\n")[0]
    assert b'"invalid_api_key"' in talk.data
    receipt = shop.read(receipt_of, talk.call, me.account)
    assert (receipt["rule"], receipt["charge_micro"], receipt["status"]) == ("R21", 0, 401)
    assert me.balance == (START, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_call_that_was_accepted_and_has_put_nothing_out_gets_a_401_and_is_free(shop, stream):
    """The upstream has read the input and bills it: who is told 401 pays nothing all the same (I13)."""
    name = on_sale(shop, shop.model(f"cut-early-{stream}", {"input": "30", "output": "60"}))
    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=50+stall=1", stream=stream))
    wait_for(lambda: any(each.along.accepted for each in shop.server.ports.shop.under_way))
    revoke(shop, me)
    talk.rest()
    assert b" 401 " in talk.data.split(b"\r\n")[0]
    receipt = shop.read(receipt_of, talk.call, me.account)
    assert (receipt["rule"], receipt["charge_micro"], receipt["status"]) == ("R21", 0, 401)
    assert me.balance == (START, 0)


@pytest.mark.slow
def test_a_key_that_expires_under_the_call(shop, name):
    from farebox.kit import clock

    me = shop.account("1", expires_us=clock.now_us() + 1_500_000)
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=1000+pace=20", stream=True))
    talk.rest()
    assert b'"invalid_api_key"' in talk.data
    assert shop.read(receipt_of, talk.call, me.account)["rule"] == "R21"


@pytest.mark.slow
def test_the_calls_of_other_keys_go_on(shop, name):
    me, other = shop.account("1"), shop.account("1")
    talk = Talk(other, "/v1/chat/completions", chat(name, "sandbox: tokens=60+pace=20", stream=True))
    talk.until(b"data: ")
    revoke(shop, me)
    talk.rest()
    assert b"[DONE]" in talk.data
    assert other.receipt(talk.call)["rule"] == "R02"


@pytest.mark.slow
def test_a_customer_who_does_not_read_is_cut_too(shop, name):
    me = shop.account("100")
    body = chat(name, "sandbox: bytes=3000000", stream=True)
    talk = Talk(me, "/v1/chat/completions", body, receive_bytes=4096)
    talk.until(b"data: ")
    time.sleep(0.3)
    revoke(shop, me)
    wait_for(lambda: me.balance[1] == 0, timeout_s=5)
    assert shop.read(receipt_of, talk.call, me.account)["rule"] == "R21"
    talk.leave()
