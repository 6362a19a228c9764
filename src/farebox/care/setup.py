"""Making a store ready: folders, key files, tables, and the facts that every shop begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farebox.kit import disk, options, secrets, whoami
from farebox.kit.errors import CommandError
from farebox.kit.lock import FolderLock

from . import keymarks, ready

if TYPE_CHECKING:
    from farebox.kit.db import Tx

FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Migrated:
    """What `migrate` did: migrations applied now, the installation's id, and whether `official-usd` came now."""

    applied: int
    installation: str
    official: bool


def migrate(*, despite_drift: bool = False, new_keys: bool = False) -> Migrated:
    """Make or update the store of this process's options; twice is once.

    CommandError while a server works on an SQLite store, where the database can't be reached, for a store of a newer
    version or one migrated halfway, and, unless `despite_drift`, before an update of books in which a balance has
    drifted (promises 2). Key files that are missing, or not those of this store, are refused too, unless `new_keys`.
    """
    chosen = options.current()
    try:
        chosen.data.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as fault:
        raise CommandError(f"The data folder {chosen.data} can't be made: {fault.strerror}.") from None
    if not chosen.on_sqlite:
        done = _migrated(despite_drift, new_keys)
    else:
        disk.refuse_network(chosen.data)
        with FolderLock(chosen.data, wait_s=2):
            done = _migrated(despite_drift, new_keys)
    ready.warn_of_modes()
    return done


def _migrated(despite_drift: bool, new_keys: bool) -> Migrated:
    chosen = options.current()
    if not new_keys:
        _refuse_new_keys()
    secrets.ensure(chosen)
    ready.django()
    ready.foreign()
    from django.core.management import call_command
    from django.db import Error, connection
    from django.db.migrations.recorder import MigrationRecorder

    from farebox.kit import db

    try:
        if not db.read(db.in_byte_order):
            raise CommandError(
                "This database sorts texts in the order of a language, and ids would not be in the order of time. Make "
                "it with: CREATE DATABASE farebox TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'."
            )
        ready.history()
        if not new_keys and _has_installation():
            ready.keys()
        if not despite_drift:
            _refuse_drift()
        before = len(MigrationRecorder(connection).applied_migrations())
        call_command("migrate", verbosity=0, interactive=False)
        applied = len(MigrationRecorder(connection).applied_migrations()) - before
        ready.schema()
    except Error as fault:
        raise CommandError(f"The store can't be migrated: {str(fault).splitlines()[0]}") from None
    installation, official = db.write(_first_facts, actor=whoami.actor(), new_keys=new_keys)
    return Migrated(applied, installation, official)


def _refuse_new_keys() -> None:
    """CommandError if a key file is missing and the store is in use: its keys and secrets need the old one."""
    chosen = options.current()
    lost = [str(path) for path in (chosen.pepper, chosen.master_key) if not path.exists()]
    if lost and (chosen.sqlite_file.exists() if chosen.on_sqlite else _has_installation()):
        raise CommandError(
            f"This store is in use, and there is no key file at {' and '.join(lost)}: a new pepper would void every "
            "key, a new master key could open no secret. Copy both files from another node, or restore them from their "
            "backup. If they are lost: farebox migrate --new-keys."
        )


def _has_installation() -> bool:
    ready.django()
    ready.foreign()
    from django.db import Error, connection

    from farebox.kit import db, settings
    from farebox.kit.models import Setting

    try:
        there = Setting._meta.db_table in connection.introspection.table_names()
        return there and db.read(settings.get, "installation_id") is not None
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None


def _refuse_drift() -> None:
    """CommandError if the books are to be changed while a balance in them is not the sum of its postings."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from farebox.ledger import standing

    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    frozen = standing.frozen_before_migration()
    if frozen:
        more = f" and {len(frozen) - 3} more" if len(frozen) > 3 else ""
        raise CommandError(
            f"The balance of {', '.join(frozen[:3])}{more} had drifted, and its spending is frozen. An upgrade could "
            "hide why: fix it first with the version before (farebox doctor says what is wrong, then farebox doctor "
            "--unfreeze ACCOUNT), or upgrade all the same with farebox migrate --despite-drift."
        )


def first_code() -> str:
    """A one-time code for the first administrator, as the only writer of the store; empty once there is an operator."""
    ready.store()
    from farebox.kit import db

    chosen = options.current()
    if db.read(_has_operator):
        return ""
    if not chosen.on_sqlite:
        return db.write(_first_code, actor=whoami.actor())
    with FolderLock(chosen.data, wait_s=2):
        return db.write(_first_code, actor=whoami.actor())


def _has_operator(tx: Tx) -> bool:
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock

    return setup.has_operator(tx, now_us=clock.now_us())


def _first_code(tx: Tx, *, actor: str) -> str:
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock

    return setup.first_code(tx, now_us=clock.now_us(), actor=actor)


def _first_facts(tx: Tx, *, actor: str, new_keys: bool) -> tuple[str, bool]:
    from farebox.accounts import accounts
    from farebox.catalog import official
    from farebox.kit import audit, clock, settings

    installation = settings.ensure_installation(tx)
    noted: keymarks.Marks = settings.get(tx, settings.KEY_MARKS, {})
    marks = keymarks.fingerprints(options.current())
    if not new_keys:  # another node may have a newer one already
        marks = {kind: noted.get(kind, {}) | found for kind, found in marks.items()}
    if noted != marks:
        settings.keep(tx, settings.KEY_MARKS, marks)
    if new_keys and noted and noted != marks:
        audit.record(tx, actor=actor, verb="keys.replaced", object="installation", before=noted, after=marks)
    accounts.ensure_house(tx, now_us=clock.now_us())
    return installation, official.seed_official(tx, actor=actor, now_us=clock.now_us())
