"""A store from a backup, and the proof that it is the one that was backed up (promises: I30).

Everything happens in a scratch folder, or in an empty database; an SQLite store gets its name once it is whole. What
was restored stays, also where a fact differs: whoever has no better copy needs it, and is told.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from farebox.kit import options, secrets
from farebox.kit.errors import CommandError

from . import backup, elsewhere, manifest, pgtools, proof, ready, scratch, sealed

Say = Callable[[str], None]
# What may lie in a data folder beside a store that was lost: a new file beside an old journal would be damaged by it.
_NAMES = ("farebox.db", "farebox.db-wal", "farebox.db-shm", "farebox.db-journal")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored and found.

    `said` is the manifest, `where` a folder or an address (empty after a drill), `keys` where the key files are, if
    known.
    """

    said: dict[str, Any]
    where: str
    keys: options.Options | None
    compared: list[manifest.Compared]
    proof: proof.Proof

    @property
    def clean(self) -> bool:
        """Whether the store is the one that was backed up, and every room proves without a finding."""
        return self.proof.clean and all(row.equal for row in self.compared)


def to_folder(
    file: Path, folder: Path, *, key: bytes | None, keys: Path | None, say: Say = lambda _sentence: None
) -> Restored:
    """Restore an SQLite store into a data folder that has none, and prove it; the key files of `keys` are copied there.

    CommandError where the backup or a key file is not fit, and where a store is there already: nothing is left then.
    """
    if found := [name for name in _NAMES if (folder / name).exists()]:
        raise CommandError(f"There is a store in {folder} already ({', '.join(found)}). Name another folder.")
    with sealed.opened(file, key) as opened, _made(folder):
        chosen = _fit(opened, "sqlite", keys or _there(folder))
        with scratch.folder(folder) as inner:
            copy, done = _sqlite(opened, inner, chosen, say, where=str(folder))
            if keys is not None and chosen is not None:
                _copy_keys(chosen, folder / "keys", inner)
            try:
                (folder / _NAMES[0]).hardlink_to(copy)
            except FileExistsError:
                raise CommandError(f"A store appeared in {folder} meanwhile. Name another folder.") from None
            except OSError:
                copy.rename(folder / _NAMES[0])
            scratch.sync_folder(folder)
    return done


def to_database(
    file: Path,
    address: str,
    *,
    key: bytes | None,
    keys: Path | None,
    pg_restore: Path | None = None,
    where: Path | None = None,
    say: Say = lambda _sentence: None,
) -> Restored:
    """Restore into the PostgreSQL database at `address`, which has no tables, in one transaction, and prove it.

    CommandError where the backup, a key file or the database is not fit: nothing is left then.
    """
    with sealed.opened(file, key) as opened:
        chosen = _fit(opened, "postgresql", keys)
        program = pgtools.find("pg_restore", pg_restore)
        with scratch.folder(where or Path(gettempdir())) as inner:
            return _postgresql(opened, inner, address, chosen, program, say, where=secrets.redact(address))


def drill(
    file: Path,
    *,
    key: bytes | None,
    keys: Path | None,
    address: str = "",
    pg_restore: Path | None = None,
    where: Path | None = None,
    say: Say = lambda _sentence: None,
) -> Restored:
    """Restore into a scratch place, prove, and remove it: a folder in `where`, or a database beside that of `address`.

    The scratch database gets a name of its own, so the one that `address` names is not touched.
    """
    with sealed.opened(file, key) as opened, scratch.folder(where or Path(gettempdir())) as inner:
        chosen = _fit(opened, opened.manifest["store"], keys or _own_keys())
        if opened.manifest["store"] == "sqlite":
            return _sqlite(opened, inner, chosen, say, where="")[1]
        if not address:
            raise CommandError(
                f"{file} holds a PostgreSQL store: name a server to try it on with --database postgresql://…"
            )
        program = pgtools.find("pg_restore", pg_restore)
        with pgtools.scratch_database(address) as made:
            return _postgresql(opened, inner, made, chosen, program, say, where="")


def _fit(opened: sealed.Backup, store: str, keys: Path | None) -> options.Options | None:
    """Refuse a backup that can't be restored so, before anything is written; where the key files are, if known."""
    ready.django()
    said = opened.manifest
    if said["store"] != store:
        how = "--into FOLDER" if said["store"] == "sqlite" else "--database postgresql://…, an empty database"
        raise CommandError(f"The backup holds a store of {said['store']}: restore it with {how}.")
    manifest.fits_program(said)
    if keys is None:
        return None
    chosen = options.Options({"pepper_file": str(keys / "pepper"), "master_key_file": str(keys / "master")})
    manifest.fits_keys(said, chosen)
    return chosen


