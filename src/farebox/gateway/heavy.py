"""Work on one call that would hold up all others: in threads of its own, with a share for each account (money.md 4.6).

Bodies up to `LARGE_BYTES` wait for a thread; larger ones first for their turn, one of each account and two in all,
since what they are decoded to is several times as large as they are. Counting has threads of its own, a count of each
account at a time: what can't wait for that is not counted, and a low rule says how much it was.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from farebox.kit import errors
from farebox.kit.options import Options
from farebox.kit.threads import Threads

from .endpoint import Call, Endpoint
from .shares import Places, Turns, crowded

T = TypeVar("T")

# Reading less takes a few milliseconds at most, whatever it is.
SMALL_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 4 * 1024 * 1024
_PLACES: Final = 64
_TURN_S: Final = 10.0
_COUNT_S: Final = 5.0


@functools.lru_cache(maxsize=1)
def _readers() -> Threads:
    return Threads(3, name="bodies")


@functools.lru_cache(maxsize=1)
def _counters() -> Threads:
    return Threads(2, name="counts")


class Heavy:
    """The heavy work of one process. Threads are started with the first piece of it."""

    def __init__(self) -> None:
        self._places = Places(lambda: _PLACES)
        self._large = Turns(2)
        self._counting = Turns(2)

    async def read(self, who: str, endpoint: Endpoint, body: bytes, options: Options) -> Call:
        """The call that a body asks for. BadRequest; RateLimited or Overloaded where too many bodies wait."""
        if len(body) <= SMALL_BYTES:
            call = endpoint.read(body, options)
        elif len(body) <= LARGE_BYTES:
            call = await self.run(who, _read, endpoint, body, options)
        else:
            try:
                await self._large.take(who, within_s=_TURN_S)
            except TimeoutError:
                raise crowded() if self._large.busy(who) else errors.Overloaded from None
            try:
                call = await self.run(who, _read, endpoint, body, options)
            finally:
                self._large.give(who)
        call.account, call.body_bytes = who, len(body)
        return call

    async def run(self, who: str, work: Callable[..., T], *args: object) -> T:
        """Do this in a thread. RateLimited or Overloaded where too much waits."""
        self._places.take(who)
        try:
            return await asyncio.get_running_loop().run_in_executor(_readers(), work, *args)
        finally:
            self._places.give(who)

    async def later(self, work: Callable[[], Any]) -> Any:
        """Do this in a thread, whatever else waits: a call that holds money is not turned away."""
        return await asyncio.get_running_loop().run_in_executor(_readers(), work)

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


def _read(endpoint: Endpoint, body: bytes, options: Options) -> Call:
    call = endpoint.read(body, options)
    call.shorten()
    return call
