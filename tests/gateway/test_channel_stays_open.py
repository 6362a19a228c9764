"""One customer can't close a channel to the others: whose failures count, and what the shop's own call finds (I34)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from kit.receipts import alone, on_sale
from kit.talk import Canned, Talk, chat, http, wait_for

FAILS = http({"error": {"message": "boom", "type": "server_error"}}, status="500 Internal Server Error")
GOOD = http(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "any",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
)  # fmt: skip


class Moody(Canned):
    """An upstream that answers well, but what holds one of these words as it is told; `b""` is in everything."""

    says: dict[bytes, bytes]

    @property
    def answer(self) -> bytes:  # type: ignore[override]
        return next((raw for word, raw in self.says.items() if word in self.body), GOOD)

    @answer.setter
    def answer(self, _: bytes) -> None:
        self.says = {}


@contextlib.contextmanager
def moody(shop: Any) -> Iterator[Moody]:
    upstream = Moody(b"")
    shop.loop.run(upstream._start())
    try:
        yield upstream
    finally:
        shop.loop.run(upstream._stop())


@pytest.fixture(autouse=True)
def _healthy(shop):
    """Nothing is known of any channel, not even when it was probed."""
    health(shop).keep_only(())


@pytest.fixture
def quick(monkeypatch):
    """Probes and rests without their seconds."""
    from farebox.upstreams import breaker

    monkeypatch.setattr(breaker, "PROBE_EVERY_US", 1)
    monkeypatch.setattr(breaker, "OPEN_FIRST_US", 1)


@pytest.fixture(scope="module")
def lonely(shop):
    """A model that one channel answers: the sandbox, which lets customers say what becomes of their calls."""
    return alone(shop, "lonely", shop.sandbox.base_url, tokenizer="")


def health(shop: Any) -> Any:
    return shop.server.ports.shop.health


def channel(shop: Any, model: str) -> Any:
    return shop.server.ports.shop.board.current.candidates(model)[0].channel


def keys(shop: Any, count: int, **member: Any) -> list[Any]:
    """One account as that many customers, each with a key of its own."""
    from farebox.accounts.models import Project
    from farebox.kit import clock
    from kit import minting
    from kit.shop import Customer

    first = shop.account("1")
    project = Project.objects.get(account=first.account).id
    made = [first]
    for n in range(1, count):
        facts = {"models": (), "addresses": (), "expires_us": None, "member": None, "name": f"key {n}"} | member
        row, text = shop.write(minting.issue, project=project, now_us=clock.now_us(), actor="test", **facts)
        made.append(Customer(shop, first.account, row.id, text))
    shop.refresh()
    return made


@pytest.mark.slow
def test_a_request_that_makes_an_upstream_fail_costs_nobody_else_a_call(shop, lonely, quick):
    """Seen with the old breaker: 293 of 293 honest calls refused, the attacker's call was each time the probe."""
    hostile, honest = keys(shop, 3), [shop.account("1") for _ in range(3)]
    openings = health(shop).openings
    listener = Talk(shop.account("1"), "/v1/chat/completions", chat(lonely, "sandbox: tokens=40+pace=100", stream=True))
    listener.until(b"data: ")
    for n in range(12):
        statuses = {each.chat(lonely, "sandbox: status=500").status for each in [*hostile, *hostile]}
        assert statuses == {502}  # he is told what became of his call, and is not kept out
        shop.probe()
        assert honest[n % 3].chat(lonely, "Hi").status == 200
    assert health(shop).openings == openings
    listener.rest()
    assert b"[DONE]" in listener.data


@pytest.mark.slow
def test_words_that_an_upstream_repeats_close_nothing_and_tell_nobody(shop):
    """A parameter of this name, on a route of three channels; each was closed in turn, and the operator mailed."""
    from farebox.kit import settings

    said = {"message": "Unknown parameter: 'invalid api key'.", "type": "invalid_request_error", "code": None}
    with moody(shop) as upstream:
        name = "repeats"
        shop.model(name, {"input": "1", "output": "1"})
        for n in range(2):
            shop.add_channel(f"repeats-{n}", upstream.base_url, [name], tier=0)
        shop.offer("sandbox", name, f"{name}+tokens=1")
        on_sale(shop, name, 3)
        upstream.says = {b"invalid api key": http({"error": said}, status="400 Bad Request")}
        hostile, honest = shop.account("1"), shop.account("1")
        alerts, openings = health(shop).alerts, health(shop).openings
        for _ in range(10):
            assert hostile.chat(name, "invalid api key").status in {200, 502}
            shop.probe()
            assert honest.chat(name, "Hi").status == 200
        assert (health(shop).alerts, health(shop).openings) == (alerts, openings)
        asked = upstream.requests
        assert honest.chat(name, "Hi").status == 200
        assert upstream.requests == asked + 1  # the first channels are still the first
        assert not any(shop.read(settings.get, f"refused_repeats-{n}") for n in range(2))


# What a customer may bring about with what he writes, each with what he is told then.
BROUGHT_ABOUT = [
    ("status=500", False, 502), ("status=503", False, 503), ("status=429", False, 503), ("status=408", False, 504),
    ("status=401", False, 502), ("status=403", False, 502), ("status=402", False, 502), ("status=404", False, 502),
    ("quota", False, 502), ("refuse", False, 502), ("silent", False, 504), ("html", False, 502),
    ("error-200", False, 502), ("empty-body", False, 502), ("cut=1", False, 502), ("cut=3", True, 200),
    ("reset=3", True, 200), ("stall=3", True, 200), ("error-event=3", True, 200), ("noterminal", True, 200),
    ("status=400", False, 400), ("context", False, 400), ("bytes=9000", False, 502),
]  # fmt: skip


