"""Periods of caps in the account's time zone, and the purses of a caller."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from farebox.accounts import caps
from farebox.accounts.caps import Caps
from farebox.accounts.keys.caller import Caller
from farebox.kit.errors import CommandError
from farebox.ledger.holds import Purse
from kit.rows import for_each


def us(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@for_each(
    ("period", "zone", "now", "name", "end"),
    [
        ("day", "UTC", "2026-11-24T23:59:59", "2026-11-24", "2026-11-25T00:00:00"),
        ("day", "UTC", "2026-11-25T00:00:00", "2026-11-25", "2026-11-26T00:00:00"),
        ("day", "Asia/Shanghai", "2026-11-24T16:00:00", "2026-11-25", "2026-11-25T16:00:00"),
        ("day", "America/New_York", "2026-11-24T04:59:59", "2026-11-23", "2026-11-24T05:00:00"),
        # The clock goes forward, then back: days of 23 and 25 hours.
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29", "2026-03-29T22:00:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25", "2026-10-25T23:00:00"),
        # Midnight itself does not happen on this day in Beirut: the day begins at one o'clock.
        ("day", "Asia/Beirut", "2026-03-28T12:00:00", "2026-03-28", "2026-03-28T22:00:00"),
        ("month", "UTC", "2026-11-30T23:59:59", "2026-11", "2026-12-01T00:00:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
        ("month", "Asia/Tokyo", "2026-11-30T15:00:00", "2026-12", "2026-12-31T15:00:00"),
    ],
)
def test_periods_begin_and_end_where_the_account_lives(period, zone, now, name, end):
    assert caps.period_id(period, now_us=us(now), time_zone=zone) == name
    end_us = caps.period_end_us(period, now_us=us(now), time_zone=zone)
    assert end_us == us(end)
    assert caps.period_id(period, now_us=end_us - 1, time_zone=zone) == name
    assert caps.period_id(period, now_us=end_us, time_zone=zone) != name


def test_ever_never_ends():
    assert caps.period_id("ever", now_us=us("2026-11-24T00:00:00"), time_zone="UTC") == "ever"
    assert caps.period_end_us("ever", now_us=0, time_zone="UTC") == caps.NEVER_US


@pytest.mark.parametrize(
    ("cap_micro", "period"),
    [(None, "week"), (5, ""), (5, "week"), (-1, "day"), (True, "day"), (2**63, "ever"), (1.5, "day")],
)
def test_caps_that_mean_nothing_are_refused(cap_micro, period):
    with pytest.raises(CommandError):
        caps.check({"month": 7, period: cap_micro})
    with pytest.raises(CommandError):
        Caps.given({period: cap_micro})
    caps.check({"day": 0, "month": None, "ever": 5})


def caller(*limits, zone="UTC"):
    return Caller(
        key="key_1", key_name="app", account="acc_1", account_name="Acme", account_state="active", project="prj_1",
        member=None, currency="USD", price_list="official-usd", time_zone=zone, caps=limits,
    )  # fmt: skip


def test_purses_without_caps_are_the_balance():
    assert caller().purses(0) == (Purse("acc_1"),)


def test_purses_are_in_order_and_change_with_the_period():
    one = caller(("prj_1", 500, "month"), ("key_1", 20, "day"), ("mem_1", 9, "ever"), zone="Asia/Shanghai")
    purses = one.purses(us("2026-11-30T15:59:59"))
    anew = "It resets at 2026-12-01 00:00 (Asia/Shanghai)."
    assert purses == (
        Purse("acc_1"),
        Purse("cap:key_1:2026-11-30", 20, anew),
        Purse("cap:mem_1:ever", 9, "It never resets."),
        Purse("cap:prj_1:2026-11", 500, anew),
    )
    assert one.purses(us("2026-11-30T10:00:00")) is purses
    later = one.purses(us("2026-11-30T16:00:00"))
    assert [purse.id for purse in later] == [
        "acc_1",
        "cap:key_1:2026-12-01",
        "cap:mem_1:ever",
        "cap:prj_1:2026-12",
    ]
