"""HTTP/1.1 of the front door: asyncio.Protocol on httptools, and the customer's end of each call.

Why not an ASGI server: docs/decisions/. What matters here: trailers never become headers, every refusal is in
OpenAI's form, a customer who leaves or does not read is noticed at once, and a request costs few objects.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
import structlog

from farebox.accounts.caller import Caller
from farebox.kit import errors
from farebox.kit.clock import Clock
from farebox.kit.errors import FareboxError
from farebox.kit.ids import Ids
from farebox.kit.options import Options

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX = 32 * 1024
FIELDS_MAX = 100
TARGET_BYTES_MAX = 8 * 1024
WAITING_BYTES_MAX = 256 * 1024
WRITE_BYTES_HIGH = 256 * 1024
PIPELINED_MAX = 8
PER_ADDRESS_MAX = 256
SLOW_BYTES_PER_S = 1024

_json = msgspec.json.Encoder().encode
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_EXPOSED = "x-request-id, x-farebox-max-tokens, x-ignored-parameters, retry-after, retry-after-ms, x-should-retry"
_COMMON = (
    "Access-Control-Allow-Origin: *\r\n"
    f"Access-Control-Expose-Headers: {_EXPOSED}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
).encode()
_JSON_HEAD = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
_SSE_HEAD = b"Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache, no-store\r\nX-Accel-Buffering: no\r\n"
PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "authorization, content-type, *"),
    ("Access-Control-Max-Age", "86400"),
)

Handler = Callable[["Exchange"], Coroutine[Any, Any, None]]
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"})


class _Date:
    """The Date header, made once a second."""

    __slots__ = ("_at", "_line")

    def __init__(self) -> None:
        self._at = -1
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._at:
            self._at = now
            self._line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._line


_date = _Date()


class Exchange:
    """One request and the customer's end of its answer: the `Request` and the `ClientPort` of `serve`."""

    __slots__ = (
        "_begun",
        "_body",
        "_body_bytes",
        "_body_waiter",
        "_callback",
        "_chunked",
        "_door",
        "_ended",
        "_fault",
        "_headers",
        "_patient",
        "_quiet_since",
        "_stream",
        "account",
        "address",
        "authorization",
        "caller",
        "channel",
        "complete",
        "head",
        "id",
        "keep_alive",
        "left",
        "method",
        "started",
        "target",
    )

    def __init__(self, door: FrontDoor, ident: str, address: str) -> None:
        self._door = door
        self.id = ident
        self.address = address
        self.account = ""
        self.authorization: str | None = None
        self.caller: Caller | None = None
        self.channel = ""
        self.method = ""
        self.target = b""
        self.head: dict[str, str] = {}
        self.keep_alive = True
        self.complete = False
        self.left = False
        self.started = 0.0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_waiter: asyncio.Future[None] | None = None
        self._fault: FareboxError | None = None
        self._callback: Callable[[], None] | None = None
        self._headers: Sequence[tuple[str, str]] = ()
        self._stream = False
        self._patient = False
        self._begun = False
        self._chunked = False
        self._ended = False
        self._quiet_since = 0.0

    # the request

    async def body(self) -> bytes:
        """The whole body; TooLarge or RequestTimeout if it is too large or too slow."""
        while not self.complete and self._fault is None:
            if self.left:
                raise errors.BadRequest("The connection was closed before the request was complete.")
            self._door.invite(self)
            self._body_waiter = asyncio.get_running_loop().create_future()
            await self._body_waiter
        if self._fault is not None:
            raise self._fault
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def feed(self, data: bytes, bytes_max: int) -> None:
        """A piece of the body has arrived."""
        self._body_bytes += len(data)
        if self._body_bytes > bytes_max:
            self.fail(errors.TooLarge(f"The request body is larger than {bytes_max} bytes."))
        elif self._fault is None:
            self._body.append(data)

    def whole(self) -> None:
        """The body is complete."""
        self.complete = True
        self._wake()

    def fail(self, fault: FareboxError) -> None:
        """The body will never be whole."""
        if self._fault is None:
            self._fault = fault
            self._body.clear()
        self._wake()

    @property
    def slow(self) -> bool:
        """Whether the body came slower than it may, by now."""
        if self.complete or self._fault is not None:
            return False
        waited_s = time.monotonic() - self.started
        grace_s: int = self._door.options.body_grace_s
        return waited_s > grace_s and self._body_bytes < SLOW_BYTES_PER_S * (waited_s - grace_s)

    def gone(self) -> None:
        """The customer has left."""
        if self.left:
            return
        self.left = True
        self._wake()
        if self._callback is not None:
            callback, self._callback = self._callback, None
            callback()

    def _wake(self) -> None:
        if self._body_waiter is not None and not self._body_waiter.done():
            self._body_waiter.set_result(None)

    # the client port

    def on_left(self, callback: Callable[[], None] | None) -> None:
        """Call back once when the customer leaves; at once if he has."""
        if callback is not None and self.left:
            callback()
        else:
            self._callback = callback

    def begin(self, headers: Sequence[tuple[str, str]], *, stream: bool, patient: bool = False) -> None:
        """What the head of the answer shall hold; from now on silence is filled with empty lines.

        Not for OpenAI's own client where nothing is streamed: it waits by itself, and an error under a 200 raises
        nothing there (client-contract.md 1.3).
        """
        agent = self.head.get("user-agent", "")
        self._headers = headers
        self._stream = stream
        self._patient = patient or (not stream and agent.startswith(("OpenAI/", "AsyncOpenAI/")))
        self._quiet_since = time.monotonic()

    @property
    def under_way(self) -> bool:
        """Whether an answer is owed and a head is known for it."""
        return self._quiet_since > 0 and not self._ended

    def keep_alive_due(self, now: float) -> None:
        """Fill the silence with an empty line, if it has lasted long enough."""
        if not self.under_way or self._patient or self.left:
            return
        options = self._door.options
        first_s = options.keepalive_stream_s if self._stream else options.keepalive_json_s
        limit_s = options.keepalive_every_s if self._begun else first_s
        if now - self._quiet_since >= limit_s:
            self._write(b"\n")

    async def send(self, data: bytes) -> None:
        """Send a piece of a stream; waits while the customer reads slowly."""
        if data and not self.left:
            self._write(data)
            if self._door.paused:
                await self._door.drained()

    async def finish(self, data: bytes) -> None:
        """Send the last bytes of a stream."""
        if not self.left:
            self._write(data, last=True)
        self._end()

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with a whole JSON body; one whose silence was filled already comes after the empty lines."""
        if self.left:
            self._end()
            return
        if self._begun:
            self._write(body, last=True)
        else:
            self._begun = True
            head = _JSON_HEAD + f"Content-Length: {len(body)}\r\n".encode() if status != 204 else b""  # noqa: PLR2004
            self._door.write(self._head(status, head, (*self._headers, *headers)) + body)
        self._end()

    async def refuse(self, error: FareboxError) -> None:
        """Answer with an error in OpenAI's form: with its status, or inside a stream that has begun."""
        body = _json(error.body())
        if self._begun and self._stream:
            await self.finish(b"data: " + body + b"\n\n")
            return
        await self.answer(error.status, body, error.headers())

    def _head(self, status: int, body_head: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        closing = not self.keep_alive or not self.complete or self._door.closing
        lines = [
            _STATUS_LINES[status],
            _date.line(),
            f"x-request-id: {self.id}\r\n".encode(),
            _COMMON,
            body_head,
        ]
        lines += [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers]
        lines.append(b"Connection: close\r\n\r\n" if closing else b"\r\n")
        if closing:
            self.keep_alive = False
        return b"".join(lines)

    def _write(self, data: bytes, *, last: bool = False) -> None:
        """A piece of a body whose length is not known beforehand."""
        head = b""
        if not self._begun:
            self._begun = True
            self._chunked = self._door.version == "1.1"
            if not self._chunked:
                self.keep_alive = False
            body_head = _SSE_HEAD if self._stream else _JSON_HEAD
            if self._chunked:
                body_head += b"Transfer-Encoding: chunked\r\n"
            head = self._head(200, body_head, self._headers)
        self._quiet_since = time.monotonic()
        if self._chunked:
            end = b"\r\n0\r\n\r\n" if last else b"\r\n"
            data = b"%x\r\n%b%b" % (len(data), data, end)
        self._door.write(head + data if head else data)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._callback = None
            self._door.done(self)

    @property
    def ended(self) -> bool:
        """Whether the answer is complete."""
        return self._ended


class Reception:
    """All connections of one serving process, and what they share."""

    def __init__(self, handler: Handler, *, options: Options, clock: Clock, ids: Ids) -> None:
        self.handler = handler
        self.options = options
        self.clock = clock
        self.ids = ids
        self.doors: set[FrontDoor] = set()
        self.per_address: dict[str, int] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.trusted = frozenset(text.strip() for text in options.trusted_proxies.split(",") if text.strip())
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> FrontDoor:
        """A protocol for a new connection."""
        return FrontDoor(self)

    def watch(self) -> None:
        """Look after silence, slowness and idleness, once a second; the timers of thousands of connections in one."""
        now = time.monotonic()
        for door in list(self.doors):
            door.look(now)
        self._timer = asyncio.get_running_loop().call_later(0.5, self.watch)

    def stop_watching(self) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()

    def close_idle(self) -> None:
        """Close connections without a request, and the others after their answer."""
        self.closing = True
        for door in list(self.doors):
            door.close_if_idle()


class FrontDoor(asyncio.Protocol):
    """One connection of a customer. Requests are answered in the order in which they came."""

    def __init__(self, reception: Reception) -> None:
        self.reception = reception
        self.options = reception.options
        self.paused = False
        self.version = "1.1"
        self._transport: Any = None
        self._parser: Any = None
        self._address = ""
        self._current: Exchange | None = None  # being answered
        self._coming: Exchange | None = None  # being read
        self._waiting: deque[Exchange] = deque()
        self._head_bytes = 0
        self._fields = 0
        self._in_head = True
        self._hosts = 0
        self._dead = False
        self._broken = False
        self._since = time.monotonic()
        self._drain: asyncio.Future[None] | None = None
        self._drain_bytes = 0
        self._drain_since = 0.0
        self._counted = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or close it if there are too many."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else "local"
        reception = self.reception
        same = reception.per_address.get(self._address, 0)
        exempt = self._address in {"127.0.0.1", "::1", "local"} or self._address in reception.trusted
        if len(reception.doors) >= self.options.connections_max or (same >= PER_ADDRESS_MAX and not exempt):
            transport.close()
            return
        self._counted = True
        reception.per_address[self._address] = same + 1
        reception.doors.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The customer is gone: tell whoever works for him."""
        del exc
        self._dead = True
        if self._counted:
            self._counted = False
            reception = self.reception
            reception.doors.discard(self)
            left = reception.per_address.get(self._address, 1) - 1
            if left > 0:
                reception.per_address[self._address] = left
            else:
                reception.per_address.pop(self._address, None)
        self._let_drain()
        for exchange in (self._current, self._coming, *self._waiting):
            if exchange is not None:
                exchange.gone()
        self._waiting.clear()

    def eof_received(self) -> bool:
        """A customer who closed his side has left: programs that end send nothing else."""
        return False

    def pause_writing(self) -> None:
        """The customer reads slower than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """The customer has caught up."""
        self.paused = False
        self._let_drain()

    def data_received(self, data: bytes) -> None:
        """Bytes from the customer."""
        if self._broken or self._parser is None:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse_raw(errors.BadRequest("This address speaks HTTP/1.1 only.", status=426, code="upgrade_refused"))
        except httptools.HttpParserError as fault:
            if not self._broken:
                self._refuse_raw(errors.BadRequest(f"This is not a valid HTTP request: {str(fault)[:100]}"))
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self._broken:
            self._refuse_raw(errors.BadRequest("The head of the request is too large.", status=431))

    # httptools

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._head_bytes = 0
        self._fields = 0
        self._hosts = 0
        clock = self.reception.clock
        self._coming = Exchange(self, self.reception.ids.new("call", clock.now_us()), self._address)

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        exchange = self._coming
        if exchange is None:
            return
        exchange.target += url
        if len(exchange.target) > TARGET_BYTES_MAX:
            self._refuse_raw(errors.BadRequest("The address of the request is too long.", status=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; what comes after the body (a trailer) is no header of the request."""
        exchange = self._coming
        if exchange is None or not self._in_head:
            return
        self._fields += 1
        if self._fields > FIELDS_MAX:
            self._refuse_raw(errors.BadRequest("The request has too many header fields.", status=431))
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        if key in {"authorization", "content-type", "content-length", "x-api-key"} and key in exchange.head:
            self._refuse_raw(errors.BadRequest(f"The header {key} came twice."))
            return
        if key == "host":
            self._hosts += 1
        exchange.head[key] = text

    def on_headers_complete(self) -> None:
        """The head is complete: begin to work, before the body is read."""
        exchange = self._coming
        self._in_head = False
        self._head_bytes = 0
        if exchange is None or self._broken:
            return
        parser = self._parser
        exchange.method = parser.get_method().decode("latin-1")
        self.version = parser.get_http_version()
        exchange.keep_alive = parser.should_keep_alive()
        exchange.started = time.monotonic()
        head = exchange.head
        exchange.authorization = head.get("authorization")
        if self._address in self.reception.trusted:
            exchange.address = self._forwarded(head.get("x-forwarded-for", "")) or self._address
        fault = self._head_fault(exchange)
        if fault is not None:
            self._refuse_raw(fault)
            return
        length = head.get("content-length")
        if length is not None and int(length) > self.options.body_bytes_max:
            exchange.fail(errors.TooLarge(f"The request body is larger than {self.options.body_bytes_max} bytes."))
        if self._current is None:
            self._start(exchange)
        elif len(self._waiting) < PIPELINED_MAX:
            self._waiting.append(exchange)
        else:
            self._refuse_raw(errors.BadRequest("Too many requests were sent at once on one connection."))

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._coming is not None:
            self._coming.feed(data, self.options.body_bytes_max)

    def on_message_complete(self) -> None:
        """The request is complete."""
        exchange, self._coming = self._coming, None
        self._in_head = True
        if exchange is not None:
            exchange.whole()

    # for the exchange

    @property
    def closing(self) -> bool:
        """Whether this connection takes no further request."""
        return self.reception.closing

    def write(self, data: bytes) -> None:
        """Write to the customer, if he is there."""
        if not self._dead and not self._transport.is_closing():
            self._transport.write(data)

    def invite(self, exchange: Exchange) -> None:
        """Tell a customer who waits for it to send the body."""
        if exchange.head.pop("expect", "").lower() == "100-continue" and not exchange.complete:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def drained(self) -> None:
        """Wait until the customer has read enough; one who does not read is cut (R18)."""
        if self._dead:
            return
        if self._drain is None or self._drain.done():
            self._drain = asyncio.get_running_loop().create_future()
            self._drain_bytes = self._transport.get_write_buffer_size()
            self._drain_since = time.monotonic()
        await asyncio.shield(self._drain)

    def done(self, exchange: Exchange) -> None:
        """The answer is complete: close, or go on with the next request."""
        if exchange is not self._current:
            return
        self._current = None
        self._since = time.monotonic()
        if self._dead:
            return
        if not exchange.keep_alive or not exchange.complete or self._broken or self.closing:
            self._transport.close()
            return
        if self._waiting:
            self._start(self._waiting.popleft())

    # for the reception

    def look(self, now: float) -> None:
        """Once or twice a second: empty lines, slow heads and bodies, idle connections, customers who do not read."""
        options = self.options
        if self._drain is not None and not self._drain.done():
            size = self._transport.get_write_buffer_size()
            if size != self._drain_bytes:
                self._drain_bytes, self._drain_since = size, now
            elif now - self._drain_since > options.slow_reader_s:
                self._transport.abort()
                return
        if self._current is not None:
            self._current.keep_alive_due(now)
        if self._coming is not None and not self._in_head and self._coming.slow:
            self._coming.fail(errors.RequestTimeout("The request body came too slowly: at least 1 KiB/s is needed."))
        elif self._coming is not None and self._in_head and now - self._since > options.head_s and self._current is None:
            self._refuse_raw(errors.RequestTimeout(f"The head of the request did not arrive within {options.head_s} s."))
        elif self._current is None and self._coming is None and now - self._since > options.idle_connection_s:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Close, unless an answer is owed."""
        if self._current is None and not self._waiting:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # inside

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        reception = self.reception
        task = asyncio.get_running_loop().create_task(reception.handler(exchange))
        reception.tasks.add(task)
        task.add_done_callback(reception.tasks.discard)

    def _head_fault(self, exchange: Exchange) -> FareboxError | None:
        head = exchange.head
        if self.version not in {"1.1", "1.0"}:
            return errors.BadRequest("This address speaks HTTP/1.1.", status=505)
        if self._hosts > 1 or (self._hosts == 0 and self.version == "1.1"):
            return errors.BadRequest("The request needs exactly one Host header.")
        expect = head.get("expect", "100-continue").lower()
        if expect != "100-continue":
            return errors.BadRequest("This expectation can't be met.", status=417)
        coding = head.get("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or "content-length" in head):
            return errors.BadRequest("This transfer encoding is not understood.", status=501)
        length = head.get("content-length")
        if length is not None and (not length.isdigit() or len(length) > 15):  # noqa: PLR2004
            return errors.BadRequest("The Content-Length is none.")
        if head.get("content-encoding", "identity").lower() != "identity":
            return errors.WrongMediaType("Compressed request bodies are not understood; send plain JSON.")
        return None

    def _forwarded(self, text: str) -> str:
        """The last hop that is no trusted proxy."""
        for hop in reversed([part.strip() for part in text.split(",") if part.strip()]):
            if hop not in self.reception.trusted:
                return hop[:64]
        return ""

    def _refuse_raw(self, error: FareboxError) -> None:
        """Refuse what is no request to work on, in OpenAI's form, and close."""
        if self._broken:
            return
        self._broken = True
        exchange = self._coming
        if exchange is None:
            ident = self.reception.ids.new("call", self.reception.clock.now_us())
            exchange = Exchange(self, ident, self._address)
        self._coming = None
        if self._current is not None and self._current is not exchange:
            # An earlier answer is owed first: end after it.
            self._current.keep_alive = False
            return
        exchange.keep_alive = False
        self._current = exchange
        body = _json(error.body())
        head = exchange._head(  # noqa: SLF001 - the two halves of one connection
            error.status, _JSON_HEAD + f"Content-Length: {len(body)}\r\n".encode(), error.headers()
        )
        self.write(head + body)
        exchange._end()  # noqa: SLF001

    def _let_drain(self) -> None:
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        self._drain = None
