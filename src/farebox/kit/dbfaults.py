"""What an error of the database means: gone, busy, or a mistake of ours."""

from __future__ import annotations

import contextlib
import sys

import pysqlite3.dbapi2 as sqlite
from django.db import Error, InterfaceError, OperationalError, connection

# Ends of a connection that the driver counts among its internal errors: a transaction that idled for too long; a server
# that may only read, since a fail-over: a new connection may lead to the one that writes.
_LOST_STATES = frozenset({"25P03", "25P04", "25006"})
_IDLE = 0  # PQTRANS_IDLE of libpq


def errors() -> tuple[type[Exception], ...]:
    """All that says that a database failed: Django's errors, and those of the drivers that this process has loaded."""
    return (Error, sqlite.Error, *_of_psycopg("Error"))


class Raced(OperationalError):
    """Another transaction has written meanwhile what this one was about to: run again, it finds that."""


def on_sqlite() -> bool:
    """Whether this process's store is SQLite."""
    return bool(connection.vendor == "sqlite")


def in_transaction() -> bool:
    """Whether this thread's connection has a transaction open, whoever began it."""
    if connection.in_atomic_block:
        return True
    if on_sqlite():
        return bool(connection.connection.in_transaction)
    return bool(connection.connection.info.transaction_status != _IDLE)


def words(fault: BaseException) -> str:
    """The first line of what the database says of itself."""
    return str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__


def cause(fault: BaseException) -> BaseException:
    """The driver's own error, where Django wraps it."""
    return fault.__cause__ if isinstance(fault, Error) and fault.__cause__ is not None else fault


def busy(fault: BaseException) -> bool:
    """Whether others were in the way: a deadlock, a serialization failure, a locked database (promises: F07)."""
    found = cause(fault)
    if isinstance(found, Raced):
        return True
    if isinstance(found, _of_psycopg("Error")):
        return _state(found) in {"40001", "40P01"}
    return isinstance(found, sqlite.OperationalError) and "locked" in str(found)


def broken_rule(fault: BaseException) -> bool:
    """Whether a constraint or trigger refused, or the SQL is wrong: a mistake of ours, not the database's."""
    found = cause(fault)
    if isinstance(found, _of_psycopg("Error")):
        return not _is_lost(found)
    return isinstance(
        found, (sqlite.IntegrityError, sqlite.ProgrammingError, sqlite.InterfaceError, sqlite.DataError)
    ) or (isinstance(found, sqlite.OperationalError) and ("no such" in str(found) or "syntax" in str(found)))


def drop_lost(fault: BaseException) -> bool:
    """Close this thread's connection if `fault` says that it is gone; whether it was."""
    gone = (InterfaceError, sqlite.InterfaceError, *_of_psycopg("InterfaceError", "OperationalError"))
    lost = not busy(fault) and (isinstance(fault, gone) or _is_lost(cause(fault)))
    if lost and not on_sqlite():
        with contextlib.suppress(*errors()):
            connection.close()
        if connection.connection is not None:
            connection.connection = None
    return lost


def _is_lost(found: BaseException) -> bool:
    return isinstance(found, _of_psycopg("OperationalError", "InterfaceError")) or (
        isinstance(found, _of_psycopg("Error")) and _state(found) in _LOST_STATES
    )


def _of_psycopg(*names: str) -> tuple[type[Exception], ...]:
    """Its errors of these names; none where nobody has loaded it, for that takes a command a tenth of a second."""
    driver = sys.modules.get("psycopg")
    return () if driver is None else tuple(getattr(driver, name) for name in names)


def _state(found: BaseException) -> str | None:
    return getattr(found, "sqlstate", None)
