"""Another store than the process's own, for a while and only in this thread: a copy, or one that is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from farebox.kit.errors import CommandError


@contextlib.contextmanager
def store(place: Path | str) -> Iterator[None]:
    """Let this thread work on the SQLite file (a Path) or the PostgreSQL database (an address) at `place`.

    `farebox.kit.db` and the ORM then go there; other threads stay where they are. Options are not changed.
    """
    from django.db import connections
    from django.db.utils import load_backend

    databases = connections.configure_settings({"default": _settings(place)})
    other = load_backend(databases["default"]["ENGINE"]).DatabaseWrapper(databases["default"], "default")
    own = connections["default"]
    connections["default"] = other
    try:
        yield
    finally:
        connections["default"] = own
        other.close()


def address(text: str) -> dict[str, str]:
    """The parameters of a PostgreSQL address, by libpq's names; CommandError where it is not one."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if not text.startswith(("postgresql://", "postgres://")):
        raise CommandError("The address of a database looks like postgresql://shop:password@host:port/name.")
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.Error as fault:
        raise CommandError(f"That is no address of a database: {str(fault).strip()}.") from None
    if not found.get("dbname"):
        raise CommandError("The address of the database names no database: end it with /name.")
    return found


def joined(found: dict[str, str]) -> str:
    """The address of such parameters, what `address` took apart."""
    return f"postgresql:///?{urlencode(found, quote_via=quote)}"


def _settings(place: Path | str) -> dict[str, Any]:
    if isinstance(place, Path):
        return {"ENGINE": "farebox.kit.sqlite", "NAME": str(place), "OPTIONS": {"transaction_mode": "IMMEDIATE"}}
    found = address(place)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": found.pop("dbname"), "OPTIONS": found}
