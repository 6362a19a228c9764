"""Times and amounts as people type them on a command line, and as they read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from farebox.kit import money
from farebox.kit.errors import CommandError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def point(text: str, *, now_us: int) -> int:
    """Epoch microseconds of `30d` (from now), `2026-12-31` or `2026-12-31T18:00` (UTC unless it names a zone)."""
    found = _SPAN.fullmatch(text.strip())
    if found:
        return now_us + int(found[1]) * _SECONDS[found[2]] * 1_000_000
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CommandError(f"{text[:40]!r} is not a time. Write 30d, 12h, 2026-12-31 or 2026-12-31T18:00.") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1)


def end(text: str | None, *, now_us: int) -> dict[str, int | str | None]:
    """What a verb takes as an end: a day is the last one, whole in the account's time zone; else the moment."""
    if text is not None and _DAY.fullmatch(text.strip()):
        point(text, now_us=now_us)  # a day that there is
        return {"last_day": text.strip()}
    return {"expires_us": None if text is None else point(text, now_us=now_us)}


def span(text: str) -> int:
    """Seconds of `30s`, `10m`, `24h`, `7d` or `2w`."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{text[:40]!r} is not a length of time. Write 30s, 10m, 24h, 7d or 2w.")
    return int(found[1]) * _SECONDS[found[2]]


def shown(at_us: int | None) -> str:
    """A time as people read it, in UTC to the second; `–` for none."""
    return "–" if at_us is None else (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%d %H:%M:%S")


def amount(text: str) -> int:
    """The micro-units of a decimal text such as `12.34`; CommandError otherwise."""
    try:
        return money.parse(text)
    except money.MoneyError as fault:
        raise CommandError(fault.refusal) from None