# The others say nothing about a channel: an upstream that answers 429 is there, and one answer may be broken.
SAY_NOTHING = ("status=429", "status=408", "status=400", "context", "bytes=9000", "noterminal")
COSTS_A_PROBE = {how for how, _, _ in BROUGHT_ABOUT}.difference(SAY_NOTHING)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "stream", "status"), BROUGHT_ABOUT)
def test_whatever_one_account_brings_about(shop, lonely, limits, how, stream, status):
    limits(first_byte_s=0.1, idle_s=0.1, answer_bytes_max=8000)
    hostile = keys(shop, 2)
    openings, alerts = health(shop).openings, health(shop).alerts
    told = {hostile[n % 2].chat(lonely, f"sandbox: {how}", stream=stream).status for n in range(6)}
    assert told == {status}
    assert health(shop).usable(channel(shop, lonely))
    limits(first_byte_s=5, idle_s=5)
    before = len(shop.sandbox.requests)
    shop.probe()
    assert len(shop.sandbox.requests) == before + (how in COSTS_A_PROBE)
    assert shop.account("1").chat(lonely, "Hi").status == 200
    assert (health(shop).openings, health(shop).alerts) == (openings, alerts)


def test_an_upstream_that_is_down_rests_after_five_calls_of_three_accounts(shop, quick):
    with moody(shop) as upstream:
        name = alone(shop, "down-for-all", upstream.base_url, tokenizer="")
        upstream.says = {b"": FAILS}
        each = [shop.account("1") for _ in range(3)]
        assert [each[n % 3].chat(name, "Hi").status for n in range(7)] == [502] * 5 + [503] * 2
        assert upstream.requests == 5
        # Half-open: nobody's call goes there before the shop's own was answered.
        assert each[0].chat(name, "Hi").status == 503
        shop.probe()
        assert (upstream.requests, each[0].chat(name, "Hi").status) == (6, 503)
        upstream.says = {}
        wait_for(lambda: shop.probe() or health(shop).usable(channel(shop, name)))
        assert each[0].chat(name, "Hi").status == 200


def test_an_upstream_that_is_down_for_its_only_customer_rests_after_a_probe(shop):
    with moody(shop) as upstream:
        name = alone(shop, "down-for-one", upstream.base_url, tokenizer="")
        upstream.says = {b"": FAILS}
        only = shop.account("1")
        assert [only.chat(name, "Hi").status for n in range(5)] == [502] * 5
        shop.probe()
        assert only.chat(name, "Hi").status == 503
        assert upstream.requests == 6


def test_failover_goes_on_while_a_channel_is_doubted_and_when_it_rests(shop):
    with moody(shop) as upstream:
        name = "doubted"
        shop.model(name, {"input": "1", "output": "1"})
        shop.add_channel("front-doubted", upstream.base_url, [name], tier=0)
        on_sale(shop, name, 2)
        upstream.says = {b"": FAILS}
        only = shop.account("1")
        calls = [only.chat(name, "Hi") for _ in range(5)]
        assert [call.status for call in calls] == [200] * 5
        assert {only.receipt(call)["rule"] for call in calls} == {"R22"}
        shop.probe()
        assert only.receipt(only.chat(name, "Hi"))["rule"] == "R02"
        assert upstream.requests == 6


@pytest.mark.store
def test_a_probe_is_a_call_of_one_token_with_its_record_and_its_cost(shop, lonely):
    from farebox.calls import log, margins
    from farebox.calls.models import Call
    from farebox.kit import clock

    def spent() -> Any:
        day = log.day_of(clock.now_us())
        found = shop.read(margins.read, "account", from_day=day, until_day=day, rates={})
        return {account: row for rows in found.values() for account, row in rows.items()}.get("acc_house")

    before, calls = spent(), Call.objects.filter(account="acc_house").count()
    hostile = shop.account("1")
    for _ in range(5):
        hostile.chat(lonely, "sandbox: status=500")
    asked = len(shop.sandbox.requests)
    for _ in range(3):  # one is due, and in the next ten seconds no other
        shop.probe()
    assert len(shop.sandbox.requests) == asked + 1
    sent = shop.sandbox.requests[-1].body
    assert (sent["model"], sent["max_tokens"]) == (lonely, 1)
    call = Call.objects.filter(account="acc_house").latest("id")
    assert Call.objects.filter(account="acc_house").count() == calls + 1
    assert (call.charge_micro, call.hold_micro, call.outcome) == (0, 0, "served")
    assert spent().calls == (before.calls if before else 0) + 1
    assert spent().cost_micro > (before.cost_micro if before else 0)
    assert hostile.balance == (1_000_000, 0)


def test_a_probe_without_a_verdict_opens_nothing(shop, lonely, monkeypatch):
    """The store is away: then nothing is sent, and nothing is known of the channel."""
    from farebox.site import probe

    async def away(*_: Any) -> None:
        from farebox.kit import errors

        raise errors.StoreUnavailable

    hostile = shop.account("1")
    for _ in range(5):
        hostile.chat(lonely, "sandbox: status=500")
    with monkeypatch.context() as patch:
        patch.setattr(probe, "one_token", away)
        shop.probe()
    found = health(shop).report(0)[channel(shop, lonely).id]
    assert (found["state"], found["suspected"]) == ("closed", True)
    assert health(shop).usable(channel(shop, lonely))
