"""A backup of the store, taken while it is in use: one snapshot, its trial balance, in one file that can be encrypted.

The form of the file is that of `sealed`, what it says of the store that of `manifest`. The key files are not in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from farebox.kit import clock, options
from farebox.kit.errors import CommandError

from . import elsewhere, keymarks, manifest, pgtools, proof, scratch, sealed

Say = Callable[[str], None]
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made: its file, how many bytes it has, the name of its key or empty, what it says."""

    file: Path
    size: int
    key: str
    manifest: dict[str, Any]


def make(
    target: Path,
    *,
    key: bytes | None = None,
    where: Path | None = None,
    pg_dump: Path | None = None,
    say: Say = lambda _sentence: None,
) -> Made:
    """Back up the store of this process to `target`, a new file of mode 0600, encrypted where there is a `key`.

    The copy is open in a folder in `where` (else in the data folder) until it is in the file. `say` hears how far it
    is. CommandError if `target` exists or can't be written, if the store can't be copied, or if the copy is not whole.
    """
    chosen = options.current()
    if target.exists():
        raise CommandError(f"{target} exists already. Name a new file.")
    marks = keymarks.fingerprints(chosen)
    with scratch.folder(chosen.data if where is None else where) as folder, scratch.folder(target.parent) as beside:
        if chosen.on_sqlite:
            payload, said = _sqlite(chosen.sqlite_file, folder, say)
        else:
            payload, said = _postgresql(chosen.database, folder, pgtools.find("pg_dump", pg_dump), say)
        said["keys"] = marks
        part = beside / "part"
        try:
            size = _pack(part, said, payload, key, say)
            _put(part, target)
        except OSError as fault:
            raise CommandError(f"{target} can't be written: {fault.strerror}.") from None
    return Made(target, size, "" if key is None else sealed.key_name(key), said)


def _sqlite(source: Path, folder: Path, say: Say) -> tuple[Path, dict[str, Any]]:
    """A copy by VACUUM INTO, one read transaction that no writer waits for; and its manifest, read from the copy."""
    import pysqlite3
    from django.db import Error

    from farebox.kit import db

    copy = folder / "farebox.db"
    scratch.room_for(folder, _bytes(source), what="The copy of the store")
    at_us = clock.now_us()
    try:
        opened = pysqlite3.connect(
            f"file:{quote(str(source.absolute()))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            _vacuum(opened, copy, say)
        finally:
            opened.close()
        say("Reading the trial balance of the copy …")
        with elsewhere.store(copy):
            _leave_out()
            with db.reading() as tx:
                said = manifest.take(tx, at_us=at_us, grace_us=proof.hold_grace_us())
        say("Checking the copy …")
        verdict = check(copy)
    except (pysqlite3.Error, Error) as fault:
        raise CommandError(f"The store can't be copied: {fault}.") from None
    if verdict != "ok":
        raise CommandError(f"The copy is not whole: {verdict[:200]}. The store itself may be damaged.")
    return copy, said


def _vacuum(opened: Any, copy: Path, say: Say) -> None:
    """VACUUM INTO in a thread, so that Ctrl-C stops it and its progress is seen."""
    faults: list[BaseException] = []

    def work() -> None:
        try:
            opened.execute("VACUUM INTO ?", (str(copy),))
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=work, name="backup-copy")
    thread.start()
    try:
        while thread.is_alive():
            say(f"Copied {_bytes(copy):,} bytes …")
            thread.join(_LOOK_S)
    except BaseException:
        opened.interrupt()
        thread.join()
        raise
    if faults:
        raise faults[0]


def _leave_out() -> None:
    """Take the rows that no backup keeps out of the copy in force, and their bytes out of its free pages."""
    from django.core.cache import cache
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete = ON")
    cache.clear()


def check(copy: Path) -> str:
    """What SQLite's integrity check says of a file that nobody else has open: `ok` if it is whole.

    The file is left without a journal beside it.
    """
    import pysqlite3

    opened = pysqlite3.connect(str(copy))
    try:
        opened.execute("PRAGMA journal_mode = DELETE")
        return str(opened.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        opened.close()


def _postgresql(address: str, folder: Path, program: str, say: Say) -> tuple[Path, dict[str, Any]]:
    """A dump by pg_dump in the very snapshot in which the manifest is read."""
    from django.db import connection

    from farebox.kit import db, dbfaults

    dump = folder / "farebox.dump"
    try:
        with db.reading() as tx:
            server = connection.connection.info.server_version // 10_000
            if (ours := pgtools.major(program)) < server:
                raise pgtools.NoProgram(
                    f"{program} is of version {ours} and can't dump a server of version {server}. Name a newer one "
                    "with --pg-dump PATH."
                )
            # The snapshot lives as long as this transaction, which waits for the dump, however long that takes.
            tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            say("Reading the trial balance …")
            exported = tx.one("SELECT pg_export_snapshot()")
            said = manifest.take(tx, at_us=clock.now_us(), grace_us=proof.hold_grace_us())
            pgtools.run(
                [
                    program,
                    "--format=custom",
                    f"--snapshot={exported[0] if exported else ''}",
                    f"--file={dump}",
                    *(f"--exclude-table-data={table}" for table in sorted(manifest.NOT_KEPT)),
                ],
                address=address,
                log=folder / "log",
                tell=lambda: say(f"Dumped {_bytes(dump):,} bytes …"),
                failed="The database can't be dumped",
            )
    except dbfaults.errors() as fault:
        raise CommandError(f"The database can't be read: {dbfaults.words(fault).removesuffix('.')}.") from None
    return dump, said


def _pack(part: Path, said: dict[str, Any], payload: Path, key: bytes | None, say: Say) -> int:
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        sealed.write(
            file,
            manifest=said,
            payload=payload,
            key=key,
            tell=lambda done, all_: say(f"Wrote {done:,} of {all_:,} bytes …"),
        )
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _put(part: Path, target: Path) -> None:
    """Give the finished file its name, and never take that of another."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise CommandError(f"{target} exists already. Name a new file.") from None
    except OSError:
        # A file system without hard links.
        if target.exists():
            raise CommandError(f"{target} exists already. Name a new file.") from None
        part.rename(target)
    scratch.sync_folder(target.absolute().parent)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
