"""Folders for work that may be killed: whoever comes next removes what a dead process left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from farebox.kit.errors import CommandError

_PREFIX = ".farebox-scratch-"


@contextlib.contextmanager
def folder(where: Path) -> Iterator[Path]:
    """A new folder of mode 0700 in `where`, removed at the end; CommandError if it can't be made.

    It is locked while it lives, a lock that the kernel drops with its process; such folders without one go.
    """
    try:
        _sweep(where)
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    except OSError as fault:
        raise CommandError(f"Nothing can be written in {where}: {fault.strerror}.") from None
    handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps there either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def room_for(where: Path, size: int, *, what: str) -> None:
    """CommandError unless `size` bytes fit on the disk of `where` and leave it some room to breathe."""
    spare = 64 * 1024 * 1024
    free = shutil.disk_usage(where).free
    if free < size + spare:
        raise CommandError(
            f"{what} needs {size:,} bytes in {where}, and {free:,} are free there ({spare:,} must stay so). Make room, "
            "or name a folder on another disk with --scratch."
        )


def _sweep(where: Path) -> None:
    for left in where.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
