"""Calls that are written and read by hand, and an upstream that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

# Room for a busy machine: what has to happen "within a second" is bounded by a setting and an event, and a wait
# that nothing bounds is longer than this.
PROMPTLY_S = 5


class Talk:
    """One call on a connection of its own, read piece by piece; `leave` closes it at once."""

    def __init__(
        self,
        customer: Any,
        path: str,
        body: Any,
        *,
        receive_bytes: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.data = b""
        self._customer = customer
        self._line = socket.socket()
        if receive_bytes is not None:
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._line.settimeout(20)
        self._line.connect(("127.0.0.1", customer.shop.server.port))
        raw = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {customer.key}\r\n"
            f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n{more}\r\n"
        )
        self._line.sendall(head.encode() + raw)

    def until(self, *words: bytes, times: int = 1) -> None:
        """Read until one of the words has come so many times."""
        while all(self.data.count(word) < times for word in words):
            piece = self._line.recv(65_536)
            assert piece, f"the connection ended before {words}: {self.data[-500:]!r}"
            self.data += piece

    def rest(self) -> None:
        """Read until the server closes."""
        while piece := self._line.recv(65_536):
            self.data += piece
        self._line.close()

    def leave(self) -> None:
        self._line.close()

    @property
    def call(self) -> str:
        """The id of the call: from the head, or, where none came, the newest of the key."""
        if b"x-request-id: " in self.data:
            return self.data.split(b"x-request-id: ")[1].split(b"\r\n")[0].decode()
        return self._customer.get("/v1/calls?limit=1").json["data"][0]["id"]


def chat(model: str, text: str, **params: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **params}


def wait_for(condition: Callable[[], Any], timeout_s: float = 10) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def on_sale(shop: Any, model: str, channels: int = 1) -> str:
    """The model's name, once the server has loaded it with so many channels."""
    own = shop.server.ports.shop
    wait_for(lambda: own.shelf.current.card(model) and len(own.board.current.candidates(model)) == channels)
    return model


class Canned:
    """An upstream that answers every request with the same bytes, and closes. `requests` counts them.

    `head` and `body` are those of the newest.
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests = 0
        self.head = self.body = b""
        self._server: Any = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.body = await reader.readexactly(length)
            self.requests += 1
            self.head = head
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()


@contextlib.contextmanager
def canned(shop: Any, answer: bytes) -> Iterator[Canned]:
    """A canned upstream in the shop's loop."""
    upstream = Canned(answer)
    shop.loop.run(upstream._start())
    try:
        yield upstream
    finally:
        shop.loop.run(upstream._stop())


def http(body: Any, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """An HTTP answer with this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    return head.encode() + raw
