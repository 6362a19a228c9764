"""A customer who takes all that he can get, in a process of its own: `python -m kit.hostile PORT KEY SECONDS MODEL`.

What it was answered is written at the end, as JSON: by kind of attack, how often each status (0: the connection broke).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from kit import worst

PORT, KEY, SECONDS, MODEL = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
END_S = time.monotonic() + SECONDS
PASSING = ("text that passes", "escapes that pass", "pairs of brackets", "parts", "schema", "keys", "slow numbers that pass",
           "one emoji in much", "token arrays that pass", "brackets", "numbers")  # fmt: skip
Seen = dict[str, Counter[int]]


def post(path: str, body: bytes, *, length: int | None = None, kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {kind}\r\n"
    return (
        f"{head}Content-Length: {len(body) if length is None else length}\r\nConnection: close\r\n\r\n".encode() + body
    )


def chat(text: str, **more: Any) -> bytes:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
    return post(worst.CHAT, json.dumps(asked).encode())


@contextlib.asynccontextmanager
async def line() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=4096)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(data: bytes) -> int:
    """The status of the answer, read to its end."""
    async with line() as (reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        status = await reader.read(12)
        while await reader.read(1 << 20):
            pass
        return int(status[9:12] or 0)


async def unfinished(length: int) -> int:
    """A body that comes as slowly as it may."""
    async with line() as (reader, writer):
        writer.write(post(worst.CHAT, b"x" * 1024, length=length))
        answer = asyncio.ensure_future(reader.read(12))
        while time.monotonic() < END_S and not answer.done():
            writer.write(b"x" * 1024)
            await asyncio.sleep(0.5)
        answer.cancel()
        return int(answer.result()[9:12] or 0) if answer.done() and not answer.cancelled() else 0


async def unread() -> int:
    """A stream that nobody reads."""
    async with line() as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(chat("sandbox: tokens=20000", stream=True))
        await asyncio.sleep(min(2, max(0, END_S - time.monotonic())))
        return 0


async def again(seen: Seen, kind: str, work: Any) -> None:
    while time.monotonic() < END_S:
        try:
            seen.setdefault(kind, Counter())[await work()] += 1
        except (OSError, ValueError):
            seen.setdefault(kind, Counter())[0] += 1
            await asyncio.sleep(0.01)


async def main() -> None:
    seen: Seen = {}
    bodies = []
    for name in PASSING:
        path, body, _ = worst.WORST[name]
        data = body().replace(b'"gpt-4"', b'"%b"' % MODEL.encode(), 1)
        bodies.append(post(path, data))
    turn = iter(range(10**9))
    form = post(
        "/account/sign-in", b"email=a@b.example&password=x&" + b"y" * 60_000, kind="application/x-www-form-urlencoded"
    )
    echo = {"model": MODEL, "prompt": ["lorem ipsum " * 20_000] * 2, "echo": True, "stream": True, "max_tokens": 1}
    attacks: list[tuple[str, int, Any]] = [
        ("large", 3, lambda: ask(bodies[next(turn) % len(bodies)])),
        ("unfinished", 60, lambda: unfinished(30 * worst.MIB if next(turn) % 4 == 0 else 5000)),
        ("alternatives", 2, lambda: ask(chat("sandbox: tokens=60", n=8, logprobs=True, top_logprobs=20, max_tokens=60))),
        ("echo", 2, lambda: ask(post(worst.TEXT, json.dumps(echo).encode()))),
        ("failures", 4, lambda: ask(chat("sandbox: status=500"))),
        ("refused", 2, lambda: ask(chat("sandbox: status=400"))),
        ("unread", 6, unread),
        ("held", 30, lambda: ask(chat("sandbox: slow=2", stream=True))),
        ("pages", 2, lambda: ask(form)),
        ("lists", 2, lambda: ask(f"GET /v1/calls?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n".encode())),
    ]  # fmt: skip
    print("ready", flush=True)
    tasks = [asyncio.create_task(again(seen, kind, work)) for kind, count, work in attacks for _ in range(count)]
    await asyncio.wait(tasks, timeout=SECONDS + 1)
    print(json.dumps(seen), flush=True)


asyncio.run(main())
