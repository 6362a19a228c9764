"""What holds a process's event loop up: the processor time of one turn, and where in the code it went.

A thread asks the loop to say when it comes to it, and meanwhile reads the processor clock of the loop's own thread:
what other processes take from us is not counted. Where a turn takes long the thread looks at the stack, as soon as the
interpreter lets it. It costs fifty wake-ups of some microseconds a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

NAME: Final = "loop.json"
LIMIT_S: Final = 0.05
_EVERY_S: Final = 0.02
_LOGGED_EVERY_S: Final = 1.0
_OURS: Final = str(Path(__file__).resolve().parent.parent)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the loop that took long: when it ended (epoch seconds), its processor time, and its place if seen."""

    at_s: float
    cpu_ms: int
    place: str


class LoopWatch:
    """Watches the running loop of the thread that makes it, from `start()` to `stop()`.

    The worst of the day is in the file `NAME` of `folder`, for whoever looks from another process.
    """

    def __init__(self, *, folder: Path | None = None, limit_s: float = LIMIT_S, every_s: float = _EVERY_S) -> None:
        self._folder = folder
        self._untold = False
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._ident)
        self._limit_s = limit_s
        self._every_s = every_s
        self._asked_s: float | None = None  # on the loop's processor clock
        self._place = ""
        self._logged_s = 0.0
        self._worst: deque[Turn] = deque(maxlen=64)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._end.set()

    @property
    def worst(self) -> Turn | None:
        """The longest turn of the last 24 hours, if any was too long."""
        since_s = time.time() - _DAY_S
        return max((turn for turn in self._worst if turn.at_s >= since_s), key=lambda turn: turn.cpu_ms, default=None)

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self._look()
            except (OSError, RuntimeError):  # the loop, or its thread, has ended
                return

    def _look(self) -> None:
        if self._untold and self._folder is not None:
            self._untold, worst = False, self.worst
            with contextlib.suppress(OSError):  # a disk that is full has its own watch
                (self._folder / NAME).write_bytes(msgspec.json.encode(worst))
        now_s = time.clock_gettime(self._clock)
        if self._asked_s is None:
            self._place, self._asked_s = "", now_s
            self._loop.call_soon_threadsafe(self._answer)
        elif now_s - self._asked_s >= self._limit_s and not self._place:
            self._place = place_of(sys._current_frames().get(self._ident))

    def _answer(self) -> None:
        """In the loop: it has come to what it was asked."""
        asked_s, self._asked_s = self._asked_s, None
        spent_s = time.thread_time() - (asked_s or 0.0)
        if asked_s is not None and spent_s >= self._limit_s:
            self._note(Turn(time.time(), int(spent_s * 1000), self._place))

    def _note(self, turn: Turn) -> None:
        # Of the many of a bad hour the worst stay.
        if len(self._worst) == self._worst.maxlen:
            self._worst.remove(min(self._worst, key=lambda each: (each.at_s >= turn.at_s - _DAY_S, each.cpu_ms)))
        self._worst.append(turn)
        self._untold = self.worst is turn
        if turn.at_s - self._logged_s >= _LOGGED_EVERY_S:
            self._logged_s = turn.at_s
            log.warning("loop.slow", cpu_ms=turn.cpu_ms, place=turn.place)


def read(folder: Path) -> Turn | None:
    """The worst turn of the last 24 hours of the process that serves, or served, from this folder."""
    try:
        turn = msgspec.json.decode((folder / NAME).read_bytes(), type=Turn)
    except (OSError, msgspec.MsgspecError):
        return None
    return turn if turn.at_s >= time.time() - _DAY_S else None


def place_of(frame: FrameType | None) -> str:
    """The innermost place of our own code in a stack, as `protocol/body.py:40 fields`; or of any code."""
    innermost = frame
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS) and file != __file__:
            return f"{file[len(_OURS) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    if innermost is None:
        return ""
    code = innermost.f_code
    return f"{Path(code.co_filename).name}:{innermost.f_lineno} {code.co_name}"
