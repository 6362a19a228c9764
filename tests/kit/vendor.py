"""An upstream that plays what a test writes, and what its vendor would bill for that: tokens of o200k_base."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kit.talk import Talk, on_sale

INPUT, OUTPUT = 3, 15  # micro-USD a token; thinking costs as much as words
PRICES = {"input": "3", "output": "15"}
RESET = object()  # a step that resets the connection

_STUCK_S = 0.25
_DONE = "data: [DONE]\n\n"


def counted(*texts: str) -> int:
    """Tokens of these texts, however long."""
    from farebox.catalog import tokens

    pieces = [text[at : at + 500_000] for text in texts for at in range(0, len(text), 500_000)]
    return sum(tokens.count_exact("o200k_base", [piece]) or 0 for piece in pieces)


def asked(*texts: str) -> int:
    """Tokens of a chat of messages with these texts."""
    return counted(*texts) + 4 * len(texts) + 3


def prose(tokens: int, seed: int = 1) -> str:
    """English of about so many tokens."""
    words = (
        "the river carries what a town forgets and every bridge remembers two shores while boats ask nothing".split()
    )
    rng = random.Random(seed)
    return " ".join(rng.choice(words) for _ in range(tokens))


_CODE = (
    'def total_{0}(rows: list[dict[str, int]]) -> int:\n    """The sum of `{0}` over all rows."""\n'
    '    found = 0\n    for row in rows:\n        if row.get("{0}", 0) > {1}:\n            found += row["{0}"] * {1}\n'
    "    return found\n\n\n"
)
_HAN = (
    "城市每天清晨从河边醒来，卖豆浆的老人推着车慢慢走过石桥，孩子们背着书包跑向学校，谁也没有注意到水面上的雾已经散了。"
)
_PLACES = ("Oslo", "Rome", "Lima")
TEXTS = {
    "prose": prose(900),
    "Chinese": "".join(f"第{number}段，{_HAN}" for number in range(16)),
    "code": "".join(_CODE.format(f"field_{number}", number * 7) for number in range(14)),
    "JSON": json.dumps(
        [
            {"id": number, "name": f"user-{number}", "city": _PLACES[number % 3], "score": number * 37 % 101 / 4}
            for number in range(50)
        ]
    ),
    "base64": base64.b64encode(random.Random(3).randbytes(1500)).decode(),
}


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> str:
    """One event of a stream of chat."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return json.dumps({"id": "v1", "object": "chat.completion.chunk", "created": 1, "choices": choices} | more)


def said(text: str, name: str = "content", size: int = 24) -> list[Any]:
    """Events that bring a text in pieces of so many characters."""
    return [chunk({name: text[at : at + size]}) for at in range(0, len(text), size)]


def within(text: str, limit_tokens: int | None) -> str:
    """As much of a text as has so many tokens."""
    if limit_tokens is None or counted(text) <= limit_tokens:
        return text
    least, most = 0, len(text)
    while most - least > 1:
        half = (least + most) // 2
        least, most = (half, most) if counted(text[:half]) <= limit_tokens else (least, half)
    return text[:least]


def used(given: int, made: int, **more: Any) -> dict[str, Any]:
    """A usage report."""
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made} | more


def thought(tokens: int) -> dict[str, Any]:
    """What a report says of thinking."""
    return {"completion_tokens_details": {"reasoning_tokens": tokens}}


def report(given: int, made: int, **more: Any) -> str:
    """The event with the usage."""
    return json.dumps(
        {"id": "v1", "object": "chat.completion.chunk", "choices": [], "usage": used(given, made, **more)}
    )


def whole(text: str, usage: Any = None, **choice: Any) -> dict[str, Any]:
    """An answer of chat that is not streamed."""
    one = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | choice
    return {"id": "v1", "object": "chat.completion", "choices": [one]} | ({"usage": usage} if usage else {})


