"""One request, and the customer's end of its answer: the `Request` and the `ClientPort` of `serve`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import msgspec

from farebox.accounts.keys.caller import Caller
from farebox.gateway import shares
from farebox.gateway.flight import Flight, Share
from farebox.kit import errors
from farebox.kit.errors import FareboxError
from farebox.kit.options import Options
from farebox.protocol.kind import Kind

SLOW_BYTES_PER_S = 1024  # and less than this is too slow, over each `body_grace_s`
# The rest of a body that nobody reads is waited for if it is no longer than this; else the connection is closed.
UNREAD_BYTES_MAX = 64 * 1024
_WRITE_BYTES = 256 * 1024  # so much of an answer is written at once

_json = msgspec.json.Encoder().encode
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_EXPOSED = (
    "x-request-id, x-farebox-max-tokens, x-ignored-parameters, retry-after, retry-after-ms, x-should-retry, allow, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_COMMON = (
    "Access-Control-Allow-Origin: *\r\n"
    f"Access-Control-Expose-Headers: {_EXPOSED}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
).encode()
# A browser that has seen a shop behind TLS once asks for it by nothing else for a year (security 2).
_HSTS = b"Strict-Transport-Security: max-age=31536000\r\n"
_JSON_HEAD = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
_SSE_HEAD = (
    b"Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache, no-store\r\nX-Accel-Buffering: no\r\n"
)
PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "authorization, content-type, *"),
    ("Access-Control-Max-Age", "86400"),
)


class Connection(Protocol):
    """The connection of an exchange, as far as the exchange knows it."""

    options: Options
    paused: bool

    flight: Flight

    def recognise(self, exchange: Exchange) -> None:
        """Admit an exchange whose key is known without a look-up."""

    @property
    def closing(self) -> bool:
        """Whether this connection takes no further request."""

    def write(self, data: bytes) -> None:
        """Write to the customer, if he is there."""

    def room(self, account: str) -> Share:
        """What the bytes of an account's requests count in."""

    def belong(self, account: str) -> bool:
        """Whose requests come on this connection from now on; False where he has so many that others find no room."""

    def invite(self, exchange: Exchange) -> None:
        """Tell a customer who waits for it to send the body."""

    async def drained(self) -> None:
        """Wait until the customer has read enough."""

    def done(self, exchange: Exchange) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Drop the connection at once."""


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


def _too_large(bytes_max: int) -> FareboxError:
    return errors.TooLarge(f"The request body is larger than {bytes_max} bytes.")


class Exchange:
    """One request and its answer. `refusal` is set where the head itself is refused; nothing else is read then."""

    __slots__ = (
        "_begun",
        "_body",
        "_body_waiter",
        "_callback",
        "_chunked",
        "_door",
        "_ended",
        "_fault",
        "_headers",
        "_held_bytes",
        "_hurried",
        "_mark_bytes",
        "_patient",
        "_quiet_since",
        "_share",
        "_stream",
        "_window_bytes",
        "_window_since",
        "account",
        "address",
        "authorization",
        "body_bytes",
        "bytes_max",
        "caller",
        "channel",
        "complete",
        "head",
        "id",
        "keep_alive",
        "kind",
        "left",
        "length",
        "method",
        "refusal",
        "started",
        "target",
        "version",
    )

    def __init__(self, door: Connection, ident: str, address: str) -> None:
        self._door = door
        self.id = ident
        self.address = address
        self.account = ""
        self.authorization: str | None = None
        self.caller: Caller | None = None
        self.channel = ""
        self.method = ""
        self.target = b""
        self.version = "1.1"
        self.head: dict[str, str] = {}
        self.length: int | None = None
        self.refusal: FareboxError | None = None
        self.keep_alive = True
        self.complete = False
        self.left = False
        self.started = 0.0
        self.body_bytes = 0
        self.bytes_max: int = door.options.body_bytes_max
        self._body: bytes | bytearray = b""
        self._share: Share = door.flight.strangers
        self._held_bytes = 0
        self._window_since = 0.0
        self._window_bytes = 0
        self._mark_bytes: int = sys.maxsize  # who waits wants to know when the body is longer
        self._body_waiter: asyncio.Future[None] | None = None
        self._fault: FareboxError | None = None
        self._callback: Callable[[], None] | None = None
        self._headers: Sequence[tuple[str, str]] = ()
        self.kind: Kind | None = None  # of call, once that is known: errors are in its words
        self._stream = False
        self._patient = False
        self._begun = False
        self._chunked = False
        self._ended = False
        self._hurried = False
        self._quiet_since = 0.0

    # the request

    @property
    def once(self) -> str | None:
        """The header `Idempotency-Key`."""
        return self.head.get("idempotency-key")

    async def exceeds(self, count_bytes: int) -> bool:
        """Whether the body is longer than so many bytes; waits until that is known, or it will never be whole."""
        if self.length is not None:
            return self.length > count_bytes
        self._mark_bytes = count_bytes
        while not self.complete and self._fault is None and not self.left and self.body_bytes <= count_bytes:
            await self._come()
        return self.body_bytes > count_bytes

    async def body(self) -> bytes:
        """The whole body; TooLarge or RequestTimeout if it is too large or too slow."""
        while not self.complete and self._fault is None:
            if self.left:
                raise errors.BadRequest("The connection was closed before the request was complete.")
            await self._come()
        if self._fault is not None:
            raise self._fault
        body, self._body = self._body, b""
        return bytes(body)

    async def _come(self) -> None:
        """Wait until more is known of the body."""
        self._door.invite(self)
        self._body_waiter = asyncio.get_running_loop().create_future()
        await self._body_waiter

    def admit(self, account: str) -> None:
        """Whose request this is: its bytes are theirs from now on; a body that their share has no room for fails."""
        if account == self.account:
            return
        self.account = account
        self._move(self._door.room(account))
        if not self._door.belong(account):
            self.keep_alive = False
            self.fail(shares.crowded())

    def check(self) -> None:
        """Raise what is in the way of answering this request, if anything does."""
        if self._fault is not None:
            raise self._fault

    def bound(self, bytes_max: int, *, form: bool = True) -> None:
        """Nobody wants a body of more bytes, which is a form, or a text of a page's: else reading it fails."""
        self.bytes_max = bytes_max
        if not form:
            self._move(self._door.flight.texts)
        if max(self.body_bytes, self.length or 0) > bytes_max:
            self.fail(_too_large(bytes_max))

    def _move(self, share: Share) -> None:
        before, self._share = self._share, share
        before.give(self._held_bytes)
        if not share.take(self._held_bytes):
            self._held_bytes = 0
            self.fail(share.refusal())

    def hold(self, count_bytes: int) -> bool:
        """Count so many bytes of this request; whether there is room for them."""
        if not self._share.take(count_bytes, self._held_bytes):
            # A caller's first bytes came before his key was looked at; strangers must not be able to keep him out.
            self._door.recognise(self)
            if not self._share.take(count_bytes, self._held_bytes):
                return False
        self._held_bytes += count_bytes
        return True

    def feed(self, data: bytes) -> None:
        """A piece of the body has arrived."""
        self.body_bytes += len(data)
        if self._fault is not None or self._ended:
            return
        if self.body_bytes > self.bytes_max:
            self.fail(_too_large(self.bytes_max))
        elif not self.hold(len(data)):
            self.fail(self._share.refusal())
        elif not self._body:
            self._body = data
        else:  # one piece of memory: a thousand chunks of two bytes would be a thousand objects
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if self.body_bytes > self._mark_bytes:
            self._mark_bytes = sys.maxsize
            self._wake()

    def whole(self) -> None:
        """The body is complete."""
        self.complete = True
        self._wake()

    def fail(self, fault: FareboxError) -> None:
        """The body will never be whole."""
        if self._fault is None and not self._ended:
            self._fault = fault
            self._body = b""
            if not self.complete:
                self.free()
        self._wake()

    def free(self) -> None:
        """What this request held is gone."""
        if self._held_bytes:
            self._share.give(self._held_bytes)
            self._held_bytes = 0

    def slow(self, now: float, *, reading: bool) -> bool:
        """Whether less of the body came in the last `body_grace_s` than had to; asked once or twice a second.

        While we do not read, or have not asked for the body of a customer who waits for that, it is not their doing.
        """
        if self.complete or self._fault is not None:
            return False
        if not reading or "expect" in self.head:
            self._window_since = 0.0
            return False
        since, window_s = self._window_since, self._door.options.body_grace_s
        if since and now - since < window_s:
            return False
        came, self._window_bytes = self.body_bytes - self._window_bytes, self.body_bytes
        self._window_since = now
        return bool(since) and came < SLOW_BYTES_PER_S * window_s

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
        """What the head of the answer must hold; from now on silence is filled with empty lines.

        Not for OpenAI's own client where nothing is streamed: it waits by itself, and an error under a 200 raises
        nothing there (clients 1.3).
        """
        agent = self.head.get("user-agent", "")
        self._headers = headers
        self._stream = stream
        self._patient = patient or (not stream and agent.startswith(("OpenAI/", "AsyncOpenAI/")))
        self._quiet_since = time.monotonic()

    def keep_alive_due(self, now: float) -> None:
        """Fill the silence with an empty line, if an answer is under way and it has lasted long enough."""
        door = self._door
        if not self._quiet_since or self._ended or self._patient or self.left or door.paused:
            return
        options = door.options
        first_s = options.keepalive_stream_s if self._stream else options.keepalive_json_s
        limit_s = options.keepalive_every_s if self._begun else first_s
        if now - self._quiet_since >= limit_s:
            self._write(b"\n")

    def probe(self) -> None:
        """Write what means nothing: the system of one who has left altogether answers it at once that nobody reads.

        An empty line into a stream that has begun; before a head 100 (RFC 9110 15.2.1: who did not ask discards it).
        """
        if self._ended or self.left:
            return
        if self._begun and self._stream:
            self._write(b"\n")
        elif not self._begun and self.version == "1.1":
            self._door.write(CONTINUE)

    async def send(self, data: bytes) -> None:
        """Send a piece of a stream; waits while the customer reads slowly."""
        if data and not self.left:
            self._write(data)
            if self._door.paused and not self._hurried:
                await self._door.drained()

    async def finish(self, data: bytes) -> None:
        """Send the last bytes of a stream."""
        if not self.left:
            self._write(data, last=True)
        self._end()

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with a whole JSON body; one whose silence was filled already comes after the empty lines."""
        if not self.left and self._begun:
            before, after = (b"%x\r\n" % len(body), b"\r\n0\r\n\r\n") if self._chunked else (b"", b"")
            await self._write_long(before, body, after)
        elif not self.left:
            self._begun = True
            head = _JSON_HEAD + f"Content-Length: {len(body)}\r\n".encode() if status != 204 else b""
            head = self._head(status, head, (*self._headers, *headers))
            await self._write_long(head, body if self.method != "HEAD" else b"", b"")
        self._end()

    async def _write_long(self, before: bytes, body: bytes, after: bytes) -> None:
        """Write the body in pieces where it is long, so that others come between: copying it would hold them up."""
        if len(body) <= _WRITE_BYTES:
            self._door.write(b"".join((before, body, after)))
            return
        self._quiet_since = 0.0  # this is no silence to be filled
        self._door.write(before)
        for at in range(0, len(body), _WRITE_BYTES):
            self._door.write(body[at : at + _WRITE_BYTES])
            await asyncio.sleep(0)
        self._door.write(after)

    async def page(self, status: int, headers: Sequence[tuple[str, str]], pieces: AsyncIterator[bytes]) -> None:
        """Answer with a page: its own headers and no others but the id; no CORS, for it is read with cookies.

        `headers` hold the Content-Length where it is known; else the pieces go out as chunks. A piece waits until the
        reader has caught up.
        """
        if self.left:
            self._end()
            return
        self._begun = True
        known = any(name.lower() == "content-length" for name, _ in headers)
        if not known and status not in {204, 304}:
            self._chunked = self.version == "1.1"
            self.keep_alive = self.keep_alive and self._chunked
        body_head = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
        self._door.write(self._head(status, body_head, headers, common=b""))
        if self.method != "HEAD":
            await self._pass_on(pieces)
        self._end()

    async def _pass_on(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            if piece:
                await self.send(piece)
            if self.left:
                return
        if self._chunked:
            self._door.write(b"0\r\n\r\n")

    async def refuse(self, error: FareboxError) -> None:
        """Answer with an error in its kind's form, or OpenAI's: with its status, or inside a stream that has begun."""
        if self.kind is None:
            await self.answer(error.status, _json(error.body()), error.headers())
        elif self._begun and self._stream:
            await self.finish(self.kind.broken(error))
        else:
            await self.answer(*self.kind.error_answer(error))

    def cut(self) -> None:
        """Wait for the customer no longer: `send` returns at once, and one who is behind with reading is dropped."""
        self._hurried = True
        if self._door.paused:
            self._door.abort()

    def drop(self) -> None:
        """End the answer silently: the connection breaks."""
        self._door.abort()
        self._end()

    @property
    def soon_complete(self) -> bool:
        """Whether what is left of the request is so little that it may be waited for and dropped."""
        return self.complete or (
            self.length is not None and self.length <= UNREAD_BYTES_MAX and "expect" not in self.head
        )

    def _head(
        self, status: int, body_head: bytes, headers: Sequence[tuple[str, str]], *, common: bytes = _COMMON
    ) -> bytes:
        if self._door.closing or not self.soon_complete:
            self.keep_alive = False
        lines = [
            _STATUS_LINES[status],
            _date.line(),
            f"x-request-id: {self.id}\r\n".encode(),
            common,
            body_head,
        ]
        if self._door.options.public_url.startswith("https:"):
            lines.append(_HSTS)
        lines += [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers]
        lines.append(b"\r\n" if self.keep_alive else b"Connection: close\r\n\r\n")
        return b"".join(lines)

    def _write(self, data: bytes, *, last: bool = False) -> None:
        """A piece of a body whose length is not known beforehand."""
        head = b""
        if not self._begun:
            self._begun = True
            body_head = _SSE_HEAD if self._stream else _JSON_HEAD
            if self.version == "1.1":
                self._chunked = True
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
            self._fault = self.refusal = None  # a raised error knows its frames, and they know us
            self._body = b""
            self.free()
            self._door.done(self)

    @property
    def refused(self) -> bool:
        """Whether the request can't be carried out, and an answer says why."""
        return self.refusal is not None or self._fault is not None

    @property
    def ended(self) -> bool:
        """Whether the answer is complete."""
        return self._ended
