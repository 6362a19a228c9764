"""The lock on a data folder: one process at a time writes an SQLite store (promises 1.7, F40)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from . import refusal
from .errors import CommandError
from .refusal import Refusal

NAME = "serve.lock"
_LOOK_AGAIN_S = 0.05


class FolderLock:
    """The lock of one data folder, a `flock` that the kernel drops when its process dies, however it dies.

    `with FolderLock(folder, wait_s=5): …`, or `take()` and `release()`. The file stays: removing it would let two
    processes lock two files of one name.
    """

    def __init__(self, folder: Path, *, wait_s: int = 0) -> None:
        self.path = folder / NAME
        self._wait_s = wait_s
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock, or raise CommandError once `wait_s` seconds have passed."""
        deadline_s = time.monotonic() + self._wait_s
        while not self.try_take():
            if time.monotonic() >= deadline_s:
                holder = self.path.read_text("ascii", "replace").strip()
                raise CommandError("store.locked", folder=str(self.path.parent), holder=holder or "unknown")
            time.sleep(_LOOK_AGAIN_S)

    def try_take(self) -> bool:
        """Take the lock if nobody else has it; whether this object holds it now."""
        if self._handle is not None:
            return True
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise CommandError("store.lock_file", file=str(self.path), why=fault.strerror or "") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"pid {os.getpid()}\n".encode(), 0)
        self._handle = handle
        return True

    def release(self) -> None:
        """Let go; twice is once."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileWatch:
    """Whether files are still those that were there at first: not deleted, not replaced (promises: F40)."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def add(self, path: Path) -> None:
        """Watch this file too, if it is there."""
        with contextlib.suppress(OSError):
            self._seen[path] = _inode(path)

    def fault(self) -> Refusal | None:
        """The refusal about the first file that is gone or another; None while all is well."""
        for path, before in self._seen.items():
            try:
                now = _inode(path)
            except FileNotFoundError:
                return refusal.of("store.deleted", file=str(path))
            except OSError:  # a disk that can't answer is no news about the file
                continue
            if now != before:
                return refusal.of("store.replaced", file=str(path))
        return None


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
