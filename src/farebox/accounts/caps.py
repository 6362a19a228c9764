"""Caps: a limit of spending per period, counted by a memo account per scope and period (money.md 1.8).

The memo account of scope `key_x` has the id `cap:key_x:2026-11-24`, `cap:key_x:2026-11` or `cap:key_x:ever`;
the date is the account's own, in its time zone, at the moment the hold is placed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from farebox.kit import audit, db, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import holds

PERIODS = ("day", "month", "ever")
NEVER_US = 2**62


class Capped(Protocol):
    """A row with a cap: a project, a member or an API key."""

    id: str
    cap_micro: int | None
    cap_period: str

    def save(self, *, update_fields: list[str]) -> None:
        """Write these fields."""


def check(cap_micro: int | None, cap_period: str) -> None:
    """CommandError unless both are given and sensible, or neither."""
    if cap_micro is None:
        if cap_period:
            raise CommandError("A period without a cap means nothing. Give an amount too, or leave both out.")
        return
    if cap_period not in PERIODS:
        raise CommandError("A cap is for a day, a month or ever. Give one of day, month, ever.")
    if type(cap_micro) is not int or not 0 <= cap_micro <= money.AMOUNT_MICRO_MAX:
        raise CommandError("A cap is an amount of money, 0 or more.")


def period_id(period: str, *, now_us: int, time_zone: str) -> str:
    """The name of the period that `now_us` lies in: `2026-11-24`, `2026-11` or `ever`."""
    if period == "ever":
        return period
    today = _local(now_us, time_zone)
    return today.strftime("%Y-%m-%d" if period == "day" else "%Y-%m")


def period_end_us(period: str, *, now_us: int, time_zone: str) -> int:
    """When the period that `now_us` lies in ends, in epoch microseconds."""
    if period == "ever":
        return NEVER_US
    now = _local(now_us, time_zone)
    if period == "day":
        ordinal = now.date().toordinal() + 1
        end = datetime.fromordinal(ordinal).replace(tzinfo=now.tzinfo)
    else:
        year, month = (now.year, now.month + 1) if now.month < 12 else (now.year + 1, 1)
        end = datetime(year, month, 1, tzinfo=now.tzinfo)
    return int(end.timestamp()) * 1_000_000


def change(
    tx: Tx,
    row: Capped,
    *,
    cap_micro: int | None,
    cap_period: str,
    time_zone: str,
    now_us: int,
    verb: str,
    actor: str,
) -> None:
    """Set the cap of `row`, and the floor of the memo account that counts it now; audited, and seen on every node."""
    check(cap_micro, cap_period)
    before = {"cap_micro": row.cap_micro, "cap_period": row.cap_period}
    row.cap_micro, row.cap_period = cap_micro, cap_period
    row.save(update_fields=["cap_micro", "cap_period"])
    if cap_micro is not None:
        period = period_id(cap_period, now_us=now_us, time_zone=time_zone)
        holds.set_cap(tx, scope=row.id, period_id=period, cap_micro=cap_micro)
    db.bump(tx, "keys")
    after = {"cap_micro": cap_micro, "cap_period": cap_period}
    audit.record(tx, actor=actor, verb=verb, object=row.id, before=before, after=after)


def _local(now_us: int, time_zone: str) -> datetime:
    return datetime.fromtimestamp(now_us // 1_000_000, ZoneInfo(time_zone))
