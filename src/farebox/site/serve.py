"""Start, serve, drain: one serving process, from the options to its last commit."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import structlog
import uvloop

from farebox.accounts import key_format
from farebox.accounts.ring import KeyRing
from farebox.calls import log as records
from farebox.catalog import shelf
from farebox.gateway.app import App
from farebox.gateway.ports import Ports, Shop
from farebox.gateway.wire import Reception
from farebox.kit import clock, db, epochs, ids, secrets, settings
from farebox.kit.db import Store, Tx
from farebox.kit.errors import FareboxError
from farebox.kit.fetch import Fetch
from farebox.kit.lock import FolderLock
from farebox.kit.options import Options
from farebox.ledger import holds
from farebox.ops import admin, schedule
from farebox.ops.verbs import VERBS
from farebox.upstreams import board
from farebox.upstreams.health import Health
from farebox.upstreams.send import Limits

from . import probe

log = structlog.get_logger(__name__)

_EXPIRE_AT_MOST = 100
_STALE_AFTER_S = 1  # a ring whose versions are older asks the store for every key (money.md F03)


class Server:
    """One serving process. `await start()`, then `await stop()`; `port` is where it listens."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = options.port
        self.lost = asyncio.Event()  # the lease was lost, or the process shall stop
        self._lock = FolderLock(options.data)
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: dict[str, int] = {}
        self._polling = asyncio.Lock()
        self._stale_timer: asyncio.TimerHandle | None = None
        self._observer = epochs.Observer(options.lease_beats_missed)
        self._listener: asyncio.Server | None = None
        self._admin: Any = None
        self._schedule: Any = None
        self.ports: Ports
        self.reception: Reception
        self.store: Store
        self.fetch: Fetch

    async def start(self) -> None:
        """Lock, open the books, end what a dead process left, listen. CommandError says what stands in the way."""
        options = self.options
        options.data.mkdir(parents=True, exist_ok=True)
        if options.on_sqlite:
            self._lock.take()
        self.store = Store(
            queue_max=options.store_queue_max,
            wait_s=options.store_wait_ms / 1000,
            group_max=options.group_max,
            lock_sql=holds.LOCK_PURSES,
        )
        self.fetch = Fetch()
        try:
            await self._open()
        except BaseException:
            await self._close_parts()
            raise

    async def _open(self) -> None:
        options = self.options
        now_us = clock.now_us()
        epoch = ids.new("ep", now_us)
        await self.store.write(_begin, epoch, now_us, options.on_sqlite)
        site = key_format.site_code(await self.store.read(settings.installation_id))
        ring = KeyRing(peppers=secrets.peppers(options), site=site, wrong_keys_per_min=options.wrong_keys_per_min)
        shop = Shop(
            options=options,
            ring=ring,
            shelf=shelf.ShelfKeeper(),
            board=board.BoardKeeper(),
            health=Health(),
            epoch=epoch,
            limits=Limits(
                connect_s=options.connect_s,
                first_byte_s=options.first_byte_s,
                idle_s=options.idle_s,
                answer_bytes_max=options.answer_bytes_max,
                read_on_json_s=options.read_on_json_s,
            ),
            rng=Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self.ports = Ports(clock.SYSTEM, ids.RANDOM, self.store, self.fetch, shop)
        await self._expire_dead()
        await self._poll()
        self.reception = Reception(App(self.ports), options=options, clock=clock.SYSTEM, ids=ids.RANDOM)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self.reception, options.host, options.port, backlog=2048, reuse_address=True
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self.reception.watch()
        self._schedule = await schedule.start(schedule.Context(store=self.store, take_refusals=self._take_refusals))
        self._admin = await admin.start(options.admin_socket, {**VERBS, "channel.test": self._test_channel})
        self._tasks = [
            loop.create_task(self._every(options.version_poll_ms / 1000, self._poll)),
            loop.create_task(self._every(options.lease_beat_ms / 1000, self._beat)),
        ]

    async def stop(self, *, drain_s: float | None = None) -> None:
        """Take no more calls, let those under way end for `drain_s` seconds, then end them; close everything."""
        if getattr(self, "ports", None) is not None:
            await self._drain(self.options.drain_s if drain_s is None else drain_s)
        await self._close_parts()

    async def _drain(self, drain_s: float) -> None:
        shop = self.ports.shop
        shop.stopping = True
        if self._listener is not None:
            self._listener.close()
        self.reception.close_idle()
        if self.reception.tasks:
            await asyncio.wait(self.reception.tasks, timeout=drain_s)
        if self.reception.tasks:
            log.warning("serve.cut", calls=len(self.reception.tasks))
            shop.halt()
            await asyncio.wait(self.reception.tasks, timeout=shop.options.settle_wait_s + 5)
        if shop.voider is not None:  # holds of calls that failed while the store was away: a last try
            await asyncio.wait([shop.voider], timeout=2)

    async def _close_parts(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stale_timer is not None:
            self._stale_timer.cancel()
        if self._admin is not None:
            await self._admin.stop()
        if self._schedule is not None:
            await self._schedule.stop()
        if self._listener is not None:
            self.reception.stop_watching()
            for door in list(self.reception.doors):
                door.abort()
            self._listener.close()
        if getattr(self, "ports", None) is not None:
            with contextlib.suppress(FareboxError):
                await self.store.write(_end, self.ports.shop.epoch, clock.now_us(), patient=True)
        await self.fetch.close()
        await self.store.close()
        self._lock.release()

    async def _every(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await job()
            except FareboxError as trouble:
                log.warning("serve.job", job=job.__name__, error=trouble.message)
            except Exception:
                log.exception("serve.job", job=job.__name__)

    async def _poll(self) -> None:
        """Look for changed keys, prices and channels; each version counts as seen once what it stands for is loaded."""
        async with self._polling:
            versions = await self.store.watch(db.versions)
            for name, load in (("keys", self._load_keys), ("shelf", self._load_shelf), ("board", self._load_board)):
                number = versions.get(name, 0)
                if self._seen.get(name) != number:
                    await load()
                    self._seen[name] = number
            self.ports.shop.ring.stale = False
            if self._stale_timer is not None:
                self._stale_timer.cancel()
            self._stale_timer = asyncio.get_running_loop().call_later(_STALE_AFTER_S, _mark_stale, self.ports.shop.ring)

    async def _load_keys(self) -> None:
        self.ports.shop.ring.forget_all()

    async def _load_shelf(self) -> None:
        self.ports.shop.shelf.swap(await self.store.read(shelf.load, clock.now_us()))

    async def _load_board(self) -> None:
        shop = self.ports.shop
        unseal = board.unsealer(secrets.master_keys(self.options))
        before, fresh = shop.board.current, await self.store.read(board.load, unseal)
        shop.board.swap(fresh)
        shop.health.keep_only(fresh.channels)
        for channel_id, channel in fresh.channels.items():
            if before.channels.get(channel_id) != channel:  # an operator has changed it: it gets another chance
                shop.health.reset(channel_id)

    async def _beat(self) -> None:
        """Prolong the lease; look after dead neighbours and what they held."""
        own = self.ports.shop.epoch
        if not await self.store.write(epochs.beat, own, patient=True):
            log.error("serve.lease_lost", epoch=own)
            self.lost.set()
            return
        if not self.options.on_sqlite:
            ended, self._observer.seen = await self.store.write(_observe, self._observer, own, clock.now_us())
            for epoch in ended:
                log.warning("serve.neighbour_dead", epoch=epoch)
            await self._expire_dead()

    async def _expire_dead(self) -> None:
        grace_us = 0 if self.options.on_sqlite else self.options.hold_grace_s * 1_000_000
        own = self.ports.shop.epoch
        for epoch in await self.store.read(holds.epochs):
            ended_us = await self.store.read(epochs.ended_us, epoch)
            if epoch == own or ended_us is None or clock.now_us() < ended_us + grace_us:
                continue
            expired = 0
            while purses := await self.store.read(holds.purses_of, epoch, _EXPIRE_AT_MOST):
                expired += await self.store.write(_expire, epoch, clock.now_us(), locks=purses, patient=True)
            log.warning("serve.expired", epoch=epoch, holds=expired)

    async def _test_channel(self, *, actor: str, channel: str, model: str) -> dict[str, Any]:
        del actor
        await self._poll()
        return await probe.call(self.ports, channel, model)

    def _take_refusals(self) -> dict[tuple[str, str, str], int]:
        shop = self.ports.shop
        taken, shop.refusals = shop.refusals, {}
        return taken


def run(options: Options, *, ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready(port)` is called once it listens. Blocks."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, ready))


async def _serve(options: Options, ready: Callable[[int], None] | None) -> None:
    server = Server(options)
    loop = asyncio.get_running_loop()
    await server.start()
    # What is loaded now stays: the collector need not walk it at every round.
    gc.collect()
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.lost.set)
    if ready is not None:
        ready(server.port)
    await server.lost.wait()
    await server.stop()


def _mark_stale(ring: KeyRing) -> None:
    ring.stale = True


def _begin(tx: Tx, epoch: str, now_us: int, alone: bool) -> None:
    epochs.begin(tx, epoch=epoch, node=socket.gethostname(), now_us=now_us)
    if alone:
        epochs.end_others(tx, epoch=epoch, now_us=now_us)


def _end(tx: Tx, epoch: str, now_us: int) -> None:
    epochs.end(tx, epoch=epoch, why="stopped", now_us=now_us)


def _observe(tx: Tx, observer: epochs.Observer, own: str, now_us: int) -> tuple[list[str], dict[str, tuple[int, int]]]:
    return observer.tick(tx, own=own, now_us=now_us)


def _expire(tx: Tx, epoch: str, now_us: int) -> int:
    return records.expire(tx, epoch=epoch, now_us=now_us, at_most=_EXPIRE_AT_MOST)
