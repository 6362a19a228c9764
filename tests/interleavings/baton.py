"""Two production transactions on two connections, run one step at a time in a given order.

A script is a production function in a thread of its own. Before each of its statements and before its commit it waits
for the baton (`kit.failpoints`, and Django's execute wrapper for the ORM), so no script is a copy of the code. It has
five steps: its first statement (the row lock, where it takes one), its other statements in three, its commit. A step
that waits for a lock is noted; the script goes on when the other has ended. A transaction that the database ends (a
deadlock) is rolled back and tried again as in production, once the other has ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import connection

from farebox.kit import db, dbfaults, failpoints

STEPS = 5
_COMMIT = STEPS
_AGAIN = STEPS + 1
_ALL = STEPS + 2
_PATIENCE_S = 0.001
_STUCK_S = 20

WAITING, RUNNING, DONE = "waiting", "running", "done"

_writing = db.writing
_here = threading.local()


class Actor:
    """One thread with its own connection; plays one script after another."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name
        self.state = DONE
        self.job: Callable[[], Any] | None = None
        self.statements = 0  # of the script when it runs alone; decides which statements share a step
        self.passed = 0
        self.tries = 0
        self.at = 0
        self.granted = 0
        self.pid = 0
        self.result: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._live, name=f"actor-{name}", daemon=True)
        self.thread.start()

    @property
    def trying_again(self) -> bool:
        return self.state == WAITING and self.at == _AGAIN

    def step_of(self, statement: int) -> int:
        """The step that the `statement`-th statement of the transaction belongs to."""
        if statement == 1:
            return 1
        return min(_COMMIT - 1, 2 + (statement - 2) * 3 // max(3, self.statements - 1))

    def _live(self) -> None:
        _here.actor = self
        try:
            while True:
                with self.stage.changed:
                    self.stage.changed.wait_for(lambda: self.job is not None)
                    job = self.job
                if job is self.stage.end:
                    return
                self._play(job)
        finally:
            connection.close()

    def _play(self, job: Callable[[], Any]) -> None:
        try:
            with connection.execute_wrapper(self._orm):
                self.result = job()
        except BaseException as fault:
            self.error = fault
        with self.stage.changed:
            self.job, self.state = None, DONE
            self.stage.changed.notify_all()

    def _orm(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statement()
        return execute(sql, params, many, context)

    def statement(self) -> None:
        self.passed += 1
        self.gate(self.step_of(self.passed))

    def gate(self, step: int) -> None:
        """Wait until the scheduler has granted `step`."""
        changed = self.stage.changed
        with changed:
            self.at = step
            if step <= self.granted:
                return
            self.state = WAITING
            changed.notify_all()
            if not changed.wait_for(lambda: step <= self.granted, timeout=_STUCK_S):
                raise AssertionError(f"{self.name} was never granted step {step}")

    @contextlib.contextmanager
    def opening(self, lock_sql: str, locks: Sequence[str], again: bool) -> Iterator[db.Tx]:
        self.tries += 1
        self.passed = 0
        if self.tries > 1:
            self.stage.counts["retries"] += 1
            self.gate(_AGAIN)
        connection.ensure_connection()  # a new one after a deadlock
        self.pid = connection.connection.info.backend_pid
        try:
            with _writing(lock_sql, locks, again=again) as tx:
                yield tx
        except dbfaults.errors() as fault:
            if dbfaults.busy(fault):
                self.stage.counts["deadlocks"] += 1
            raise


class Stage:
    """The scheduler of two actors, in the thread that made it; close it. Counts waits, deadlocks and retries."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '5ms'")
            cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.close()
        self.changed = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.end: Callable[[], Any] = lambda: None
        self.actors = [Actor(self, "first"), Actor(self, "second")]

    @contextlib.contextmanager
    def armed(self) -> Iterator[Stage]:
        """Gate the transactions of the actors, and nobody else's."""

        def hook(name: str) -> None:
            actor = getattr(_here, "actor", None)
            if actor is None:
                return
            if name == "tx.statement":
                actor.statement()
            elif name == "store.before_commit":
                actor.gate(_COMMIT)

        @contextlib.contextmanager
        def writing(lock_sql: str = "", locks: Sequence[str] = (), *, again: bool = False) -> Iterator[db.Tx]:
            actor = getattr(_here, "actor", None)
            opened = actor.opening(lock_sql, locks, again) if actor else _writing(lock_sql, locks, again=again)
            with opened as tx:
                yield tx

        pause = db._pause
        failpoints.arm(hook)
        db.writing, db._pause = writing, lambda _most_s: None
        try:
            yield self
        finally:
            failpoints.arm(None)
            db.writing, db._pause = _writing, pause

    def close(self) -> None:
        with self.changed:
            for actor in self.actors:
                actor.job = self.end
            self.changed.notify_all()
        for actor in self.actors:
            actor.thread.join(_STUCK_S)

    def alone(self, job: Callable[[], Any]) -> int:
        """Run one script by itself; how many statements it has before its commit."""
        actor = self.actors[0]
        self._begin(actor, job, 1)
        self._grant(actor, _ALL)
        if actor.error is not None:
            raise actor.error
        return actor.passed

    def play(self, jobs: Sequence[Callable[[], Any]], statements: Sequence[int], order: Sequence[int]) -> None:
        """Run two scripts in the order of steps that `order` tells (0 or 1, five times each), to their ends."""
        for actor, job, count in zip(self.actors, jobs, statements, strict=True):
            self._begin(actor, job, count)
        for who in order:
            actor = self.actors[who]
            if actor.state == WAITING and not actor.trying_again:
                self._grant(actor, actor.granted + 1)
        until_s = time.monotonic() + _STUCK_S
        while any(actor.state != DONE for actor in self.actors):
            assert time.monotonic() < until_s, [(actor.name, actor.state, actor.at) for actor in self.actors]
            ready = [actor for actor in self.actors if actor.state == WAITING]
            ready.sort(key=lambda actor: actor.trying_again)
            if ready and (not ready[0].trying_again or all(actor.state != RUNNING for actor in self.actors)):
                self._grant(ready[0], _ALL)
            else:
                with self.changed:
                    self.changed.wait(_PATIENCE_S)

    def _begin(self, actor: Actor, job: Callable[[], Any], statements: int) -> None:
        with self.changed:
            assert actor.state == DONE
            actor.statements = statements
            actor.passed = actor.tries = actor.granted = 0
            actor.result = actor.error = None
            actor.state, actor.job = RUNNING, job
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: actor.state != RUNNING, timeout=_STUCK_S), actor.name

    def _grant(self, actor: Actor, step: int) -> None:
        """Let the actor go on up to and with `step`; back when it waits for the next, is done, or is blocked."""
        with self.changed:
            actor.granted = step
            if actor.at > step:
                return  # a step without a statement
            actor.state = RUNNING
            self.changed.notify_all()
        until_s = time.monotonic() + _STUCK_S
        while True:
            with self.changed:
                if self.changed.wait_for(lambda: actor.state != RUNNING, timeout=_PATIENCE_S):
                    return
            if self._blocked(actor):
                self.counts["waits"] += 1
                return
            assert time.monotonic() < until_s, f"{actor.name} neither goes on nor waits for a lock"

    def _blocked(self, actor: Actor) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (actor.pid,))
            return bool(cursor.fetchone()[0])
