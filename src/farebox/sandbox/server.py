"""The sandbox as an HTTP/1.1 server, on a bare protocol so that it can cut, reset and garble exactly.

A client that closes its side, or half of it, is taken to have left: the answer stops there and the journal
says `client-left`. Requests that come before the last answer ended wait their turn.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter, deque
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httptools

from . import routes
from .behaviours import Behaviours
from .errors import Refusal
from .journal import KEPT, Journal, Record
from .player import Left, play
from .routes import Reply, Request

_BODY_BYTES_MAX: Final = 64 * 1024 * 1024
_WAITING_MAX: Final = 64
_STOP_S: Final = 2.0


class Sandbox:
    """A sandbox that is running. `requests` holds the last records of its journal, open ones included."""

    def __init__(self, host: str, *, key: str | None, journal: Journal, pace_ms: int) -> None:
        self.host = host
        self.port = 0
        self.key = key
        self.pace_ms = pace_ms
        self.journal = journal
        self.failed: Counter[str] = Counter()
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    @property
    def requests(self) -> deque[Record]:
        """The last records, oldest first; a record is changed in place until it ended."""
        return self.journal.records

    async def listen(self, port: int) -> None:
        """Take requests on this port; 0 picks one. Raises OSError where it cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def idle(self, timeout_s: float = 5.0) -> None:
        """Return once no request is open. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while any(connection.busy for connection in self.connections):  # noqa: ASYNC110  (asked by tests alone)
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Close the port and every connection; open requests end as `stopped`. Twice is once."""
        if self._server is not None:
            self._server.close()
            self._server = None
        ending = list(self.connections)
        for connection in ending:
            connection.stop()
        deadline = time.monotonic() + _STOP_S
        while self.connections or any(connection.busy for connection in ending):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.001)
        self.journal.close()


class _Connection(asyncio.Protocol):
    """One connection: reads requests, answers one after the other."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.transport: asyncio.Transport
        self._parser: Any = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._record: Record
        self._room: asyncio.Future[None] | None = None
        self._left = False
        self._stopped = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or waits."""
        return self._task is not None

    def stop(self) -> None:
        """End whatever is going on and close."""
        self._stopped = not self._left
        self._leave()
        self.transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.sandbox.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        self.sandbox.connections.discard(self)
        self._leave()

    def eof_received(self) -> bool:
        self._leave()
        return False

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._reject(400, "The sandbox could not read this as HTTP/1.1.")

    # httptools' side

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue" and self._task is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= _BODY_BYTES_MAX:
            self._body.append(body)
        else:
            self._body.clear()

    def on_message_complete(self) -> None:
        if self._size > _BODY_BYTES_MAX or len(self._waiting) >= _WAITING_MAX:
            self._reject(413, "The request is too large for the sandbox, or too many wait on one connection.")
            return
        request = Request(
            method=self._parser.get_method().decode(),
            target=self._url.decode("latin-1"),
            headers=self._headers,
            raw=b"".join(self._body),
            keep_alive=self._parser.should_keep_alive(),
            http11=self._parser.get_http_version() == "1.1",
        )
        self._body = []
        self._waiting.append(request)
        if self._task is None:
            self._next()

    # the answer

    async def put(self, data: bytes) -> None:
        """Write, and wait while the client reads too slowly."""
        self.transport.write(data)
        if self._room is not None:
            await self._room

    async def flush(self) -> None:
        """Return once the operating system has taken every byte."""
        while self.transport.get_write_buffer_size():  # noqa: ASYNC110  (asyncio tells no zero)
            await asyncio.sleep(0.001)

    def _next(self) -> None:
        request = self._waiting.popleft()
        self._record = Record(time=time.time(), method=request.method, path=request.path)
        self.sandbox.journal.begin(self._record)
        self._task = asyncio.get_running_loop().create_task(self._serve(request, self._record))
        self._task.add_done_callback(lambda task: self._ended(task, keep=request.keep_alive))

    async def _serve(self, request: Request, record: Record) -> None:
        behaviours = Behaviours()
        reply: Reply | None = None
        try:
            routes.check_key(request, self.sandbox.key)
            body, behaviours = routes.read(request, record)
        except Refusal as refusal:
            reply, body = routes.refused(refusal), {}
        if "refuse" in behaviours:
            self.transport.close()
            record.ended = "refused"
            return
        if "silent" in behaviours:
            await asyncio.Event().wait()
        if "slow" in behaviours:
            await asyncio.sleep(behaviours.seconds("slow"))
        if reply is None:
            try:
                reply = routes.respond(request, body, behaviours, record, self.sandbox.failed)
            except Refusal as refusal:
                reply = routes.refused(refusal)
        await play(self, request, reply, behaviours, record, pace_ms=self.sandbox.pace_ms)

    def _ended(self, task: asyncio.Task[None], *, keep: bool) -> None:
        self._task = None
        record = self._record
        if task.cancelled():
            record.ended = "stopped" if self._stopped else "client-left"
        elif (error := task.exception()) is not None:
            record.ended = "client-left" if isinstance(error, Left) else "failed"
            self.transport.close()
            if record.ended == "failed":
                context = {"message": "the sandbox failed to answer", "exception": error, "task": task}
                asyncio.get_running_loop().call_exception_handler(context)
        self.sandbox.journal.end(record)
        if self.transport.is_closing():
            self._waiting.clear()
        elif not keep:
            self.transport.close()
        elif self._waiting:
            self._next()

    def _leave(self) -> None:
        self._left = True
        self._waiting.clear()
        if self._room is not None and not self._room.done():
            self._room.cancel()
        if self._task is not None:
            self._task.cancel()

    def _reject(self, status: int, message: str) -> None:
        """Answer what could not be read as a request, and close."""
        if self._task is None and not self.transport.is_closing():
            body = Refusal(status, message).body
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(line.encode() + fields.encode() + body)
        self.transport.close()


async def start(
    host: str,
    port: int,
    *,
    key: str | None = None,
    journal: Path | None = None,
    pace_ms: int = 0,
    keep: int = KEPT,
) -> Sandbox:
    """Start a sandbox in this loop; stop it with `await sandbox.stop()`.

    `port` 0 picks one (see `.port`, `.base_url`). With `key` any other key gets OpenAI's 401. `pace_ms` waits
    between the events of every stream. `journal` is a file that one JSON object a request is appended to;
    the last `keep` records are in `.requests`. Raises OSError where the port or the file cannot be had.
    """
    sandbox = Sandbox(host, key=key, journal=Journal(journal, keep=keep), pace_ms=pace_ms)
    try:
        await sandbox.listen(port)
    except BaseException:
        sandbox.journal.close()
        raise
    return sandbox


def run(host: str, port: int, *, key: str | None = None, journal: Path | None = None, pace_ms: int = 0) -> None:
    """Run a sandbox until SIGTERM or SIGINT; prints its base URL. Parameters and errors as of `start`."""
    import uvloop

    async def until_stopped() -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        sandbox = await start(host, port, key=key, journal=journal, pace_ms=pace_ms, keep=0)
        print(f"The sandbox listens on {sandbox.base_url}", flush=True)
        await stopped.wait()
        await sandbox.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())
