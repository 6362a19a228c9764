"""Bytes to a shop's port and what comes back, for requests that no HTTP library would send."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable
from typing import Any


class Raw:
    """An answer read from raw bytes; `closed` says that the server ended the connection after it.

    `interim`: one 100 before it is skipped, as clients do.
    """

    def __init__(self, data: bytes, *, closed: bool, interim: bool = False) -> None:
        self.data = data
        self.closed = closed
        head, _, self.rest = data.partition(b"\r\n\r\n")
        if interim and head == b"HTTP/1.1 100 Continue":
            head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.status = int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/1.1 ") else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}

    @property
    def body(self) -> bytes:
        """The body, chunks put together."""
        if self.headers.get("transfer-encoding") != "chunked":
            length = self.headers.get("content-length")
            return self.rest if length is None else self.rest[: int(length)]
        return b"".join(chunks(self.rest))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def next(self) -> Raw:
        """The answer after this one on the same connection."""
        return Raw(self.rest[int(self.headers.get("content-length", 0)) :], closed=self.closed)


def chunks(data: bytes) -> Iterable[bytes]:
    """The chunks of a chunked body; a body that is cut raises."""
    while True:
        size, found, data = data.partition(b"\r\n")
        assert found, "the chunked body is cut"
        length = int(size, 16)
        if length == 0:
            assert data.startswith(b"\r\n"), data[:40]
            return
        yield data[:length]
        assert data[length : length + 2] == b"\r\n"
        data = data[length + 2 :]


def connect(shop: Any) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", shop.server.port), timeout=20)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def talk(shop: Any, *pieces: bytes | float, quiet_s: float = 5.0, until: bytes = b"") -> Raw:
    """Send the pieces (a number is a pause in seconds) and read until the server closes, is quiet, or said `until`."""
    with contextlib.closing(connect(shop)) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                if isinstance(piece, bytes):
                    line.sendall(piece)
                else:
                    time.sleep(piece)
        return listen(line, quiet_s=quiet_s, until=until)


def listen(line: socket.socket, *, quiet_s: float = 5.0, until: bytes = b"") -> Raw:
    """What comes until the server closes, is quiet for so long, or said `until`."""
    line.settimeout(quiet_s)
    data = b""
    while not until or until not in data:
        try:
            piece = line.recv(262_144)
        except TimeoutError:
            return Raw(data, closed=False)
        except ConnectionResetError:
            return Raw(data, closed=True)
        if not piece:
            return Raw(data, closed=True)
        data += piece
    return Raw(data, closed=False)


def post(path: str, body: bytes, *headers: str, key: str = "", method: str = "POST") -> bytes:
    """A request as bytes, with a Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: shop.test", "Content-Type: application/json", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def get(path: str, *headers: str, key: str = "") -> bytes:
    """A GET as bytes."""
    lines = [f"GET {path} HTTP/1.1", "Host: shop.test", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
