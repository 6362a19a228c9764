"""The customer's end: a connection that the production exchange answers, and what its customer saw."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from farebox.gateway.flight import Share
from farebox.gateway.http.exchange import Exchange

if TYPE_CHECKING:
    from .life import Life
    from .plan import Call
    from .world import World

_READS_BYTES = 700
# What a customer has read when he leaves.
_LEAVES = {
    "leaves at words": re.compile(rb'"content":\s?"[^"]'),
    "leaves at end": re.compile(rb'"finish_reason":\s?"'),
}


class Sent:
    """One request on one connection, and everything that its customer saw of the answer."""

    def __init__(self, world: World, call: Call, repeat: int, node: int, *, once: str) -> None:
        self.world = world
        self.call = call
        self.repeat = repeat
        self.node = node
        self.once = once
        self.life: Life | None = None
        self.id = ""  # of our call, once a node has taken the connection
        self.messages = ""  # as its request has them
        self.raw: list[bytes] = []
        self.at_s = world.loop.now
        self.end_s: float | None = None
        self.last_s = 0.0
        self.gone = False  # the customer has left
        self.left_s: float | None = None
        self.ended = False  # the answer is complete
        self.lost = False  # the connection broke, or was refused
        self.answer: Answer | None = None

    def read(self) -> Answer:
        if self.answer is None:
            self.answer = Answer(b"".join(self.raw), ended=self.ended and not self.gone)
        return self.answer


class Answer:
    """What the bytes say. `whole`: the customer saw the end: `[DONE]`, or a whole body with status 200."""

    def __init__(self, raw: bytes, *, ended: bool) -> None:
        head, _, rest = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        self.status = int(head[9:12]) if head else 0
        body = _unchunked(rest) if b"chunked" in head else rest
        self.stream = b"text/event-stream" in head
        self.text = ""
        self.error = self.status >= 400
        self.done = False
        self.usage: Any = None
        self.code = ""
        if self.stream:
            self._events(body)
            self.whole = self.done and self.status == 200 and not self.error
        else:
            self._json(body, ended)

    def _events(self, body: bytes) -> None:
        for line in body.split(b"\n"):
            if line == b"data: [DONE]":
                self.done = True
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                self.error = self.error or "error" in event
                self.code = event.get("error", {}).get("code") or self.code
                self.usage = event.get("usage") or self.usage
                for choice in event.get("choices", ()):
                    self.text += choice["delta"].get("content") or ""

    def _json(self, body: bytes, ended: bool) -> None:
        self.whole = False
        if not ended or self.status == 0:
            return
        found = json.loads(body)
        if "error" in found:
            self.error = True
            self.code = found["error"].get("code") or found["error"]["type"]
            return
        self.usage = found.get("usage")
        self.whole = self.status == 200
        for choice in found.get("choices", ()):
            self.text += choice["message"].get("content") or ""


def _unchunked(data: bytes) -> bytes:
    out, place = [], 0
    while place < len(data):
        end = data.find(b"\r\n", place)
        if end < 0:
            break
        size = int(data[place:end], 16)
        out.append(data[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(out)


class Door:
    """The node's end of the connection; see gateway.exchange.Connection."""

    def __init__(self, life: Life, sent: Sent) -> None:
        self.options = life.options
        self.flight = life.flight
        self.paused = False
        self._life = life
        self._loop = life.world.loop
        self.sent = sent
        self.exchange: Exchange
        self._drain: asyncio.Future[None] | None = None
        self._unread_bytes = 0
        self._reads = True

    @property
    def closing(self) -> bool:
        return self._life.shop.stopping

    def write(self, data: bytes) -> None:
        self._life.fence()
        sent = self.sent
        if sent.gone or sent.lost:
            return
        sent.raw.append(data)
        sent.last_s = self._loop.now
        world = self._life.world
        until = _LEAVES.get(sent.call.client)
        if until is not None and until.search(data):
            self._loop.call_soon(world.leave, sent, self._life, self, context=world.context())
        elif sent.call.client == "reads slowly" and self._reads and len(sent.raw) % 4 == 3:
            world.fired("client: reads slowly")
            self._stop_reading(1.0)
        elif sent.call.client == "stops reading" and self._reads and len(sent.raw) == 3:
            world.fired("client: stops reading")
            self._stop_reading(sent.call.client_s)
        elif sent.call.client == "never reads" and sum(map(len, sent.raw)) > _READS_BYTES:
            world.fired("client: never reads")
            self._stop_reading(None)

    def _stop_reading(self, seconds: float | None) -> None:
        if not self._reads:
            return
        self._reads = False
        self.paused = True
        if seconds is None:
            self._loop.call_later(self.options.slow_reader_s, self.abort)
        else:
            self._loop.call_later(seconds, self._read_on)

    def _read_on(self) -> None:
        self._reads, self.paused = True, False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        self._drain = None

    def room(self, account: str) -> Share:
        """What his bytes count in."""
        return self.flight.of(account)

    def belong(self, account: str) -> bool:
        """It has all the room there is."""
        del account
        return True

    def recognise(self, exchange: Exchange) -> None:
        """Strangers leave room enough."""

    def invite(self, exchange: Exchange) -> None:
        """Nobody waits to be invited."""

    async def drained(self) -> None:
        if self.sent.gone:
            return
        if self._drain is None or self._drain.done():
            self._drain = self._loop.create_future()
        await asyncio.shield(self._drain)

    def done(self, exchange: Exchange) -> None:
        del exchange
        self._life.fence()
        self._life.doors.pop(self, None)
        self.sent.world.ended(self.sent, self._life)

    def abort(self) -> None:
        """The node drops the connection."""
        sent = self.sent
        if not (sent.ended or sent.gone or sent.lost):
            sent.lost = True
            sent.left_s = self._loop.now
            sent.world.broken(sent)
        self.hung_up()

    def hung_up(self) -> None:
        """The node notices that the connection is gone."""
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        self._drain = None
        self.exchange.gone()
