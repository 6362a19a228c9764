"""Places that all accounts share: while most are taken, nobody gets more who has a good part of them (promises 4.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from farebox.kit.errors import Overloaded, RateLimited
from farebox.kit.shares import hogs

RETRY_AFTER_S: Final = 1


def crowded() -> RateLimited:
    """The refusal of one who holds a good part of what is nearly full."""
    return RateLimited(
        "The server is nearly full, and a good part of it works for you already. Please try again in a moment.",
        retry_after_s=RETRY_AFTER_S,
    )


class Places:
    """So many places at once, by who holds them."""

    __slots__ = ("_by", "_most", "taken")

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._by: dict[str, int] = {}
        self.taken = 0

    def held_by(self, who: str) -> int:
        """How many of them are his."""
        return self._by.get(who, 0)

    @property
    def full(self) -> bool:
        """Whether there is none left."""
        return self.taken >= self._most()

    def take(self, who: str) -> None:
        """Take one; Overloaded if there is none, RateLimited if others need what is left more."""
        most, mine = self._most(), self._by.get(who, 0)
        if self.taken >= most:
            raise Overloaded
        if hogs(self.taken, mine, most):
            raise crowded()
        self.taken += 1
        self._by[who] = mine + 1

    def give(self, who: str) -> None:
        """Give one back."""
        self.taken -= 1
        left = self._by[who] - 1
        if left:
            self._by[who] = left
        else:
            del self._by[who]


class Turns:
    """Heavy work, `at_once` pieces of it, and one of each account: the others wait in the order in which they came."""

    __slots__ = ("_at_once", "_busy", "_waiting")

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._busy: set[str] = set()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    async def take(self, who: str, *, within_s: float | None) -> None:
        """Wait for a turn; TimeoutError if none came in time. RateLimited or Overloaded are for the caller to say."""
        if who not in self._busy and len(self._busy) < self._at_once:
            self._busy.add(who)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (who, future)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(within_s):
                await future
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif future.done() and not future.cancelled():  # its turn came in the same moment
                self.give(who)
            raise

    def give(self, who: str) -> None:
        """The turn is over: it is the next one's."""
        self._busy.discard(who)
        waiting, self._waiting = self._waiting, []
        for next_, future in waiting:
            if future.done():
                continue  # who waited has left, but has not run since: a turn given to him would never end
            if len(self._busy) < self._at_once and next_ not in self._busy:
                self._busy.add(next_)
                future.set_result(None)
            else:
                self._waiting.append((next_, future))

    def busy(self, who: str) -> bool:
        """Whether it is this one's turn now."""
        return who in self._busy