@dataclass
class Vendor:
    """The upstream: `steps` are events of a stream (text), pauses in seconds, or RESET; a dict is a whole answer. What
    they are may depend on the request.

    `sent` are the events that went out to the newest request, `left` that it was cancelled before they all had, `stuck`
    that it was given up since nobody read them.
    """

    steps: list[Any] | dict[str, Any] | Callable[[Any], list[Any]] = field(default_factory=list)
    sent: int = 0
    left: bool = False
    stuck: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    _server: Any = None
    _serving: set[Any] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.body = json.loads(await reader.readexactly(length))
            self.sent, self.left, self.stuck = 0, False, False
            if isinstance(self.steps, dict):
                raw = json.dumps(self.steps).encode()
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
                )
                writer.write(head + raw)
            else:
                steps = self.steps(self.body) if callable(self.steps) else self.steps
                await self._play(steps, writer)

    async def _play(self, steps: list[Any], writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for step in steps:
            if step is RESET:
                line = writer.transport.get_extra_info("socket")
                await asyncio.sleep(0.02)  # what was written arrives before the reset
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            if writer.transport.is_closing():
                self.left = True
                return
            self._write(writer, f"data: {step}\n\n")
            self.sent += 1
            if not await self._goes_on(writer):
                return
        self._write(writer, _DONE)
        writer.write(b"0\r\n\r\n")

    async def _goes_on(self, writer: asyncio.StreamWriter) -> bool:
        """Whether what was written is taken: some vendors wait for a minute until they give up, and some do not."""
        await asyncio.sleep(0)
        if not writer.transport.get_write_buffer_size():
            return True
        try:
            await asyncio.wait_for(writer.drain(), _STUCK_S)
        except TimeoutError:
            self.stuck = True
            writer.transport.abort()
            return False
        return True

    def _write(self, writer: asyncio.StreamWriter, text: str) -> None:
        raw = text.encode()
        writer.write(b"%x\r\n%b\r\n" % (len(raw), raw))

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._serving):  # connections that are kept, and requests that nobody waits for any more
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()


@contextlib.contextmanager
def selling(shop: Any) -> Iterator[Vendor]:
    """The vendor of models of a shop whose calls are of version 2 of the rules.

    `plain` and `thinker`, whose thoughts may be hidden; `biller` thinks as well, and its whole answer is billed whoever
    leaves; the answers of `vast` may be of any size.
    """
    from farebox.kit import settings
    from farebox.upstreams import channels

    vendor = Vendor()
    shop.loop.run(vendor._start())
    shop.write(settings.put, settings.RULES_2_FROM, 0, actor="test")
    for name, hidden in {"plain": False, "thinker": True, "biller": True, "vast": False}.items():
        size = 64 if name == "vast" else 1
        facts = {"output_tokens_max": size * 16_384, "context_tokens": size * 131_072}
        prices = PRICES | ({"reasoning": str(OUTPUT)} if hidden else {})
        shop.model(name, prices, **facts, hidden_output=hidden)
        shop.write(channels.withdraw, channel="sandbox", model=name, actor="test")
        shop.add_channel(
            f"c-{name}", vendor.base_url, [name], cancel_billing="bills_all" if name == "biller" else "stops"
        )
        on_sale(shop, name)
    try:
        yield vendor
    finally:
        shop.loop.run(vendor._stop())


def events(data: bytes) -> list[Any]:
    """The JSON events of what a customer has read of a stream."""
    body = data.partition(b"\r\n\r\n")[2]
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    out = []
    for line in lines:
        with contextlib.suppress(ValueError):  # the last may be cut
            out.append(json.loads(line[6:]))
    return out


def text_of(found: list[Any], name: str = "content") -> str:
    """The text that these events of a customer's bring."""
    deltas = (choice.get("delta", choice) for event in found for choice in event.get("choices", ()))
    return "".join(delta.get(name) or "" for delta in deltas)


def read_until(me: Any, model: str, text: str, mark: Callable[[bytes], bool], **params: Any) -> Talk:
    """A stream that its customer leaves as soon as `mark` holds of what he has read, by a reset."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True, **params}
    talk = Talk(me, "/v1/chat/completions", body)
    while not mark(talk.data):
        piece = talk._line.recv(65_536)
        assert piece, talk.data[-500:]
        talk.data += piece
    talk._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.leave()
    return talk


def near(receipt: dict[str, Any], list_micro: int) -> None:
    """Charged within a tenth of the list price, but for the fractions of a few tokens."""
    charge_micro = receipt["charge_micro"]
    assert list_micro * 9 // 10 - 4 * OUTPUT <= charge_micro <= list_micro * 11 // 10, (list_micro, receipt)
