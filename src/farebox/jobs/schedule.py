"""What runs when in a serving process: lots that expire, what is forgotten, refusals, mail, seals, looks at itself.

Each round is its own short write through the store's committer, so no call waits for it. What fails is logged and
comes again in the next round; nothing here decides about money that the next round would not decide the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from farebox.kit import clock, disk, options
from farebox.kit.db import Tx
from farebox.kit.errors import StoreUnavailable
from farebox.look import refusals

from .sending import send_outbox

log = structlog.get_logger(__name__)

LOTS_EVERY_S = 60
FORGET_EVERY_S = 3600
FORGET_AT_MOST = 1000
LEARN_EVERY_S = 3600
FIRST_LEARN_S = 120
REFUSALS_EVERY_S = 10
CHECK_EVERY_S = 86_400
SEND_EVERY_S = 1
TELL_EVERY_S = 60
ALERT_EVERY_S = 5
SEAL_EVERY_S = 5
TELL_HEAD_EVERY_S = 600
LOOK_EVERY_S = 3600
FIRST_LOOK_S = 900
FIRST_CHECK_S = 3600  # the start has checked a small file; a large one waits for its turn until calls are served
_DAY_US = 86_400_000_000

Refusals = Mapping[tuple[str, str, str], int]


class Store(Protocol):
    """The store port of the serving process (kit.db.Store)."""

    async def write(self, fn: Callable[..., Any], *args: Any, locks: Sequence[str] = (), patient: bool = False) -> Any:
        """`fn(tx, *args)` in the next commit."""

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` for reading."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the jobs work with: the store, and `take_refusals`, which hands over the counts since it was last asked.

    Refusals are counted by (UTC day, account or empty, error code). `damaged` hears what is wrong with the store file.
    `alerts` are channels that refuse us, by name, each with the reason; what is told is taken out. `sure` says of a
    time whether it is right for certain: what takes money or deletes by time waits until it is (promises 4.7).
    """

    store: Store
    take_refusals: Callable[[], Refusals] = dict
    damaged: Callable[[str], None] = lambda _words: None
    alerts: deque[tuple[str, str]] = field(default_factory=deque)
    sure: Callable[[int], bool] = lambda _now_us: True
    now_us: Callable[[], int] = clock.now_us


class Schedule:
    """The running jobs; end them with `await stop()`, which writes what was counted last."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start one task a job."""
        for name, every_s, first_s, job in (
            ("expire_lots", LOTS_EVERY_S, 0, expire_lots),
            ("forget", FORGET_EVERY_S, 0, forget),
            ("learn", LEARN_EVERY_S, FIRST_LEARN_S, learn),
            ("count_refusals", REFUSALS_EVERY_S, 0, count_refusals),
            ("send_outbox", SEND_EVERY_S, 0, send_outbox),
            ("tell", TELL_EVERY_S, 0, tell),
            ("alert", ALERT_EVERY_S, 0, alert),
            ("seal", SEAL_EVERY_S, 0, seal),
            ("tell_head", TELL_HEAD_EVERY_S, SEAL_EVERY_S, tell_head),
            ("look", LOOK_EVERY_S, FIRST_LOOK_S, look),
            ("check_file", CHECK_EVERY_S, FIRST_CHECK_S, check_file),
        ):
            task = asyncio.get_running_loop().create_task(self._every(name, every_s, first_s, job), name=name)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End the jobs; twice is once."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            await self._once("count_refusals", count_refusals)
            await self._once("seal", seal)

    async def _every(self, name: str, every_s: int, first_s: int, job: Callable[[Context], Awaitable[None]]) -> None:
        await asyncio.sleep(first_s)
        while True:
            await self._once(name, job)
            await asyncio.sleep(every_s)

    async def _once(self, name: str, job: Callable[[Context], Awaitable[None]]) -> None:
        try:
            await job(self._context)
        except Exception as fault:
            log.warning("schedule.failed", job=name, fault=str(fault)[:200])


async def start(context: Context) -> Schedule:
    """Start the jobs in the running loop."""
    schedule = Schedule(context)
    schedule.begin()
    return schedule


async def expire_lots(context: Context) -> None:
    """Take back what is left of granted credit that has expired, account by account (promises 1.8)."""
    now_us = context.now_us()
    if not context.sure(now_us):
        return
    for account, currency in await context.store.read(_due, now_us):
        await context.store.write(_expire, account, currency, now_us, locks=(account,))


