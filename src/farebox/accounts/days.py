"""The last day of a key or of credit: it works through the whole of that day, in the account's time zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from farebox.kit.errors import CommandError


def end_us(day: date, zone: str) -> int:
    """The end of a day in a time zone, in epoch microseconds; OverflowError after the last day that there is."""
    after = day + timedelta(days=1)
    return int(datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def last(ends_us: int, zone: str) -> date:
    """The last day that a thing with this end works on, whole or in part."""
    return datetime.fromtimestamp((ends_us - 1) // 1_000_000, ZoneInfo(zone)).date()


def chosen(last_day: str, expires_us: int | None, zone: str) -> int | None:
    """The end that was asked for: of a last day such as `2026-12-31`, or else the moment. CommandError."""
    if not last_day:
        return expires_us
    try:
        return end_us(date.fromisoformat(last_day), zone)
    except (ValueError, OverflowError):
        raise CommandError("key.last_day") from None
