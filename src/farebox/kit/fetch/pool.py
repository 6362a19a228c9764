"""The outgoing client: connections to each target, opened when needed, kept while of use."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import cast

from farebox.kit.fetch.addresses import Resolver, Target
from farebox.kit.fetch.connection import Connection
from farebox.kit.fetch.errors import ConnectFailed, FetchError, TargetBusy
from farebox.kit.fetch.exchange import Exchange, Lane, Outgoing
from farebox.kit.fetch.wire import request_bytes


@functools.cache  # reading the authorities of the system takes tens of milliseconds
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _sentence(error: Exception, connect_s: float) -> str:
    """Why there is no connection, without anything that the other side chose to say."""
    if isinstance(error, TimeoutError):
        return f"no connection within {connect_s:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "the name could not be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ConnectionError):
        return "the connection was lost while it was opened"
    return f"no connection: {getattr(error, 'strerror', None) or type(error).__name__}"


class Fetch:
    """Outgoing HTTP/1.1 for one event loop: no redirects, no cookies, no proxy, no pipelining.

    `per_target_max` bounds the exchanges under way to one target; an idle connection is closed after
    `idle_keep_s`, and no more than `idle_max` are kept in total; `buffer_bytes_max` is how much of a body may
    wait unread before reading from the network stops (one more read of the loop, 256 KiB, can come on top).
    """

    def __init__(
        self,
        *,
        per_target_max: int = 2000,
        idle_keep_s: float = 30.0,
        idle_max: int = 256,
        buffer_bytes_max: int = 262_144,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._per_target_max = per_target_max
        self._idle_keep_s = idle_keep_s
        self._idle_max = idle_max
        self._buffer_bytes_max = buffer_bytes_max
        self._tls = ssl_context or _tls_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resolver: Resolver | None = None
        self._lanes: dict[Target, Lane] = {}
        self._connections: set[Connection] = set()
        self._openings: set[asyncio.Task[None]] = set()
        self._idle = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone: asyncio.Future[None] | None = None

    def start(self, outgoing: Outgoing) -> Exchange:
        """Sends the request on an idle connection, or begins to open one; `response` tells what goes wrong.

        Raises ValueError if method, path or headers would break the request apart.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        lane = self._lanes.get(outgoing.target)
        if lane is None:
            lane = self._lanes[outgoing.target] = Lane(outgoing.target)
        exchange = Exchange(outgoing, lane, loop, self._buffer_bytes_max)
        if self._closed:
            exchange.failed(ConnectFailed("the client is closed"))
        elif lane.busy > self._per_target_max:
            exchange.failed(TargetBusy("too many requests to this upstream are under way"))
        else:
            try:
                connection = self._take(lane, loop.time())
                if connection is not None:
                    connection.send(exchange, reused=True)
                else:
                    request_bytes(outgoing, lane.fixed_head)
                    self._open(exchange)
            except ValueError:
                exchange.abort()
                raise
        return exchange

    async def close(self) -> None:
        """Ends everything that is under way; after it nothing of this client is left in the loop."""
        self._closed = True
        if self._loop is None:
            return
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        openings = list(self._openings)
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        if self._resolver is not None:
            await self._resolver.close()
        for connection in list(self._connections):
            connection.give_up(ConnectFailed("the client is closed"))
        if self._connections:
            self._all_gone = self._loop.create_future()
            await self._all_gone

    # ── idle connections ─────────────────────────────────────────────────────────────────────────────────

    def _take(self, lane: Lane, now: float) -> Connection | None:
        """The connection used last: the others can then grow old and be closed."""
        while lane.idle:
            connection = cast("Connection", lane.idle.pop())
            self._idle -= 1
            if connection.usable and now - connection.idle_since < self._idle_keep_s:
                return connection
            connection.drop()
        return None

    def _keep(self, connection: Connection) -> bool:
        if self._closed or self._idle >= self._idle_max:
            return False
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        connection.idle_since = loop.time()
        connection.lane.idle.append(connection)
        self._idle += 1
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_keep_s, self._sweep)
        return True

    def _sweep(self) -> None:
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        oldest = loop.time() - self._idle_keep_s
        for target, lane in list(self._lanes.items()):
            while lane.idle and lane.idle[0].idle_since <= oldest + 0.001:
                lane.idle.popleft().drop()
                self._idle -= 1
            if not lane.idle and lane.busy == 0:
                del self._lanes[target]
        self._sweeper = loop.call_later(self._idle_keep_s / 4, self._sweep) if self._idle else None

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        try:
            connection.lane.idle.remove(connection)
        except ValueError:
            pass
        else:
            self._idle -= 1
        if self._all_gone is not None and not self._connections and not self._all_gone.done():
            self._all_gone.set_result(None)

    # ── new connections ──────────────────────────────────────────────────────────────────────────────────

    def _open(self, exchange: Exchange) -> None:
        exchange.line = None
        exchange.deadline = 0.0
        if self._closed:
            exchange.failed(ConnectFailed("the client is closed"))
            return
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        exchange.opening = opening = loop.create_task(self._connect(exchange))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _connect(self, exchange: Exchange) -> None:
        connect_s = exchange.outgoing.connect_s
        try:
            async with asyncio.timeout(connect_s):
                connection = await self._dial(exchange.lane, connect_s)
        except FetchError as error:
            exchange.failed(error)
        except asyncio.CancelledError:
            exchange.failed(ConnectFailed("the client is closed"))
            raise
        except Exception as error:  # whatever name look-up, TCP and TLS can raise means: no connection
            exchange.failed(ConnectFailed(_sentence(error, connect_s)))
        else:
            exchange.opening = None
            connection.send(exchange, reused=False)

    async def _dial(self, lane: Lane, connect_s: float) -> Connection:
        """A connection to the first address that answers; each has an equal share of the time that is left.

        It goes to the numeric address that was checked, so a second look-up cannot lead elsewhere; the name
        serves SNI and the check of the certificate.
        """
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        target = lane.target
        deadline = loop.time() + connect_s
        if self._resolver is None:
            self._resolver = Resolver(loop)
        addresses = await self._resolver.addresses(target)
        failure: OSError = OSError("no address")
        seen: set[Connection] = set()

        def made(connection: Connection) -> None:
            seen.add(connection)
            self._connections.add(connection)

        for tried, address in enumerate(addresses):
            share_s = (deadline - loop.time()) / (len(addresses) - tried)
            try:
                async with asyncio.timeout(share_s):
                    _, connection = await loop.create_connection(
                        lambda: Connection(
                            lane,
                            loop,
                            keep=self._keep,
                            made=made,
                            gone=self._gone,
                            again=self._open,
                        ),
                        address,
                        target.port,
                        ssl=self._tls if target.scheme == "https" else None,
                        server_hostname=target.host if target.scheme == "https" else None,
                    )
            except OSError as error:
                failure = error
            except asyncio.CancelledError:
                # uvloop tells a connection that was cancelled just as it was made nothing of its end.
                for each in seen & self._connections:
                    each.drop()
                    self._gone(each)
                raise
            else:
                return connection
        try:
            raise failure
        finally:
            del failure  # it knows this frame: only the garbage collector would end the circle
