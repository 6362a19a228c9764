"""Tallies of spans of time: exact while there are few calls, a bounded sample of a busy span."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.calls import availability
from farebox.kit import db, ids

pytestmark = pytest.mark.store

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_800_000_000_000_000 // DAY_US * DAY_US


def called(at_us: int, rule: str = "R02", model: str = "m", outcome: str = "", took_us: int = 900_000) -> Any:
    from farebox.calls.models import Call

    outcome = outcome or ("failed" if rule in availability.FAILED else "served")
    ended = {"ended_us": at_us + took_us, "charge_micro": 0} if outcome != "open" else {}
    return Call(
        id=ids.new("call", at_us), account="acc_1", project="prj_1", key="key_1", endpoint="chat", model=model,
        asked=model, stream=False, epoch="ep", opened_us=at_us, currency="USD", hold_micro=1, price_list="l",
        price_version=1, prices="{}", outcome=outcome, rule=rule, attempts=1, **ended,
    )  # fmt: skip


def wrote(*calls: Any) -> None:
    from farebox.calls.models import Attempt, Call

    Call.objects.bulk_create(calls, batch_size=500)
    Attempt.objects.bulk_create(
        [
            Attempt(id=f"{call.id}.1", call_id=call.id, n=1, upstream="u", channel="c", model="m", outcome="x",
                    started_us=call.opened_us, first_byte_us=call.opened_us + 40_000, ended_us=call.opened_us + 50_000)
            for call in calls
        ],
        batch_size=500,
    )  # fmt: skip


def span(from_us: int = START_US, long_us: int = HOUR_US) -> availability.Span:
    return db.read(availability.read, from_us=from_us, long_us=long_us)


def test_what_counts(instance):
    others = [("left", "R18"), ("refused", "R12"), ("revoked", "R21"), ("open", "")]
    wrote(
        *(called(START_US + n, took_us=(n + 1) * 100_000) for n in range(4)),
        *(called(START_US + 10, rule) for rule in ("R13", "R14", "R15", "R24")),
        *(called(START_US + 20, rule, outcome=outcome) for outcome, rule in others),
        called(START_US + HOUR_US),
        called(START_US - 1),
        called(START_US, model="n"),
    )
    found = span()
    tally = found.tallies["m"]
    assert (tally.served, tally.failed, tally.calls, tally.hundredths) == (4, 4, 8, 5000)
    assert sorted(tally.total_ms) == [100, 200, 300, 400]
    assert tally.first_ms == [40] * 4
    assert found.tallies["n"].hundredths == 10_000
    assert not found.sampled
    assert availability.SpanTally().hundredths is None


@pytest.mark.slow
def test_of_a_busy_hour_a_sample_of_all_its_parts(instance, monkeypatch):
    most = 12 * 40
    wrote(*(called(START_US + n * (HOUR_US // most)) for n in range(most)))
    assert not span().sampled
    assert span().tallies["m"].served == most
    # An outage in the last twelfth: it is a twelfth of the sample, however many calls there were.
    last_us = START_US + HOUR_US // 12 * 11
    wrote(*(called(last_us + 1 + n, "R13") for n in range(900)))
    found = span()
    assert found.sampled
    tally = found.tallies["m"]
    assert (tally.served + tally.failed, tally.failed) == (most, 39)


@pytest.mark.slow
def test_of_a_busy_day(instance):
    most = 96 * 12
    wrote(*(called(START_US + n * (DAY_US // (2 * most))) for n in range(2 * most)))
    found = span(long_us=DAY_US)
    assert found.sampled
    assert found.tallies["m"].served == most


def test_a_look_sums_hours_and_days(instance):
    now_us = START_US + 5 * HOUR_US
    wrote(
        called(now_us - 1000),
        called(now_us - 23 * HOUR_US, "R13"),
        called(now_us - 2 * DAY_US),
        called(now_us - 29 * DAY_US),
        called(now_us - 31 * DAY_US, "R13"),
    )
    watch = availability.AvailabilityWatch()
    seen = db.read(watch.look, now_us)
    assert (len(seen.hours), len(seen.days)) == (24, 30)
    assert seen.hours[-1].from_us == now_us
    day, month = seen.last_day.tallies["m"], seen.last_month.tallies["m"]
    assert (day.served, day.failed) == (1, 1)
    assert (month.served, month.failed) == (3, 1)
    wrote(called(now_us - 500, "R15"))
    assert db.read(watch.look, now_us + 29_000_000) is seen
    assert db.read(watch.look, now_us + 30_000_000).last_day.tallies["m"].failed == 2
    watch.forget()
    assert db.read(watch.look, now_us).last_day.tallies["m"].failed == 2


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([], 50, None), ([7], 50, 7), ([7], 95, 7), ([1, 2], 50, 1), ([3, 1, 2], 50, 2), (list(range(1, 101)), 95, 95)],
)
def test_ranks(values, percent, found):
    assert availability.rank(values, percent) == found