async def forget(context: Context) -> None:
    """Forget idempotency keys after a day, diagnostics of calls after `diagnostics_days` (promises 1.11, 1.15).

    With them go sessions, links and sign-ups that came to nothing, and messages that left long ago. All of it waits
    until the time is sure, as what takes money does.
    """
    now_us = context.now_us()
    if not context.sure(now_us):
        return
    while await context.store.write(_forget_once, now_us) == FORGET_AT_MOST:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.1)
    await context.store.write(_forget_of_people, now_us)
    older_than_us = now_us - options.current().diagnostics_days * _DAY_US
    while await context.store.write(_forget, older_than_us) == FORGET_AT_MOST:  # noqa: ASYNC110 - no wait for an event
        await asyncio.sleep(0.1)  # leaves room for others' writes


async def learn(context: Context) -> None:
    """Fit the factors of the models that have new samples, in a thread (promises 4.2)."""
    from farebox.catalog import factor_fitting, samples

    for model, newest in (await context.store.read(samples.due)).items():
        fitted = await asyncio.to_thread(factor_fitting.fit, await context.store.read(samples.of, model))
        await context.store.write(samples.learn, model, fitted, newest, context.now_us())


async def count_refusals(context: Context) -> None:
    """Add the refusals counted in memory to the day's totals; lost ones were no rows and cost nobody anything."""
    counts = dict(context.take_refusals())
    if counts:
        await context.store.write(_count, counts)


async def tell(context: Context) -> None:
    """Tell members what they want to be told, one write each, and owners of other rules and low allowances."""
    from . import allowances, new_rules, notices

    if await context.store.read(allowances.due, clock.now_us()):
        await context.store.write(allowances.tell, clock.now_us())
    while await context.store.read(new_rules.due) and await context.store.write(new_rules.tell):
        pass
    for notice in await context.store.read(notices.due):
        await context.store.write(notices.tell, notice, clock.now_us())


async def alert(context: Context) -> None:
    """Tell the administrators that a channel refuses us, once a day for each (promises: F12)."""
    from . import daily

    while context.alerts:
        channel, why = context.alerts[0]
        try:
            await context.store.write(daily.tell_refused, channel, why, clock.now_us())
        except StoreUnavailable:
            raise  # later
        except Exception:
            context.alerts.popleft()  # a mistake of ours with one must not keep the others
            raise
        context.alerts.popleft()


async def seal(context: Context) -> None:
    """Seal the newest events of the audit trail."""
    from . import trail

    await trail.seal(context.store)


async def tell_head(context: Context) -> None:
    """Tell the head of the audit trail, where that was not done today."""
    from . import trail

    await trail.tell_head(context.store)


async def look(context: Context) -> None:
    """Let the doctor look, where that was not done today."""
    from . import daily

    if options.current().doctor_daily:
        await daily.look(context.store)


async def check_file(context: Context) -> None:
    """Check the SQLite file beside the running calls, in a thread (promises: F41); PostgreSQL looks after its own."""
    chosen = options.current()
    if not chosen.on_sqlite:
        return
    check = disk.FileCheck(chosen.sqlite_file)
    try:
        found = await asyncio.to_thread(check.run)
    except asyncio.CancelledError:
        check.stop()  # a stopping process does not wait for it
        raise
    if found:
        context.damaged(refusals.said(disk.damaged(chosen.sqlite_file, found), "cli"))


def _due(tx: Tx, now_us: int) -> list[tuple[str, str]]:
    del tx  # the ORM reads in the same transaction
    from farebox.ledger import lots
    from farebox.ledger.models import LedgerAccount

    due = lots.due(now_us)
    currencies = dict(LedgerAccount.objects.filter(id__in=due).values_list("id", "currency"))
    return [(account, currencies[account]) for account in due]


def _expire(tx: Tx, account: str, currency: str, now_us: int) -> int:
    from farebox.ledger import lots

    return lots.expire(tx, account=account, currency=currency, now_us=now_us)


def _forget(tx: Tx, older_than_us: int) -> int:
    from farebox.calls import retention

    return retention.forget(tx, older_than_us=older_than_us, at_most=FORGET_AT_MOST)


def _forget_once(tx: Tx, now_us: int) -> int:
    from farebox.calls import once

    return once.forget(tx, now_us=now_us, at_most=FORGET_AT_MOST)


def _forget_of_people(tx: Tx, now_us: int) -> None:
    from farebox.accounts.people import links
    from farebox.accounts.sign_in import attempts, sessions, signup
    from farebox.kit import outbox

    sessions.forget(tx, now_us=now_us)
    links.forget(tx, now_us=now_us)
    signup.forget(tx, now_us=now_us)
    outbox.forget(tx, now_us=now_us)
    attempts.sweep(tx, now_us=now_us)


def _count(tx: Tx, counts: dict[tuple[str, str, str], int]) -> None:
    from farebox.calls import log as calls

    calls.add_refusals(tx, counts)
