"""One request and its answer, as the caller sees them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from farebox.kit.fetch.addresses import Target
from farebox.kit.fetch.errors import BodyTooLarge, FetchError, FirstByteTimeout, IdleTimeout, Interrupted


@dataclass(slots=True)
class Outgoing:
    """A request to send.

    `path` begins with a slash; `headers` is whole lines, each `name: value` + CRLF. Host, Content-Length,
    `Accept-Encoding: identity` and `Connection: keep-alive` are ours: the caller leaves them out.
    `connect_s` covers name, TCP and TLS; `first_byte_s` runs from sending to the complete response head;
    `idle_s` is the longest silence of the body while a reader waits.
    """

    target: Target
    method: bytes
    path: bytes
    headers: bytes
    body: bytes
    connect_s: float
    first_byte_s: float
    idle_s: float


@dataclass(slots=True)
class Response:
    """The head of an answer: names in lower case, fields that came twice joined by a comma."""

    status: int
    headers: dict[str, str]


class Line(Protocol):
    """What an exchange needs of its connection."""

    idle_since: float

    def expect(self, deadline: float) -> None:
        """Calls `Exchange.expired` once the exchange's `deadline` has passed; this one is the earliest."""

    def pause(self) -> None:
        """Stops reading from the network."""

    def resume(self) -> None:
        """Reads on after `pause`."""

    def finish(self) -> None:
        """The exchange needs it no more: keep it for the next one, or close it."""

    def drop(self) -> None:
        """Closes it at once."""


