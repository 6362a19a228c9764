"""The store port: the production committer over one store in memory, with virtual latency and every fault of a commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as sqlite
from django.db import OperationalError

from farebox.calls import log
from farebox.kit import db, epochs
from farebox.kit.commits import Committer, PendingWrite
from farebox.kit.errors import Overloaded, StoreUnavailable

from . import checks, faults

if TYPE_CHECKING:
    from .life import Life

_HANG_S = 5


def trouble(words: str) -> OperationalError:
    """A database error as Django passes it on."""
    fault = OperationalError(words)
    fault.__cause__ = sqlite.OperationalError(words)
    return fault


class Weather:
    """What is wrong with the database at the moment, for all nodes; each fault is told when it bites."""

    def __init__(self) -> None:
        self.away_until_s = 0.0
        self.hangs = False
        self.full_until_s = 0.0
        self.slow_until_s = 0.0
        self.slow_s = 0.0
        # How many more openings or commits until the one that fails, by kind; None is never.
        self.countdown: dict[str, list[int]] = {}

    def due(self, kind: str) -> bool:
        """Count one; whether this is the one that fails."""
        left = self.countdown.get(kind)
        if not left:
            return False
        left[:] = [number - 1 for number in left]
        if left[0] > 0:
            return False
        left.pop(0)
        return True


class SimStore:
    """The store as one node life sees it."""

    def __init__(
        self, life: Life, weather: Weather, *, alone: bool, rng: Random, wait_s: float, queue_max: int
    ) -> None:
        self.alone = alone
        self._life = life
        self._world = life.world
        self._loop = life.world.loop
        self._weather = weather
        self._rng = rng
        self._queue: list[PendingWrite] = []
        self._queue_max = queue_max
        self._working = False
        self._waiting = 0
        self._paused_s = 0.0
        self._begun_s = 0.0
        self._committer = Committer(self._opening, pause=self._pause, monotonic_s=self._monotonic_s, wait_s=wait_s)

    @property
    def waiting(self) -> int:
        return self._waiting

    async def write(
        self,
        fn: Callable[..., Any],
        *args: Any,
        locks: Sequence[str] = (),
        patient: bool = False,
        within_s: float | None = None,
        again: bool = False,
    ) -> Any:
        self._life.fence()
        if self._waiting >= self._queue_max and not patient:
            raise Overloaded
        loop = self._loop
        future = loop.create_future()
        member = PendingWrite(
            fn, args, locks=locks, patient=patient, again=again, since_s=self._monotonic_s(), future=future
        )
        if within_s is None and not patient:
            within_s = self._committer._wait_s + _HANG_S
        if within_s is not None:
            member.timer = loop.call_later(within_s, self._give_up, member)
        self._waiting += 1
        self._queue.append(member)
        if not self._working:
            self._working = True
            loop.call_later(self._latency_s(), self._work)
        return await future

    def _give_up(self, member: PendingWrite) -> None:
        member.timer = None
        if not member.future.done():
            member.abandoned = True
            late = StoreUnavailable()
            late.__cause__ = TimeoutError("the store did not answer in time")
            member.future.set_exception(late)

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(self._latency_s() / 2)
        self._life.fence()
        weather = self._weather
        while weather.away_until_s > self._loop.now:
            self._world.fired("store away")
            if not weather.hangs:
                raise StoreUnavailable
            await asyncio.sleep(weather.away_until_s - self._loop.now + 0.001)
        self._life.fence()
        return db.read(fn, *args)

    watch = read

    def _latency_s(self) -> float:
        latency_s = self._rng.uniform(0.0002, 0.003)
        if self._weather.slow_until_s > self._loop.now:
            self._world.fired("slow store")
            latency_s += self._rng.uniform(0, self._weather.slow_s)
        return latency_s

    def _monotonic_s(self) -> float:
        return self._loop.now + self._paused_s

    def _pause(self, most_s: float) -> None:
        self._paused_s += self._rng.uniform(0, most_s)

    def _work(self) -> None:
        """What the writer thread does with what waits; its time passes between the commit and the answer."""
        weather, now_s = self._weather, self._loop.now
        if weather.hangs and weather.away_until_s > now_s:
            self._world.fired("store away")
            self._loop.call_later(weather.away_until_s - now_s + 0.001, self._work)
            return
        self._life.fence()
        batch, self._queue = self._queue[:128], self._queue[128:]
        self._paused_s = 0.0
        self._life.writing = True
        try:
            self._committer.run(batch)
        finally:
            self._life.writing = False
        checks.solvent(self._world)
        took_s, self._paused_s = self._paused_s + self._latency_s(), 0.0
        self._loop.call_later(took_s, self._deliver, batch)

    def _deliver(self, batch: list[PendingWrite]) -> None:
        self._waiting -= len(batch)
        for member in batch:
            if member.timer is not None:
                member.timer.cancel()
            if member.future.done():
                continue
            if member.error is not None:
                member.future.set_exception(member.error)
            else:
                member.future.set_result(member.result)
            if member.fn is epochs.beat:
                faults.beaten(self._world, self._life)
            elif member.fn is log.lower_hold and member.error is None:
                checks.lowered(self._world, member.args[0], member.result)
        if self._queue:
            self._loop.call_later(self._latency_s(), self._work)
        else:
            self._working = False

    @contextlib.contextmanager
    def _opening(self, locks: Sequence[str]) -> Iterator[db.Tx]:
        weather, world, now_s = self._weather, self._world, self._loop.now
        if weather.away_until_s > now_s:
            world.fired("store away")
            raise trouble("the connection was refused")
        if weather.due("busy"):
            world.fired("busy")
            raise trouble("database is locked")
        with db.writing("", locks) as tx:
            yield tx
            if weather.due("commit not done"):
                world.fired("commit not done")
                raise trouble("disk I/O error")
        if weather.due("commit unknown"):
            world.fired("commit unknown")
            if self._rng.random() < 0.5:  # what ate the answer is still wrong
                weather.hangs, weather.away_until_s = False, now_s + self._rng.uniform(0.5, 6)
            raise trouble("the connection was lost")
