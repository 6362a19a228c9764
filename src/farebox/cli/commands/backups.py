"""`farebox backup` and `restore`: the store in one file, and back, with the proof that it is the same."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit import money, options

from .base import Command, emit

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    "backup",
    cls=Command,
    example="farebox backup --make-key /etc/farebox/backup.key\n"
    "farebox backup /backups/shop-2026-11-24.backup --key-file /etc/farebox/backup.key",
)
@click.argument("target", type=_FILE, required=False)
@click.option("--key-file", type=_FILE, help="Encrypt with this key: 32 random bytes, or what --make-key made.")
@click.option("--make-key", type=_FILE, help="Make a new key file and do nothing else.")
@click.option("--pg-dump", type=_FILE, help="The program pg_dump, if it is not on PATH (PostgreSQL).")
@click.option("--scratch", type=_FOLDER, help="Folder for the unencrypted copy meanwhile; by default the data folder.")
def backup(
    target: Path | None, key_file: Path | None, make_key: Path | None, pg_dump: Path | None, scratch: Path | None
) -> None:
    """Back up the store to a new file TARGET, also while servers run.

    One snapshot with its trial balance, checked before it counts. The key files are not in it: back them up separately
    (docs/operate/back-up.md). Exit 1 also if the backup was made, but the ledger's proof of it finds something.
    """
    from farebox.care import backup as room
    from farebox.care import sealed

    if (target is None) == (make_key is None):
        raise click.UsageError("Name a TARGET to back up to, or make a key with --make-key FILE.")
    if make_key is not None:
        name = sealed.make_key(make_key)
        emit(
            {"file": str(make_key), "key": name},
            lambda: print(f"{make_key} holds the key {name}. Keep a copy where the backups are not."),
        )
    elif target is not None:
        key = None if key_file is None else sealed.read_key(key_file)
        ready.store()
        with _progress() as say:
            made = room.make(target, key=key, where=scratch, pg_dump=pg_dump, say=say)
        data = {"file": str(made.file), "bytes": made.size, "key": made.key, "manifest": made.manifest}
        emit(data, lambda: _show_backup(made))
        if made.manifest["findings"]:
            click.get_current_context().exit(1)


@click.command(
    "restore",
    cls=Command,
    example="farebox restore shop.backup --key-file backup.key --check\n"
    "farebox restore shop.backup --key-file backup.key --into new-shop --keys /safe/keys",
)
@click.argument("file", type=_FILE)
@click.option("--into", type=_FOLDER, help="The data folder to restore an SQLite store into; it must have none.")
@click.option("--database", metavar="ADDRESS", help="The empty PostgreSQL database to restore into.")
@click.option("--check", is_flag=True, help="Restore into a scratch place, prove, and remove it: for practice.")
@click.option("--key-file", type=_FILE, help="The key that the backup was encrypted with.")
@click.option("--keys", type=_FOLDER, help="Folder of the store's key files pepper and master.")
@click.option("--pg-restore", type=_FILE, help="The program pg_restore, if it is not on PATH (PostgreSQL).")
@click.option(
    "--scratch",
    type=_FOLDER,
    help="Folder for scratch files, except with --into; by default the folder for temporary files.",
)
def restore(
    file: Path,
    into: Path | None,
    database: str | None,
    check: bool,
    key_file: Path | None,
    keys: Path | None,
    pg_restore: Path | None,
    scratch: Path | None,
) -> None:
    """Restore the store from a backup FILE, and prove that it is the one that was backed up.

    Compares schema, trial balance, house accounts and every table with what the backup says, then proves every
    table as of that time. Exit 1 if anything differs; what was restored stays. With --check and a PostgreSQL backup,
    --database names a server to make a scratch database on.
    """
    from farebox.care import restore as room
    from farebox.care import sealed

    if (into is not None) + (database is not None and not check) + check != 1:
        raise click.UsageError("Say where to restore to: --into FOLDER, --database ADDRESS, or --check.")
    key = None if key_file is None else sealed.read_key(key_file)
    with _progress() as say:
        if into is not None:
            done = room.to_folder(file, into, key=key, keys=keys, say=say)
        elif check:
            done = room.drill(
                file, key=key, keys=keys, address=database or "", pg_restore=pg_restore, where=scratch, say=say
            )
        else:
            done = room.to_database(
                file, database or "", key=key, keys=keys, pg_restore=pg_restore, where=scratch, say=say
            )
    data = {
        "clean": done.clean,
        "where": done.where,
        "keys": "not checked" if done.keys is None else "fit",
        "manifest": done.said,
        "compared": [
            {"what": row.what, "recorded": row.recorded, "found": row.found, "equal": row.equal}
            for row in done.compared
        ],
        "findings": done.proof.findings,
        "trial_balance_micro": done.proof.trial_balance,
    }
    emit(data, lambda: _show_restored(file, done, into))
    if not done.clean:
        click.get_current_context().exit(1)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    if sys.stderr.isatty():
        with show.console(error=True).status("") as status:
            yield status.update
    else:
        yield lambda _sentence: None


def _show_backup(made: Any) -> None:
    said, chosen = made.manifest, options.current()
    sealed = f"encrypted with the key {made.key}" if made.key else "not encrypted"
    show.facts(
        [
            ("backup", f"{made.file}, {made.size:,} bytes, {sealed}"),
            ("snapshot of", f"{when.shown(said['at_us'])} UTC"),
            ("calls, postings", f"{said['rows']['calls_call']:,}, {said['postings']:,}"),
            *((f"trial balance {of}", money.exact(moved)) for of, moved in said["trial_balance_micro"].items()),
        ]
    )
    print(
        f"\nThe key files are not in it. Keep copies of {chosen.pepper} and {chosen.master_key} apart from it:\n"
        "without the pepper every customer's key is void, without the master key every upstream's secret is lost."
    )
    if made.key:
        print("Without the key of the backup nobody can read it: keep that apart as well.")
    for finding in said["findings"]:
        print(f"ledger: {finding}")
    if said["findings"]:
        print("The backup is whole, but its books are not clean. Run `farebox prove`.")


def _show_restored(file: Path, done: Any, into: Path | None) -> None:
    quiet = [row for row in done.compared if row.equal and row.what.startswith("rows of ")]
    rows = [(row.what, row.recorded, row.found, row.equal) for row in done.compared if row not in quiet]
    total = sum(int(row.recorded.replace(",", "")) for row in quiet)
    rows.append((f"rows of {len(quiet)} tables", f"{total:,}", f"{total:,}", True))
    show.table(("what", "recorded>", "restored>", "the same"), rows, empty="")
    print()
    show.table(
        ("room", "proof"),
        [(room, "clean" if not wrong else f"{len(wrong)} findings") for room, wrong in done.proof.findings.items()],
        empty="",
    )
    for room, wrong in done.proof.findings.items():
        for sentence in wrong:
            print(f"{room}: {sentence}")
    print()
    print(f"Key files: {'fit the backup.' if done.keys is not None else 'not given, so not checked.'}")
    if done.keys is None and into is not None:
        print(f"Put pepper and master into {into / 'keys'} before the first start.")
    at = f"the store of {when.shown(done.said['at_us'])} UTC"
    place = f"restored to {done.where}" if done.where else "restored for a check, proved, and removed"
    if done.clean:
        print(f"{file} is {at}: {place}; all is as recorded.")
    else:
        print(f"{file} is not as recorded: {place}, but it differs as shown above. Take no money with it.")


COMMANDS = (backup, restore)
