"""The breaker of a channel, which knows whose calls fail, and the count of calls."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.protocol.dialect import Fault
from farebox.upstreams.breaker import ACCOUNTS_MIN, FAILURES_MAX
from farebox.upstreams.health import Health
from upstreams.openai_form import channel

S = 1_000_000
ONE = channel()
DOWN = Fault("down", "boom", 500)
REFUSED = Fault("ours", "Incorrect API key", 401)
MANY = ("a", "b", "c")


def end(health: Health, now_us: int, fault: Fault | None = DOWN, *, account: str = "a", model: str = "m") -> None:
    """A call of this account that ended so; None is a good answer."""
    slot = health.take(ONE, now_us, account=account, model=model)
    assert slot is not None
    _judge(health, slot, fault, now_us)


def probe(health: Health, now_us: int, fault: Fault | None = None, model: str = "m") -> None:
    """The shop's own call."""
    slot = health.take(ONE, now_us, model=model, forced=True)
    assert slot is not None
    assert slot.probe
    _judge(health, slot, fault, now_us)


def _judge(health: Health, slot: Any, fault: Fault | None, now_us: int) -> None:
    if fault is None:
        health.succeeded(slot, now_us)
    elif fault.kind in {"request", "context", "policy"}:
        health.answered(slot, now_us)
    else:
        health.failed(slot, fault, now_us)
    health.give(slot)


def fail(health: Health, now_us: int, fault: Fault = DOWN, times: int = FAILURES_MAX, accounts: Any = MANY) -> None:
    for n in range(times):
        end(health, now_us, fault, account=accounts[n % len(accounts)])


def rests(health: Health, now_us: int) -> bool:
    assert health.usable(ONE) is (health.state(ONE.id, now_us) == "closed")
    assert (health.take(ONE, now_us, account="z") is None) is not health.usable(ONE)
    return not health.usable(ONE)


def test_the_fifth_failure_in_a_row_of_three_accounts_opens():
    health = Health()
    fail(health, 0, times=FAILURES_MAX - 1)
    end(health, 0, None)
    fail(health, 0, times=FAILURES_MAX - 1)
    assert health.state("ch_1", 0) == "closed"
    end(health, 0, account="b")
    assert health.state("ch_1", 0) == "open"
    assert health.take(ONE, 10 * S - 1, account="z") is None
    assert health.openings == 1
    assert health.report(0) == {
        "ch_1": {
            "state": "open", "calls": 0, "failures": 5, "why": "boom", "accounts": {"a": 2, "b": 2, "c": 1},
            "suspected": False, "since_us": 0, "until_us": 10 * S, "asked_us": None,
        }
    }  # fmt: skip


def test_failures_of_fewer_accounts_open_nothing_until_a_probe_fails():
    for accounts in (("a",), ("a", "b")):
        health = Health()
        fail(health, 0, times=500, accounts=accounts)
        assert not rests(health, 0)
        assert health.due(0) == [("ch_1", ("m",))]
        probe(health, 0, DOWN)
        assert rests(health, 0)
        assert health.openings == 1


def test_the_others_called_long_ago():
    """Three accounts are behind the failures, but fewer than three called within ten minutes."""
    health = Health()
    end(health, 0, account="c")
    fail(health, 601 * S, times=4, accounts=("a", "b"))
    assert not rests(health, 601 * S)
    assert health.due(601 * S)


