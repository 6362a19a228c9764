"""A file of records that are on the disk when `append` returns, and that survive the process that wrote them.

One file a process life, locked by it, `<name>.log` in one folder; who starts later takes over the files of the dead.
A line is the CRC-32 of the record in eight hexadecimal digits, a space, the record (JSON, hence without line breaks).
A line that was cut, the last one of a killed process, does not fit its CRC and is left out: nobody was told of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_SUFFIX = ".log"
_NEW = ".new"  # a file before it is locked, which nobody takes for that of a dead process


class AppendLog:
    """The log of one process life in `folder`; `inherited` are the records of dead lives, oldest file first.

    OSError where the folder can't be written. Reads and writes run in a thread of its own.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._dead: list[tuple[Path, int]] = []
        self.inherited: list[bytes] = []
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            self._take_over(path)
        self._path = folder / f"{name}{_SUFFIX}"
        new = folder / f"{name}{_NEW}"
        self._handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(self._path)
        _sync_folder(folder)
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._open = True

    async def append(self, records: Sequence[bytes]) -> None:
        """Write the records; they are on the disk when this returns. OSError, and then none of them is."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, list(records))

    async def clear(self) -> None:
        """Forget all records, the inherited too: what they say is done elsewhere."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._clear)

    def close(self) -> None:
        """Let go of the files; an empty one is removed. Twice is once."""
        if not self._open:
            return
        self._open = False
        self._thread.shutdown(wait=True)
        if not self._bytes:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._handle)
        for _, handle in self._dead:
            os.close(handle)

    def _take_over(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # another process has just done what it said
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives
            os.close(handle)
            return
        with os.fdopen(os.dup(handle), "rb") as file:
            records, cut = parse(file.read())
        if cut:
            log.warning("journal.cut", file=path.name, lines=cut)
        if records:
            self.inherited += records
            self._dead.append((path, handle))
        else:  # it owed nothing: without this each crash would leave a file
            path.unlink(missing_ok=True)
            os.close(handle)

    def _append(self, records: Sequence[bytes]) -> None:
        data = b"".join(line(record) for record in records)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
            os.fdatasync(self._handle)
        except OSError:
            # What is there of them must not be found later: who was to be told of them is told that it failed.
            os.ftruncate(self._handle, self._bytes)
            raise
        self._bytes += len(data)

    def _clear(self) -> None:
        os.ftruncate(self._handle, 0)
        os.fdatasync(self._handle)
        self._bytes = 0
        for path, handle in self._dead:
            path.unlink(missing_ok=True)
            os.close(handle)
        self._dead = []
        self.inherited = []
        _sync_folder(self._folder)


def line(record: bytes) -> bytes:
    """A record as it is in the file."""
    return b"%08x %b\n" % (zlib.crc32(record), record)


def parse(data: bytes) -> tuple[list[bytes], int]:
    """The records of a file's bytes, and how many lines do not fit their CRC."""
    *lines, rest = data.split(b"\n")
    records, cut = [], int(bool(rest))
    for each in lines:
        if line(each[9:]) == each + b"\n":
            records.append(each[9:])
        else:
            cut += 1
    return records, cut


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
