"""Transactions on both databases, and the committer: group commit of whatever waits.

A function that writes takes the transaction first: `fn(tx, …) -> result`. An expected refusal is a `FareboxError`
that it raises before it has written anything; the rest of its group goes on. Any other error rolls the group back,
and its members are tried again one by one. `COMMIT` has three outcomes, done, not done and unknown (money.md 1.4):
after the latter two the member is run again, so a function given to `Store.write` must find its own earlier work by
its business key.

This is the only place that knows SQLite from PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
import pysqlite3.dbapi2 as sqlite
import structlog
from django.db import DatabaseError, Error, InterfaceError, connection, transaction

from . import statements
from .errors import FareboxError, Overloaded, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

log = structlog.get_logger(__name__)

TRIES = 3
_STOP_S = 5
_HANG_S = 5
TRY_AGAIN_S = 0.25  # money.md F07: at most 3 tries with jitter inside 250 ms
_ANY_DATABASE_ERROR = (Error, sqlite.Error, psycopg.Error)
_LOST = (InterfaceError, sqlite.InterfaceError, psycopg.InterfaceError, psycopg.OperationalError)
_jitter = random.Random()  # noqa: S311 - spreads retries; guards nothing


def on_sqlite() -> bool:
    """Whether this process's store is SQLite."""
    return bool(connection.vendor == "sqlite")


class Tx:
    """One open transaction; a thin view of the DB-API cursor under Django's connection of this thread."""

    __slots__ = ("_cursor", "_qmark", "_sums", "again")
    _translated: dict[str, str] = {}

    def __init__(self, *, again: bool = False) -> None:
        self.again = again  # an earlier commit of the same work may have been done: look for it by its business key
        self._cursor = connection.connection.cursor()
        self._qmark = on_sqlite()
        self._sums: dict[str, dict[Row, list[int]]] = {}

    def _sql(self, sql: str) -> str:
        if not self._qmark:
            return sql
        found = self._translated.get(sql)
        if found is None:
            found = self._translated[sql] = sql.replace("%s", "?")
        return found

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it touched."""
        self._cursor.execute(self._sql(sql), params)
        return int(self._cursor.rowcount)

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._cursor.execute(self._sql(sql), params).fetchone()
        return row

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        rows: list[Row] = self._cursor.execute(self._sql(sql), params).fetchall()
        return rows

    def accumulate(self, sql: str, key: Row, sums: Sequence[int]) -> None:
        """Add `sums` under `key`; before the commit `sql` runs once a key with `key + sums`, in the order of keys.

        So a hot total costs one statement a group, and two nodes lock its rows in the same order.
        """
        totals = self._sums.setdefault(sql, {})
        have = totals.get(key)
        if have is None:
            totals[key] = list(sums)
        else:
            for index, value in enumerate(sums):
                have[index] += value

    def flush(self) -> None:
        """Write what was accumulated; the committer calls it before the commit."""
        for sql in sorted(self._sums):
            for key in sorted(self._sums[sql]):
                self.execute(sql, (*key, *self._sums[sql][key]))
        self._sums = {}


@contextlib.contextmanager
def writing(lock_sql: str = "", locks: Sequence[str] = (), *, again: bool = False) -> Iterator[Tx]:
    """One transaction in this thread; on PostgreSQL `lock_sql` first locks the rows named by `locks`, ascending."""
    with transaction.atomic(durable=True):
        tx = Tx(again=again)
        if locks and lock_sql and not on_sqlite():
            tx.execute(lock_sql, (sorted(set(locks)),))
        yield tx
        tx.flush()


@contextlib.contextmanager
def reading() -> Iterator[Tx]:
    """One unchanging view of the whole store (a snapshot), for reading only."""
    connection.ensure_connection()
    tx = Tx()
    if on_sqlite():
        tx.execute("BEGIN DEFERRED")
    else:
        tx.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield tx
    finally:
        if connection.connection is not None:
            tx.execute("ROLLBACK")


def write(fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in one transaction of this thread and commit it.

    Deadlocks and busy databases are tried again; any other database failure is StoreUnavailable, and so is a commit
    whose outcome is unknown: look before you repeat.
    """
    for left in reversed(range(TRIES)):
        try:
            with writing(again=left < TRIES - 1) as tx:
                return fn(tx, *args, **kwargs)
        except _ANY_DATABASE_ERROR as fault:
            _drop_lost(fault)
            if left and _try_again(fault):
                time.sleep(_jitter.uniform(0, TRY_AGAIN_S / TRIES))
                continue
            if _broken_rule(fault):
                raise
            raise StoreUnavailable(f"The store is not available: {_words(fault)}") from fault
    raise AssertionError("unreachable")