def test_a_probe_that_is_answered_leaves_it_open_to_all_and_comes_later_each_time():
    """One account whose calls always fail: what its failures cost us gets less."""
    health, gaps_s, last_us, now_us = Health(), [], 0, 0
    while now_us < 3600 * S:
        end(health, now_us)
        if health.due(now_us):
            probe(health, now_us)
            gaps_s.append((now_us - last_us) // S)
            last_us = now_us
        assert health.usable(ONE)
        now_us += S // 4
    assert gaps_s[1:7] == [20, 40, 80, 160, 300, 300]
    assert len(gaps_s) < 20
    # Another account's failures are news.
    fail(health, now_us + 10 * S, accounts=("honest",))
    assert health.due(now_us + 10 * S)


def test_never_more_than_one_probe_in_ten_seconds():
    health = Health()
    fail(health, 0, accounts=("a",))
    health.ask("ch_1", 0)
    for second in range(10):
        fail(health, second * S, accounts=("a", "b"))
        assert health.due(second * S) == []
    assert health.due(10 * S)
    slot = health.take(ONE, 10 * S, forced=True)
    assert health.due(100 * S) == []  # one is under way
    health.give(slot)
    assert health.due(100 * S)


def test_three_accounts_that_a_probe_contradicts_need_one_from_then_on():
    """Who has three accounts closes a channel once in ten minutes, for ten seconds."""
    health = Health()
    fail(health, 0)
    assert rests(health, 0)
    assert health.due(10 * S - 1) == []
    probe(health, 10 * S)
    assert not rests(health, 10 * S)
    for second in range(11, 600):
        fail(health, second * S, accounts=(f"x{second}", f"y{second}", f"z{second}"))
        assert not rests(health, second * S)
        if health.due(second * S):
            probe(health, second * S)
    end(health, 1300 * S, None)
    fail(health, 1300 * S)
    assert rests(health, 1300 * S)


def test_a_real_outage_after_a_contradiction_is_found_by_the_next_probe():
    health = Health()
    fail(health, 0, accounts=("a",))
    probe(health, 0)
    fail(health, 5 * S, accounts=("b", "c", "d"))
    assert not rests(health, 5 * S)
    assert health.due(10 * S)
    probe(health, 10 * S, DOWN)
    assert rests(health, 10 * S)


@pytest.mark.parametrize("kind", ["down", "timeout", "busy"])
def test_what_counts(kind):
    health = Health()
    fail(health, 0, Fault(kind, "x", 503))
    assert rests(health, 0)


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(kind, "x", 400) for kind in ("request", "context", "policy")),
        Fault("busy", "x", 429), Fault("timeout", "x", 408), Fault("down", "x", 409), Fault("down", "x", 418),
        Fault("down", "broken", 502, own=True),
    ],
)  # fmt: skip
def test_the_customers_doing_says_nothing(fault):
    health = Health()
    fail(health, 0, fault, 3 * FAILURES_MAX)
    assert not rests(health, 0)
    assert health.due(0) == []
    fail(health, 0, times=FAILURES_MAX - 1)
    end(health, 0, fault)
    fail(health, 0, times=1)
    assert rests(health, 0)


