"""What the path of a call needs of the world: six ports, and the shop's own state beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol, TypeVar

from farebox.accounts.keys.caller import Caller
from farebox.accounts.keys.ring import KeyRing
from farebox.calls.log import AttemptFacts, CallEnd, CallStart
from farebox.catalog.shelf import ShelfKeeper
from farebox.kit.clock import Clock
from farebox.kit.errors import FareboxError
from farebox.kit.ground import Ground
from farebox.kit.ids import Ids
from farebox.kit.options import Options
from farebox.upstreams.board import BoardKeeper
from farebox.upstreams.health import Health
from farebox.upstreams.send import Along, UpstreamLimits, UpstreamPort

from . import flight
from .rate_limits import Rates
from .sampling import Sampler
from .shares import Places
from .slips import Slips

T = TypeVar("T")

LOOKUPS_MAX: Final = 200


class StorePort(Protocol):
    """The store, one commit a group; see kit.db.Store.

    `alone`: a lock proves that no other process writes it, so older epochs are dead; else leases decide (promises 1.5).
    """

    alone: bool

    async def write(
        self,
        fn: Callable[..., T],
        *args: Any,
        locks: Sequence[str] = (),
        patient: bool = False,
        within_s: float | None = None,
        again: bool = False,
    ) -> T:
        """Run `fn(tx, *args)` in a transaction; its result once it is durable.

        `again`: an earlier try of the same work may have been committed.
        """

    async def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run `fn(tx, *args)` for reading."""

    async def watch(self, fn: Callable[..., T], *args: Any) -> T:
        """The same, where no customer's look-up can be in the way."""


class JournalPort(Protocol):
    """Settlements that wait for the store; see journal.Journal."""

    @property
    def full(self) -> bool:
        """Whether so much waits that no new call may begin."""

    def __len__(self) -> int: ...

    async def keep(self, start: CallStart, end: CallEnd, unlisted: str) -> None:
        """Make a settlement durable without the store; OSError."""

    async def replay(self, store: StorePort) -> int:
        """Write what waits into the store; how many."""


class ClientPort(Protocol):
    """The customer's end of one call. Writing to one who has left is no error; nothing is sent then."""

    left: bool

    def on_left(self, callback: Callable[[], None] | None) -> None:
        """Call back once when the customer leaves; at once if he has."""

    def begin(self, headers: Sequence[tuple[str, str]], *, stream: bool, patient: bool = False) -> None:
        """What the head of the answer must hold; from now on silence is filled with empty lines."""

    async def send(self, data: bytes) -> None:
        """Send a piece of a stream; waits while the customer reads slowly, and cuts one who does not read."""

    async def finish(self, data: bytes) -> None:
        """Send the last bytes of a stream."""

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with a whole JSON body."""

    async def refuse(self, error: FareboxError) -> None:
        """Answer with an error in OpenAI's form: with its status, or inside a stream that has begun."""

    def cut(self) -> None:
        """Wait for them no longer: `send` returns at once, and one who is behind with reading is dropped."""

    def drop(self) -> None:
        """End the answer silently: the connection breaks."""


@dataclass(slots=True, eq=False)
class UnderWay:
    """A call whose money is held, between its upstream and its customer."""

    along: Along
    client: ClientPort
    caller: Caller

    def revoke(self) -> None:
        """The key has ended: the call is cut (R21)."""
        self.along.revoke()
        self.client.cut()

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
    limits: UpstreamLimits
    rng: Random
    ground: Ground = field(default_factory=Ground)
    rates: Rates = field(default_factory=Rates)
    slips: Slips = field(default_factory=Slips)
    sampler: Sampler = field(default_factory=Sampler)
    places: Places = field(init=False)  # of calls, among `calls_max`
    lookups: Places = field(init=False)  # of free requests that ask the store
    answers: flight.AccountShares = field(init=False)  # bytes of large answers under way
    overdrawn: frozenset[str] = frozenset()  # accounts whose allowance is below 0: they hold all that a call may cost
    stopping: bool = False
    halted: bool = False
    begun: set[str] = field(default_factory=set)  # the ids of the requests that are being answered
    under_way: dict[UnderWay, None] = field(default_factory=dict)  # a set in the order of coming
    refusals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    delivered: list[str] = field(default_factory=list)  # calls whose whole answer has left, to be marked (R25)
    to_void: dict[str, tuple[CallStart, list[AttemptFacts]]] = field(default_factory=dict)  # see voiding.void_later
    voider: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.places = Places(lambda: int(self.options.calls_max))
        self.lookups = Places(lambda: LOOKUPS_MAX)
        self.answers = flight.answers(self.options)

    @property
    def calls(self) -> int:
        """How many calls hold a place."""
        return self.places.taken

    def halt(self) -> None:
        """Stop the calls under way, and those whose hold is placed from now on, as soon as it is."""
        self.halted = True
        for each in list(self.under_way):
            each.halt()


@dataclass(slots=True)
class Ports:
    """Clock, ids, store, journal and upstream; the client comes with each call."""

    clock: Clock
    ids: Ids
    store: StorePort
    upstream: UpstreamPort
    journal: JournalPort
    shop: Shop
