"""Calls over HTTP/1.1 as clients make them: a connection, one call after another. Standard library only."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PIECE_BYTES = 256 * 1024


@dataclass
class Answer:
    """What came back; without a status nothing did."""

    status: int = 0
    pieces: list[bytes] = field(default_factory=list)
    """The body, chunk by chunk."""
    whole: bool = False
    """Whether it came to the end that its head promised."""
    keeps: bool = False
    """Whether the connection takes another call."""
    gap_s: float = 0.0
    """The longest wait between two chunks."""
    problem: str = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def told(self) -> str:
        """The status, and the code of an error, in a few words."""
        if not self.status:
            return self.problem or "nothing"
        if self.status < 400:
            return str(self.status) if self.whole else f"{self.status} cut"
        try:
            error = json.loads(self.body)["error"]
            return f"{self.status} {error['code'] or error['type']}"
        except (ValueError, TypeError, LookupError):
            return str(self.status)


class Line:
    """A connection. Whoever has left it to itself closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Line:
        """Connect; OSError where nobody takes it."""
        return cls(*await asyncio.open_connection(HOST, port))

    @property
    def usable(self) -> bool:
        """Whether the other side has left it open."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer, which may come before all is sent."""
        sending = asyncio.create_task(self.send(request))
        try:
            answer = await self.read()
            answer.keeps = answer.keeps and sending.done()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return answer

    async def send(self, data: bytes) -> None:
        """Hand all of it to the system; OSError where the other side has closed."""
        view = memoryview(data)
        for at in range(0, len(view), PIECE_BYTES):
            self._writer.write(view[at : at + PIECE_BYTES])
            await self._writer.drain()

    async def read(self) -> Answer:
        """Read an answer; what went wrong with it is in it."""
        answer = Answer()
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            answer.status = int(head[9:12])
            fields = dict(line.split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
            if fields.get(b"transfer-encoding") == b"chunked":
                await self._chunks(answer)
            else:
                answer.pieces.append(await self._reader.readexactly(int(fields[b"content-length"])))
            answer.whole = True
            answer.keeps = fields.get(b"connection") != b"close"
        except (OSError, EOFError, ValueError, LookupError) as problem:
            answer.problem = type(problem).__name__
        return answer

    async def _chunks(self, answer: Answer) -> None:
        last_s = time.perf_counter()
        while length := int(await self._reader.readline(), 16):
            data = await self._reader.readexactly(length + 2)
            now_s = time.perf_counter()
            answer.gap_s, last_s = max(answer.gap_s, now_s - last_s), now_s
            answer.pieces.append(data[:-2])
        await self._reader.readexactly(2)

    def close(self) -> None:
        self._writer.close()


def post(path: str, body: bytes, key: str = "", *, length: int | None = None, kind: str = "application/json") -> bytes:
    """A request; with `length` its body has that many bytes, of which these are the first."""
    said = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: shop\r\n{said}Content-Type: {kind}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body
