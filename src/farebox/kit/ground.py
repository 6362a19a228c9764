"""The ground under a serving process: disk, store file, memory, open files. What gives way shows before it breaks.

`short` and `shed` are read before each new call and cost nothing; `look()` keeps them true and runs once a second.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

import pysqlite3.dbapi2 as sqlite
import structlog

from . import disk, process_limits
from .ballast import Ballast
from .errors import CommandError
from .lock import NAME as LOCK_NAME
from .lock import FileWatch
from .options import Options
from .refusal import Refusal

log = structlog.get_logger(__name__)

CHECK_BYTES_MAX = 1024 * process_limits.MIB  # a larger file is checked at night alone: its check takes minutes
QUIET_S = 5.0  # the heartbeat writes every few seconds: so long without trouble, and writing works again
CALM_PERCENT = 95  # of the memory allowed: less, and calls are taken again
GIVE_BACK_EVERY_S = 10.0


class Ground:
    """What one process stands on; `Ground()` is ground that never gives way.

    `short`: nothing new may be held, the disk has room for what is under way alone, or the store is damaged (503).
    `shed`: the process uses more memory than it may; no new calls until that falls (503).
    `ahead`: the clock has run ahead of every witness; no new calls until that is put right (503).
    """

    def __init__(
        self,
        *,
        ballast: Ballast | None = None,
        rss_max_bytes: int = 0,
        connections_max: int = 0,
        wal: Path | None = None,
    ) -> None:
        self.short = False
        self.shed = False
        self.ahead = False  # the clock is ahead of every witness (timing.py)
        self.connections_max = connections_max
        self.watch = FileWatch()
        self.ballast = ballast
        self._rss_max_bytes = rss_max_bytes
        self._wal = wal
        self._damage = ""
        self._guard = threading.Lock()  # the committer's thread frees the ballast, the loop makes it anew
        self._full_s = 0.0
        self._gave_back_s = 0.0

    @classmethod
    def under(cls, options: Options) -> Self:
        """The ground of a process that is about to serve, with the folder's lock taken where it has one.

        CommandError if the SQLite file is damaged. `connections_max` is what the open files allow of the option.
        """
        files = process_limits.raise_open_files()
        process_limits.return_large()
        allowed = process_limits.connections_max(files, wanted=options.connections_max, calls_max=options.calls_max)
        if allowed < options.connections_max:
            log.warning("ground.few_files", open_files=files, connections=allowed, wanted=options.connections_max)
        file: Path = options.sqlite_file
        ground = cls(
            ballast=Ballast(options.data, size_bytes=options.ballast_mb * process_limits.MIB),
            rss_max_bytes=process_limits.rss_max_bytes(options.rss_max_mb),
            connections_max=allowed,
            wal=file.with_name(file.name + "-wal") if options.on_sqlite else None,
        )
        if options.on_sqlite:
            ground.watch.add(file)
            ground.watch.add(options.data / LOCK_NAME)
            check(file)
        ground._begin()
        return ground

    def _begin(self) -> None:
        if not self._ballasted():
            self.short = True
            log.error("ground.short", why="no room for the ballast")

    def full(self, fault: BaseException) -> bool:
        """Whether `fault` says that nothing can be written; then nothing new is taken, and the ballast is given up.

        The committer asks this of every failure before it tries again, from its own thread.
        """
        why = disk.trouble(fault)
        if not why:
            return False
        with self._guard:
            self._full_s = time.monotonic()
            first, self.short = not self.short, True
            # The database server's disk is not ours: its room is not to be had here.
            freed = why == "full" and self.ballast is not None and self.ballast.free()
        if first or freed:
            log.error("ground.short", why=why, freed=freed)
        return True

    def damaged(self, words: str) -> None:
        """The store file is damaged: nothing new is taken until somebody has restored it and started again."""
        self._damage = words
        self.short = True
        log.error("ground.damaged", what=words)

    def fault(self) -> Refusal | None:
        """Why this process must stop at once; None while it need not."""
        return self.watch.fault()

    def look(self) -> None:
        """Once a second, after the epoch has begun: find out whether the ground holds again, or no more."""
        if self._wal is not None:
            # Before the committer's connection is open, SQLite itself may remove its log and make another.
            self.watch.add(self._wal)
            self._wal = None
        if self.short and not self._damage:
            self._mend()
        self._weigh()

    def _mend(self) -> None:
        with self._guard:
            if time.monotonic() - self._full_s < QUIET_S:
                return
            if not self._ballasted():
                return
            self.short = False
        log.warning("ground.mended")

    def _ballasted(self) -> bool:
        """Put the ballast in place, unless that would take the last room; whether it is there and the disk writable."""
        ballast = self.ballast
        if ballast is None:
            return True
        room_bytes = ballast.room()
        if not room_bytes or (not ballast.path.exists() and room_bytes <= 2 * ballast.size_bytes):
            return False
        return ballast.make()

    def _weigh(self) -> None:
        if not self._rss_max_bytes:
            return
        used_bytes = process_limits.rss_bytes()
        if not self.shed:
            self.shed = used_bytes > self._rss_max_bytes
            if self.shed:
                log.error("ground.shed", rss_bytes=used_bytes, rss_max_bytes=self._rss_max_bytes)
        elif used_bytes * 100 < self._rss_max_bytes * CALM_PERCENT:
            self.shed = False
            log.warning("ground.calm", rss_bytes=used_bytes)
        elif time.monotonic() - self._gave_back_s > GIVE_BACK_EVERY_S:
            self._gave_back_s = time.monotonic()
            process_limits.give_back()


def check(file: Path) -> None:
    """CommandError if an SQLite file is damaged; a large one is left to the nightly check (promises: F41)."""
    try:
        size_bytes = file.stat().st_size
    except OSError as fault:
        raise CommandError("store.unopened", file=str(file), why=fault.strerror or "") from None
    if size_bytes > CHECK_BYTES_MAX:
        log.warning("ground.unchecked", file=str(file), bytes=size_bytes, why="large: it is checked once a day")
        return
    try:
        found = disk.FileCheck(file).run()
    except sqlite.Error as fault:
        raise CommandError("store.unchecked", file=str(file), why=str(fault)) from None
    if found:
        raise CommandError(disk.damaged(file, found))
