"""An account's own days: whatever of it is counted by days or months goes by them, caps and sums and statements."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from farebox.kit.db import Tx

from . import sql


def of(tx: Tx, account: str) -> str:
    """The time zone of an account; UTC for an invalid one."""
    row = tx.one(sql.READ_ZONE, (account,))
    return str(row[0]) if row is not None else "UTC"


def day(at_us: int, time_zone: str) -> str:
    """The day that a moment is in: `2026-11-24`."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, ZoneInfo(time_zone)):%Y-%m-%d}"


def begin_us(day_: str, time_zone: str) -> int:
    """When a day begins, in epoch microseconds; ValueError for what is no day."""
    return int(datetime.fromisoformat(day_).replace(tzinfo=ZoneInfo(time_zone)).timestamp()) * 1_000_000


def later(day_: str, days: int) -> str:
    """The day so many days later, or earlier; at the end of the calendar that day itself."""
    try:
        return (date.fromisoformat(day_) + timedelta(days=days)).isoformat()
    except OverflowError:
        return day_
