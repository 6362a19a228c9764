"""One TCP or TLS connection to an upstream: writes a request, reads its answer, one after the other."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import httptools

from farebox.kit.fetch import dates, wire
from farebox.kit.fetch.errors import BodyCut, BrokenResponse, FetchError
from farebox.kit.fetch.exchange import Exchange, Lane, Response
from farebox.kit.fetch.wire import HEAD_BYTES_MAX

# How long after sending the death of a pooled connection can still be the keep-alive race. The FIN or RST
# of a server that had closed before our bytes came is back within one round trip; later it was at work.
STALE_WINDOW_S: Final = 0.5
# What a chunked answer may hold beside its data and a frame a piece: extensions, padded sizes, trailers.
FRAMING_BYTES_MAX: Final = 65_536
CHUNK_FRAME_BYTES: Final = 64


class Connection(asyncio.Protocol):
    """The protocol behind an Exchange.

    `keep(connection)` is asked to take it back and says whether it did; `made` and `gone` hear of its
    beginning and end; `again(exchange)` sends an exchange once more on a fresh connection.
    """

    __slots__ = (
        "_again",
        "_complete",
        "_exchange",
        "_fed",
        "_fields",
        "_framing_bytes",
        "_gone",
        "_head_done",
        "_informational",
        "_keep",
        "_keep_alive",
        "_loop",
        "_made",
        "_parser",
        "_paused",
        "_sent_at",
        "_timer",
        "_timer_at",
        "_transport",
        "_until_close",
        "idle_since",
        "lane",
    )

    def __init__(
        self,
        lane: Lane,
        loop: asyncio.AbstractEventLoop,
        *,
        keep: Callable[[Connection], bool],
        made: Callable[[Connection], None],
        gone: Callable[[Connection], None],
        again: Callable[[Exchange], None],
    ) -> None:
        self.lane = lane
        self.idle_since = 0.0
        self._loop = loop
        self._keep = keep
        self._made = made
        self._gone = gone
        self._again = again
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._paused = False
        self._sent_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._fed = 0
        self._framing_bytes = 0
        self._head_done = False
        self._informational = False
        self._until_close = False
        self._complete = False
        self._keep_alive = False

    # ── for the pool and the exchange ────────────────────────────────────────────────────────────────────

    @property
    def usable(self) -> bool:
        """True while it is open."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, exchange: Exchange, *, reused: bool) -> None:
        """Writes the request of the exchange, in one piece, and from then on reads its answer."""
        if self._transport is None:
            raise RuntimeError("not connected")
        data = wire.request_bytes(exchange.outgoing, self.lane.fixed_head)
        if reused:
            self._begin()
        self._exchange = exchange
        exchange.line = self
        exchange.reused = reused
        exchange.sent = True
        self._sent_at = now = self._loop.time()
        exchange.deadline = now + exchange.outgoing.first_byte_s
        self.expect(exchange.deadline)
        self._transport.write(data)

    def expect(self, deadline: float) -> None:
        """See Line. The timer is only ever moved forward: a later deadline is looked up when it fires."""
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        exchange = self._exchange
        if exchange is None or exchange.deadline == 0.0:
            return
        # A loop may count in whole milliseconds.
        if exchange.deadline > self._loop.time() + 0.001:
            self.expect(exchange.deadline)
        else:
            exchange.expired()

    def pause(self) -> None:
        """See Line."""
        self._paused = True
        if self.usable:
            cast("asyncio.Transport", self._transport).pause_reading()

    def resume(self) -> None:
        """See Line."""
        self._paused = False
        if self.usable:
            cast("asyncio.Transport", self._transport).resume_reading()

    def finish(self) -> None:
        """See Line. Kept only if answer and request have passed whole, and nothing is behind them."""
        self._exchange = None
        transport = self._transport
        if (
            transport is not None
            and self._complete
            and self._keep_alive
            and not self._paused
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
            and self._keep(self)
        ):
            return
        self.drop()

    def give_up(self, error: FetchError) -> None:
        """Closes it at once, and fails the exchange on it."""
        if self._exchange is not None:
            self._exchange.failed(error)
        self.drop()

    def drop(self) -> None:
        """See Line."""
        self._exchange = None
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    # ── for the event loop ───────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._made(self)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        exchange = self._exchange
        if exchange is None or self._complete:
            # Bytes that nobody asked for: what follows could be taken for the answer to somebody else.
            self._keep_alive = False
            if exchange is None:
                self.drop()
            return
        had_head = self._head_done
        self._fed += len(data)
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keep_alive = False
            if self._head_done:
                self._fail(BodyCut("the body of the answer is malformed"))
            else:
                self._fail(BrokenResponse("the answer is not valid HTTP"))
            return
        if not self._head_done:
            if self._fed > HEAD_BYTES_MAX:
                self._fail(BrokenResponse("the head of the answer is too large"))
        elif not had_head:
            self._framing_bytes = 0
        elif self._framing_bytes > FRAMING_BYTES_MAX and not self._complete:
            self._fail(BodyCut("the answer has endless chunk extensions or trailers"))

    def eof_received(self) -> None:
        """See asyncio.Protocol. Here a body without length ends cleanly, all else in connection_lost."""
        exchange = self._exchange
        if exchange is None or not self._until_close or self._complete:
            return
        if self._closed_with_notice():
            self._complete = True
            exchange.ended()
        else:
            self._fail(BodyCut("the TLS connection ended without notice"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        exchange, self._exchange = self._exchange, None
        self._transport = None
        del self._parser  # it holds our callbacks: a circle that only the collector would find
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gone(self)
        if exchange is None or exchange.over:
            return
        how = "closed" if exc is None else "lost"
        if self._head_done:
            exchange.failed(BodyCut(f"the connection was {how} within the answer"))
        elif self._fed:
            exchange.failed(BrokenResponse(f"the connection was {how} within the head of the answer"))
        elif self._is_stale(exchange):
            self._again(exchange)
        else:
            exchange.failed(BrokenResponse(f"the connection was {how} before an answer"))

    def _is_stale(self, exchange: Exchange) -> bool:
        # The keep-alive race: the server closed an idle connection while our request was on its way, and
        # never read it. Only then is it safe to send it again, once: the connection came from the pool, not
        # one byte was answered, and it died within a round trip of sending. A fresh connection is never
        # retried, so the second try cannot lead to a third.
        in_time = self._loop.time() - self._sent_at <= STALE_WINDOW_S
        return exchange.reused and in_time and not exchange.interrupted

    def _closed_with_notice(self) -> bool:
        """False if TLS data could have been cut off: the loops report both kinds of end alike, OpenSSL knows.

        After close_notify a read gives b""; without it OpenSSL still waits for more.
        """
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        if tls is None:
            return True
        try:
            return bool(tls.read(1) == b"")
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, ValueError):
            return False

    def _fail(self, error: FetchError) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.failed(error)
            if self._complete:
                return  # the answer is whole; only what came behind it was wrong
        self.drop()

    # ── for the parser ───────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._complete:
            self._keep_alive = False
            raise BodyCut("bytes behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; trailers are dropped."""
        if not self._head_done:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools. An error raised here ends the exchange with it."""
        exchange = self._exchange
        if exchange is None:
            return
        try:
            response = self._read_head()
            if response is None:
                return
        except BrokenResponse as error:
            exchange.failed(error)
            raise
        self._head_done = True
        if "date" in response.headers and exchange.outgoing.target.scheme == "https":
            dates.hear(exchange.outgoing.target.host, response.headers["date"])
        exchange.head_arrived(response)
        if exchange.outgoing.method == b"HEAD":
            # The parser would wait for a body that never comes, so this connection has had its last answer.
            self._complete = True
            exchange.ended()

    def _read_head(self) -> Response | None:
        """The head, or None for a 1xx; raises BrokenResponse for one that we do not accept."""
        status: int = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BrokenResponse(f"the answer has the status {status}")
            self._informational = True
            self._fields = []
            return None
        headers = wire.read_fields(self._fields, self._fed)
        has_length = wire.has_length(headers, self._parser.get_http_version())
        self._until_close = not has_length and status not in {204, 304}
        return Response(status, headers)

    def on_body(self, piece: bytes) -> None:
        """See httptools. Each piece may have its frame, what is above adds up."""
        above = self._framing_bytes - len(piece) - CHUNK_FRAME_BYTES
        self._framing_bytes = max(0, above)
        if self._exchange is not None and not self._complete:
            self._exchange.piece_arrived(piece)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._informational:
            self._informational = False
            return
        if self._complete or self._exchange is None:
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()
        self._exchange.ended()
