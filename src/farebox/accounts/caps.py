"""Caps: limits of spending a day, a month and ever, each counted by a memo account (promises 1.8).

The memo account of scope `key_x` has the id `cap:key_x:2026-11-24`, `cap:key_x:2026-11` or `cap:key_x:ever`;
the date is the account's own, in its time zone, at the moment the hold is placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self
from zoneinfo import ZoneInfo

from farebox.kit import audit, db, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import holds

PERIODS = ("day", "month", "ever")
NEVER_US = 2**62
_UNSEEN_US = 60_000_000  # nodes know of a change long before


@dataclass(frozen=True, slots=True)
class Caps:
    """Up to three limits that hold at once, in micro-units; None is no limit."""

    day_micro: int | None = None
    month_micro: int | None = None
    ever_micro: int | None = None

    @classmethod
    def given(cls, caps_micro: Mapping[str, int | None]) -> Self:
        """The caps of a mapping from `day`, `month`, `ever`; what is left out is no limit. Raises CommandError."""
        check(caps_micro)
        return cls(*(caps_micro.get(period) for period in PERIODS))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """(period, micro-units) of each limit there is."""
        for period, cap_micro in self.view().items():
            if cap_micro is not None:
                yield period, cap_micro

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return any(True for _ in self)

    def view(self) -> dict[str, int | None]:
        """Micro-units by period, JSON-able: `{"day": 5000000, "month": null, "ever": null}`."""
        return dict(zip(PERIODS, (self.day_micro, self.month_micro, self.ever_micro), strict=True))

    def columns(self) -> dict[str, int | None]:
        """Micro-units by the name of the column that keeps them."""
        return {column(period): cap_micro for period, cap_micro in self.view().items()}


NO_CAPS = Caps()


class Capped(Protocol):
    """A row with caps: a project, a member or an API key."""

    id: str

    @property
    def caps(self) -> Caps:
        """Its caps."""

    @property
    def cap_scope(self) -> str:
        """Under which id its spending is counted."""


def column(period: str) -> str:
    """The name of the column that keeps the cap of a period."""
    return f"cap_{period}_micro"


def check(caps_micro: Mapping[str, int | None]) -> None:
    """CommandError unless these are amounts, or None, for periods that there are."""
    for period, cap_micro in caps_micro.items():
        if period not in PERIODS:
            raise CommandError("cap.period")
        if cap_micro is not None and not (type(cap_micro) is int and 0 <= cap_micro <= money.AMOUNT_MICRO_MAX):
            raise CommandError("cap.amount")


def period_id(period: str, *, now_us: int, time_zone: str) -> str:
    """The name of the period that `now_us` is in: `2026-11-24`, `2026-11` or `ever`."""
    if period == "ever":
        return period
    today = _local(now_us, time_zone)
    return today.strftime("%Y-%m-%d" if period == "day" else "%Y-%m")


def period_end_us(period: str, *, now_us: int, time_zone: str) -> int:
    """When the period that `now_us` is in ends, in epoch microseconds."""
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


def anew(period: str, *, now_us: int, time_zone: str) -> str:
    """When the cap of a period begins again, in the account's own days, as the one whom it refuses is told."""
    if period == "ever":
        return "It never resets."
    return f"It resets at {anew_at(period, now_us=now_us, time_zone=time_zone)} ({time_zone})."


def anew_at(period: str, *, now_us: int, time_zone: str) -> str:
    """The local time at which the cap of a period begins again, `2026-12-01 00:00`; empty if it never does."""
    if period == "ever":
        return ""
    return f"{_local(period_end_us(period, now_us=now_us, time_zone=time_zone), time_zone):%Y-%m-%d %H:%M}"


def memo(scope: str, period: str, *, now_us: int, time_zone: str) -> str:
    """The id of the memo account that counts the cap of a scope now."""
    return f"cap:{scope}:{period_id(period, now_us=now_us, time_zone=time_zone)}"


def change(
    tx: Tx,
    rows: Sequence[Any],
    caps_micro: Mapping[str, int | None],
    *,
    now_us: int,
    verb: str,
    actor: str,
) -> None:
    """Set the caps of the periods named, of rows that are counted together; the others stay as they are.

    The floors of the memo accounts that count them now move along. Audited for the first row, and seen on every node.
    """
    check(caps_micro)
    before = rows[0].caps.view()
    for row in rows:
        for period, cap_micro in caps_micro.items():
            setattr(row, column(period), cap_micro)
        row.save(update_fields=[column(period) for period in caps_micro])
    move_floors(tx, rows[0], caps_micro, now_us=now_us)
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb=verb, object=rows[0].id, before=before, after=rows[0].caps.view())


def move_floors(tx: Tx, row: Any, caps_micro: Mapping[str, int | None], *, now_us: int) -> None:
    """Move the floors of the memo accounts that count these caps of a row now, or within a minute.

    A node that does not know of the change yet would make those of a new period with the floor of before.
    """
    account = row.account
    for period, cap_micro in caps_micro.items():
        if cap_micro is not None:
            at_us = (now_us, now_us + _UNSEEN_US)
            names = {period_id(period, now_us=time_us, time_zone=account.time_zone) for time_us in at_us}
            for name in sorted(names):
                holds.set_cap(tx, scope=row.cap_scope, period_id=name, cap_micro=cap_micro, currency=account.currency)


def _local(now_us: int, time_zone: str) -> datetime:
    return datetime.fromtimestamp(now_us // 1_000_000, ZoneInfo(time_zone))