class Lane:
    """The connections to one target: those waiting for work, oldest first, and the count of those at work."""

    __slots__ = ("busy", "fixed_head", "idle", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.busy = 0
        self.idle: deque[Line] = deque()
        self.fixed_head = b"".join(
            (
                b" HTTP/1.1\r\nHost: ",
                target.host_header,
                b"\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n",
            )
        )


class Exchange:
    """A request under way; one task at a time may wait on it, and whoever started it releases it.

    `sent` is True once bytes of the request may have reached the upstream; `reused` says that the connection
    came from the pool.
    """

    __slots__ = (
        "_buffer_bytes_max",
        "_buffered",
        "_counted",
        "_ended",
        "_failure",
        "_head",
        "_interrupted",
        "_loop",
        "_paused",
        "_pieces",
        "_waiter",
        "deadline",
        "lane",
        "line",
        "opening",
        "outgoing",
        "reused",
        "sent",
    )

    def __init__(self, outgoing: Outgoing, lane: Lane, loop: asyncio.AbstractEventLoop, buffer_bytes_max: int) -> None:
        self.outgoing = outgoing
        self.sent = False
        self.reused = False
        self.line: Line | None = None
        self.opening: asyncio.Task[None] | None = None
        self.deadline = 0.0  # loop time at which silence becomes a failure; 0: nothing is expected now
        self.lane = lane
        self._loop = loop
        self._buffer_bytes_max = buffer_bytes_max
        self._counted = True
        self._waiter: asyncio.Future[None] | None = None
        self._head: Response | None = None
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._ended = False
        self._interrupted = False
        self._failure: FetchError | None = None
        lane.busy += 1

    # ── the caller's side ────────────────────────────────────────────────────────────────────────────────

    async def response(self) -> Response:
        """The head of the answer, once it is complete; 1xx heads are passed over, redirects are not followed.

        Raises ConnectFailed (AddressRefused, TargetBusy), FirstByteTimeout, BrokenResponse, Interrupted.
        """
        while True:
            if self._interrupted:
                raise Interrupted("the wait for the answer was interrupted")
            if self._head is not None:
                return self._head
            if self._failure is not None:
                raise self._failure
            await self._news()

    async def read(self) -> bytes:
        """The pieces of the body that have arrived, joined, after a wait for the first; b"" at the clean end.

        Raises BodyCut, IdleTimeout, Interrupted; pieces that came before a cut are handed out first.
        """
        while True:
            if self._interrupted:
                raise Interrupted("the reading of the answer was interrupted")
            pieces = self._pieces
            if pieces:
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                self._buffered = 0
                if self._paused:
                    self._paused = False
                    if self.line is not None:
                        self.line.resume()
                return data
            if self._ended:
                return b""
            if self._failure is not None:
                raise self._failure
            if self._head is None or self.line is None:
                raise RuntimeError("read() comes after response()")
            if self.deadline == 0.0:
                # Not moved by an interruption within the same silence.
                self.deadline = self._loop.time() + self.outgoing.idle_s
                self.line.expect(self.deadline)
            await self._news()

    async def read_all(self, bytes_max: int) -> bytes:
        """The whole rest of the body; raises BodyTooLarge above `bytes_max`, and what `read` raises."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > bytes_max:
                raise BodyTooLarge(f"the body is larger than {bytes_max} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def interrupt(self) -> None:
        """Wakes whoever waits with Interrupted, and lets every later wait raise it, until it is resumed."""
        self._interrupted = True
        self._wake()

    def resume_after_interrupt(self) -> None:
        """Lets the caller wait and read again; nothing that arrived meanwhile is lost."""
        self._interrupted = False

    def release(self) -> None:
        """Done: the connection is kept if the answer came to its end and allows it, else closed."""
        line = self.line
        self._let_go()
        if line is not None:
            line.finish()

    def abort(self) -> None:
        """Cancels: the connection, or the attempt to open one, is closed at once."""
        line = self.line
        self._let_go()
        if line is not None:
            line.drop()

    # ── the connection's side ────────────────────────────────────────────────────────────────────────────

    @property
    def over(self) -> bool:
        """True if nothing more can arrive: ended, failed or given up."""
        return self._ended or self._failure is not None

    @property
    def interrupted(self) -> bool:
        """True between `interrupt` and `resume_after_interrupt`."""
        return self._interrupted

    def head_arrived(self, response: Response) -> None:
        """The response head is complete."""
        self._head = response
        self.deadline = 0.0
        if self._waiter is not None:
            self._wake()

    def piece_arrived(self, piece: bytes) -> None:
        """A piece of the body; above the bound the connection is told to stop reading."""
        self._pieces.append(piece)
        self._buffered += len(piece)
        self.deadline = 0.0
        if self._waiter is not None:
            self._wake()
        if self._buffered > self._buffer_bytes_max and not self._paused and self.line is not None:
            self._paused = True
            self.line.pause()

    def ended(self) -> None:
        """The body is complete."""
        self._ended = True
        self.deadline = 0.0
        if self._waiter is not None:
            self._wake()

    def failed(self, error: FetchError) -> None:
        """Nothing more will come; the first failure counts, and none after the end."""
        if self.over:
            return
        self._failure = error
        self.deadline = 0.0
        self.line = None
        self._leave()
        self._wake()

    def expired(self) -> None:
        """The deadline has passed."""
        line = self.line
        if self._head is None:
            limit_s = self.outgoing.first_byte_s
            self.failed(FirstByteTimeout(f"no answer within {limit_s:g} s"))
        else:
            self.failed(IdleTimeout(f"silence of more than {self.outgoing.idle_s:g} s within the answer"))
        if line is not None:
            line.drop()

    def _news(self) -> asyncio.Future[None]:
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("two tasks wait on one exchange")
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _leave(self) -> None:
        if self._counted:
            self._counted = False
            self.lane.busy -= 1

    def _let_go(self) -> None:
        opening = self.opening
        if opening is not None:
            self.opening = None
            opening.cancel()
        self.line = None
        if self._ended:
            self._leave()
        else:
            self.failed(Interrupted("the exchange was given up"))
        if self._failure is not None:
            self._failure.__traceback__ = None  # its frames know us: only the garbage collector would end the circle
