"""The part of a serving process that has no sockets: its epoch, what dead ones left, what it polls and writes beside.

Everything goes through the ports, so the simulator runs this code as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from farebox.accounts.keys import authenticate
from farebox.calls import delivery
from farebox.calls import log as records
from farebox.catalog import shelf
from farebox.gateway.journal import Journal
from farebox.gateway.ports import Ports
from farebox.gateway.settlement import HANG_S
from farebox.kit import db, epochs, timing
from farebox.kit.db import Tx
from farebox.kit.errors import FareboxError, StoreUnavailable
from farebox.kit.failpoints import point
from farebox.ledger import allowance, holds
from farebox.upstreams import board

from .prober import LOOK_S, Prober

log = structlog.get_logger(__name__)

Job = Callable[[], Awaitable[None]]

_EXPIRE_AT_MOST = 100
_STALE_AFTER_S = 1  # a ring whose versions are older asks the store for every key (promises: F03)
_MARKS_AT_MOST = 500
_LOOK_AGAIN_S = 10  # so long after a change of keys calls under way are looked at: one may just have been let in
_TIDY_S = 0.5
_TIME_S = 1
_SLACK_US = 60_000_000
_WITHIN_S = 5  # a store that hangs keeps neither the marks nor the stop


class Node:
    """One life of one node on these ports. `await begin()`, run its `jobs`, `await finish()`.

    `lost` is set when the node reads in the store that its epoch was ended: it must stop. `unseal` opens the upstream
    keys of channels. `time` judges the time; without one of its own it hears this machine alone.
    """

    def __init__(
        self, ports: Ports, *, journal: Journal, unseal: board.Unseal, time: timing.Keeper | None = None
    ) -> None:
        self.ports = ports
        self.time = time or timing.Keeper()
        self.lost = asyncio.Event()
        self.prober = Prober(ports)
        self._journal = journal
        self._unseal = unseal
        self._options = ports.shop.options
        self._observer = epochs.Observer(self._options.lease_beats_missed)
        self._seen: dict[str, int] = {}
        self._polling = asyncio.Lock()
        self._stale_timer: asyncio.TimerHandle | None = None
        self._look_until = 0.0
        self._looking = False
        self._ends_us: dict[str, int | None] = {}  # of the keys of calls under way, when they were looked at last
        self._refunded: set[str] = set()

    async def begin(self) -> None:
        """Begin the epoch; then replay the journal, refund (R25), and only then expire (promises 1.5)."""
        ports = self.ports
        store, own = ports.store, ports.shop.epoch
        await store.write(_begin, own, self.time.machine.host(), ports.clock.now_us(), store.alone)
        point("node.begun")
        await self.look_at_time()
        await self._journal.replay(store)
        if self._journal.waiting:  # what comes next would refund too little, and let its holds expire
            raise StoreUnavailable("The store went away while the journal of settlements was written into it.")
        for epoch, first in sorted(self._journal.inherited.items()):
            await self._refund(epoch, first)
        point("node.replayed")
        await self._after_the_dead()
        await self.poll()

    def jobs(self) -> list[tuple[float, Job]]:
        """(seconds between, what to do) of everything that happens while the node lives."""
        options = self._options
        return [
            (options.version_poll_ms / 1000, self.poll),
            (options.lease_beat_ms / 1000, self.beat),
            (_TIDY_S, self.tidy),
            (LOOK_S, self.prober.probe),
            (_TIME_S, self.look_at_time),
            # A job of its own: much to do for a dead neighbour must not cost this node its own lease.
            *([] if self.ports.store.alone else [(options.lease_beat_ms / 1000, self._after_the_dead)]),
        ]

    async def every(self, seconds: float, job: Job) -> None:
        """Do a job again and again; what goes wrong is logged and comes again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await job()
            except FareboxError as trouble:
                log.warning("serve.job", job=job.__name__, error=trouble.message)
            except Exception:
                log.exception("serve.job", job=job.__name__)

    async def finish(self) -> None:
        """Write what is only in memory, then end the epoch. What the store does not take is found by whoever comes."""
        if self._stale_timer is not None:
            self._stale_timer.cancel()
        await self.prober.stop()
        try:
            await self.tidy()
            now_us = self.ports.clock.now_us()
            await self.ports.store.write(_end, self.ports.shop.epoch, now_us, patient=True, within_s=_WITHIN_S)
        except FareboxError as trouble:
            log.warning("serve.finish", error=trouble.message)
        except Exception:  # whatever it is, store and lock are let go of
            log.exception("serve.finish")

    # what goes on

    async def poll(self) -> None:
        """Look for changed keys, prices and channels; each version counts as seen once what it stands for is loaded."""
        ring = self.ports.shop.ring
        async with self._polling:
            versions = await self.ports.store.watch(db.versions)
            for name, load in (
                ("keys", self._load_keys),
                ("shelf", self._load_shelf),
                ("board", self._load_board),
                ("allowances", self._load_overdrawn),
            ):
                number = versions.get(name, 0)
                if self._seen.get(name) != number:
                    await load()
                    self._seen[name] = number
            ring.stale = False
            if self._stale_timer is not None:
                self._stale_timer.cancel()
            self._stale_timer = asyncio.get_running_loop().call_later(_STALE_AFTER_S, self._mark_stale)

    async def beat(self) -> None:
        """Prolong the lease; end the epochs of neighbours that do so no more."""
        ports, own, now_us = self.ports, self.ports.shop.epoch, self.ports.clock.now_us()
        oldest_us = delivery.oldest_us(ports.shop.begun, now_us=now_us)
        if not await ports.store.write(epochs.beat, own, now_us, oldest_us, patient=True):
            log.error("serve.lease_lost", epoch=own)
            self.lost.set()
            return
        if not ports.store.alone:
            ended, self._observer.seen = await ports.store.write(
                _observe, self._observer, own, ports.clock.now_us(), patient=True
            )
            for epoch in ended:
                log.warning("serve.neighbour_dead", epoch=epoch)

    async def look_at_time(self) -> None:
        """Judge the time, at once where it has leapt; while it is ahead of every witness no call is taken."""
        ports, ground = self.ports, self.ports.shop.ground
        if not self.time.due(ports.clock.now_us()):
            return
        found = await self.time.look(ports.store, ports.shop.epoch, ports.clock)
        before, ground.ahead = ground.ahead, found.state == timing.AHEAD
        if ground.ahead and not before:
            log.error("serve.clock_ahead", hours=found.ahead_us // timing.HOUR_US)
        elif before and not ground.ahead:
            log.warning("serve.clock_right")

    async def tidy(self) -> None:
        """Cut calls whose key has ended, write what the store could not take, mark what was delivered."""
        shop, store = self.ports.shop, self.ports.store
        await self._cut_revoked()
        if len(self._journal):
            await self._journal.replay(store)
        while shop.delivered:
            calls, shop.delivered = shop.delivered[:_MARKS_AT_MOST], shop.delivered[_MARKS_AT_MOST:]
            point("marks.before_write")
            try:
                await store.write(_mark, calls, self.ports.clock.now_us(), patient=True, within_s=_WITHIN_S)
            except FareboxError:
                shop.delivered += calls
                raise

    # inside

    async def _cut_revoked(self) -> None:
        """Cut the calls under way whose key was switched off or has expired, or whose account was stopped (R21)."""
        shop, now_us = self.ports.shop, self.ports.clock.now_us()
        calls = [each for each in shop.under_way if not each.caller.house]
        fault: FareboxError | None = None
        if self._looking:
            # The last look begins when the time is up, however long the store could not be asked meanwhile.
            last = asyncio.get_running_loop().time() >= self._look_until
            keys = sorted({each.caller.key for each in calls})
            self._looking = not last  # before the look: keys that change during it ask for another
            try:
                self._ends_us = await self.ports.store.watch(authenticate.ends_us, keys) if keys else {}
            except FareboxError as trouble:
                self._looking, fault = True, trouble
        for each in calls:
            # What was looked at wins: the end may have been moved since the call began.
            ends_us = self._ends_us.get(each.caller.key, each.caller.expires_us)
            if ends_us is not None and ends_us <= now_us:
                each.revoke()
        if fault is not None:
            raise fault

    async def _after_the_dead(self) -> None:
        """Refund what dead epochs charged and did not deliver, then end what they held, once their grace is over."""
        ports = self.ports
        store, own = ports.store, ports.shop.epoch
        dead = await store.read(epochs.uncleared)
        first = {}
        for epoch, _, seen_us, oldest_us in dead:
            from_us = min(oldest_us, seen_us - self._options.call_s_max * 1_000_000 - _SLACK_US)
            first[epoch] = delivery.first_from(from_us)
            if epoch not in self._refunded:
                await self._refund(epoch, first[epoch])
                self._refunded.add(epoch)
        point("node.refunded")
        grace_us = 0 if store.alone else self._options.hold_grace_s * 1_000_000
        held = await store.read(holds.epochs)
        for epoch in held:
            ended_us = await store.read(epochs.ended_us, epoch)
            if epoch != own and ended_us is not None and ports.clock.now_us() >= ended_us + grace_us:
                await self._expire(epoch)
                held = [each for each in held if each != epoch]
        for epoch, ended_us, _, _ in dead:
            # A commit that the process had sent may have come after the first look: a settlement while there was a
            # hold, a hold for as long as a transaction may last. After the end and the grace neither can.
            if epoch not in held and ports.clock.now_us() >= ended_us + grace_us:
                await self._refund(epoch, first[epoch])
                await store.write(_clear, epoch, ports.clock.now_us(), patient=True)
                self._refunded.discard(epoch)

    async def _refund(self, epoch: str, first: str) -> None:
        store = self.ports.store
        waited_us = (self._options.settle_wait_s + HANG_S) * 1_000_000
        for call, account in await store.read(_undelivered, epoch, first, waited_us):
            locks = await store.read(holds.purses, call)
            refund_micro = await store.write(
                _give_back, call, account, self.ports.clock.now_us(), locks=locks, patient=True
            )
            if refund_micro:
                log.warning("serve.refunded", call=call, refund_micro=refund_micro)

    async def _expire(self, epoch: str) -> None:
        store, expired = self.ports.store, 0
        while purses := await store.read(holds.purses_of, epoch, _EXPIRE_AT_MOST):
            expired += await store.write(_expire, epoch, self.ports.clock.now_us(), locks=purses, patient=True)
        log.warning("serve.expired", epoch=epoch, holds=expired)

    async def _load_keys(self) -> None:
        self.ports.shop.ring.forget_all()
        self._look_until = asyncio.get_running_loop().time() + _LOOK_AGAIN_S
        self._looking = True

    async def _load_shelf(self) -> None:
        ports = self.ports
        ports.shop.shelf.swap(await ports.store.read(shelf.load, ports.clock.now_us()))

    async def _load_board(self) -> None:
        shop = self.ports.shop
        before, fresh = shop.board.current, await self.ports.store.read(board.load, self._unseal)
        shop.board.swap(fresh)
        shop.health.keep_only(fresh.channels)
        for channel_id, channel in fresh.channels.items():
            if before.channels.get(channel_id) != channel:  # an operator has changed it: it gets another chance
                shop.health.reset(channel_id)

    async def _load_overdrawn(self) -> None:
        self.ports.shop.overdrawn = await self.ports.store.read(allowance.overdrawn)

    def _mark_stale(self) -> None:
        self.ports.shop.ring.stale = True


def _begin(tx: Tx, epoch: str, host: str, now_us: int, alone: bool) -> None:
    epochs.begin(tx, epoch=epoch, node=host, now_us=now_us)
    if alone:
        epochs.end_others(tx, epoch=epoch, now_us=now_us)


def _end(tx: Tx, epoch: str, now_us: int) -> None:
    epochs.end(tx, epoch=epoch, why="stopped", now_us=now_us)


def _clear(tx: Tx, epoch: str, now_us: int) -> None:
    epochs.clear(tx, epoch=epoch, now_us=now_us)


def _observe(tx: Tx, observer: epochs.Observer, own: str, now_us: int) -> tuple[list[str], dict[str, tuple[int, int]]]:
    return observer.tick(tx, own=own, now_us=now_us)


def _expire(tx: Tx, epoch: str, now_us: int) -> int:
    return records.expire(tx, epoch=epoch, now_us=now_us, at_most=_EXPIRE_AT_MOST)


def _mark(tx: Tx, calls: list[str], now_us: int) -> None:
    delivery.mark(tx, calls, now_us=now_us)


def _undelivered(tx: Tx, epoch: str, first: str, waited_us: int) -> list[tuple[str, str]]:
    return delivery.undelivered(tx, epoch, first=first, waited_us=waited_us)


def _give_back(tx: Tx, call: str, account: str, now_us: int) -> int:
    return delivery.refund(tx, call, account, now_us=now_us)
