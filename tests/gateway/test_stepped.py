"""Holds of version 2 of the charging rules (promises 4.3): they fit, they grow and shrink, and the last money buys."""

from __future__ import annotations

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from farebox.catalog.factors import DEFAULT, Factors
from kit.talk import Talk, canned, chat, on_sale, wait_for

pytestmark = [pytest.mark.store, pytest.mark.slow]

TOKEN = 100  # micro-USD for a token of output, where a model is priced by output alone
FITTED = {"in_force": True, "input_per_byte_upper": 300_000, "output_per_byte_upper": 300_000}


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()
    shelf = shop.server.ports.shop.shelf
    before_us = shelf.current.rules_2_from_us
    yield
    shop.loop.run(shop.sandbox.idle())
    shelf.swap(dataclasses.replace(shelf.current, rules_2_from_us=before_us))
    assert shop.findings() == []


@pytest.fixture
def priced(shop):
    """A model that is sold by version 2: 100 USD a million tokens of output, or other prices; with these factors."""

    def make(prices=None, factors: Factors = DEFAULT, **facts):
        name = f"step-{time.monotonic_ns()}"
        shop.model(name, prices or {"input": "0", "output": "100"}, **facts)
        on_sale(shop, name)
        shelf = shop.server.ports.shop.shelf
        card = dataclasses.replace(shelf.current.cards[name], factors=factors)
        shelf.swap(dataclasses.replace(shelf.current, cards={**shelf.current.cards, name: card}, rules_2_from_us=0))
        return name

    return make


def money(tokens: int) -> str:
    """So many tokens of output, in USD."""
    return f"{tokens * TOKEN / 1_000_000:.6f}"


def finish(answer) -> list[str]:
    return [c["finish_reason"] for e in answer.events[:-1] for c in e["choices"] if c["finish_reason"]]


# the last money


@pytest.mark.parametrize("balance", [220, 1_100])
def test_the_last_money_buys_the_answer_that_it_pays_for(shop, priced, balance):
    """One of 200 tokens, and a longer one whose hold could grow once: by a token for a byte both were cut."""
    name = priced()
    me = shop.account(money(balance))
    asked = 200 if balance < 1_024 else 1_000
    answer = me.chat(name, f"sandbox: tokens={asked}", stream=True, stream_options={"include_usage": True})
    assert finish(answer) == ["stop"]
    assert answer.events[-2]["usage"]["completion_tokens"] == asked
    assert len(answer.text.encode()) > balance
    receipt = me.receipt(answer)
    assert receipt["charge_micro"] == asked * TOKEN
    assert "hold_used_up" not in receipt["flags"]
    assert me.balance == ((balance - asked) * TOKEN, 0)


def test_a_stream_says_what_its_money_buys_and_asks_the_upstream_for_no_more(shop, priced):
    name = priced()
    me = shop.account(money(150))
    answer = me.chat(name, "sandbox: full", stream=True)
    assert answer.headers["x-farebox-max-tokens"] == "150"
    assert shop.sandbox.requests[-1].body["max_tokens"] == 150
    assert finish(answer) == ["length"]
    assert me.receipt(answer)["charge_micro"] == 150 * TOKEN
    assert me.balance == (0, 0)


def test_money_that_other_calls_hold_lowers_nothing(shop, priced, option):
    """It may come back in time: the hold grows with it."""
    option(hold_output_tokens=64)
    name = priced(output_tokens_max=100)
    me = shop.account(money(150))
    others = [Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=5+slow=0.5", stream=True)) for _ in range(2)]
    wait_for(lambda: me.balance[1] == 128 * TOKEN)
    answer = me.chat(name, "sandbox: tokens=80+slow=1", stream=True)
    for other in others:
        other.rest()
    assert "x-farebox-max-tokens" not in answer.headers
    assert "max_tokens" not in shop.sandbox.requests[-1].body
    assert finish(answer) == ["stop"]
    receipt = me.receipt(answer)
    assert receipt["charge_micro"] == 80 * TOKEN
    assert me.balance == ((150 - 90) * TOKEN, 0)


def test_a_stream_is_cut_where_its_money_ends_and_not_before(shop, priced):
    from farebox.catalog.counting import vector
    from farebox.catalog.factors import Quartile

    name = priced()
    me = shop.account(money(1_500))
    answer = me.chat(name, "sandbox: tokens=4000", stream=True)
    assert finish(answer) == ["length"]
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["hold_micro"]) == ("R07", 1_500 * TOKEN)
    assert "hold_used_up" in receipt["flags"]
    counted = DEFAULT.output.tokens(vector([answer.text]), quartile=Quartile.UPPER)
    assert 1_480 < counted <= 1_500
    assert receipt["charge_micro"] <= receipt["hold_micro"]
    assert me.balance[1] == 0


