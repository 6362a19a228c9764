"""The only source of now."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time; the simulator brings its own."""

    def now_us(self) -> int:
        """Wall-clock time in microseconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clock, held so that `now_us` never goes back within a process (money.md F37)."""

    __slots__ = ("_high_us",)

    def __init__(self) -> None:
        self._high_us = 0

    def now_us(self) -> int:
        """Wall-clock microseconds, never smaller than an earlier answer."""
        now_us = time.time_ns() // 1000
        self._high_us = max(self._high_us, now_us)
        return self._high_us


SYSTEM = SystemClock()


def now_us() -> int:
    """Now, in microseconds since 1970-01-01 UTC, from the process's one clock."""
    return SYSTEM.now_us()
