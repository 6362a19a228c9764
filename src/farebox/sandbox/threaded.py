"""The sandbox beside a program that has no event loop, or one of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .server import start

_STOP_S = 5


@contextmanager
def in_thread(*, pace_ms: int = 0) -> Iterator[str]:
    """A sandbox on a free port, in a thread with a loop of its own; its base URL. OSError where it can't listen."""
    started: list[str | OSError] = []
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        try:
            running = await start("127.0.0.1", 0, pace_ms=pace_ms, keep=0)
        except OSError as fault:
            started.append(fault)
            up.set()
            return
        started.append(running.base_url)
        up.set()
        await asyncio.to_thread(down.wait)
        await running.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="sandbox", daemon=True)
    thread.start()
    up.wait()
    if isinstance(started[0], OSError):
        raise started[0]
    try:
        yield started[0]
    finally:
        down.set()
        thread.join(timeout=_STOP_S)
