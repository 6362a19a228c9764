"""The breaker and the count of calls of a channel."""

from __future__ import annotations

import pytest

from farebox.upstreams.dialect import Fault
from farebox.upstreams.health import FAILURES_MAX, Health
from upstreams.openai_form import channel

S = 1_000_000
ONE = channel()
DOWN = Fault("down", "boom", 500)
REFUSED = Fault("ours", "Incorrect API key", 401)


def fail(health, now_us, fault=DOWN, times=1):
    for _ in range(times):
        slot = health.take(ONE, now_us)
        assert slot is not None
        health.failed(slot, fault, now_us)
        health.give(slot)


def test_fifth_failure_in_a_row_opens():
    health = Health()
    fail(health, 0, times=FAILURES_MAX - 1)
    slot = health.take(ONE, 0)
    health.succeeded(slot)
    health.give(slot)
    fail(health, 0, times=FAILURES_MAX - 1)
    assert health.state("ch_1", 0) == "closed"
    fail(health, 0)
    assert health.state("ch_1", 0) == "open"
    assert health.take(ONE, 10 * S - 1) is None
    assert health.openings == 1
    assert health.report(0) == {"ch_1": {"state": "open", "calls": 0, "failures": 5, "why": "boom"}}


@pytest.mark.parametrize("kind", ["down", "timeout", "busy"])
def test_what_counts(kind):
    health = Health()
    fail(health, 0, Fault(kind, "x", 500), FAILURES_MAX)
    assert health.state("ch_1", 0) == "open"


@pytest.mark.parametrize("kind", ["request", "context", "policy"])
def test_the_customers_doing_says_nothing(kind):
    health = Health()
    fail(health, 0, Fault(kind, "x", 400), 3 * FAILURES_MAX)
    assert health.state("ch_1", 0) == "closed"
    fail(health, 0, times=FAILURES_MAX - 1)
    fail(health, 0, Fault(kind, "x", 400))
    fail(health, 0)
    assert health.state("ch_1", 0) == "open"


def test_one_probe_at_a_time_and_doubling():
    health = Health()
    fail(health, 0, times=FAILURES_MAX)
    now_us, opened = 0, []
    for _ in range(7):
        open_us = next(n * S for n in range(1, 1000) if health.state("ch_1", now_us + n * S) == "half_open")
        opened.append(open_us // S)
        now_us += open_us
        probe = health.take(ONE, now_us)
        assert probe.probe
        assert health.take(ONE, now_us) is None
        assert not health.usable(ONE, now_us)
        health.failed(probe, DOWN, now_us)
        health.give(probe)
    assert opened == [10, 20, 40, 80, 160, 300, 300]
    now_us += 300 * S
    probe = health.take(ONE, now_us)
    health.succeeded(probe)
    assert health.state("ch_1", now_us) == "closed"
    # The probe may go on for long; the others no longer wait for it.
    assert health.take(ONE, now_us) is not None
    health.give(probe)
    fail(health, now_us, times=FAILURES_MAX)
    assert health.state("ch_1", now_us + 10 * S) == "half_open"


def test_a_probe_without_a_verdict_leaves_the_next_to_try():
    health = Health()
    fail(health, 0, times=FAILURES_MAX)
    for ending in (None, Fault("request", "x", 400)):
        probe = health.take(ONE, 10 * S)
        if ending:
            health.failed(probe, ending, 10 * S)
        health.give(probe)
        assert health.state("ch_1", 10 * S) == "half_open"
    assert health.take(ONE, 10 * S).probe


def test_calls_begun_before_it_opened_say_nothing_afterwards():
    health = Health()
    early = [health.take(ONE, 0) for _ in range(FAILURES_MAX + 3)]
    for slot in early[:FAILURES_MAX]:
        health.failed(slot, DOWN, 0)
    health.succeeded(early[-1])
    assert health.state("ch_1", 0) == "open"
    health.failed(early[-2], DOWN, 9 * S)
    assert health.state("ch_1", 10 * S) == "half_open"
    probe = health.take(ONE, 10 * S)
    health.succeeded(early[-3])
    assert health.state("ch_1", 10 * S) == "half_open"
    health.succeeded(probe)
    assert health.state("ch_1", 10 * S) == "closed"


def test_our_own_doing_opens_at_once_and_alerts_once():
    told = []
    health = Health(lambda name, why: told.append((name, why)))
    fail(health, 0, REFUSED)
    assert health.state("ch_1", 60 * S - 1) == "open"
    fail(health, 60 * S, REFUSED)
    assert told == [("one", "Incorrect API key")]
    assert health.alerts == 1
    probe = health.take(ONE, 120 * S)
    health.succeeded(probe)
    health.give(probe)
    fail(health, 120 * S, REFUSED)
    assert health.alerts == 2


def test_a_wrong_mapping_alerts_and_does_not_open():
    told = []
    health = Health(lambda _name, why: told.append(why))
    for model in ("a", "b", "a"):
        fail(health, 0, Fault("ours", f"no model {model}", 404, mapping=True))
    assert told == ["no model a", "no model b"]
    assert health.state("ch_1", 0) == "closed"
    for n in range(200):
        fail(health, 0, Fault("ours", f"no model {n}", 404, mapping=True))
    assert len(told) == 100


def test_an_alert_that_fails_does_not_spoil_the_call():
    health = Health(lambda _name, _why: 1 / 0)
    fail(health, 0, REFUSED)
    assert health.alerts == 1


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
    fail(health, 0, times=FAILURES_MAX)
    health.reset("ch_1")
    assert health.state("ch_1", 0) == "closed"
    assert health.calls("ch_1") == 1
    health.keep_only([])
    assert health.calls("ch_1") == 1
    health.give(slot)
    health.keep_only([])
    assert health.report(0) == {}
