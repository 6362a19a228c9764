"""An SQLite store: a version that does not damage it, settings that keep what was committed, a file that is whole."""

from __future__ import annotations

from collections.abc import Iterator

import pysqlite3

from farebox.kit import db, disk

from .finding import Check, Finding, Look, ok, wrong

# Versions whose reset of the WAL can damage a file that several connections write (sqlite.org/wal.html).
_DAMAGING = ((3, 7, 0), (3, 51, 2))
_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


def version(look: Look) -> Iterator[Finding]:
    """The version of the library that this program carries."""
    del look
    low, high = _DAMAGING
    number = tuple(pysqlite3.sqlite_version_info)
    seen = ".".join(map(str, number))
    if low <= number <= high:
        yield wrong("SQLite", f"{seen}, which can damage a store in use", "Install pysqlite3 0.6.1 or newer.")
    else:
        yield ok("SQLite", seen)


def durability(look: Look) -> Iterator[Finding]:
    """WAL and a sync for each commit, as our own connections set them."""
    del look
    mode = str((db.read(lambda tx: tx.one("PRAGMA journal_mode")) or ("?",))[0])
    sync = int((db.read(lambda tx: tx.one("PRAGMA synchronous")) or (0,))[0])
    seen = f"journal_mode {mode.upper()}, synchronous {_SYNCHRONOUS.get(sync, sync)}"
    if mode != "wal" or sync < 2:
        todo = "Put the store on a local disk that knows WAL; a commit must be on the disk before a customer's answer."
        yield wrong("durability", seen, todo)
    else:
        yield ok("durability", seen)


def whole(look: Look) -> Iterator[Finding]:
    """quick_check of the whole file (promises: F41)."""
    found = disk.FileCheck(look.chosen.sqlite_file).run()
    if found:
        yield wrong("file", "; ".join(found)[:200], "Stop the server, keep the file, restore the last backup.")
    else:
        yield ok("file", f"{look.chosen.sqlite_file.stat().st_size:,} bytes, quick_check found nothing")


CHECKS: tuple[tuple[str, Check], ...] = (("SQLite", version), ("durability", durability), ("file", whole))
