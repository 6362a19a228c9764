"""The committer: one commit for whatever waits. Plain and synchronous; `db.Store` is its shell with threads.

`COMMIT` has three outcomes, done, not done and unknown (promises 1.4). After the latter two its members are run again
one by one, with `tx.again` set, so a member must find its own earlier work by its business key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import structlog

from . import dbfaults
from .errors import FareboxError, StoreUnavailable

log = structlog.get_logger(__name__)

TRIES = 3
TRY_AGAIN_S = 0.25  # F07: at most 3 tries with jitter inside 250 ms


class Transaction(Protocol):
    """What the committer knows of an open transaction."""

    again: bool


Opening = Callable[[Sequence[str]], AbstractContextManager[Transaction]]


class PendingWrite:
    """One write that waits for its commit, and what became of it.

    `again` says that an earlier try of the same work may have been committed; `since_s` is when it came, on the
    committer's clock. A `patient` member is never turned away for having waited; an abandoned one is not begun.
    """

    __slots__ = (
        "abandoned",
        "again",
        "args",
        "error",
        "fn",
        "future",
        "locks",
        "patient",
        "result",
        "since_s",
        "timer",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        *,
        locks: Sequence[str] = (),
        patient: bool = False,
        again: bool = False,
        since_s: float,
        future: asyncio.Future[Any],
    ) -> None:
        self.fn = fn
        self.args = args
        self.locks = locks
        self.patient = patient
        self.again = again
        self.since_s = since_s
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None


class Committer:
    """Runs members together in one transaction, else one by one.

    `opening(locks)` opens a transaction and commits it at its end; `pause(most_s)` waits for a random part of so many
    seconds; `monotonic_s` is the clock of `wait_s`, the longest that a member waits for its turn. `on_fault` hears of
    each failure before anything is tried again: it may make room on a full disk (promises: F08).
    """

    def __init__(
        self,
        opening: Opening,
        *,
        pause: Callable[[float], None],
        monotonic_s: Callable[[], float],
        wait_s: float,
        on_fault: Callable[[BaseException], object] = lambda _fault: None,
    ) -> None:
        self._opening = opening
        self._pause = pause
        self._monotonic_s = monotonic_s
        self._wait_s = wait_s
        self._on_fault = on_fault

    def run(self, members: Sequence[PendingWrite]) -> None:
        """Give every member its `result` or its `error`. Raises nothing but what no `except Exception` catches."""
        now_s = self._monotonic_s()
        live = []
        for member in members:
            # An abandoned one was told that it failed: begun now, it might hold money for a call that is over.
            if member.abandoned or (not member.patient and now_s - member.since_s > self._wait_s):
                member.error = StoreUnavailable()
            else:
                live.append(member)
        if not live:
            return
        done, unknown = self._together(live)
        if done:
            return
        for member in live:
            self._alone(member, unknown=unknown)

    def _together(self, members: Sequence[PendingWrite]) -> tuple[bool, bool]:
        """Run the members in one transaction; whether it was done, and whether nobody knows.

        If neither, it has to be done one by one. What failed before the commit was asked for is surely not done.
        """
        locks = [row for member in members for row in member.locks]
        ready = False
        try:
            with self._opening(locks) as tx:
                for member in members:
                    tx.again = member.again
                    try:
                        member.result = member.fn(tx, *member.args)
                    except FareboxError as refusal:
                        # Without its frames: they know the members, and the members know it.
                        member.error = refusal.with_traceback(None)
                ready = True
        except Exception as fault:
            if len(members) > 1:
                log.warning("store.group_again", members=len(members), fault=dbfaults.words(fault))
            dbfaults.drop_lost(fault)
            self._on_fault(fault)
            for member in members:
                # They were of a transaction that is gone. Each member is run again, so none may keep what it read
                # there.
                member.result = None
                member.error = None
            return False, ready and isinstance(fault, dbfaults.errors())
        return True, False

    def _alone(self, member: PendingWrite, *, unknown: bool) -> None:
        """Run one member in a transaction of its own, a few times if the database wants it so.

        `unknown` says that it may have been done together with others.
        """
        deadline_s = self._monotonic_s() + TRY_AGAIN_S
        for left in reversed(range(TRIES)):
            ready = False
            try:
                with self._opening(member.locks) as tx:
                    tx.again = member.again or unknown
                    member.result = member.fn(tx, *member.args)
                    ready = True
            except FareboxError as refusal:
                member.error = refusal.with_traceback(None)
            except dbfaults.errors() as fault:
                dbfaults.drop_lost(fault)
                self._on_fault(fault)
                # A constraint has refused it: another try would be refused as well, and a mistake of ours should be
                # loud.
                if dbfaults.broken_rule(fault):
                    member.error = fault
                    return
                unknown = unknown or ready
                # One that is away is given up soon, since calls wait; a busy one answers, and gets all tries
                # (promises: F07).
                if left and (self._monotonic_s() < deadline_s or dbfaults.busy(fault)):
                    self._pause(TRY_AGAIN_S / TRIES)
                    continue
                member.error = StoreUnavailable()
                # The cause tells the caller that the write may have been done: whoever is told "failed" is voided
                # later.
                if unknown:
                    member.error.__cause__ = fault
            except Exception as bug:
                member.error = bug
            return
