"""Transactions on both databases, and the store as async code sees it, with group commit (see `commits`).

A function that writes takes the transaction first: `fn(tx, …) -> result`. An expected refusal is a `FareboxError`
that it raises before it has written anything; the rest of its group continues. Any other error rolls the group back,
and its members are tried again one by one. `COMMIT` has three outcomes, done, not done and unknown (promises 1.4):
after the latter two the member is run again, so a function given to `Store.write` must find its own earlier work by
its business key.

This and `dbfaults` are the only places that know SQLite from PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from django.db import DatabaseError, connection, transaction

from . import dbfaults, sql
from .commits import TRIES, TRY_AGAIN_S, Committer, PendingWrite
from .dbfaults import on_sqlite
from .errors import Overloaded, StoreUnavailable
from .failpoints import point
from .threads import Threads

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

log = structlog.get_logger(__name__)

_STOP_S = 2
_HANG_S = 5
# PostgreSQL finds a deadlock within a second; SQLite has waited for its lock for longer than this before it gives up.
_PATIENCE_S = 5
_jitter = random.Random()  # noqa: S311 - spreads retries; guards nothing


class Tx:
    """One open transaction; a thin view of the DB-API cursor under Django's connection of this thread."""

    __slots__ = ("_cursor", "_qmark", "_sums", "again")
    _translated: dict[str, str] = {}

    def __init__(self, *, again: bool = False) -> None:
        self.again = again  # an earlier commit of the same work may have been done: look for it by its business key
        self._cursor = connection.connection.cursor()
        self._qmark = on_sqlite()
        self._sums: dict[str, dict[Row, list[int]]] = {}

    def _sql(self, text: str) -> str:
        if not self._qmark:
            return text
        found = self._translated.get(text)
        if found is None:
            found = self._translated[text] = text.replace("%s", "?")
        return found

    def execute(self, text: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it touched."""
        point("tx.statement")
        self._cursor.execute(self._sql(text), params)
        return int(self._cursor.rowcount)

    def one(self, text: str, params: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        point("tx.statement")
        row: Row | None = self._cursor.execute(self._sql(text), params).fetchone()
        return row

    def all(self, text: str, params: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        point("tx.statement")
        rows: list[Row] = self._cursor.execute(self._sql(text), params).fetchall()
        return rows

    def accumulate(self, text: str, key: Row, sums: Sequence[int]) -> None:
        """Add `sums` under `key`; before the commit `text` runs once a key with `key + sums`, in the order of keys.

        So a hot total costs one statement a group, and two nodes lock its rows in the same order.
        """
        totals = self._sums.setdefault(text, {})
        have = totals.get(key)
        if have is None:
            totals[key] = list(sums)
        else:
            for index, value in enumerate(sums):
                have[index] += value

    def flush(self) -> None:
        """Write what was accumulated; the committer calls it before the commit."""
        for text in sorted(self._sums):
            for key in sorted(self._sums[text]):
                self.execute(text, (*key, *self._sums[text][key]))
        self._sums = {}


@contextlib.contextmanager
def writing(lock_sql: str = "", locks: Sequence[str] = (), *, again: bool = False) -> Iterator[Tx]:
    """One transaction in this thread; on PostgreSQL `lock_sql` first locks the rows named by `locks`, ascending."""
    # Durable: inside another transaction this would be a savepoint, and its end no commit.
    with transaction.atomic(durable=True):
        tx = Tx(again=again)
        if locks and lock_sql and not on_sqlite():
            tx.execute(lock_sql, (sorted(set(locks)),))
        yield tx
        tx.flush()
        point("store.before_commit")
    point("store.after_commit")


@contextlib.contextmanager
def reading() -> Iterator[Tx]:
    """One unchanging view of the whole store (a snapshot), for reading only."""
    connection.ensure_connection()
    # On the ORM's own connection, so that what the ORM reads comes from this snapshot too.
    tx = Tx()
    sqlite = on_sqlite()
    cursor = connection.connection.cursor()
    if sqlite:
        cursor.execute("PRAGMA query_only = ON")  # what is written here would be rolled back without a word
    try:
        # Neither takes a lock that a writer waits for: a proof that reads for minutes holds up no call.
        cursor.execute("BEGIN DEFERRED" if sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield tx
        finally:
            if connection.connection is not None and dbfaults.in_transaction():  # a full disk ends it by itself
                cursor.execute("ROLLBACK")
    finally:
        if sqlite and connection.connection is not None:
            cursor.execute("PRAGMA query_only = OFF")


def write(fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in one transaction of this thread and commit it.

    Deadlocks and busy databases are tried again, but nobody waits twice for a lock that another program keeps; any
    other database failure is StoreUnavailable, and so is a commit whose outcome is unknown: look before you repeat.
    """
    until_s = time.monotonic() + _PATIENCE_S
    for left in reversed(range(TRIES)):
        try:
            # A try that failed may have been committed all the same, if its answer was lost.
            with writing(again=left < TRIES - 1) as tx:
                return fn(tx, *args, **kwargs)
        except dbfaults.errors() as fault:
            dbfaults.drop_lost(fault)
            # Two that met in a deadlock must not meet again: each waits for a random time.
            if left and dbfaults.busy(fault) and time.monotonic() < until_s:
                _pause(TRY_AGAIN_S / TRIES)
                continue
            if dbfaults.broken_rule(fault):
                raise
            raise StoreUnavailable(f"The store is not available: {dbfaults.words(fault)}") from fault
    raise AssertionError("unreachable")


def write_or_join(fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in the transaction that this thread has open, or else in one of its own: for hooks that others call."""
    if connection.in_atomic_block:
        return fn(Tx(), *args, **kwargs)
    return write(fn, *args, **kwargs)


def read(fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` on one snapshot of the store in this thread; StoreUnavailable if the database is away.

    Within a transaction of this thread it sees what that one sees. What `fn` reads by the ORM is of the same snapshot.
    """
    for left in (1, 0):
        try:
            connection.ensure_connection()
            if dbfaults.in_transaction():
                return fn(Tx(), *args, **kwargs)
            with reading() as tx:
                return fn(tx, *args, **kwargs)
        except dbfaults.errors() as fault:
            # A connection that died while idle is no news about the database; a new one is.
            if dbfaults.drop_lost(fault) and left:
                continue
            if dbfaults.broken_rule(fault):
                raise
            raise StoreUnavailable(f"The store is not available: {dbfaults.words(fault)}") from fault
    raise AssertionError("unreachable")


def bump(tx: Tx, name: str) -> None:
    """Grow the version `name` (`keys`, `shelf`, `board`, `allowances`): every node loads again within a second."""
    tx.execute(sql.BUMP_VERSION, (name,))


def time_elsewhere_us(tx: Tx) -> int | None:
    """The time of a database on another machine, in epoch microseconds; one on this machine has its clock: None."""
    if on_sqlite():
        return None
    row = tx.one(
        "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        " WHERE inet_server_addr() IS NOT NULL AND inet_server_addr() <> inet_client_addr()"
    )
    return None if row is None else int(row[0])


def in_byte_order(tx: Tx) -> bool:
    """Whether the database sorts texts by their bytes, as our ids need: they sort by time only then."""
    row = tx.one(sql.IN_BYTE_ORDER)
    return row is not None and bool(row[0])


def versions(tx: Tx) -> dict[str, int]:
    """All versions by name."""
    return dict(tx.all(sql.READ_VERSIONS))


def _pause(most_s: float) -> None:
    time.sleep(_jitter.uniform(0, most_s))


class Store:
    """The store as async code sees it: one writer thread with group commit, and a few reader threads.

    `alone` says that no other process writes this store, which is proven by the lock on its file (SQLite); else
    leases decide who lives.
    """

    def __init__(
        self,
        *,
        queue_max: int = 500,
        wait_s: float = 5.0,
        group_max: int = 128,
        readers: int = 2,
        lock_sql: str = "",
        alone: bool | None = None,
        on_fault: Callable[[BaseException], object] = lambda _fault: None,
    ) -> None:
        self._queue: SimpleQueue[PendingWrite | None] = SimpleQueue()
        self._queue_max = queue_max
        self._wait_s = wait_s
        self._group_max = group_max
        self.alone = on_sqlite() if alone is None else alone
        self._committer = Committer(
            lambda locks: writing(lock_sql, locks),
            pause=_pause,
            monotonic_s=time.monotonic,
            wait_s=wait_s,
            on_fault=on_fault,
        )
        self._readers = Threads(readers, name="store-read")
        self._watcher = Threads(1, name="store-watch")
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
        again: bool = False,
    ) -> T:
        """Run `fn(tx, *args)` in the next group; its result once the commit is durable.

        `locks` name the rows that it changes (locked in order by `lock_sql` on PostgreSQL). Raises what `fn` refused
        with, Overloaded when too many wait, StoreUnavailable when the database is away, with a cause if the write may
        have been done all the same. A `patient` write (the end of a hold) is never turned away for waiting, unless it
        says `within_s` by itself. `again` says that an earlier write of the same work may have been done.
        """
        if not self._open:
            raise StoreUnavailable("The service is stopping. Please try again.")
        # The end of a call is never turned away: its money would stay held, and its customer would not know.
        if self._waiting >= self._queue_max and not patient:
            raise Overloaded
        future: asyncio.Future[T] = self._loop.create_future()
        member = PendingWrite(
            fn, args, locks=locks, patient=patient, again=again, since_s=time.monotonic(), future=future
        )
        if within_s is None and not patient:
            within_s = self._wait_s + _HANG_S
        if within_s is not None:
            member.timer = self._loop.call_later(within_s, self._give_up, member)
        self._waiting += 1
        self._queue.put(member)
        return await future

    def _give_up(self, member: PendingWrite) -> None:
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

    async def _read(self, threads: Threads, fn: Callable[..., T], args: Sequence[Any]) -> T:
        try:
            # Readers that hang, or are all busy, turn nobody's look-up into a wait without end (promises: F02).
            async with asyncio.timeout(self._wait_s + _HANG_S):
                return await self._loop.run_in_executor(threads, lambda: read(fn, *args))
        except TimeoutError as late:
            log.warning("store.read", fault="no answer in time")
            raise StoreUnavailable from late
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
        join = self._loop.run_in_executor(None, self._thread.join, _STOP_S)
        await asyncio.gather(join, *(self._close_threads(threads) for threads in (self._readers, self._watcher)))

    async def _close_threads(self, threads: Threads) -> None:
        """Close each thread's own connection, then the threads."""
        many = threads.many
        barrier = threading.Barrier(many)

        def part() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(timeout=_STOP_S)
            connection.close()

        parts = [self._loop.run_in_executor(threads, part) for _ in range(many)]
        _, late = await asyncio.wait(parts, timeout=_STOP_S)
        threads.shutdown(wait=not (late or barrier.broken), cancel_futures=True)

    def _work(self) -> None:
        queue, group_max = self._queue, self._group_max
        going = True
        while going:
            first = queue.get()
            if first is None:
                break
            batch = [first]
            # Whatever waits by now goes into the same commit. Nobody waits for more to come: under load the next
            # group fills itself.
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

    def _serve(self, batch: list[PendingWrite]) -> None:
        try:
            self._committer.run(batch)
        except BaseException as end:
            for member in batch:
                member.error = end
        # Also after the worst: whoever awaits a write hears of its end, or would wait for ever.
        self._loop.call_soon_threadsafe(self._deliver, batch)

    def _deliver(self, batch: list[PendingWrite]) -> None:
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
    "time_elsewhere_us",
    "versions",
    "write",
    "write_or_join",
    "writing",
]
