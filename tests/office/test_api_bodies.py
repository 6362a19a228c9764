"""The worst bodies at the management API: each is refused in its format, and none keeps the interpreter for long (I34)."""

from __future__ import annotations

import json
import os
import sys

import pytest

from kit.pieces import Pieces
from kit.worst import VALUES

PIECE_S = 0.1
ALL = set(VALUES)
SOME = ALL - {"pairs of brackets", "escapes", "numbers", "quotes"}


@pytest.mark.slow
def test_no_body_keeps_the_interpreter(shop, admin):
    """What reads a body is called in this thread, where each call of a C function is timed."""
    from django.test import Client

    client, took = Client(), {}
    client.get("/office/api/me")  # what is imported by the first request is
    for name in ALL if os.environ.get("NIGHT") else SOME:
        body = b'{"currency":"USD","price_list":"usd","name":' + VALUES[name]() + b"}"
        watch = Pieces()
        for _ in range(2):  # what was measured may hold another process's interruption: the better one counts
            watch.forget()
            sys.setprofile(watch.profile)
            try:
                answer = client.post(
                    "/office/api/customers", body, content_type="application/json",
                    headers={"Authorization": f"Bearer {admin.token}"},
                )  # fmt: skip
            finally:
                sys.setprofile(None)
            assert answer.status_code in {400, 422}, (name, answer.status_code, answer.content[:300])
            error = json.loads(answer.content)["error"]
            assert error["code"] in {"refused", "invalid"} and len(answer.content) < 5000, (name, answer.content[:300])
            took[name] = min(took.get(name, (9.9, "")), watch.longest)
            if took[name][0] < PIECE_S:
                break
        print(f"{took[name][0] * 1000:.0f} ms {name}: {took[name][1]}")
    assert {name: each for name, each in took.items() if each[0] >= PIECE_S} == {}


def test_a_body_as_it_comes(shop, admin):
    answer = admin.ask("POST", "customers", '{"name":' + VALUES["deep"]().decode() + "}")
    assert (answer.status, answer.json["error"]["code"]) == (422, "invalid")
    answer = admin.ask("POST", "customers", '{"name":' + "[" * 1_000_000 + "}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "refused")
    assert shop.server.loop_watch.worst is None or shop.server.loop_watch.worst.cpu_ms < 100
