"""One connection of a customer: asyncio.Protocol on httptools.

Trailers never become headers; whatever is not a request is refused in OpenAI's form; a customer who leaves, or does
not read, is noticed. A customer whose side closes after a whole request still reads: they get the answer, then the
connection ends.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import httptools

from farebox.gateway.flight import HEAD_BYTES_FREE, Flight, Share
from farebox.kit import errors
from farebox.kit.clock import Clock
from farebox.kit.errors import FareboxError
from farebox.kit.ids import Ids
from farebox.kit.options import Options
from farebox.kit.shares import hogs

from . import head
from .exchange import CONTINUE, Exchange

PER_ADDRESS_MAX = 256
SPARE_MAX = 64  # connections beyond the limit that are told so (503); more are closed without a word
PIPELINED_MAX = 128  # requests that came on one connection before the first was answered
PIPELINED_READ = 8  # and how many until no more is read
WAITING_BYTES_MAX = 256 * 1024
WRITE_BYTES_HIGH = 256 * 1024
# What a chunked body may hold beside its data: sizes, extensions, trailers.
FRAMING_BYTES_MAX = 64 * 1024
CHUNK_FRAME_BYTES = 64
LINGER_S = 2.0
# Whether a customer who has closed his side is still there (tcp(7)): asked after a second of silence, five times.
_QUESTIONS = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 5),
)
_TCP_CLOSE = 7  # the first byte of TCP_INFO: the connection is no more (linux/tcp.h)
_LOCAL = frozenset({"127.0.0.1", "::1", "local"})


class Hall(Protocol):
    """What the connections of a process share."""

    options: Options
    clock: Clock
    ids: Ids
    doors: set[FrontDoor]
    per_address: dict[str, int]
    per_account: dict[str, int]
    lingering: dict[FrontDoor, None]  # answered, and heard for a moment more; the oldest first
    trusted: head.Networks
    flight: Flight
    closing: bool

    def start(self, exchange: Exchange) -> None:
        """Let somebody answer this request."""

    def client_of(self, fields: Mapping[str, str]) -> str:
        """The address for which a trusted proxy asks; empty if it says none that can be read."""

    def recognise(self, exchange: Exchange) -> None:
        """Admit an exchange whose key is known without a look-up."""


class FrontDoor(asyncio.Protocol):
    """One connection. Requests are answered in the order in which they came."""

    __slots__ = (
        "_account",
        "_address",
        "_broken",
        "_coming",
        "_counted",
        "_current",
        "_dead",
        "_drain",
        "_ended_his",
        "_field_bytes",
        "_fields",
        "_flushed_bytes",
        "_framing_bytes",
        "_hall",
        "_head_bytes",
        "_hosts",
        "_in_head",
        "_lingers_until",
        "_parser",
        "_reading",
        "_room",
        "_room_of",
        "_since",
        "_stuck_since",
        "_surplus",
        "_transport",
        "_trusted",
        "_waiting",
        "_written_bytes",
        "flight",
        "options",
        "paused",
    )

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self.options = hall.options
        self.flight = hall.flight
        self.paused = False
        self._transport: Any = None
        self._parser: Any = None
        self._address = ""
        self._account = ""  # whose requests came last
        self._room_of = ""
        self._room: Share | None = None
        self._trusted = False  # a reverse proxy of the shop's
        self._current: Exchange | None = None  # being answered
        self._coming: Exchange | None = None  # being read
        self._waiting: deque[Exchange] = deque()
        self._reading = True
        self._head_bytes = 0
        self._framing_bytes = 0
        self._fields = 0
        self._field_bytes = 0
        self._in_head = True
        self._hosts = 0
        self._dead = False
        self._broken = False  # nothing more is read as requests
        self._ended_his = False  # the customer has closed his side
        self._since = time.monotonic()
        self._drain: asyncio.Future[None] | None = None
        self._written_bytes = 0
        self._flushed_bytes = 0
        self._stuck_since = self._since
        self._lingers_until = 0.0
        self._counted = False
        self._surplus = False  # one connection too many: its first request gets 503 (promises: F43)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or close it if there are too many."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else "local"
        hall = self._hall
        same = hall.per_address.get(self._address, 0)
        self._trusted = self._address in hall.trusted
        exempt = self._address in _LOCAL or self._trusted
        surplus = len(hall.doors) - len(hall.lingering) - self.options.connections_max
        if surplus >= SPARE_MAX or (same >= PER_ADDRESS_MAX and not exempt):
            transport.close()
            return
        if hall.lingering and len(hall.doors) >= self.options.connections_max:
            next(iter(hall.lingering)).abort()  # it is answered, and keeps nobody out
        self._surplus = surplus >= 0
        self._counted = True
        hall.per_address[self._address] = same + 1
        hall.doors.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The customer is gone: tell whoever works for them."""
        del exc
        self._dead = True
        self._parser = None  # it knows us: without this only the garbage collector ends the circle
        if self._counted:
            self._counted = False
            hall = self._hall
            hall.lingering.pop(self, None)
            hall.doors.discard(self)
            left = hall.per_address.get(self._address, 1) - 1
            if left > 0:
                hall.per_address[self._address] = left
            else:
                hall.per_address.pop(self._address, None)
            self._leave_account()
        self._let_drain()
        waiting, self._waiting = self._waiting, deque()
        for exchange in (self._current, self._coming, *waiting):
            if exchange is not None:
                exchange.gone()
                if exchange is not self._current:  # nobody answers it
                    exchange.free()
        # One whose task was cancelled says no word of its end, and knows us.
        self._current = self._coming = None

    def eof_received(self) -> bool:
        """A customer has closed his side: what came whole is answered, what did not come has no asker any more.

        He may have closed both: who writes to such a one is told so by his system, and `look` hears of it.
        """
        self._broken = self._ended_his = True
        coming, self._coming = self._coming, None
        if coming is not None and not coming.complete and not coming.refused:
            coming.gone()
            if coming in self._waiting:
                self._waiting.remove(coming)
            if coming is not self._current:
                coming.free()
        if self._current is None and not self._waiting:
            return False
        line = self._transport.get_extra_info("socket")
        if line is not None and line.family in {socket.AF_INET, socket.AF_INET6}:
            # A system that forgot a program that is gone (after a minute, on Linux) answers that there is no such line.
            for name, value in _QUESTIONS:
                line.setsockopt(*name, value)
        if self._current is not None:
            self._current.probe()
        return True

    def pause_writing(self) -> None:
        """The customer reads slower than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """The customer has caught up."""
        self.paused = False
        self._let_drain()
        self._next()

    def data_received(self, data: bytes) -> None:
        """Bytes from the customer."""
        if self._broken or self._parser is None:
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(errors.BadRequest("This address speaks HTTP/1.1 only.", status=426))
        except httptools.HttpParserError as fault:
            self._refuse(errors.BadRequest(f"This is not a valid HTTP request: {str(fault)[:60]}"))
        if self._in_head and self._head_bytes > head.BYTES_MAX:
            self._refuse(errors.BadRequest("The head of the request is too large.", status=431))
        elif self._in_head and self._head_bytes > HEAD_BYTES_FREE and self._coming is not None:
            if not self._coming.hold(len(data)):
                self._refuse(errors.Overloaded())
        elif self._framing_bytes > FRAMING_BYTES_MAX and not self._in_head:
            self._refuse(errors.BadRequest("The chunks of the request body are too small, or its trailers too large."))
        if self._waiting and self._reading and self._is_full():
            self._reading = False
            self._transport.pause_reading()

    # httptools

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._framing_bytes = 0
        self._fields = 0
        self._field_bytes = 0
        self._hosts = 0
        self._since = time.monotonic()
        if not self._broken:
            self._coming = self._exchange()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        exchange = self._coming
        if exchange is None or self._broken:
            return
        exchange.target += url
        if len(exchange.target) > head.TARGET_BYTES_MAX:
            self._refuse(errors.BadRequest("The address of the request is too long.", status=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; what comes after the body (a trailer) is no field of the request."""
        exchange = self._coming
        if exchange is None or not self._in_head or self._broken:
            return
        self._fields += 1
        self._field_bytes += len(name) + len(value) + 4
        if self._fields > head.FIELDS_MAX or self._field_bytes > head.BYTES_MAX:
            self._refuse(errors.BadRequest("The head of the request is too large.", status=431))
            return
        key = name.decode("latin-1").lower()
        if "_" in key:
            # To who reads fields as variables (PEP 3333) `sec_fetch_site` is `sec-fetch-site`: nobody gets to see it.
            return
        if key == "host":
            self._hosts += 1
        text = value.decode("latin-1").strip(" \t")
        if key in exchange.head:
            if key in head.SINGLE:
                self._refuse(errors.BadRequest(f"The field {key} is repeated."))
                return
            # A list in several lines is one list (RFC 9110 5.3); cookies have a mark of their own (RFC 9113 8.2.3).
            text = f"{exchange.head[key]}{'; ' if key == 'cookie' else ', '}{text}"
        exchange.head[key] = text

    def on_headers_complete(self) -> None:
        """The head is complete: begin to work, before the body is read."""
        exchange, parser = self._coming, self._parser
        self._in_head = False
        self._head_bytes = 0
        if exchange is None or self._broken:
            return
        exchange.method = parser.get_method().decode("latin-1")
        exchange.version = parser.get_http_version()
        exchange.keep_alive = exchange.version == "1.1" and parser.should_keep_alive()
        exchange.started = self._since
        fields = exchange.head
        exchange.authorization = fields.get("authorization")
        if self._trusted:
            exchange.address = self._hall.client_of(fields) or self._address
        fault = head.fault(
            fields,
            method=exchange.method,
            version=exchange.version,
            upgrade=parser.should_upgrade(),
            hosts=self._hosts,
            target=exchange.target,
        )
        if fault is None and len(self._waiting) >= PIPELINED_MAX:
            fault = errors.BadRequest("Too many requests were pipelined on one connection.")
        if fault is None and self._surplus:
            fault = errors.Overloaded()
        if fault is None and self._field_bytes > HEAD_BYTES_FREE and not exchange.hold(self._field_bytes):
            fault = errors.Overloaded()
        if fault is not None:
            self._refuse(fault)
            return
        exchange.target = head.path_of(exchange.target)
        if "content-length" in fields:
            exchange.length = int(fields["content-length"])
            exchange.bound(exchange.bytes_max)
        elif "transfer-encoding" not in fields:
            exchange.length = 0
        self._waiting.append(exchange)
        self._next()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._framing_bytes -= len(data)
        if self._coming is not None:
            self._coming.feed(data)

    def on_chunk_complete(self) -> None:
        """A chunk ended: each may have its frame, what is above adds up."""
        self._framing_bytes = max(0, self._framing_bytes - CHUNK_FRAME_BYTES)

    def on_message_complete(self) -> None:
        """The request is complete."""
        exchange = self._coming
        self._in_head = True
        self._framing_bytes = 0
        if exchange is not None and not self._broken:
            self._coming = None
            exchange.whole()

    # for the exchange

    def room(self, account: str) -> Share:
        """What the bytes of an account's requests count in; kept here, for the next comes from the same one."""
        if self._room is None or self._room_of != account:
            self._room_of, self._room = account, self.flight.of(account)
        return self._room

    def belong(self, account: str) -> bool:
        """Whose requests come on this connection from now on; False where he has so many that others find no room."""
        if account == self._account or not self._counted:
            return True
        self._leave_account()
        hall = self._hall
        mine = hall.per_account.get(account, 0)
        if hogs(len(hall.doors), mine, self.options.connections_max):
            return False
        self._account = account
        hall.per_account[account] = mine + 1
        return True

    def _leave_account(self) -> None:
        account, self._account = self._account, ""
        if account:
            per_account = self._hall.per_account
            per_account[account] -= 1
            if not per_account[account]:
                del per_account[account]

    def recognise(self, exchange: Exchange) -> None:
        """Admit an exchange whose key is known without a look-up."""
        if not exchange.account:
            self._hall.recognise(exchange)

    @property
    def closing(self) -> bool:
        """Whether this connection takes no further request."""
        return self._hall.closing or (self._broken and not self._waiting)

    def write(self, data: bytes) -> None:
        """Write to the customer, if he is there."""
        if not self._dead and not self._transport.is_closing():
            self._written_bytes += len(data)
            self._transport.write(data)

    def invite(self, exchange: Exchange) -> None:
        """Tell a customer who waits for it to send the body."""
        if "expect" in exchange.head:
            del exchange.head["expect"]
            if not exchange.complete and not exchange.body_bytes:
                self.write(CONTINUE)

    async def drained(self) -> None:
        """Wait until the customer has read enough; one who does not read is cut by `look` (R18)."""
        if self._dead:
            return
        if self._drain is None or self._drain.done():
            self._drain = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drain)

    def done(self, exchange: Exchange) -> None:
        """The answer is complete: close, or continue with the next request."""
        if exchange is not self._current:
            return
        self._current = None
        self._since = time.monotonic()
        if not exchange.keep_alive or self.closing:
            self._close()
        else:
            self._next()

    # for the hall

    @property
    def head_since(self) -> float | None:
        """Since when the head of the only request on this connection has been coming; None if it isn't."""
        coming = self._coming is not None and self._in_head and self._current is None and not self._broken
        return self._since if coming else None

    @property
    def address(self) -> str:
        """The address that the connection comes from."""
        return self._address

    @property
    def unsent_bytes(self) -> int:
        """Bytes of an answer that have not left yet: the customer's system takes no more of them now."""
        return int(self._transport.get_write_buffer_size())

    @property
    def account(self) -> str:
        """Whose requests come on this connection; empty before a key of theirs was looked at."""
        return self._account

    def look(self, now: float) -> None:
        """Once or twice a second: empty lines, slow heads and bodies, idle connections, customers who do not read."""
        options, coming = self.options, self._coming
        if self._is_stuck(now) or (self._ended_his and self._is_gone()):
            self._transport.abort()
        elif self._lingers_until:
            if now > self._lingers_until:
                self._transport.close()
        elif self._current is not None:
            self._current.keep_alive_due(now)
            if coming is not None and not self._in_head and coming.slow(now, reading=self._reading):
                coming.fail(errors.RequestTimeout("The request body came too slowly: at least 1 KiB/s is needed."))
        elif coming is not None and not self._in_head:
            if coming.slow(now, reading=True):  # it is answered already; only its rest was waited for
                self._close()
        elif self.head_since is not None:
            if now - self._since > options.head_s:
                self.too_slow()
        elif now - self._since > options.idle_connection_s:
            self._transport.close()

    def too_slow(self) -> None:
        """Refuse a request whose head does not come."""
        limit_s = self.options.head_s
        self._refuse(errors.RequestTimeout(f"The head of the request did not arrive within {limit_s} s."))

    def close_if_idle(self) -> None:
        """Close, unless an answer is owed."""
        if self._current is None and not self._waiting:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # inside

    def _exchange(self) -> Exchange:
        hall = self._hall
        return Exchange(self, hall.ids.new("call", hall.clock.now_us()), self._address)

    def _next(self) -> None:
        """Let the next request be answered, if it is its turn and the customer reads."""
        if self._current is not None or self._dead or self._lingers_until or self._transport.is_closing():
            return
        if self._waiting and not self.paused:
            self._current = self._waiting.popleft()
            self._hall.start(self._current)
        if not self._reading and not self._is_full():
            self._reading = True
            self._transport.resume_reading()

    def _is_full(self) -> bool:
        waiting = self._waiting
        return len(waiting) >= PIPELINED_READ or sum(each.body_bytes for each in waiting) > WAITING_BYTES_MAX

    def _refuse(self, error: FareboxError) -> None:
        """Refuse what is being read, in its turn; nothing after it is read on this connection."""
        if self._broken:
            return
        self._broken = True
        exchange = self._coming
        if exchange is not None and exchange.ended:
            self._close()
        elif exchange is not None and (exchange is self._current or exchange in self._waiting):
            exchange.fail(error)
        else:
            exchange = self._coming = exchange or self._exchange()
            exchange.refusal = error
            exchange.keep_alive = False
            self._waiting.append(exchange)
            self._next()

    def _close(self) -> None:
        """End the connection.

        While a customer still sends, he is heard for a moment after our last byte: else his system would drop the
        answer with the connection (RFC 9112 9.6).
        """
        if self._dead or self._transport.is_closing():
            return
        if self._coming is None or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._broken = True
        self._lingers_until = time.monotonic() + LINGER_S
        self._hall.lingering[self] = None
        try:
            self._transport.write_eof()
        except OSError:  # he has reset the connection, and we were not told yet
            self._transport.abort()
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _is_stuck(self, now: float) -> bool:
        """Whether the customer has read nothing for too long, though there is something."""
        waiting_bytes = self._transport.get_write_buffer_size()
        flushed_bytes = self._written_bytes - waiting_bytes
        if waiting_bytes == 0 or flushed_bytes > self._flushed_bytes:
            self._stuck_since = now
            self._flushed_bytes = flushed_bytes
            return False
        slow_s: int = self.options.slow_reader_s
        return now - self._stuck_since > slow_s

    def _is_gone(self) -> bool:
        """Whether the connection is no more: after their end nobody reads from it, so that nothing else says so."""
        line = self._transport.get_extra_info("socket")
        try:
            return line is not None and line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == _TCP_CLOSE
        except (OSError, ValueError):  # of another kind, or closed
            return False

    def _let_drain(self) -> None:
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        self._drain = None