def read(fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` for reading in this thread; StoreUnavailable if the database is away."""
    for left in (1, 0):
        try:
            connection.ensure_connection()
            return fn(Tx(), *args, **kwargs)
        except _ANY_DATABASE_ERROR as fault:
            # A connection that died while idle is no news about the database; a new one is.
            if _drop_lost(fault) and left:
                continue
            if _broken_rule(fault):
                raise
            raise StoreUnavailable(f"The store is not available: {_words(fault)}") from fault
    raise AssertionError("unreachable")


def bump(tx: Tx, name: str) -> None:
    """Grow the version `name` (`keys`, `shelf`, `board`), so that every node loads anew within a second."""
    tx.execute(statements.BUMP_VERSION, (name,))


def in_byte_order(tx: Tx) -> bool:
    """Whether the database sorts texts by their bytes, as our ids need: they sort by time only then."""
    row = tx.one(statements.IN_BYTE_ORDER)
    return row is not None and bool(row[0])


def versions(tx: Tx) -> dict[str, int]:
    """All versions by name."""
    return dict(tx.all(statements.READ_VERSIONS))


def _words(fault: BaseException) -> str:
    return str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__


def _cause(fault: BaseException) -> BaseException:
    return fault.__cause__ if isinstance(fault, Error) and fault.__cause__ is not None else fault


def _try_again(fault: BaseException) -> bool:
    cause = _cause(fault)
    if isinstance(cause, psycopg.Error):
        return cause.sqlstate in {"40001", "40P01"}
    return isinstance(cause, sqlite.OperationalError) and "locked" in str(cause)


def _broken_rule(fault: BaseException) -> bool:
    """Whether a constraint or trigger refused, or the SQL is wrong: a mistake of ours, not the database's."""
    cause = _cause(fault)
    if isinstance(cause, psycopg.Error):
        return not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    return isinstance(
        cause, (sqlite.IntegrityError, sqlite.ProgrammingError, sqlite.InterfaceError, sqlite.DataError)
    ) or (isinstance(cause, sqlite.OperationalError) and ("no such" in str(cause) or "syntax" in str(cause)))


def _drop_lost(fault: BaseException) -> bool:
    """Close this thread's connection if `fault` says that it is gone; whether it was."""
    cause = _cause(fault)
    lost = isinstance(fault, _LOST) or isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    if lost and not on_sqlite():
        with contextlib.suppress(*_ANY_DATABASE_ERROR):
            connection.close()
        if connection.connection is not None:
            connection.connection = None
    return lost


class _Member:
    __slots__ = ("abandoned", "args", "error", "fn", "future", "locks", "patient", "result", "since_s", "timer")

    def __init__(self, fn: Any, args: Any, locks: Sequence[str], future: Any, *, patient: bool) -> None:
        self.fn = fn
        self.args = args
        self.locks = locks
        self.future = future
        self.patient = patient
        self.since_s = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None


class Store:
    """The store as async code sees it: one writer thread with group commit, and a few reader threads."""

    def __init__(
        self, *, queue_max: int = 500, wait_s: float = 5.0, group_max: int = 128, readers: int = 2, lock_sql: str = ""
    ) -> None:
        self._queue: SimpleQueue[_Member | None] = SimpleQueue()
        self._queue_max = queue_max
        self._wait_s = wait_s
        self._group_max = group_max
        self._lock_sql = lock_sql
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-read")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix="store-watch")
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._open = True
        self._thread = threading.Thread(target=self._work, name="store-write", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Writes that wait for their commit."""
        return self._waiting

    async def write(
        self,
        fn: Callable[..., T],
        *args: Any,
        locks: Sequence[str] = (),
        patient: bool = False,
        within_s: float | None = None,
    ) -> T:
        """Run `fn(tx, *args)` in the next group; its result once the commit is durable.

        `locks` name the rows that it changes (locked in order by `lock_sql` on PostgreSQL). Raises what `fn` refused
        with, Overloaded when too many wait, StoreUnavailable when the database is away, with a cause if the write may
        have been done all the same. A `patient` write (the end of a hold) is never turned away for waiting, unless it
        says `within_s` by itself.
        """
        if not self._open:
            raise StoreUnavailable("The service is stopping. Please try again.")
        if self._waiting >= self._queue_max and not patient:
            raise Overloaded
        future: asyncio.Future[T] = self._loop.create_future()
        member = _Member(fn, args, locks, future, patient=patient)
        if within_s is None and not patient:
            within_s = self._wait_s + _HANG_S
        if within_s is not None:
            member.timer = self._loop.call_later(within_s, self._give_up, member)
        self._waiting += 1
        self._queue.put(member)
        return await future

    def _give_up(self, member: _Member) -> None:
        """The store hangs: whoever waits is told; a write not begun yet is never begun, one under way may be done."""
        member.timer = None
        if not member.future.done():
            member.abandoned = True
            trouble = StoreUnavailable()
            trouble.__cause__ = TimeoutError("the store did not answer in time")
            member.future.set_exception(trouble)

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(tx, *args)` for reading in a reader thread."""
        return await self._read(self._readers, fn, args)

    async def watch(self, fn: Callable[..., T], *args: Any) -> T:
        """The same in a thread of its own, which no customer's look-up can keep busy: for the poll of versions."""
        return await self._read(self._watcher, fn, args)

    async def _read(self, threads: ThreadPoolExecutor, fn: Callable[..., T], args: Sequence[Any]) -> T:
        try:
            return await self._loop.run_in_executor(threads, lambda: read(fn, *args))
        except StoreUnavailable as trouble:
            # What the database says of itself is for our log, not for whoever called.
            log.warning("store.read", fault=trouble.message)
            raise StoreUnavailable from trouble.__cause__

    async def close(self) -> None:
        """Finish what waits, then stop the threads."""
        if not self._open:
            return
        self._open = False
        self._queue.put(None)
        # A database that hangs must not keep the process: the thread ends with it.
        await self._loop.run_in_executor(None, self._thread.join, _STOP_S)
        for threads in (self._readers, self._watcher):
            await self._close_threads(threads)

    async def _close_threads(self, threads: ThreadPoolExecutor) -> None:
        """Close each thread's own connection, then the threads."""
        many = threads._max_workers
        barrier = threading.Barrier(many)

        def part() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(timeout=_STOP_S)
            connection.close()

        parts = [self._loop.run_in_executor(threads, part) for _ in range(many)]
        _, late = await asyncio.wait(parts, timeout=_STOP_S)
        threads.shutdown(wait=not late, cancel_futures=True)

    def _work(self) -> None:
        queue, group_max = self._queue, self._group_max
        going = True
        while going:
            first = queue.get()
            if first is None:
                break
            batch = [first]
            while len(batch) < group_max:
                try:
                    member = queue.get_nowait()
                except Empty:
                    break
                if member is None:
                    going = False
                    break
                batch.append(member)
            self._serve(batch)
        connection.close()

    def _serve(self, batch: list[_Member]) -> None:
        now_s = time.monotonic()
        live = []
        for member in batch:
            if member.abandoned or (not member.patient and now_s - member.since_s > self._wait_s):
                member.error = StoreUnavailable()
            else:
                live.append(member)
        if live and not self._together(live):
            for member in live:
                self._alone(member)
        self._loop.call_soon_threadsafe(self._deliver, batch)

    def _together(self, members: list[_Member]) -> bool:
        """Run the members in one transaction; False if it has to be done one by one."""
        locks = [row for member in members for row in member.locks]
        try:
            with writing(self._lock_sql, locks) as tx:
                for member in members:
                    try:
                        member.result = member.fn(tx, *member.args)
                    except FareboxError as refusal:
                        # Without its frames: they know the members, and the members know it.
                        member.error = refusal.with_traceback(None)
        except BaseException as fault:
            if len(members) == 1:
                members[0].error = fault
            else:
                log.warning("store.group_again", members=len(members), fault=_words(fault))
            _drop_lost(fault)
            for member in members:
                member.result = None
                member.error = None
            return False
        return True

    def _alone(self, member: _Member) -> None:
        """Run one member in a transaction of its own, a few times if the database wants it so."""
        deadline_s = time.monotonic() + TRY_AGAIN_S
        for left in reversed(range(TRIES)):
            try:
                with writing(self._lock_sql, member.locks, again=True) as tx:
                    member.result = member.fn(tx, *member.args)
            except FareboxError as refusal:
                member.error = refusal.with_traceback(None)
            except _ANY_DATABASE_ERROR as fault:
                _drop_lost(fault)
                if not _broken_rule(fault):
                    if left and (time.monotonic() < deadline_s or _try_again(fault)):
                        time.sleep(_jitter.uniform(0, TRY_AGAIN_S / TRIES))
                        continue
                    member.error = StoreUnavailable()
                    member.error.__cause__ = fault
                else:
                    member.error = fault
            except BaseException as bug:
                member.error = bug
            return

    def _deliver(self, batch: list[_Member]) -> None:
        self._waiting -= len(batch)
        for member in batch:
            future = member.future
            if member.timer is not None:
                member.timer.cancel()
            if future.done():
                continue
            if member.error is not None:
                future.set_exception(member.error)
            else:
                future.set_result(member.result)


__all__ = [
    "DatabaseError",
    "Store",
    "Tx",
    "bump",
    "in_byte_order",
    "on_sqlite",
    "read",
    "reading",
    "versions",
    "write",
    "writing",
]
