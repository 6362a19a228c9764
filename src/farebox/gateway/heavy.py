"""Work on one call that would hold up all others: in threads of its own, with a share for each account (promises 4.6).

Whatever is read or written here waits for its turn, one piece of each account and two in total. What bodies are
decoded to is several times as large as they are; and each thread that decodes keeps the interpreter for up to 100 ms
at a time, so that several of them together keep the loop and the store's thread waiting for much longer. Counting has
threads of its own, a count of each account at a time: what can't wait for it is not counted, and a low rule says how
much it was.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from farebox.kit import errors
from farebox.kit.threads import Threads
from farebox.protocol.kind import Call, Kind

from .shares import Places, Turns, crowded

T = TypeVar("T")

# Reading less takes a few milliseconds at most, whatever it is.
SMALL_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 4 * 1024 * 1024
_PLACES: Final = 64
_AT_ONCE: Final = 2
_TURN_S: Final = 10.0
_COUNT_S: Final = 5.0


@functools.lru_cache(maxsize=1)
def _readers() -> Threads:
    return Threads(_AT_ONCE, name="bodies")


@functools.lru_cache(maxsize=1)
def _counters() -> Threads:
    return Threads(2, name="counts")


class Heavy:
    """The heavy work of one process. Threads are started with the first piece of it."""

    def __init__(self) -> None:
        self._places = Places(lambda: _PLACES)
        self._turns = Turns(_AT_ONCE)
        self._counting = Turns(2)

    async def read(self, who: str, kind: Kind, body: bytes) -> Call:
        """The call that a body asks for. BadRequest; RateLimited or Overloaded where too many bodies wait."""
        if len(body) <= SMALL_BYTES:
            call = kind.read(body)
        else:
            call = await self.run(who, _read, kind, body)
        call.account, call.body_bytes = who, len(body)
        return call

    async def run(self, who: str, work: Callable[..., T], *args: object) -> T:
        """Do this in a thread. RateLimited or Overloaded where too much waits, or it waits for too long."""
        self._places.take(who)
        try:
            return await self._turn(who, work, *args, within_s=_TURN_S)
        except TimeoutError:
            raise crowded() if self._turns.busy(who) else errors.Overloaded from None
        finally:
            self._places.give(who)

    async def later(self, who: str, work: Callable[[], Any]) -> Any:
        """Do this in a thread, whatever else waits: a call that holds money is not turned away."""
        return await self._turn(who, work, within_s=None)

    async def _turn(self, who: str, work: Callable[..., T], *args: object, within_s: float | None) -> T:
        await self._turns.take(who, within_s=within_s)
        try:
            return await asyncio.get_running_loop().run_in_executor(_readers(), work, *args)
        finally:
            self._turns.give(who)

    async def count(self, who: str, work: Callable[[], T], instead: Callable[[], T]) -> T:
        """Count this in a thread, or do `instead` there where the account has too much to count."""
        loop = asyncio.get_running_loop()
        try:
            await self._counting.take(who, within_s=_COUNT_S)
        except TimeoutError:
            return await loop.run_in_executor(_counters(), instead)
        try:
            return await loop.run_in_executor(_counters(), work)
        finally:
            self._counting.give(who)


HEAVY: Final = Heavy()


def _read(kind: Kind, body: bytes) -> Call:
    call = kind.read(body)
    call.shorten()
    return call
