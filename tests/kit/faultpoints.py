"""Which failpoint the next kill is at, and how often each has killed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable

# How often a point is passed in a moment, so that a small number is reached soon.
_PASSES = {"tx.statement": 60, "store.before_commit": 15, "store.after_commit": 15, "serve.event": 60}
_ONCE = ("node.", "journal.", "marks.")


class Points:
    """Round robin over all failpoints; one that was not reached comes again."""

    def __init__(self, rng: random.Random) -> None:
        from farebox.kit import failpoints

        self.hits: Counter[str] = Counter(dict.fromkeys(failpoints.POINTS, 0))
        self.missed: Counter[str] = Counter()
        self._rng = rng

    def next(self, wanted: Callable[[str], bool] = lambda _name: True) -> str:
        """The point hit least often so far; those that take seconds come a quarter as often."""
        return min(filter(wanted, self.hits), key=self._weight)

    def text(self, name: str) -> str:
        """The point with the passage at which to kill."""
        passage = 1 if name.startswith(_ONCE) else self._rng.randint(1, _PASSES.get(name, 8))
        return f"{name}:{passage}:kill"

    def count(self, name: str, *, reached: bool) -> None:
        (self.hits if reached else self.missed)[name] += 1

    def report(self) -> str:
        """The coverage: how often each point has killed."""
        return f"kills by failpoint: {json.dumps(dict(self.hits))}; not reached: {json.dumps(dict(self.missed))}"

    def _weight(self, name: str) -> int:
        return (4 if name.startswith("journal.") else 1) * (self.hits[name] + self.missed[name] // 3)
