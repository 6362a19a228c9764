"""An event loop with seeded order and virtual time, in which a killed node simply never runs again."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from contextvars import Context, ContextVar
from random import Random
from typing import Any

# Which node life a callback belongs to; None is the world outside.
EPOCH: ContextVar[Any] = ContextVar("EPOCH", default=None)


class Killed(BaseException):
    """The process is gone; raised where its code would still run, so that nothing of it reaches the world."""


class Stuck(AssertionError):
    """So many steps brought no end."""


class SimLoop(asyncio.AbstractEventLoop):
    """Ready callbacks run in an order drawn from `rng`; when none is ready, time jumps to the next timer.

    `dead` are lives whose callbacks are dropped, `paused` those whose callbacks wait. Tasks are kept referenced until
    the end, or the garbage collector would close the coroutines of the dead and run their `finally`.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 1000.0
        self.steps = 0
        self.mark = 0  # of the order in which everything ran
        self.dead: set[Any] = set()
        self.paused: dict[Any, list[asyncio.Handle]] = {}
        self.kept: list[asyncio.Task[Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.over = False
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> Any:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.kept.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """A thread that is done at once."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as fault:
            future.set_exception(fault)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.over and not isinstance(context.get("exception"), Killed):
            self.errors.append(context)

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until its time."""

    def resume(self, life: Any) -> None:
        """Let a paused life run on: what waited is ready now."""
        self._ready += self.paused.pop(life, [])

    def run(self, until: Callable[[], bool], *, steps_max: int = 400_000, until_s: float) -> bool:
        """Run until `until()`; False if it got to `until_s`, or nothing is left that could run."""
        asyncio._set_running_loop(self)
        ready, timers, dead, paused = self._ready, self._timers, self.dead, self.paused
        pick = self.rng.random
        try:
            for _ in range(steps_max):
                if until():
                    return True
                ready = self._ready
                if not ready:
                    while timers and timers[0][2]._cancelled:
                        heapq.heappop(timers)
                    if not timers or timers[0][0] > until_s:
                        self.now = max(self.now, until_s)
                        return False
                    self.now = max(self.now, timers[0][0])
                    while timers and timers[0][0] <= self.now:
                        ready.append(heapq.heappop(timers)[2])
                place = int(pick() * len(ready))
                handle = ready[place]
                ready[place] = ready[-1]
                ready.pop()
                if handle._cancelled:
                    continue
                life = handle._context.get(EPOCH)
                if life is not None:
                    if life in dead:
                        continue
                    if life in paused:
                        paused[life].append(handle)
                        continue
                self.steps += 1
                self.mark = hash((self.mark, place, len(ready), int(self.now * 1e6)))
                handle._run()
            raise Stuck(f"no end after {steps_max:,} steps")
        finally:
            asyncio._set_running_loop(None)
