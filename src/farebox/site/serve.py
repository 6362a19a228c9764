"""Start, serve, drain: one serving process, from the options to its last commit."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import structlog
import uvloop

from farebox.accounts.keys import authenticate, key_format
from farebox.accounts.keys.ring import KeyRing
from farebox.catalog import counting, shelf, tokens
from farebox.cli import admin
from farebox.cli.verbs import VERBS
from farebox.gateway.http.app import App
from farebox.gateway.http.wire import Reception
from farebox.gateway.journal import Journal
from farebox.gateway.ports import Ports, Shop
from farebox.jobs import leaks, schedule
from farebox.kit import clock, disk, epochs, ids, keyfiles, settings, timing
from farebox.kit.appendlog import AppendLog
from farebox.kit.db import Store
from farebox.kit.errors import CommandError, FareboxError, StoreUnavailable
from farebox.kit.fetch import Fetch, dates
from farebox.kit.ground import Ground
from farebox.kit.lock import FolderLock
from farebox.kit.loopwatch import LoopWatch
from farebox.kit.options import Options
from farebox.kit.refusal import Refusal
from farebox.ledger import holds
from farebox.look import refusals
from farebox.office import ports as office
from farebox.upstreams import board
from farebox.upstreams.health import Health
from farebox.upstreams.send import UpstreamLimits

from . import probe
from .desk import Desk
from .node import Node
from .pages import Pages

log = structlog.get_logger(__name__)

_DRIFT_US_MAX = 2_000_000
_ALERTS_MAX = 100
_END_S = 10  # beyond the drain: the whole of the end (promises: F29)
_CLOSE_S = 3  # of these, what is kept for closing
_LAST_WORDS_S = 2  # for the error events of calls that were cut to leave
_LOOK_S = 0.05  # how often it is looked whether the last answers have left


class Server:
    """One serving process. `await start()`, then `await stop()`; `port` is where it listens.

    `role`: `api` serves no pages, `console` nothing but pages, `all` both.
    """

    def __init__(self, options: Options, *, role: str = "all") -> None:
        self.options = options
        self._role = role
        self.port = options.port
        self.lost = asyncio.Event()  # the lease was lost, or the process shall stop
        self._lock = FolderLock(options.data)
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: asyncio.Server | None = None
        self._admin: Any = None
        self._schedule: Any = None
        self._log: AppendLog | None = None
        self._pages: Pages | None = None
        self._desk: Desk | None = None
        self.loop_watch: LoopWatch | None = None
        self.node: Node | None = None
        # Channels that refuse us, and why, until an administrator has been told.
        self._alerts: deque[tuple[str, str]] = deque(maxlen=_ALERTS_MAX)
        self._until_s = 0.0  # when the process has to be gone, on the loop's clock
        self.fault: Refusal | None = None  # why the ground under the process gave way
        self._key_files: keyfiles.KeyFiles
        self._untold = False  # other nodes have not been told yet which keys the files hold
        self.ground: Ground
        self.ports: Ports
        self.reception: Reception
        self.store: Store
        self.fetch: Fetch

    async def start(self) -> None:
        """Lock, open the books, end what a dead process left, listen. CommandError says what is in the way."""
        options = self.options
        options.data.mkdir(parents=True, exist_ok=True)
        if options.on_sqlite:
            disk.refuse_network(options.data)
            self._lock.take()
        try:
            self.ground = Ground.under(options)
        except BaseException:
            self._lock.release()
            raise
        options.connections_max = self.ground.connections_max
        self.store = Store(
            queue_max=options.store_queue_max,
            wait_s=options.store_wait_ms / 1000,
            group_max=options.group_max,
            lock_sql=holds.LOCK_PURSES,
            on_fault=self.ground.full,
        )
        self.fetch = Fetch()
        try:
            await self._open()
        except BaseException as trouble:
            await self._close_parts()
            if self.ground.short and isinstance(trouble, StoreUnavailable):
                raise CommandError("server.disk", folder=str(options.data)) from trouble
            raise

    async def _open(self) -> None:
        options = self.options
        if await self.store.read(settings.get, timing.JUMP):
            raise CommandError("server.clock_reset")
        newest_us = await self.store.read(epochs.newest_us)
        if behind_us := clock.SYSTEM.not_before(newest_us, behind_h_max=options.clock_behind_h_max):
            log.warning("serve.clock_behind", seconds=behind_us // 1_000_000)
        drift_us = await self.store.read(epochs.drift_us, clock.now_us())
        if abs(drift_us) > _DRIFT_US_MAX:  # told, never obeyed (promises: F37)
            log.warning("serve.clock_drift", ahead_of_the_database_s=drift_us // 1_000_000)
        if self._role != "console":
            # Loading it keeps the interpreter for half a second: better before the first call than in its middle.
            await asyncio.to_thread(tokens.warm, counting.TOKENIZER)
        epoch = ids.new("ep", clock.now_us())
        self._key_files = keyfiles.KeyFiles(options)
        site = key_format.site_code(await self.store.read(settings.installation_id))
        shop = Shop(
            options=options,
            ring=KeyRing(peppers=self._key_files.peppers, site=site, wrong_keys_per_min=options.wrong_keys_per_min),
            shelf=shelf.ShelfKeeper(),
            board=board.BoardKeeper(),
            health=Health(lambda channel, why: self._alerts.append((channel, why))),
            epoch=epoch,
            limits=UpstreamLimits(
                connect_s=options.connect_s,
                first_byte_s=options.first_byte_s,
                idle_s=options.idle_s,
                answer_bytes_max=options.answer_bytes_max,
                event_bytes_max=options.event_bytes_max,
                read_on_json_s=options.read_on_json_s,
            ),
            rng=Random(),  # noqa: S311 - spreads load, guards nothing
            ground=self.ground,
        )
        try:
            self._log = AppendLog(options.data / "journal", epoch)
        except OSError as fault:
            raise CommandError("server.journal", folder=str(options.data), why=str(fault)) from None
        journal = Journal(self._log, on_fault=self.ground.full)
        self.ports = Ports(clock.SYSTEM, ids.RANDOM, self.store, self.fetch, journal, shop)
        self.node = Node(self.ports, journal=journal, unseal=self._unseal, time=timing.Keeper(dates=dates.HEARD))
        await self.node.begin()
        keyfiles.serving = True
        await self.store.write(keyfiles.note, epoch, self._key_files.said())
        # Whether money and prices need a second person is no setting, and yet the trail has to say when it changed.
        await self.store.write(settings.note_option, "single_person", options.single_person)
        self._pages = Pages(options) if self._role != "api" else None
        app = App(self.ports, self._pages, metered=self._role != "console")
        app.leaks = leaks
        self.reception = Reception(
            app,
            options=options,
            clock=clock.SYSTEM,
            ids=ids.RANDOM,
            account_of=partial(authenticate.account_of, shop.ring),
        )
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self.reception, options.host, options.port, backlog=2048, reuse_address=True
            )
        except OSError as fault:
            why = os.strerror(fault.errno) if fault.errno else str(fault)
            raise CommandError("server.port", port=str(options.port), host=options.host or "*", why=why) from None
        options.port = self.port = self._listener.sockets[0].getsockname()[1]  # links name it
        self.reception.watch()
        if options.loop_watch:
            self.loop_watch = LoopWatch(folder=options.data)
            self.loop_watch.start()
        self._schedule = await schedule.start(
            schedule.Context(self.store, self._take_refusals, self.ground.damaged, self._alerts, self.node.time.sure)
        )
        self._desk = Desk(lambda: shop.health.report(clock.now_us()), self._test_channel)
        office.put(self._desk)
        self._admin = await admin.start(options.admin_socket, {**VERBS, "channel.test": self._test_channel})
        self._tasks = [loop.create_task(self.node.every(seconds, job)) for seconds, job in self.node.jobs()]
        self._tasks += [loop.create_task(self._leave_when_lost()), loop.create_task(self._stand())]

    async def stop(self, *, drain_s: float | None = None) -> None:
        """Take no more calls, let those under way end for `drain_s` seconds, then end them; close everything.

        The answer of a call that has ended may be paid for, so it has that time to leave, too. Takes ten seconds more
        at most, whatever hangs.
        """
        drain_s = self.options.drain_s if drain_s is None else drain_s
        self._until_s = asyncio.get_running_loop().time() + drain_s + _END_S
        if self.node is not None and self._listener is not None:
            await self._drain(drain_s)
        await self._close_parts()

    async def _drain(self, drain_s: float) -> None:
        shop = self.ports.shop
        shop.stopping = True
        if self._listener is not None:
            self._listener.close()
        self.reception.close_idle()
        await self._emptied(drain_s)
        if self.reception.tasks or self.reception.unsent:
            log.warning("serve.cut", calls=len(self.reception.tasks), unsent=self.reception.unsent)
        if self.reception.tasks:
            shop.halt()
            await asyncio.wait(self.reception.tasks, timeout=min(shop.options.settle_wait_s + 5, self._left(_CLOSE_S)))
            await self._emptied(min(_LAST_WORDS_S, self._left(_CLOSE_S)))
        if shop.voider is not None:  # holds of calls that failed while the store was away: a last try
            await asyncio.wait([shop.voider], timeout=min(2, self._left(_CLOSE_S)))

    async def _emptied(self, seconds: float) -> None:
        """Wait until every call has ended and every answer has left, but no longer than this."""
        reception, now = self.reception, asyncio.get_running_loop().time
        until_s = now() + seconds
        while (reception.tasks or reception.unsent) and now() < until_s:
            if reception.tasks:
                await asyncio.wait(reception.tasks, timeout=until_s - now())
            else:
                await asyncio.sleep(min(_LOOK_S, until_s - now()))

    def _left(self, kept_s: float) -> float:
        """Seconds until what comes next has to begin, which needs `kept_s` itself."""
        return max(0.2, self._until_s - kept_s - asyncio.get_running_loop().time())

    async def _end(self, part: str, ending: Awaitable[None]) -> None:
        """Wait for a part to end, but not for one that hangs."""
        try:
            await asyncio.wait_for(ending, self._left(_CLOSE_S / 2))
        except TimeoutError:
            log.warning("serve.hangs", part=part)

    async def _close_parts(self) -> None:
        if self.loop_watch is not None:
            self.loop_watch.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._desk is not None:
            office.take(self._desk)
        if self._admin is not None:
            await self._end("admin", self._admin.stop())
        if self._schedule is not None:
            await self._end("schedule", self._schedule.stop())
        if self._listener is not None:
            self.reception.stop_watching()
            for door in list(self.reception.doors):
                door.abort()
            self._listener.close()
        if self.node is not None:
            await self._end("node", self.node.finish())
        if self._pages is not None:
            await self._end("pages", self._pages.close())
        await self._end("upstreams", self.fetch.close())
        await self.store.close()
        keyfiles.serving = False
        if self._log is not None:
            self._log.close()
        self._lock.release()

    async def _leave_when_lost(self) -> None:
        assert self.node is not None  # noqa: S101
        await self.node.lost.wait()
        self.lost.set()

    async def _stand(self) -> None:
        """Look at the ground once a second; a store that is gone from under the process stops it (promises: F40)."""
        while True:
            await asyncio.sleep(1)
            self.ground.look()
            await self._look_at_keys()
            self.fault = self.ground.fault()
            if self.fault is not None:
                log.error("serve.ground", fault=refusals.said(self.fault, "cli"))
                self.ports.shop.stopping = True
                self.lost.set()
                return

    async def _look_at_keys(self) -> None:
        """Go on with the key files as they are now, and say so in the epoch; ones that can't be read change nothing."""
        try:
            if not self._key_files.changed() and not self._untold:
                return
            self._untold = True
            self.ports.shop.ring.take_peppers(self._key_files.peppers)
            await self.store.write(keyfiles.note, self.ports.shop.epoch, self._key_files.said())
            self._untold = False
        except (FareboxError, OSError) as fault:
            log.warning("serve.keys", fault=str(fault)[:200])

    def _unseal(self, sealed: str, channel_id: str) -> str:
        return board.unsealer(self._key_files.master)(sealed, channel_id)

    async def _test_channel(self, *, actor: str, channel: str, model: str) -> dict[str, Any]:
        del actor
        assert self.node is not None  # noqa: S101
        await self.node.poll()
        return await probe.call(self.ports, channel, model)

    def _take_refusals(self) -> dict[tuple[str, str, str], int]:
        shop = self.ports.shop
        taken, shop.refusals = shop.refusals, {}
        return taken


def run(options: Options, *, role: str = "all", ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready(port)` is called once it listens. Blocks."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, role, ready))


async def _serve(options: Options, role: str, ready: Callable[[int], None] | None) -> None:
    server = Server(options, role=role)
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
    lost = server.node is not None and server.node.lost.is_set()
    # Who has lost his lease can settle nothing any more: his calls end at once.
    await server.stop(drain_s=0 if lost or server.fault else None)
    if server.fault:
        raise CommandError("server.ground_lost", why=server.fault)
    if lost:
        raise CommandError("server.lease_lost")
