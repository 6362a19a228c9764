"""Getting Django ready late: `farebox --help` and wrong usage never pay for it."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO, cast

from farebox.kit import options
from farebox.kit.errors import CommandError

from .logwriter import LogWriter

if TYPE_CHECKING:
    from django.db.migrations.loader import MigrationLoader

SETTINGS = "farebox.site.settings"
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def django() -> None:
    """Set Django up for this process; twice is once. CommandError where an option is wrong."""
    from django.apps import apps
    from django.conf import settings

    if not settings.configured:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    if not apps.ready:
        import structlog

        if not structlog.is_configured():  # a command's standard output is its answer
            structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
        import django as package

        package.setup()


def logs() -> None:
    """Write log lines as JSON to standard error, without secrets, from the option `log_level` upwards."""
    import structlog

    name = options.current().log_level
    if name not in _LEVELS:
        raise CommandError(f"log_level must be one of {', '.join(_LEVELS)}, not {name!r}.")
    level = _LEVELS[name]
    writer = LogWriter(sys.stderr)  # a call never waits for a log line (promises: F38)
    handler = logging.StreamHandler(writer)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            _redacted,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", writer)),
        cache_logger_on_first_use=False,
    )


class _Lines(logging.Formatter):
    """Lines of the standard library's loggers (asyncio, Django) in the form of ours, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; never raises, whatever the message's arguments are."""
        from farebox.kit import secrets

        try:
            event = record.getMessage()
        except Exception:
            event = str(record.msg)
        line = {
            "event": event,
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return secrets.redact(json.dumps(line, default=str))


def store() -> None:
    """Set Django up and check that the store can be worked with; CommandError with the next step where it can't."""
    chosen = options.current()
    if chosen.on_sqlite and not chosen.sqlite_file.exists():
        raise CommandError(
            f"There is no store at {chosen.sqlite_file} yet. Run `farebox migrate` first, or name another data "
            "folder with FAREBOX_DATA_DIR."
        )
    django()
    foreign()
    from farebox.kit import secrets

    secrets.peppers(chosen)
    secrets.master_keys(chosen)
    schema()
    keys()


def keys() -> None:
    """CommandError if a key in the key files is another than the one of its number that this store was used with.

    With another pepper every customer's key would be refused as if it were wrong.
    """
    from django.db import Error

    from farebox.kit import db, settings

    from . import keymarks

    try:
        noted = db.read(settings.get, settings.KEY_MARKS)
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None
    if noted is None:
        return  # a store of an earlier version: `farebox migrate` notes them
    for kind, n in keymarks.others(noted, keymarks.fingerprints(options.current())):
        raise CommandError(
            f"Key {n} of the {kind} file is not the one that this store's keys and secrets were made with. Copy both "
            "files from another node, or restore them from their backup. If they are lost: farebox migrate "
            "--new-keys."
        )


def modes() -> list[str]:
    """What of the store others on this machine may read, one sentence each; for people, nothing is changed."""
    chosen = options.current()
    found = []
    for path, best in (
        (chosen.data, 0o700),
        (chosen.pepper, 0o400),
        (chosen.master_key, 0o400),
        *([(chosen.sqlite_file, 0o600)] if chosen.on_sqlite else []),
    ):
        try:
            mode = path.stat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            found.append(f"{path} is open to others on this machine (mode {mode:04o}): chmod {best:o} {path}")
    return found


def warn_of_modes() -> None:
    """One line on standard error where others may read of the store."""
    if found := modes():
        print(f"farebox: warning: {'; '.join(found)}.", file=sys.stderr)


def foreign() -> None:
    """CommandError if the store belongs to another program; an SQLite file is not written to for that (promises: F42).

    Django must be set up. A store that is not there yet, or is empty, is nobody's.
    """
    import pysqlite3
    from django.db import Error, connection

    from farebox.kit import disk, shape

    chosen = options.current()
    wanted = shape.meant(connection.vendor)
    try:
        if chosen.on_sqlite:
            found = shape.tables_of_file(chosen.sqlite_file) if chosen.sqlite_file.exists() else set()
        else:
            found = set(shape.real(connection).columns)
    except pysqlite3.Error as fault:
        if "malformed" in str(fault):
            raise CommandError(disk.damaged(chosen.sqlite_file, [str(fault)])) from None
        raise CommandError(
            f"{chosen.sqlite_file} can't be opened as a store: {fault}. Name another data folder with FAREBOX_DATA_DIR."
        ) from None
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None
    if tables := shape.strange(found, wanted):
        raise CommandError(
            f"This database belongs to another program: it has {shape.shown(tables)}, and no table of Farebox. "
            "Nothing was changed. Give Farebox a database, or a data folder, of its own."
        )


def schema() -> None:
    """CommandError unless the store's schema is exactly this program's (promises: F42).

    Newer, older, migrated halfway, or changed by hand: each has its sentence. Looks at names, which takes milliseconds.
    """
    from django.db import Error, connection

    from farebox.kit import shape

    missing, ours = history()
    if missing:
        word = "has no tables" if not ours else "is of an older version"
        raise CommandError(f"The store {word} ({missing} migrations to do). Run `farebox migrate` first.")
    try:
        found = shape.real(connection)
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None
    if wrong := shape.differences(found, shape.meant(connection.vendor)):
        raise CommandError(
            f"The store is not as this version makes it: {shape.shown(wrong)}. Somebody changed it, or a migration "
            "broke off. Take no money with it: restore the last backup, or put back what is missing."
        )


def history() -> tuple[int, int]:
    """How many migrations the store lacks, and how many it has; CommandError if it is newer or was migrated halfway."""
    from django.db import Error, connection
    from django.db.migrations.exceptions import InconsistentMigrationHistory

    try:
        loader = _loader()(connection)
        loader.check_consistent_history(connection)
    except InconsistentMigrationHistory as fault:
        raise CommandError(
            f"The store was migrated halfway: {fault} Restore the backup that was made before, and migrate again."
        ) from None
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None
    applied = set(loader.applied_migrations)
    ours = {key for key in applied if key[0] in loader.migrated_apps}
    if newer := sorted(ours - set(loader.graph.nodes)):
        raise CommandError(
            f"The store is of a newer version than this program: it knows {newer[0][0]} {newer[0][1]}. "
            "Run the newer Farebox."
        )
    return len(set(loader.graph.nodes) - applied), len(ours)


@functools.cache
def _loader() -> type[MigrationLoader]:
    """Django's loader of migrations, with this program's files as they were read once in this process."""
    from django.db.migrations.loader import MigrationLoader

    from farebox.kit import shape

    on_disk = shape.migrations()

    class Loader(MigrationLoader):
        def load_disk(self) -> None:
            self.disk_migrations = on_disk.disk_migrations.copy()
            self.unmigrated_apps, self.migrated_apps = on_disk.unmigrated_apps, on_disk.migrated_apps

    return Loader


def _redacted(_logger: object, _name: str, line: object) -> str:
    from farebox.kit import secrets

    return secrets.redact(str(line))
