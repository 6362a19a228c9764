"""The only source of now."""

from __future__ import annotations

import time
from typing import Protocol

from .errors import CommandError

_HOUR_US = 3_600_000_000


class Clock(Protocol):
    """What tells the time; the simulator brings its own."""

    def now_us(self) -> int:
        """Wall-clock time in microseconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clock, held so that `now_us` never goes back, also over restarts (promises: F37).

    While the machine's clock is behind, time continues from the mark at half its speed, until the machine has caught
    up: it never stands still, or whoever waits for a moment would wait for ever.
    """

    __slots__ = ("_high_us", "_wall_us")

    def __init__(self) -> None:
        self._high_us = 0
        self._wall_us = 0  # what the machine said when the mark was last moved

    def now_us(self) -> int:
        """Wall-clock microseconds, never smaller than an earlier answer."""
        wall_us = time.time_ns() // 1000
        if wall_us >= self._high_us:
            self._high_us = self._wall_us = wall_us
            return wall_us
        return self._slow(wall_us)

    def _slow(self, wall_us: int) -> int:
        gone_us = wall_us - self._wall_us
        if gone_us < 0:
            self._wall_us = wall_us
        elif gone_us >= 2:  # less would be rounded away, call by call
            self._high_us += gone_us // 2
            self._wall_us = wall_us
        return self._high_us

    def not_before(self, mark_us: int, *, behind_h_max: int = 24) -> int:
        """Answer no time before `mark_us`, the newest that the books know; by how much the machine is behind, or 0.

        CommandError if that is more than `behind_h_max` hours: then clock or books are wrong, and a person decides.
        """
        wall_us = time.time_ns() // 1000
        behind_us = max(0, mark_us - wall_us)
        if behind_us > behind_h_max * _HOUR_US:
            raise CommandError("clock.behind", hours=behind_us // _HOUR_US)
        if mark_us > self._high_us:
            self._high_us, self._wall_us = mark_us, wall_us
        return behind_us


SYSTEM = SystemClock()


def wall_us() -> int:
    """What the machine's clock says, in microseconds since 1970-01-01 UTC; it may be wrong, and may go back."""
    return time.time_ns() // 1000


def now_us() -> int:
    """Now, in microseconds since 1970-01-01 UTC, from the process's one clock."""
    return SYSTEM.now_us()