@pytest.mark.parametrize(("text", "fits"), [("y" * 5_000, True), ("7 y, " * 2_000, False)])
def test_an_event_is_delivered_if_its_text_is_covered(shop, priced, text, fits):
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}  # fmt: skip
    raw = b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(raw)}\r\n\r\n"
    name = priced()
    me = shop.account(money(2_000))
    with canned(shop, head.encode() + raw) as upstream:
        shop.add_channel(f"one-{name}", upstream.base_url, [name], tier=0)
        answer = me.chat(on_sale(shop, name, 2), stream=True)
    assert answer.text == (text if fits else "")
    assert ("hold_used_up" in me.receipt(answer)["flags"]) is not fits


# what is held first


def test_the_input_is_held_by_the_upper_factor(shop, priced):
    text = "sandbox: tokens=1\n" + "word " * 1_000
    holds = []
    for factors in (DEFAULT, Factors(**FITTED)):
        name = priced({"input": "100", "output": "0"}, factors)
        me = shop.account("1")
        holds.append(me.receipt(me.chat(name, text))["hold_micro"] // TOKEN)
    by_bytes, by_factor = holds
    assert by_bytes > len(text)
    assert len(text) * 3 // 10 < by_factor < by_bytes // 3


@pytest.mark.parametrize("asks", [False, True])
def test_only_classes_that_the_request_can_cause_are_held_for(shop, priced, asks):
    prices = {"input": "10", "cached_read": "1", "cache_write": "40", "output": "0", "reasoning": "900"}
    name = priced(prices, classes=["cache_write", "cached_read", "input", "output"])
    me = shop.account("1")
    part = {"type": "text", "text": "sandbox: tokens=1"} | ({"cache_control": {"type": "ephemeral"}} if asks else {})
    body = {"model": name, "messages": [{"role": "user", "content": [part]}]}
    answer = me.request("POST", "/v1/chat/completions", body)
    assert answer.status == 200
    hold_micro = me.receipt(answer)["hold_micro"]
    assert hold_micro % (40 if asks else 10) == 0
    assert hold_micro < 400 * (40 if asks else 10)


HIDDEN = {"input": "0", "output": "100", "reasoning": "100"}


@pytest.mark.parametrize(
    ("p99", "limit", "held"), [(None, None, 4_096), (6_000, None, 6_000), (30, None, 4_096), (6_000, 3_000, 3_000)]
)
def test_hidden_output_is_held_for_by_steps(shop, priced, p99, limit, held):
    """Not for the 20,000 tokens that it may have at most."""
    name = priced(HIDDEN, Factors(**FITTED, hidden_p99=p99), hidden_output=True, output_tokens_max=20_000)
    me = shop.account("3")
    more = {} if limit is None else {"max_tokens": limit}
    receipt = me.receipt(me.chat(name, "sandbox: reasoning=20+tokens=5", stream=True, **more))
    assert receipt["hold_micro"] == held * TOKEN
    assert receipt["charge_micro"] == 25 * TOKEN


@pytest.mark.parametrize("hidden", [False, True])
def test_an_account_whose_allowance_is_below_nothing_holds_whole_ceilings(shop, priced, monkeypatch, hidden):
    name = priced(HIDDEN, Factors(**FITTED), hidden_output=hidden, output_tokens_max=9_000)
    me = shop.account("1")
    ours = shop.server.ports.shop
    monkeypatch.setattr(ours, "overdrawn", frozenset({me.account}))
    assert me.receipt(me.chat(name, "sandbox: tokens=5", stream=True))["hold_micro"] == 9_000 * TOKEN
    monkeypatch.setattr(ours, "overdrawn", frozenset())
    assert me.receipt(me.chat(name, "sandbox: tokens=5", stream=True))["hold_micro"] < 5_000 * TOKEN


def test_a_thought_that_was_longer_than_its_hold_is_paid(shop, priced, option):
    option(hold_hidden_tokens=100, hold_output_tokens=16)
    name = priced(HIDDEN, hidden_output=True, output_tokens_max=20_000)
    me = shop.account("1")
    receipt = me.receipt(me.chat(name, "sandbox: reasoning=700+tokens=5", stream=True))
    assert receipt["charge_micro"] == 705 * TOKEN
    assert "short" not in receipt["flags"]
    assert me.balance == (1_000_000 - 705 * TOKEN, 0)


def test_a_hold_grows_while_a_model_thinks_unseen_and_is_lowered_when_it_speaks(shop, priced, option, monkeypatch):
    from farebox.gateway import stepped

    option(hold_hidden_tokens=100, hold_output_tokens=16)
    monkeypatch.setattr(stepped, "EACH_S", 0.05)
    monkeypatch.setattr(stepped, "LOWER_AFTER_S", 0.2)
    monkeypatch.setattr(stepped, "HIDDEN_PER_S", 1_000)
    name = priced(HIDDEN, hidden_output=True, output_tokens_max=20_000)
    me = shop.account("1")
    body = chat(name, "sandbox: slow=0.5+reasoning=5+tokens=60+pace=20", stream=True)
    talk = Talk(me, "/v1/chat/completions", body)
    wait_for(lambda: me.balance[1] >= 400 * TOKEN)
    monkeypatch.setattr(stepped, "HIDDEN_PER_S", 100)  # so that it turns out to have been less
    talk.until(b'"content"')
    wait_for(lambda: me.balance[1] < 400 * TOKEN)
    assert me.balance[1] > 0, "it goes on"
    talk.rest()
    receipt = me.receipt(talk.call)
    assert receipt["charge_micro"] == 65 * TOKEN
    assert receipt["charge_micro"] <= receipt["hold_micro"] < 400 * TOKEN
    assert me.balance == (1_000_000 - 65 * TOKEN, 0)


def test_what_an_upstream_reports_of_its_thoughts_on_the_way_is_held_for_and_no_more(shop, priced, option, monkeypatch):
    from farebox.gateway import stepped

    option(hold_hidden_tokens=4_000, hold_output_tokens=16)
    monkeypatch.setattr(stepped, "EACH_S", 0.05)
    monkeypatch.setattr(stepped, "LOWER_AFTER_S", 0.1)
    monkeypatch.setattr(stepped, "HIDDEN_PER_S", 10**6)  # assumed: as much as there is
    name = priced(HIDDEN, hidden_output=True, output_tokens_max=20_000)
    me = shop.account("1")
    body = chat(name, "sandbox: usage-cumulative+reasoning=20+tokens=60+pace=20", stream=True)
    talk = Talk(me, "/v1/chat/completions", body)
    talk.until(b'"content"')
    wait_for(lambda: me.balance[1] < 400 * TOKEN)
    assert me.balance[1] > 0, "it goes on"
    talk.rest()
    receipt = me.receipt(talk.call)
    assert receipt["charge_micro"] == 80 * TOKEN <= receipt["hold_micro"] < 1_000 * TOKEN


def test_a_store_that_is_away_while_a_model_thinks_ends_nothing(shop, priced, option, monkeypatch):
    from farebox.calls import log
    from farebox.gateway import stepped
    from farebox.kit import errors

    def away(*args):
        asked.append(args)
        raise errors.StoreUnavailable

    asked = []
    option(hold_hidden_tokens=100, hold_output_tokens=16)
    monkeypatch.setattr(stepped, "EACH_S", 0.05)
    monkeypatch.setattr(stepped, "HIDDEN_PER_S", 1_000)
    monkeypatch.setattr(log, "extend_hold", away)
    name = priced(HIDDEN, hidden_output=True, output_tokens_max=20_000)
    me = shop.account("1")
    receipt = me.receipt(me.chat(name, "sandbox: slow=0.3+reasoning=5+tokens=5", stream=True))
    assert asked
    assert receipt["charge_micro"] == 10 * TOKEN


def test_ten_streams_of_hidden_output_run_on_money_for_two_whole_ceilings(shop, priced):
    name = priced(HIDDEN, hidden_output=True, output_tokens_max=20_000)
    me = shop.account(money(2 * 20_000 + 4_096))
    with ThreadPoolExecutor(10) as pool:
        ask = lambda _: me.chat(name, "sandbox: slow=0.5+reasoning=20+tokens=5", stream=True)  # noqa: E731
        answers = list(pool.map(ask, range(10)))
    receipts = [me.receipt(answer) for answer in answers]
    assert max(r["opened_us"] for r in receipts) < min(r["ended_us"] for r in receipts), "all at once"
    assert {r["charge_micro"] for r in receipts} == {25 * TOKEN}
