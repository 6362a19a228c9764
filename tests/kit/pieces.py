"""The processor time of single pieces of work: turns of the shop's loop, and calls that keep the interpreter.

Exact, and independent of what else the machine does: each turn's callback and each C function of the reading threads is
timed on its own thread's processor clock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from farebox.gateway import heavy


class Pieces:
    """The longest piece since `forget()`, in seconds, and what it was."""

    def __init__(self) -> None:
        self.longest: tuple[float, str] = (0.0, "")
        self._depth = threading.local()

    def forget(self) -> None:
        self.longest = (0.0, "")

    def took(self, seconds: float, what: str) -> None:
        if seconds > self.longest[0]:
            self.longest = (seconds, what)

    def profile(self, frame: Any, event: str, function: Any) -> None:
        """Of `threading.setprofile`: time what a thread spends in one C function, whose inner ones are part of it."""
        mine = self._depth
        if event == "c_call":
            mine.level = getattr(mine, "level", 0) + 1
            if mine.level == 1:
                mine.began_s = time.thread_time()
        elif event in {"c_return", "c_exception"} and getattr(mine, "level", 0):
            mine.level -= 1
            if mine.level == 0:
                code = frame.f_code
                name = getattr(function, "__qualname__", "?")
                self.took(time.thread_time() - mine.began_s, f"{name} in {code.co_name}:{frame.f_lineno}")


# What waits, works without the interpreter's lock as tiktoken does, or runs Python alone, which gives it up every 5 ms.
_FREE = ("encode_ordinary", "get", "acquire", "any")


def where(handle: asyncio.Handle) -> str:
    """Whose step it was, without a look at what it works on: that may be 30 MB."""
    done: Any = handle._callback
    task = getattr(done, "__self__", None)
    if isinstance(task, asyncio.Task):
        code = getattr(task.get_coro(), "cr_code", None)
        return "a task" if code is None else f"a step of {code.co_qualname} in {code.co_filename[-40:]}"
    name = str(getattr(done, "__qualname__", type(done).__name__))
    protocol = getattr(task, "_protocol", None)
    return name if protocol is None else f"{name} of {type(protocol).__module__}"


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[Pieces]:
    """Time everything that this loop runs, and what the threads for heavy work call."""
    pieces, run = Pieces(), asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        if handle._loop is not loop:
            run(handle)
            return
        began_s = time.thread_time()
        run(handle)
        seconds = time.thread_time() - began_s
        if seconds > pieces.longest[0] and "sandbox" not in where(handle):
            pieces.took(seconds, f"the loop: {where(handle)}")

    def profile(frame: Any, event: str, function: Any) -> None:
        if event.startswith("c_") and getattr(function, "__name__", "") in _FREE:
            return
        pieces.profile(frame, event, function)

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    threading.setprofile(profile)
    for pool in (heavy._readers, heavy._counters):  # theirs begin anew, and are watched
        pool.cache_clear()
        pool()
    threading.setprofile(None)  # type: ignore[arg-type]
    try:
        yield pieces
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        for pool in (heavy._readers, heavy._counters):
            pool.cache_clear()
