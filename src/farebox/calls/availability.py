"""How well each model answers: counted from customers' calls, by hour and by day, with bounded reading.

A call counts as answered if it was served, and as failed under R13, R14 or R15 (or R24, which is R15 noted late). Calls
that a customer left, that were refused as such, or whose key ended count for neither. Of a busy span only a sample is
read: the first calls of equal parts of it. So a look costs the same at a thousand calls and at ten million.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from farebox.accounts.names import HOUSE_ACCOUNT
from farebox.kit import ids
from farebox.kit.db import Tx

from . import sql

FAILED = frozenset({"R13", "R14", "R15", "R24"})
HOURS, DAYS = 24, 30

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_KEPT_US = 30_000_000  # how long a look is good for
_SETTLED_US = 3 * _HOUR_US  # after so long nothing of a span is open any more that would change it
_PARTS_OF_HOUR, _PARTS_OF_DAY = 12, 96
_ROWS_A_PART = 40, 12  # of an hour, of a day


@dataclass(slots=True)
class SpanTally:
    """One model in one span: calls answered and failed, and how long the answered ones took, in milliseconds."""

    served: int = 0
    failed: int = 0
    total_ms: list[int] = field(default_factory=list)
    first_ms: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Calls that count."""
        return self.served + self.failed

    @property
    def hundredths(self) -> int | None:
        """Availability in hundredths of a percent, rounded down: 10,000 only if no call failed. None without calls."""
        return self.served * 10_000 // self.calls if self.calls else None

    def add(self, other: SpanTally) -> None:
        """Take another span's calls in."""
        self.served += other.served
        self.failed += other.failed
        self.total_ms += other.total_ms
        self.first_ms += other.first_ms


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time with its tallies by model; `sampled` says that not every call of it was read."""

    from_us: int
    tallies: dict[str, SpanTally]
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Availability:
    """What a look has found: the last 24 hours by hour, the last 30 days by UTC day, oldest first, and their sums."""

    at_us: int
    hours: tuple[Span, ...]
    days: tuple[Span, ...]
    last_day: Span
    last_month: Span


class AvailabilityWatch:
    """Looks at most every 30 seconds, and reads each past hour and day once. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Availability | None = None
        self._settled: dict[tuple[int, int], Span] = {}

    def look(self, tx: Tx, now_us: int) -> Availability:
        """What is known now; who comes while another reads gets what was known before."""
        seen = self._seen
        if seen is not None and 0 <= now_us - seen.at_us < _KEPT_US:
            return seen
        if not self._lock.acquire(blocking=seen is None):
            assert seen is not None  # noqa: S101
            return seen
        try:
            self._seen = self._read(tx, now_us)
            return self._seen
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Know nothing any more: another store."""
        with self._lock:
            self._seen = None
            self._settled = {}

    def _read(self, tx: Tx, now_us: int) -> Availability:
        hours = tuple(self._span(tx, from_us, _HOUR_US, now_us) for from_us in _starts(now_us, _HOUR_US, HOURS))
        days = tuple(self._span(tx, from_us, _DAY_US, now_us) for from_us in _starts(now_us, _DAY_US, DAYS))
        oldest_us = days[0].from_us
        self._settled = {key: span for key, span in self._settled.items() if key[1] >= oldest_us}
        return Availability(now_us, hours, days, _sum(hours), _sum(days))

    def _span(self, tx: Tx, from_us: int, long_us: int, now_us: int) -> Span:
        kept = self._settled.get((long_us, from_us))
        if kept is not None:
            return kept
        span = read(tx, from_us=from_us, long_us=long_us)
        if from_us + long_us + _SETTLED_US <= now_us:
            self._settled[long_us, from_us] = span
        return span


WATCH = AvailabilityWatch()  # the one of this process


def read(tx: Tx, *, from_us: int, long_us: int) -> Span:
    """Tally a span of an hour or a day: every call of it, or of a busy one the first calls of each part."""
    hourly = long_us == _HOUR_US
    parts, rows = (_PARTS_OF_HOUR, _ROWS_A_PART[0]) if hourly else (_PARTS_OF_DAY, _ROWS_A_PART[1])
    most = parts * rows
    tallies: dict[str, SpanTally] = {}
    ends = _id(from_us), _id(from_us + long_us)
    if tx.one(sql.CALL_BEYOND, (*ends, most)) is None:
        _tally(tallies, tx.all(sql.ENDED_CALLS, (*ends, HOUSE_ACCOUNT, most)))
        return Span(from_us, tallies)
    part_us = long_us // parts
    for part in range(parts):
        begins_us = from_us + part * part_us
        found = tx.all(sql.ENDED_CALLS, (_id(begins_us), _id(begins_us + part_us), HOUSE_ACCOUNT, rows))
        _tally(tallies, found)
    return Span(from_us, tallies, sampled=True)


def rank(values_ms: list[int], percent: int) -> int | None:
    """The value that `percent` of the values do not exceed (nearest rank); None of none."""
    if not values_ms:
        return None
    return sorted(values_ms)[-(-len(values_ms) * percent // 100) - 1]


def _tally(tallies: dict[str, SpanTally], rows: Iterable[tuple[str, str, str, int, int, int | None]]) -> None:
    for model, outcome, rule, opened_us, ended_us, first_byte_us in rows:
        if outcome == "served":
            tally = tallies.setdefault(model, SpanTally())
            tally.served += 1
            tally.total_ms.append(max(0, ended_us - opened_us) // 1000)
            if first_byte_us is not None:
                tally.first_ms.append(max(0, first_byte_us - opened_us) // 1000)
        elif rule in FAILED:
            tallies.setdefault(model, SpanTally()).failed += 1


def _sum(spans: tuple[Span, ...]) -> Span:
    tallies: dict[str, SpanTally] = {}
    for span in spans:
        for model, tally in span.tallies.items():
            tallies.setdefault(model, SpanTally()).add(tally)
    for tally in tallies.values():
        tally.total_ms.sort()
        tally.first_ms.sort()
    return Span(spans[0].from_us, tallies, sampled=any(span.sampled for span in spans))


def _starts(now_us: int, long_us: int, many: int) -> range:
    """Where the last `many` spans begin; the last one is under way."""
    last_us = now_us // long_us * long_us
    return range(last_us - (many - 1) * long_us, last_us + 1, long_us)


def _id(at_us: int) -> str:
    return "call_" + ids.base62(max(0, at_us), 9)
