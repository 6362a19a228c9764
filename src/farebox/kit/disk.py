"""The disk under a store: what kind it is, whether it takes writes, and whether an SQLite file on it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from pathlib import Path
from typing import Literal

import pysqlite3.dbapi2 as sqlite

from . import refusal
from .errors import CommandError
from .refusal import Refusal

Trouble = Literal["", "full", "read-only", "server"]

MOUNTS = Path("/proc/self/mountinfo")
# Disks whose locks and shared memory another machine does not see: an SQLite file on them breaks (sqlite.org/faq).
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre"})
NETWORK_FUSE = ("sshfs", "rclone", "s3fs", "gcsfuse", "glusterfs", "davfs", "juicefs", "smbnetfs", "curlftpfs")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SERVER = {"53100", "25006"}  # disk_full, read_only_sql_transaction (PostgreSQL, appendix A)
_FINDINGS_MAX = 5


def trouble(fault: BaseException | None) -> Trouble:
    """Why nothing can be written, if that is what `fault` or one of its causes says; "server" is PostgreSQL's disk."""
    while fault is not None:
        if isinstance(fault, OSError):
            if fault.errno in _FULL:
                return "full"
            if fault.errno == errno.EROFS:
                return "read-only"
        if getattr(fault, "sqlstate", None) in _SERVER:
            return "server"
        if isinstance(fault, sqlite.OperationalError):
            if "is full" in str(fault):
                return "full"
            if "readonly database" in str(fault):
                return "read-only"
        fault = fault.__cause__
    return ""


def file_system(path: Path) -> str:
    """The type of the file system that `path` is on, as the kernel names it (proc(5)); empty where nobody says."""
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    where = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), left.split(" ")[4])
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point lies over the earlier one
            best, kind = point, right.split(" ")[0]
    return kind


def refuse_network(path: Path) -> None:
    """CommandError if an SQLite file in `path` would be on a network disk (promises: F40)."""
    kind = file_system(path)
    if kind in NETWORK or (kind.startswith("fuse.") and kind[5:].startswith(NETWORK_FUSE)):
        raise CommandError("store.network_disk", path=str(path), kind=kind)


class FileCheck:
    """`PRAGMA quick_check` of an SQLite file over a reading connection of its own; `stop()` from any thread ends it.

    It holds one reading snapshot, so it may run beside a server.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite.Connection | None = None
        self._stopped = False
        self._guard = threading.Lock()

    def run(self) -> list[str]:
        """What is wrong with the file, in SQLite's words; empty if it is whole, or if the check was stopped.

        sqlite.Error if it can't be checked, which is no news about the file.
        """
        connection = None
        try:
            connection = sqlite.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            with self._guard:
                self._connection = connection
                if self._stopped:
                    return []
            found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({_FINDINGS_MAX})")]
        except sqlite.Error as fault:
            if self._stopped:
                return []
            if "malformed" in str(fault) or "not a database" in str(fault):
                return [str(fault)]
            raise
        finally:
            with self._guard:
                self._connection = None
            if connection is not None:
                connection.close()
        lines = [line for text in found for line in text.splitlines() if not line.startswith("***")]
        return [] if lines == ["ok"] else lines

    def stop(self) -> None:
        """End the check soon."""
        with self._guard:
            self._stopped = True
            if self._connection is not None:
                with contextlib.suppress(sqlite.Error):
                    self._connection.interrupt()


def damaged(file: Path, found: list[str]) -> Refusal:
    """The refusal to work on a damaged store."""
    return refusal.of("store.damaged", file=str(file), found="; ".join(found)[:200])
