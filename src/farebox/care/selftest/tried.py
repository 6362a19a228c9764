"""What a part of the self-test reports, and how it says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Tell = Callable[[str], None]


@dataclass(slots=True)
class Tried:
    """One part: what was tried, how many times, and every failure in one sentence. `note` says what was seen."""

    what: str
    times: int = 0
    note: str = ""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`ok`, `failed`, or `not tried`."""
        if self.failures:
            return "failed"
        return "ok" if self.times else "not tried"
