"""A copy of an SQLite store, taken while it is in use, by SQLite's own online backup."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from farebox.kit import options
from farebox.kit.errors import CommandError

PAGES_AT_ONCE = 1000


def copy(target: Path, *, tell: Callable[[int, int], None] = lambda _done, _all: None) -> int:
    """Copy the store to `target`, a new file of mode 0600, check it, and give its size in bytes.

    `tell(done, all)` hears how far it is, in pages. CommandError if the file exists, can't be written or is not whole.
    """
    chosen = options.current()
    if not chosen.on_sqlite:
        raise CommandError("The store is on PostgreSQL: back it up with pg_dump, or with base backups and its WAL.")
    import pysqlite3

    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise CommandError(f"{target} exists already. Name a new file.") from None
    except OSError as fault:
        raise CommandError(f"{target} can't be made: {fault.strerror}.") from None
    try:
        source = pysqlite3.connect(f"file:{chosen.sqlite_file}?mode=ro", uri=True)
        made = pysqlite3.connect(str(target))
        try:
            source.backup(
                made, pages=PAGES_AT_ONCE, progress=lambda _status, left, total: tell(total - left, total), sleep=0.01
            )
            made.execute("PRAGMA journal_mode = DELETE")
            verdict = str(made.execute("PRAGMA integrity_check").fetchone()[0])
        finally:
            made.close()
            source.close()
    except pysqlite3.Error as fault:
        target.unlink()
        raise CommandError(f"The store can't be copied: {fault}.") from None
    if verdict != "ok":
        raise CommandError(f"The copy {target} is not whole: {verdict[:200]}. The store itself may be damaged.")
    return target.stat().st_size
