"""What the path of a call needs of the world: five ports, and the shop's own state beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

from farebox.accounts.ring import KeyRing
from farebox.calls.log import AttemptFacts, Opened
from farebox.catalog.shelf import ShelfKeeper
from farebox.kit.clock import Clock
from farebox.kit.errors import FareboxError
from farebox.kit.ids import Ids
from farebox.kit.options import Options
from farebox.upstreams.board import BoardKeeper
from farebox.upstreams.health import Health
from farebox.upstreams.send import Along, Limits, UpstreamPort

T = TypeVar("T")


class StorePort(Protocol):
    """The store, one commit a group; see kit.db.Store."""

    async def write(
        self,
        fn: Callable[..., T],
        *args: Any,
        locks: Sequence[str] = (),
        patient: bool = False,
        within_s: float | None = None,
    ) -> T:
        """Run `fn(tx, *args)` in a transaction; its result once it is durable."""

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(tx, *args)` for reading."""


class ClientPort(Protocol):
    """The customer's end of one call. Writing to one who has left is no error; nothing is sent then."""

    left: bool

    def on_left(self, callback: Callable[[], None] | None) -> None:
        """Call back once when the customer leaves; at once if he has."""

    def begin(self, headers: Sequence[tuple[str, str]], *, stream: bool, patient: bool = False) -> None:
        """What the head of the answer shall hold; from now on silence is filled with empty lines."""

    async def send(self, data: bytes) -> None:
        """Send a piece of a stream; waits while the customer reads slowly, and cuts one who does not read."""

    async def finish(self, data: bytes) -> None:
        """Send the last bytes of a stream."""

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with a whole JSON body."""

    async def refuse(self, error: FareboxError) -> None:
        """Answer with an error in OpenAI's form: with its status, or inside a stream that has begun."""

    def cut(self) -> None:
        """Wait for him no longer: `send` returns at once, and one who is behind with reading is dropped."""


@dataclass(slots=True, eq=False)
class UnderWay:
    """A call whose money is held, between its upstream and its customer."""

    along: Along
    client: ClientPort

    def halt(self) -> None:
        """The process stops: nothing that the call waits for keeps it any longer."""
        self.along.halt()
        self.client.cut()


@dataclass(slots=True)
class Shop:
    """The state of one serving process: snapshots that are swapped whole, limits, and its epoch."""

    options: Options
    ring: KeyRing
    shelf: ShelfKeeper
    board: BoardKeeper
    health: Health
    epoch: str
    limits: Limits
    rng: Random
    calls: int = 0
    stopping: bool = False
    halted: bool = False
    under_way: set[UnderWay] = field(default_factory=set)
    refusals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    to_void: dict[str, tuple[Opened, list[AttemptFacts]]] = field(default_factory=dict)  # see voiding.void_later
    voider: asyncio.Task[None] | None = None

    def halt(self) -> None:
        """Stop the calls under way, and those whose hold is placed from now on, as soon as it is."""
        self.halted = True
        for each in list(self.under_way):
            each.halt()


@dataclass(slots=True)
class Ports:
    """Clock, ids, store and upstream; the fifth port, the client, comes with each call."""

    clock: Clock
    ids: Ids
    store: StorePort
    upstream: UpstreamPort
    shop: Shop
