"""A few threads for work that may hang, which keep no process: unlike the standard library's they end with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """`many` threads that take work in the order in which it came."""

    def __init__(self, many: int, *, name: str) -> None:
        self.many = many
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._open = True
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(many)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` done; RuntimeError after `shutdown`."""
        if not self._open:
            raise RuntimeError("these threads take no more work")
        future: Future[T] = Future()
        self._queue.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work, and let the threads end; `wait` for it. `cancel_futures`: what has not begun never is."""
        self._open = False
        if cancel_futures:
            with contextlib.suppress(Empty):
                while (work := self._queue.get_nowait()) is not None:
                    work[0].cancel()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as fault:
                future.set_exception(fault)
            else:
                future.set_result(result)
            del work, future, call  # a waiting thread keeps nothing alive
