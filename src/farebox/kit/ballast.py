"""Room on the disk that is kept for a bad day: a file that is given up when the disk is full (promises: F08)."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "ballast"
_BLOCK_BYTES = 512  # the unit of st_blocks, on every file system


class Ballast:
    """A file of `size_bytes` in `folder`, whose blocks are really taken; `there` says whether it is in place."""

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        self.path = folder / NAME
        self.size_bytes = size_bytes
        self.there = False

    def make(self) -> bool:
        """Put the file in place, unless it is; whether it is now. One of another size is made again."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            found = os.fstat(handle)
            if found.st_size != self.size_bytes or found.st_blocks * _BLOCK_BYTES < self.size_bytes:
                os.ftruncate(handle, 0)
                os.posix_fallocate(handle, 0, self.size_bytes)
            self.there = True
        except OSError:
            self.free()
        finally:
            os.close(handle)
        return self.there

    def free(self) -> bool:
        """Give the room back; whether there was any."""
        self.there = False
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def room(self) -> int:
        """Bytes that are free on its disk for others than root; 0 if nobody can say, or write there."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return 0 if found.f_flag & os.ST_RDONLY else found.f_bavail * found.f_frsize
