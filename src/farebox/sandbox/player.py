"""How a reply goes out: head, chunks and pace, and the misbehaviours that happen on the wire."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import struct
import zlib
from http import HTTPStatus
from typing import Final, Protocol

from . import frames
from .behaviours import Behaviours, of_event
from .journal import Record
from .routes import Reply, Request

_ENDINGS: Final = ("stall", "cut", "reset")
_LAST_EVENTS: Final = ("error-event", "policy-event")
_BOM: Final = b"\xef\xbb\xbf"
_BREATH_EVENTS: Final = 32  # a stream without pace lets the others run this often
_RESET_S: Final = 0.02  # lets the client read what came before, which a reset would take away

_count = itertools.count(1)


class Left(Exception):
    """The connection closed while an answer was being written."""


class Line(Protocol):
    """The connection as the player needs it."""

    transport: asyncio.Transport

    async def put(self, data: bytes) -> None:
        """Write, and wait while the client reads too slowly."""

    async def flush(self) -> None:
        """Return once the operating system has taken every byte."""


async def play(
    line: Line, request: Request, reply: Reply, behaviours: Behaviours, record: Record, *, pace_ms: int
) -> None:
    """Send a reply; notes status, events and the ending in the record. Raises Left."""
    if reply.events is not None:
        stream = _Stream(line, request, reply, behaviours, record)
        pace_s = behaviours.seconds("pace", scale=0.001) if "pace" in behaviours else pace_ms / 1000
        await stream.send(pace_s)
        return
    body = _BOM + reply.body if "bom" in behaviours else reply.body
    if "gzip" in behaviours:
        body = gzip.compress(body)
    record.status = reply.status
    head = _head(request, reply, behaviours, length=len(body))
    ending = next((name for name in _ENDINGS if name in behaviours and int(behaviours[name]) <= len(body)), None)
    if ending is not None:
        await line.put(head + body[: int(behaviours[ending])])
        await _end(line, ending, record)
        return
    size = behaviours.number("split")
    if size is None or request.method == "HEAD":
        await line.put(head if request.method == "HEAD" else head + body)
    else:
        await line.put(head)
        for at in range(0, len(body), size):
            await line.put(body[at : at + size])
            await asyncio.sleep(0)
    record.ended = "complete"


class _Stream:
    """A stream of events on its way out."""

    def __init__(self, line: Line, request: Request, reply: Reply, behaviours: Behaviours, record: Record) -> None:
        self._line = line
        self._request = request
        self._reply = reply
        self._behaviours = behaviours
        self._record = record
        self._faults = of_event(behaviours, (*frames.EVENT_FAULTS, *_ENDINGS))
        self._gzip = zlib.compressobj(wbits=31) if "gzip" in behaviours else None
        self._split = behaviours.number("split")
        eol = b"\r\n" if "crlf" in behaviours else b"\n"
        self._end = eol + eol
        self._before = b"data:" if "nospace" in behaviours else b"data: "
        if "comments" in behaviours:
            self._before = b": ping" + self._end + b"event: message" + eol + self._before

    async def send(self, pace_s: float) -> None:
        """Send all events with their faults, then the end of the body."""
        self._record.status = self._reply.status
        await self._line.put(_head(self._request, self._reply, self._behaviours, length=None))
        if "bom" in self._behaviours:
            await self._chunk(_BOM)
        record = self._record
        assert self._reply.events is not None  # noqa: S101  (the caller's condition)
        for payload in self._reply.events:
            if record.events in self._faults and await self._fault():
                return
            if record.events and pace_s and payload is not frames.DONE:
                await asyncio.sleep(pace_s)
            await self._event(payload)
            if record.events % _BREATH_EVENTS == 0:
                await asyncio.sleep(0)
                if self._line.transport.is_closing():
                    raise Left
        if record.events in self._faults and await self._fault():
            return
        await self._close()

    async def _fault(self) -> bool:
        """Let happen what was asked for after this number of events; True where that was the end."""
        assert self._reply.head is not None  # noqa: S101  (streams have one)
        for name in self._faults.pop(self._record.events):
            if name in _ENDINGS:
                await _end(self._line, name, self._record)
                return True
            await self._event(frames.fault(name, self._reply.head, self._behaviours))
            if name in _LAST_EVENTS:
                await self._close()
                return True
        return False

    async def _event(self, payload: bytes) -> None:
        self._record.events += 1
        await self._chunk(self._before + payload + self._end)

    async def _chunk(self, data: bytes) -> None:
        if self._gzip is not None:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        if self._split is None:
            await self._line.put(self._framed(data))
            return
        for at in range(0, len(data), self._split):
            await self._line.put(self._framed(data[at : at + self._split]))
            await asyncio.sleep(0)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._request.http11 else data

    async def _close(self) -> None:
        """The proper end of the body."""
        rest = self._framed(self._gzip.flush()) if self._gzip is not None else b""
        if self._request.http11:
            rest += b"0\r\n\r\n"
        await self._line.put(rest)
        if not self._request.http11:
            self._line.transport.close()
        self._record.ended = "complete"


def _head(request: Request, reply: Reply, behaviours: Behaviours, *, length: int | None) -> bytes:
    """Status line and headers; without a length the body is in chunks, or ends with the connection."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Status"
    lines = [
        f"HTTP/1.1 {reply.status} {phrase}",
        f"content-type: {reply.content_type}",
        "x-farebox-sandbox: 1",
        f"x-request-id: req_sandbox{next(_count):08d}",
    ]
    if length is not None:
        lines.append(f"content-length: {length}")
    else:
        lines.append("cache-control: no-cache")
        if request.http11:
            lines.append("transfer-encoding: chunked")
    if "gzip" in behaviours:
        lines.append("content-encoding: gzip")
    if not request.keep_alive or (length is None and not request.http11):
        lines.append("connection: close")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


async def _end(line: Line, name: str, record: Record) -> None:
    """End the answer in its middle, as the behaviour says."""
    await line.flush()
    if name == "stall":
        await asyncio.Event().wait()
    record.ended = name
    if name == "reset":
        await asyncio.sleep(_RESET_S)
        raw = line.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.transport.abort()
    else:
        line.transport.close()
