"""Log lines on their way out: whoever logs never waits and never fails, whatever becomes of the lines (F38)."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from typing import TextIO

LINES_MAX = 10_000
_LAST_S = 1.0  # how long the end of the process waits for the last lines


class LogWriter:
    """Takes whole lines like a text file, and writes them to `stream` in a thread of its own.

    A full pipe or disk, or a closed one, costs lines and nothing else: what comes while `lines_max` wait is dropped.
    `dropped` counts lost lines, and a line says so once there is room again. `stream` is None where there is none.
    """

    def __init__(self, stream: TextIO | None, *, lines_max: int = LINES_MAX) -> None:
        self.dropped = 0
        self._stream = stream
        self._lines_max = lines_max
        self._lines: deque[str] = deque()
        self._some = threading.Event()
        self._untold = 0
        self._busy = False
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Take a line; its length, as files answer."""
        if self._stream is None or len(self._lines) >= self._lines_max:
            self._drop()
            return len(text)
        if sys.is_finalizing():  # no thread runs any more, and none could be started
            self._put(text)
            return len(text)
        self._lines.append(text)
        self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.drain)
        return len(text)

    def flush(self) -> None:
        """Nothing: nobody waits for a log line."""

    def drain(self, within_s: float = _LAST_S) -> None:
        """Wait until all lines are written, so long at most."""
        end_s = time.monotonic() + within_s
        while (self._lines or self._busy) and time.monotonic() < end_s:
            time.sleep(0.002)

    def _drop(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _work(self) -> None:
        while True:
            self._some.wait()
            self._busy = True
            self._some.clear()
            while self._lines:
                self._put(self._lines.popleft())
            self._busy = False

    def _put(self, text: str) -> None:
        try:
            self._out(text)
            if self._untold:
                untold, self._untold = self._untold, 0
                self._out(f'{{"event": "log.dropped", "lines": {untold}, "level": "warning"}}\n')
        except (OSError, ValueError):  # full, gone, or closed
            self._drop()

    def _out(self, text: str) -> None:
        """Write; past the buffer of a stream with a descriptor, whose lock a write that hangs would hold to the end."""
        assert self._stream is not None  # noqa: S101 - nothing is taken otherwise
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            self._stream.write(text)
            self._stream.flush()
            return
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(number, data) :]