def test_only_the_probe_tries_a_half_open_one_and_its_rest_doubles():
    health = Health()
    fail(health, 0)
    now_us, opened = 0, []
    for _ in range(7):
        open_us = next(n * S for n in range(1, 1000) if health.state("ch_1", now_us + n * S) == "half_open")
        opened.append(open_us // S)
        now_us += open_us
        assert health.take(ONE, now_us, account="z") is None
        assert health.due(now_us)
        probe(health, now_us, DOWN)
    assert opened == [10, 20, 40, 80, 160, 300, 300]
    now_us += 300 * S
    probe(health, now_us)
    assert not rests(health, now_us)
    # It was down indeed: what its customers said is believed again.
    fail(health, now_us)
    assert rests(health, now_us)
    assert health.state("ch_1", now_us + 10 * S) == "half_open"


def test_a_probe_without_a_verdict_is_followed_by_another():
    health = Health()
    fail(health, 0)
    for now_us in (10 * S, 20 * S):
        assert health.due(now_us)
        health.give(health.take(ONE, now_us, forced=True))
        assert health.state("ch_1", now_us) == "half_open"
        assert health.due(now_us + 10 * S - 1) == []
    probe(health, 30 * S, Fault("down", "broken", 502, own=True))
    assert health.state("ch_1", 30 * S) == "half_open"


@pytest.mark.parametrize("status", [400, 409, 429, 422])
def test_a_4xx_to_the_probe_means_that_the_upstream_is_there(status):
    health = Health()
    fail(health, 0)
    probe(health, 10 * S, Fault("request" if status in {400, 422} else "busy", "x", status))
    assert not rests(health, 10 * S)


def test_calls_begun_before_it_opened_say_nothing_afterwards():
    health = Health()
    early = [health.take(ONE, 0, account=MANY[n % 3]) for n in range(FAILURES_MAX + 3)]
    for slot in early[:FAILURES_MAX]:
        health.failed(slot, DOWN, 0)
    health.succeeded(early[-1], 0)
    assert health.state("ch_1", 0) == "open"
    health.failed(early[-2], DOWN, 9 * S)
    health.failed(early[-2], REFUSED, 9 * S)
    assert health.state("ch_1", 10 * S) == "half_open"
    health.succeeded(early[-3], 10 * S)
    assert health.state("ch_1", 10 * S) == "half_open"
    probe(health, 10 * S)
    assert health.state("ch_1", 10 * S) == "closed"


def test_a_refusal_is_confirmed_before_it_opens_and_alerts():
    told = []
    health = Health(lambda name, why: told.append((name, why)))
    fail(health, 0, REFUSED, times=50)
    assert not rests(health, 0)
    assert told == []
    assert health.due(0) == [("ch_1", ("m",))]
    probe(health, 0, REFUSED)
    assert health.state("ch_1", 60 * S - 1) == "open"
    assert health.report(0)["ch_1"]["accounts"] == {"a": 17, "b": 17, "c": 16}
    probe(health, 60 * S, REFUSED)
    assert told == [("one", "Incorrect API key")]
    assert health.alerts == 1
    probe(health, 120 * S)
    end(health, 120 * S, REFUSED)
    probe(health, 130 * S, REFUSED)
    assert health.alerts == 2


def test_a_refusal_that_no_probe_finds_changes_nothing():
    """A firewall before the upstream refuses what one customer writes."""
    health = Health()
    for second in range(600):
        end(health, second * S, Fault("ours", "blocked", 403))
        end(health, second * S, None, account="b", model="n")
        if health.due(second * S):
            probe(health, second * S)
    assert health.usable(ONE)
    assert (health.alerts, health.openings) == (0, 0)


def test_a_probe_for_a_refusal_that_fails_otherwise_proves_nothing():
    """A slow upstream that others are served by must not rest because one customer's call was blocked."""
    health = Health()
    end(health, 0, REFUSED)
    probe(health, 0, Fault("timeout", "silent", 504))
    assert not rests(health, 0)
    assert health.due(10 * S) == [("ch_1", ("m",))]
    probe(health, 10 * S, REFUSED)
    assert rests(health, 10 * S)


def test_a_model_that_is_refused_alone_does_not_close_the_others():
    told = []
    health = Health(lambda name, why: told.append(why))
    end(health, 0, None, account="b", model="free")
    end(health, 0, REFUSED, model="dear")
    assert health.due(0) == [("ch_1", ("dear",))]
    probe(health, 0, REFUSED, model="dear")
    assert told == ["Incorrect API key"]  # the operator shall know
    assert not rests(health, 0)
    assert health.due(10 * S) == [("ch_1", ("free",))]
    probe(health, 10 * S, model="free")
    assert not rests(health, 10 * S)
    end(health, 20 * S, REFUSED, model="dear", account="c")
    probe(health, 20 * S, REFUSED, model="dear")
    probe(health, 30 * S, REFUSED, model="free")
    assert rests(health, 30 * S)


def test_a_model_that_fails_alone_does_not_keep_the_others_shut():
    health = Health()
    end(health, 0, None, account="b", model="fine")
    for n in range(FAILURES_MAX):
        end(health, 0, account=MANY[n % 3], model="broken")
    assert rests(health, 0)
    now_us = 10 * S
    asked = []
    while not health.usable(ONE):
        [(_, models)] = health.due(now_us) or [("", ())]
        if models:
            asked.append(models[0])
            probe(health, now_us, None if models[0] == "fine" else DOWN, model=models[0])
        now_us += S
    assert "fine" in asked
    assert now_us < 60 * S


def test_a_wrong_mapping_is_looked_at_alerts_and_does_not_open():
    told = []
    health = Health(lambda _name, why: told.append(why))
    for n, model in enumerate(("a", "b", "a")):
        unknown = Fault("ours", f"no model {model}", 404, mapping=True)
        end(health, n * 10 * S, unknown, account=str(n), model=model)
        assert health.due(n * 10 * S) == [("ch_1", (model,))]
        probe(health, n * 10 * S, unknown, model=model)
    assert told == ["no model a", "no model b"]
    assert not rests(health, 30 * S)
    for n in range(200):
        probe(health, 60 * S, Fault("ours", f"no model {n}", 404, mapping=True))
    assert len(told) == 100


def test_an_operators_test_of_a_channel_that_nobody_complained_about():
    health = Health()
    probe(health, 0, DOWN)
    assert not rests(health, 0)
    probe(health, 0, REFUSED)
    assert rests(health, 0)


def test_an_alert_that_fails_does_not_spoil_the_call():
    health = Health(lambda _name, _why: 1 / 0)
    probe(health, 0, REFUSED)
    assert health.alerts == 1


def test_what_is_kept_of_accounts_is_bounded():
    health = Health()
    for n in range(5000):
        if health.usable(ONE):
            end(health, n * S, account=f"acc{n}")
        if health.due(n * S):
            probe(health, n * S)
    found = health._breakers["ch_1"]
    assert len(found.behind) <= 20
    assert len(found._doubted) <= 200
    assert len(found._lately) == ACCOUNTS_MIN


def test_calls_at_once():
    health = Health()
    two = channel(concurrency_max=2)
    first, second = health.take(two, 0), health.take(two, 0)
    assert health.full(two)
    assert health.take(two, 0) is None
    health.give(first)
    health.give(first)
    assert health.calls("ch_1") == 1
    assert health.take(two, 0) is not None
    health.give(second)
    assert not health.full(channel(concurrency_max=0))


def test_reset_and_forgetting():
    health = Health()
    slot = health.take(ONE, 0)
    fail(health, 0)
    health.ask("ch_1", 7 * S)
    health.reset("ch_1")
    assert health.state("ch_1", 0) == "closed"
    assert health.calls("ch_1") == 1
    fail(health, 8 * S, accounts=("a",))
    assert health.due(17 * S - 1) == []
    assert health.due(17 * S)
    health.keep_only([])
    assert health.calls("ch_1") == 1
    health.give(slot)
    health.keep_only([])
    assert health.report(0) == {}
