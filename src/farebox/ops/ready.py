"""Getting Django ready late: `farebox --help` and wrong usage never pay for it."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from farebox.kit import options
from farebox.kit.errors import CommandError

SETTINGS = "farebox.site.settings"
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def django() -> None:
    """Set Django up for this process; twice is once. CommandError where an option is wrong."""
    from django.apps import apps
    from django.conf import settings

    if not settings.configured:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    if not apps.ready:
        import django as package

        package.setup()


def logs() -> None:
    """Write log lines as JSON to standard error, without secrets, from the option `log_level` upwards."""
    import structlog

    name = options.current().log_level
    if name not in _LEVELS:
        raise CommandError(f"log_level must be one of {', '.join(_LEVELS)}, not {name!r}.")
    level = _LEVELS[name]
    handler = logging.StreamHandler(sys.stderr)
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
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
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
    from farebox.kit import secrets

    secrets.peppers(chosen)
    secrets.master_keys(chosen)
    schema()


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


def schema() -> None:
    """CommandError unless the store's schema is exactly this program's (money.md F42)."""
    from django.db import Error, connection
    from django.db.migrations.loader import MigrationLoader

    try:
        loader = MigrationLoader(connection)
        applied = set(loader.applied_migrations)
    except Error as fault:
        raise CommandError(f"The store can't be reached: {str(fault).splitlines()[0]}") from None
    ours = {key for key in applied if key[0] in loader.migrated_apps}
    if missing := set(loader.graph.nodes) - applied:
        word = "has no tables" if not ours else "is of an older version"
        raise CommandError(f"The store {word} ({len(missing)} migrations to do). Run `farebox migrate` first.")
    if newer := sorted(ours - set(loader.graph.nodes)):
        raise CommandError(
            f"The store is of a newer version than this program: it knows {newer[0][0]} {newer[0][1]}. "
            "Run the newer Farebox."
        )


def _redacted(_logger: object, _name: str, line: object) -> str:
    from farebox.kit import secrets

    return secrets.redact(str(line))
