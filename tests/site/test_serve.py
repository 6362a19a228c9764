"""The serving process: changes arrive though a look fails, trouble of the store is told without its words."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.store


@pytest.mark.slow
def test_a_change_is_seen_though_the_first_look_at_it_fails(shop, monkeypatch):
    from farebox.catalog import definitions, price_lists, sheets, shelf
    from farebox.kit import clock, errors

    me = shop.account("1")
    real, failures = shelf.load, [1, 1]

    def load(tx: Any, now_us: int) -> Any:
        if failures:
            failures.pop()
            raise errors.StoreUnavailable
        return real(tx, now_us)

    monkeypatch.setattr(shelf, "load", load)
    facts = {"kinds": ["chat"], "classes": ["input", "output"], "context_tokens": 4096, "output_tokens_max": 100}
    shop.write(definitions.define_model, "later", **facts, actor="test", now_us=clock.now_us())
    rows = [sheets.row("later", name, "1") for name in ("input", "output")]
    shop.write(price_lists.publish, "usd", rows, actor="test", now_us=clock.now_us())
    for _ in range(40):
        if "later" in {model["id"] for model in me.get("/v1/models").json["data"]}:
            break
        time.sleep(0.05)
    assert not failures
    assert "later" in {model["id"] for model in me.get("/v1/models").json["data"]}


def test_what_the_database_says_is_not_told_to_callers(shop, monkeypatch):
    from django.db import OperationalError

    from farebox.accounts.keys import authenticate

    def find(*_: Any) -> None:
        raise OperationalError('connection to server at "10.3.7.21", port 5432 failed for user "shop_rw"')

    me = shop.account("1")
    monkeypatch.setattr(authenticate, "_find", find)
    answer = me.get("/v1/models")
    assert answer.status == 503
    assert answer.json["error"]["code"] == "store_unavailable"
    assert answer.headers["retry-after"]
    assert b"10.3" not in answer.body
    assert b"shop_rw" not in answer.body


def test_a_process_for_calls_alone_and_one_for_pages_alone(shop):
    """`--role api` and `--role console` on one PostgreSQL database; on SQLite one process serves everything."""
    from farebox.kit import options
    from farebox.site.serve import Server

    if options.current().on_sqlite:
        return
    me, model = shop.account("1"), shop.model("apart", {"input": "1", "output": "1"})
    seen = {}
    for role in ("api", "console"):
        shop.stop()
        shop.server = shop.loop.run(started(Server(shop.options, role=role)))
        call, page = me.chat(model), me.request("GET", "/prices", headers={"Accept": "text/html"})
        seen[role] = (call.status, page.status, page.headers["content-type"].split(";")[0])
        if role == "console":
            assert "serves only the pages" in call.json["error"]["message"]
    assert seen == {"api": (200, 404, "application/json"), "console": (404, 200, "text/html")}


async def started(server: Any) -> Any:
    await server.start()
    return server
