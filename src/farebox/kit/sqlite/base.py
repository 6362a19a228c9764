"""Django's SQLite backend on pysqlite3, whose wheel carries a current SQLite.

Debian's SQLite 3.40 is in the range whose WAL reset can corrupt a file that several connections write (decision 3),
so the standard module is replaced while Django's backend is imported. One lock per process spans BEGIN IMMEDIATE to
COMMIT: without it a committer running back to back starves every other writer (promises 1.7).
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import pysqlite3
import pysqlite3.dbapi2

_standard = {name: sys.modules.get(name) for name in ("sqlite3", "sqlite3.dbapi2")}
sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
try:
    from django.db.backends.sqlite3 import base as django_base
finally:
    for _name, _module in _standard.items():
        if _module is None:
            del sys.modules[_name]
        else:
            sys.modules[_name] = _module

if vars(django_base)["Database"] is not pysqlite3.dbapi2:
    raise ImportError("Django's SQLite backend was imported before farebox.kit.sqlite")

WRITE_LOCK = threading.Lock()


class DatabaseWrapper(django_base.DatabaseWrapper):
    """A connection that holds the process's write lock from BEGIN IMMEDIATE to COMMIT, ROLLBACK or close."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._holds_lock = False

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection in WAL mode that syncs each commit to the disk."""
        connection = super().get_new_connection(conn_params)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16000")
        return connection

    def _start_transaction_under_autocommit(self) -> None:
        if not self._holds_lock:
            WRITE_LOCK.acquire()
            self._holds_lock = True
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # the stubs leave it out
        except BaseException:
            self._let_go()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]  # the stubs leave it out
        self._let_go()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]  # the stubs leave it out
        self._let_go()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]  # the stubs leave it out
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._holds_lock:
            self._holds_lock = False
            WRITE_LOCK.release()
