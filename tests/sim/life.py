"""One life of one node: a serving process without its sockets, and the machine that it runs on."""

from __future__ import annotations

import asyncio
import contextvars
import json
from random import Random
from typing import TYPE_CHECKING, Any

from farebox.accounts.keys.ring import KeyRing
from farebox.catalog import shelf
from farebox.gateway.flight import Flight
from farebox.gateway.http.app import App
from farebox.gateway.http.exchange import Exchange
from farebox.gateway.journal import Journal
from farebox.gateway.ports import Ports, Shop
from farebox.gateway.sampling import Sampler
from farebox.jobs import schedule
from farebox.kit import epochs, timing
from farebox.kit.errors import FareboxError
from farebox.site.node import Node
from farebox.upstreams import board
from farebox.upstreams.send import UpstreamLimits

from .blame import Judged
from .client import Door, Sent
from .clocks import SimClock, SimMachine
from .disk import SimDisk, SimLog
from .loop import EPOCH, Killed
from .store import SimStore
from .upstream import SimUpstream

if TYPE_CHECKING:
    from .world import World

EXPIRE_S = 1.5


class Life:
    """One life of one node: what a serving process is, without its sockets."""

    def __init__(self, world: World, node: int, number: int) -> None:
        self.world = world
        self.node = node
        self.name = f"n{node}.{number}"
        self.options = world.options
        self.flight = Flight(world.options)
        self.up = False
        self.writing = False
        self.stopping = False
        self.doors: dict[Door, None] = {}
        self.waiting: dict[Sent, None] = {}  # on connections that the process has not taken yet
        self.tasks: dict[asyncio.Task[None], None] = {}
        self.app: App
        self.shop: Shop
        self.inner: Node
        self.gone_s: float | None = None  # when it was killed, or had ended
        self.paused = False  # at any time
        self.pauses_s: list[float] = []  # when each began
        self._context = contextvars.Context()
        self._context.run(EPOCH.set, self)
        self._jobs: list[asyncio.Task[None]] = []

    def context(self) -> contextvars.Context:
        return self._context.copy()

    def fence(self) -> None:
        """Nothing of a dead process reaches the world."""
        if self in self.world.loop.dead or self.world.loop.over:
            raise Killed

    def post(self, step: Any, *args: Any) -> None:
        """Let `step` run in this life: later if it is paused, never if it is dead."""
        self.world.loop.call_soon(step, *args, context=self.context())

    def spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self.world.loop.create_task(coroutine, context=self.context())
        task.add_done_callback(self._looked_at, context=self.world.context())
        return task

    def _looked_at(self, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, Killed):
            self.world.find(f"{self.name}: a task ended with {fault!r}")

    async def live(self) -> None:
        """From the start of the process to its orderly end; see site.serve.Server."""
        world, chosen, town = self.world, self.options, self.world.town
        rng = Random(f"life {world.plan.seed} {self.name}")
        machine = world.machines[self.node]
        store = SimStore(
            self, world.weather, alone=world.plan.nodes == 1, rng=rng, wait_s=chosen.store_wait_ms / 1000,
            queue_max=chosen.store_queue_max,
        )  # fmt: skip
        machine.clock.restart()
        try:
            machine.clock.not_before(await store.read(epochs.newest_us), behind_h_max=chosen.clock_behind_h_max)
        except FareboxError:  # the store is away: the process ends, and is started again
            world.end_life(self, again_s=2.5)
            return
        self.shop = Shop(
            options=chosen,
            ring=KeyRing(peppers=town.peppers, site=town.site, wrong_keys_per_min=chosen.wrong_keys_per_min),
            shelf=shelf.ShelfKeeper(), board=board.BoardKeeper(), health=Judged(self),
            epoch=world.ids.new("ep", machine.clock.now_us()),
            limits=UpstreamLimits(
                connect_s=chosen.connect_s, first_byte_s=chosen.first_byte_s, idle_s=chosen.idle_s,
                answer_bytes_max=chosen.answer_bytes_max, read_on_json_s=chosen.read_on_json_s,
                event_bytes_max=chosen.event_bytes_max,
            ),
            rng=rng, sampler=Sampler(0),
        )  # fmt: skip
        world.epochs[self.shop.epoch] = self
        journal = Journal(SimLog(self, machine.disk))
        self.journal = journal
        ports = Ports(machine.clock, world.ids, store, SimUpstream(self), journal, self.shop)
        keeper = timing.Keeper(SimMachine(world.loop, machine.clock, self.node))
        self.inner = Node(ports, journal=journal, unseal=board.unsealer(town.master), time=keeper)
        try:
            await self.inner.begin()
        except FareboxError:
            world.end_life(self, again_s=2.5)
            return
        self.app = App(ports)
        self.up = True
        # As late as the time that this process has: its keeper says whether it may be believed.
        context = schedule.Context(store, sure=lambda now_us: keeper.sure(now_us), now_us=machine.clock.now_us)

        async def expire_lots() -> None:
            await schedule.expire_lots(context)

        jobs = [*self.inner.jobs(), (EXPIRE_S, expire_lots)]
        self._jobs = [self.spawn(self.inner.every(seconds, job)) for seconds, job in jobs]
        await self.inner.lost.wait()
        await self._stop(0 if not self.stopping else chosen.drain_s)
        world.end_life(self, again_s=0.5)

    async def _stop(self, drain_s: float) -> None:
        shop = self.shop
        shop.stopping = True
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=drain_s)
        if self.tasks:
            shop.halt()
            await asyncio.wait(list(self.tasks), timeout=shop.options.settle_wait_s + 5)
        if shop.voider is not None:
            await asyncio.wait([shop.voider], timeout=2)
        self.up = False
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for door in list(self.doors):
            door.abort()
        await self.inner.finish()

    def connect(self, sent: Sent) -> None:
        """A customer's request has come."""
        world = self.world
        self.waiting.pop(sent, None)
        sent.life = self
        sent.id = world.ids.new("call", world.machines[self.node].clock.now_us())
        world.by_id[sent.id] = sent
        door = Door(self, sent)
        exchange = door.exchange = Exchange(door, sent.id, "10.0.0.1")
        key = world.town.keys[sent.call.key]
        exchange.method = "POST"
        exchange.target = b"/v1/embeddings" if sent.call.model == "vector" else b"/v1/chat/completions"
        exchange.authorization = f"Bearer {key.text}"
        exchange.head = {"content-type": "application/json"} | ({"idempotency-key": sent.once} if sent.once else {})
        self.doors[door] = None
        body = _body(sent)
        exchange.length = len(body)
        if sent.call.client == "slow body":
            world.fired("client: slow body")
            exchange.feed(body[:20])
            world.loop.call_later(sent.call.client_s, self._rest, exchange, body[20:])
        else:
            exchange.feed(body)
            exchange.whole()
        task = self.spawn(self.app(exchange))
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))
        leaves = {"reset": world.leave, "half-close": world.half_close}.get(sent.call.client)
        if leaves is not None:
            world.loop.call_later(sent.call.client_s, leaves, sent, self, door, context=world.context())

    @staticmethod
    def _rest(exchange: Exchange, data: bytes) -> None:
        exchange.feed(data)
        exchange.whole()


def _body(sent: Sent) -> bytes:
    call = sent.call
    text = f"c{call.number}r{sent.repeat}#{call.text}"
    body: dict[str, Any] = {"model": call.model}
    if call.model == "vector":
        body["input"] = text
    else:
        body["messages"] = [{"role": "user", "content": text}]
        sent.messages = json.dumps(body["messages"], separators=(",", ":"))
        if call.limit is not None:
            body["max_tokens"] = call.limit
        if call.stream:
            body["stream"] = True
            if call.include_usage:
                body["stream_options"] = {"include_usage": True}
    return json.dumps(body).encode()


class Machine:
    """What a node keeps over its lives: disk and clock."""

    def __init__(self, world: World, node: int) -> None:
        self.disk = SimDisk(Random(f"disk {world.plan.seed} {node}"))
        self.clock = SimClock(world.loop, world.wall)
        self.lives = 0
        self.jumps: list[tuple[float, int]] = []  # of the clock: when, and by how many microseconds
        self.life: Life | None = None
