"""HTTP/1.1 of the front door: all connections of one serving process, and the watch over them.

Why not an ASGI server: docs/decisions/. A connection is door.py, a request with its answer exchange.py, and what a
head may be head.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from farebox.gateway.flight import Flight
from farebox.kit.clock import Clock
from farebox.kit.ids import Ids
from farebox.kit.options import Options

from . import hops
from .door import FrontDoor
from .exchange import Exchange
from .head import Networks

log = structlog.get_logger(__name__)

# Requests of one address whose head has been coming for longer than a moment.
HEADS_PER_ADDRESS_MAX = 64
_MOMENT_S = 0.5

Handler = Callable[[Exchange], Coroutine[Any, Any, None]]


class Reception:
    """All connections of one serving process, and what they share.

    CommandError if a trusted proxy is no address, or the field in which it names its client is not known.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        options: Options,
        clock: Clock,
        ids: Ids,
        account_of: Callable[[str | None], str] = lambda _authorization: "",
    ) -> None:
        """`account_of` knows the account of an Authorization field without a look-up, or says nothing."""
        self.handler = handler
        self.account_of = account_of
        self.flight = Flight(options)
        self.options = options
        self.clock = clock
        self.ids = ids
        self.doors: set[FrontDoor] = set()
        self.per_address: dict[str, int] = {}
        self.per_account: dict[str, int] = {}
        self.lingering: dict[FrontDoor, None] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.trusted = Networks(options.trusted_proxies)
        self.forwarded = hops.check_field(options.forwarded_header)
        self._told_of_hop = False
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> FrontDoor:
        """A protocol for a new connection."""
        return FrontDoor(self)

    def start(self, exchange: Exchange) -> None:
        """Let the handler answer this request, in a task of its own: a customer who hangs up cannot cancel it."""
        task = asyncio.get_running_loop().create_task(self.handler(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def client_of(self, fields: Mapping[str, str]) -> str:
        """The address for which a trusted proxy asks; empty if it says none that can be read, which is logged once."""
        found, odd = hops.client(fields, self.forwarded, self.trusted)
        if odd and not self._told_of_hop:
            self._told_of_hop = True
            log.warning("door.odd_hop", field=self.forwarded, hop=odd[:64], why="its requests count as the proxy's")
        return found

    def recognise(self, exchange: Exchange) -> None:
        """Admit an exchange whose key is known without a look-up; what the key may do is looked at later."""
        if account := self.account_of(exchange.authorization):
            exchange.admit(account)

    def watch(self) -> None:
        """Look after silence, slowness and idleness: the timers of thousands of connections in one."""
        # First of all: whatever fails below must not be the last look.
        self._timer = asyncio.get_running_loop().call_later(0.5, self.watch)
        now = time.monotonic()
        self._end_slow_heads(now)
        self._end_unread()
        for door in list(self.doors):
            door.look(now)

    def stop_watching(self) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()

    def close_idle(self) -> None:
        """Close connections without a request, and the others after their answer."""
        self.closing = True
        for door in list(self.doors):
            door.close_if_idle()

    @property
    def unsent(self) -> int:
        """How many connections hold bytes of an answer that have not left yet."""
        return sum(door.unsent_bytes > 0 for door in self.doors)

    def _end_unread(self) -> None:
        """Drop who does not read, where more waits for strangers, or callers, than they may hold.

        An answer that was paid for waits among those of callers until it has left, so that strangers can't end it.
        """
        waiting = [(size, id(door), door) for door in self.doors if (size := door.unsent_bytes)]
        for known, share in ((False, self.flight.strangers), (True, self.flight.callers)):
            self._drop_most([each for each in waiting if bool(each[2].account) is known], share.bytes_max)

    def _drop_most(self, waiting: list[tuple[int, int, FrontDoor]], bytes_max: int) -> None:
        """Drop the largest answers of the account for which most waits, until there is room."""
        over_bytes = sum(size for size, _, _ in waiting) - bytes_max
        if over_bytes <= 0:
            return
        by_account: dict[str, list[tuple[int, int, FrontDoor]]] = {}
        for each in sorted(waiting):
            by_account.setdefault(each[2].account, []).append(each)
        while over_bytes > 0:
            most = max(by_account.values(), key=lambda answers: sum(size for size, _, _ in answers))
            size, _, door = most.pop()
            door.abort()
            over_bytes -= size

    def _end_slow_heads(self, now: float) -> None:
        """Refuse the oldest unfinished heads of an address that has too many (slowloris)."""
        slow: dict[str, list[tuple[float, int, FrontDoor]]] = {}
        for door in self.doors:
            since = door.head_since
            if since is not None and now - since > _MOMENT_S and door.address not in self.trusted:
                slow.setdefault(door.address, []).append((since, id(door), door))
        for heads in slow.values():
            for _, _, door in sorted(heads)[: max(0, len(heads) - HEADS_PER_ADDRESS_MAX)]:
                door.too_slow()