def _sqlite(
    opened: sealed.Backup, inner: Path, chosen: options.Options | None, say: Say, *, where: str
) -> tuple[Path, Restored]:
    import pysqlite3

    copy = inner / _NAMES[0]
    _unpack(opened, copy, say)
    say("Checking the file …")
    try:
        verdict = backup.check(copy)
    except pysqlite3.Error as fault:
        verdict = str(fault)
    if verdict != "ok":
        raise CommandError(f"The store in the backup is damaged: {verdict[:200]}. Take an older backup.")
    done = _proved(copy, opened.manifest, chosen, say, where=where)
    backup.check(copy)
    return copy, done


def _postgresql(
    opened: sealed.Backup,
    inner: Path,
    address: str,
    chosen: options.Options | None,
    program: str,
    say: Say,
    *,
    where: str,
) -> Restored:
    pgtools.refuse_tables(address)
    dump = inner / "farebox.dump"
    _unpack(opened, dump, say)
    say("Restoring the database …")
    pgtools.run(
        [program, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(dump)],
        address=address,
        log=inner / "log",
        failed="The database can't be restored",
    )
    return _proved(address, opened.manifest, chosen, say, where=where)


def _unpack(opened: sealed.Backup, target: Path, say: Say) -> None:
    scratch.room_for(target.parent, opened.manifest["payload_bytes"], what="The restored copy")
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            opened.unpack(file, lambda done, all_: say(f"Unpacked {done:,} of {all_:,} bytes …"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        raise CommandError(f"{target.parent} can't be written: {fault.strerror}.") from None


def _proved(
    place: Path | str, said: dict[str, Any], chosen: options.Options | None, say: Say, *, where: str
) -> Restored:
    """Compare the restored store with the manifest, and prove it as of the time of the backup."""
    from farebox.kit import db

    with elsewhere.store(place):
        ready.schema()
        with db.reading() as tx:
            found = manifest.take(tx, at_us=said["at_us"], grace_us=said["grace_us"])
            rows = manifest.compare(said, found)
            if chosen is not None:
                rows.append(_secrets(tx, chosen))
        proved = proof.prove(
            lambda room: say(f"Proving {room} …"),
            now_us=said["at_us"],
            grace_us=said["grace_us"],
            peppers=[int(n) for n in said["keys"]["pepper"]],
        )
    return Restored(said, where, chosen, rows, proved)


def _secrets(tx: Any, chosen: options.Options) -> manifest.Compared:
    """Whether the master key opens the upstreams' secrets."""
    from farebox.upstreams import board

    broken = board.load(tx, board.unsealer(secrets.master_keys(chosen))).broken
    return manifest.Compared("channels that can't be used", "none", ", ".join(sorted(broken)) or "none")


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder, made with mode 0700 if there is none, and removed again if the work fails."""
    new = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise CommandError(f"The folder {folder} can't be made: {fault.strerror}.") from None
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _there(folder: Path) -> Path | None:
    """The key files that are in a data folder already, if any."""
    keys = folder / "keys"
    return keys if (keys / "pepper").exists() and (keys / "master").exists() else None


def _own_keys() -> Path | None:
    """The folder of this process's own key files, for a drill on the machine of the shop, if both are in one."""
    own = options.current()
    together = own.pepper.parent == own.master_key.parent
    named = (own.pepper.name, own.master_key.name) == ("pepper", "master")
    return own.pepper.parent if together and named and own.pepper.exists() and own.master_key.exists() else None


def _copy_keys(chosen: options.Options, target: Path, inner: Path) -> None:
    """Both key files into `target`, mode 0400, each whole or not at all; CommandError if another is there."""
    try:
        target.mkdir(mode=0o700, exist_ok=True)
        for source, name in ((chosen.pepper, "pepper"), (chosen.master_key, "master")):
            text = source.read_bytes()
            if (target / name).exists() and (target / name).read_bytes() != text:
                raise CommandError(f"There is another {name} file in {target} already. Move it away, then try again.")
            handle = os.open(inner / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            (inner / name).rename(target / name)
        scratch.sync_folder(target)
    except OSError as fault:
        raise CommandError(f"The key files can't be copied to {target}: {fault.strerror}.") from None
