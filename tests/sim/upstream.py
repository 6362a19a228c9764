"""The upstream port: production exchanges whose other end is a script, and a truthful record of what it produced."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from farebox.kit.fetch import BodyCut, BrokenResponse, ConnectFailed, Outgoing, Response
from farebox.kit.fetch.exchange import Exchange, Lane

from .loop import SimLoop

if TYPE_CHECKING:
    from .life import Life

_MARK = re.compile(rb"c(\d+)r(\d+)#")
WORDS = ("alpha ", "be ", "gamma-ray ", "δέλτα ", "x", "longer-than-usual ", "\n", "und so weiter ")
# What an upstream may do beside answering well.
WRONGS = (
    "refuse", "4xx", "5xx", "429", "401", "html", "stall", "stall head", "cut", "cut head", "garbage", "error event",
    "policy event", "no usage", "zero usage", "double usage", "huge usage", "late usage", "bad usage", "more than asked",
    "more usage than text", "slow", "split", "no terminal", "empty", "filtered", "reasoning only",
)  # fmt: skip
# What vendors do beside, in their bills above all; planned apart, so that the plans of the seeds before it stay.
VENDORS = (
    "huge input", "adds up to more", "hidden thinking", "shown thinking", "policy at the end", "cut late", "parts of no class",
    "early usage",
)  # fmt: skip


@dataclass(slots=True)
class Script:
    """One attempt: status, pieces of the body with the pause before each, and how it ends."""

    wrong: str = ""
    status: int = 200
    head: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = "whole"  # whole, cut, stall, refuse, cut head, stall head
    connect_s: float = 0.01
    true_bytes: int = 0  # of the body, before what is garbage


@dataclass(slots=True)
class Piece:
    """One event of a stream, or a whole answer: its words, its thoughts, and the report that came with it."""

    words: str = ""
    thoughts: str = ""
    usage: Any = None
    reports: bool = False
    end_bytes: int = 0  # of the body, with this event


@dataclass(slots=True)
class Produced:
    """What an attempt truly put out: the world's fact that the model judges by.

    `given` is how many bytes the gateway was handed, `whole` that this was the whole answer.
    """

    script: Script
    made: Made
    channel: str
    sent_s: float
    head_s: float | None = None
    given: int = 0
    whole: bool = False
    aborted: bool = False


class SimLine:
    """The connection of one exchange: feeds the script's pieces in virtual time."""

    idle_since = 0.0

    def __init__(self, life: Life, exchange: Exchange, produced: Produced) -> None:
        self._life = life
        self._loop: SimLoop = life.world.loop
        self._exchange: Exchange | None = exchange
        self._produced = produced
        self._paused = False
        self._place = 0

    def begin(self) -> None:
        script = self._produced.script
        self._after(script.connect_s, self._connected)

    def _after(self, delay_s: float, step: Any) -> None:
        # The world's timer; the step itself is the life's, so that a dead or paused node hears nothing.
        self._loop.call_later(delay_s, self._life.post, step, context=self._life.world.context())

    def _connected(self) -> None:
        exchange, script = self._exchange, self._produced.script
        if exchange is None or exchange.over:
            return
        if script.end == "refuse":
            exchange.failed(ConnectFailed("the connection was refused"))
            return
        exchange.line = self
        exchange.sent = True
        exchange.deadline = self._loop.now + exchange.outgoing.first_byte_s
        self.expect(exchange.deadline)
        if script.end == "stall head":
            return
        delay_s = script.pieces[0][0] if script.pieces else 0.01
        self._after(delay_s, self._head)

    def _head(self) -> None:
        exchange, script = self._exchange, self._produced.script
        if exchange is None or exchange.over:
            return
        if script.end == "cut head":
            self._exchange = None
            exchange.failed(BrokenResponse("the connection was closed within the head of the answer"))
            return
        self._produced.head_s = self._loop.now
        exchange.head_arrived(Response(script.status, dict(script.head)))
        self._piece()

    def _piece(self) -> None:
        exchange, script = self._exchange, self._produced.script
        if exchange is None or exchange.over:
            return
        if self._paused:
            self._after(0.05, self._piece)
            return
        if self._place < len(script.pieces):
            data = script.pieces[self._place][1]
            self._place += 1
            if data:
                self._produced.given += len(data)
                exchange.piece_arrived(data)
            if self._place < len(script.pieces):
                self._after(script.pieces[self._place][0], self._piece)
                return
        if script.end == "cut":
            self._exchange = None
            exchange.failed(BodyCut("the connection was lost within the answer"))
        elif script.end == "whole":
            self._produced.whole = True
            exchange.ended()

    # what an exchange needs of its connection

    def expect(self, deadline: float) -> None:
        self._loop.call_at(deadline, self._expired, deadline)

    def _expired(self, deadline: float) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.deadline == deadline and not exchange.over:
            exchange.expired()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def finish(self) -> None:
        self._exchange = None

    def drop(self) -> None:
        self._produced.aborted = True
        self._exchange = None


class SimUpstream:
    """All upstreams, as one node life reaches them."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._lanes: dict[Any, Lane] = {}

    def start(self, outgoing: Outgoing) -> Exchange:
        life = self._life
        life.fence()
        world = life.world
        lane = self._lanes.setdefault(outgoing.target, Lane(outgoing.target))
        exchange = Exchange(outgoing, lane, asyncio.get_running_loop(), 256 * 1024)
        produced = world.upstream_asked(life, outgoing)
        line = SimLine(life, exchange, produced)
        line.begin()
        return exchange


def asked(outgoing: Outgoing) -> tuple[int | None, int, dict[str, Any]]:
    """(call of the plan or None for one of the shop's own, its repeat, the body) of a request that came to an upstream."""
    found, body = _MARK.search(outgoing.body), json.loads(outgoing.body)
    if found is not None:
        return int(found[1]), int(found[2]), body
    if body.get("input", "Hi") != "Hi" or body.get("max_tokens", 1) != 1:
        raise AssertionError("an upstream request without its mark")
    return None, 0, body


def write(rng: Random, wrong: str, body: dict[str, Any], *, path: bytes, slow: float) -> tuple[Script, Made]:
    """The script of an attempt, a good answer to `body` spoilt by `wrong`, and the truth about it."""
    embeddings = b"embeddings" in path
    if wrong in {"reasoning only", "hidden thinking", "shown thinking"} and body["model"] != "thinker":
        wrong = ""
    made = Made(rng, wrong, body, embeddings=embeddings)
    return _script(rng, wrong, made, stream=bool(body.get("stream")), slow=slow), made


def _script(rng: Random, wrong: str, made: Made, *, stream: bool, slow: float) -> Script:
    script = Script(wrong, connect_s=rng.uniform(0.001, 0.05))
    if wrong == "refuse":
        script.end = "refuse"
        return script
    if wrong in {"4xx", "5xx", "429", "401"}:
        script.status = {"4xx": 400, "5xx": rng.choice((500, 502, 503)), "429": 429, "401": 401}[wrong]
        message = {"error": {"message": "no", "type": "invalid_request_error" if wrong == "4xx" else "server_error"}}
        script.head = {"content-type": "application/json"}
        script.pieces = [(rng.uniform(0.01, 0.3), json.dumps(message).encode())]
        return script
    script.head = {"content-type": "text/event-stream" if stream else "application/json"}
    if wrong == "html":
        script.head, script.pieces = {"content-type": "text/html"}, [(0.05, b"<html>busy</html>")]
        return script
    data = made.stream() if stream else [made.whole()]
    made.measure(data)
    script.true_bytes = sum(map(len, data))
    gap_s = rng.choice((0.002, 0.02, 0.1)) * slow * (20 if wrong == "slow" else 1)
    script.pieces = [(rng.expovariate(1 / gap_s), piece) for piece in data]
    if not stream:
        script.pieces[0] = (rng.uniform(0.02, 1.5) * slow, script.pieces[0][1])
    if wrong in {"stall head", "cut head"}:
        script.end = wrong
    elif wrong in {"cut", "stall", "garbage"}:
        keep = rng.randint(0, max(0, len(script.pieces) - 1)) if stream else 0
        piece = script.pieces[keep][1]
        script.pieces = [
            *script.pieces[:keep],
            (script.pieces[keep][0], piece[: rng.randint(0, max(0, len(piece) - 1))]),
        ]
        script.true_bytes = sum(len(piece) for _, piece in script.pieces)
        if wrong == "garbage":
            script.pieces.append((0.01, b'\n\ndata: {"choices": [\n\n' if stream else b"\xff{{"))
        script.end = "whole" if wrong == "garbage" else wrong
    elif wrong == "cut late":  # all that was said has come, and then its side is reset
        said = made.said if stream else 0
        script.pieces, script.end = [*script.pieces[:said], (rng.choice((0.5, 2.5)), b"")], "cut"
        script.true_bytes = sum(len(piece) for _, piece in script.pieces)
    elif wrong == "split":
        script.pieces = _split(rng, script.pieces)
    return script


def _split(rng: Random, pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """The same bytes, cut anywhere, several events in one piece or one event in several."""
    data = b"".join(piece for _, piece in pieces)
    most = rng.choice((1, 3, 17, 400))
    out, place = [], 0
    while place < len(data):
        size = rng.randint(1, most) if len(data) < 2500 or most > 3 else rng.randint(20, 60)
        out.append((0.0005, data[place : place + size]))
        place += size
    return out


class Made:
    """What the upstream answers, and what it says that it used."""

    def __init__(self, rng: Random, wrong: str, body: dict[str, Any], *, embeddings: bool) -> None:
        self.rng, self.wrong, self.embeddings = rng, wrong, embeddings
        self.model = body["model"]
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        self.limit = limit if limit is not None else 300
        self.include = body.get("stream_options") is not None
        self.tokens = rng.randint(1, min(self.limit, rng.choice((8, 40, 200))))
        self.finish = "length" if self.tokens == self.limit else "stop"
        if wrong == "more than asked":
            self.tokens, self.finish = self.limit + rng.randint(1, 40), "stop"
        self.prompt = rng.randint(9, 30)
        self.reasoning = rng.randint(0, self.tokens) if self.model == "thinker" and rng.random() < 0.5 else 0
        if wrong == "reasoning only":
            self.reasoning = self.tokens
        self.texts = [] if wrong == "empty" else [rng.choice(WORDS) for _ in range(self.tokens - self.reasoning)]
        if wrong == "more usage than text" and not embeddings:
            self.tokens, self.prompt = rng.randint(self.tokens, self.limit + 16), 20 + len(json.dumps(body["messages"]))
        if wrong == "filtered":
            self.finish = "content_filter"
        if wrong == "shown thinking":
            self.reasoning = self.tokens = rng.randint(20, 120)
            self.texts = [rng.choice(WORDS) for _ in range(rng.randint(1, 30))]
            self.tokens += len(self.texts)
        if wrong == "hidden thinking":  # whatever was asked for: thinking is not under it
            self.reasoning = self.limit + rng.randint(0, 150)
            self.tokens = len(self.texts) + self.reasoning
        if wrong == "parts of no class" and not embeddings and self.model == "plain":
            self.reasoning = rng.randint(0, self.tokens)
        self.pieces: list[Piece] = []
        self.said = 0  # how many events there are up to the last word
        self._usage: Any = None

    def measure(self, data: list[bytes]) -> None:
        """Note where in the body each event ends."""
        end_bytes = 0
        for piece, part in zip(self.pieces, data, strict=True):
            end_bytes += len(part)
            piece.end_bytes = end_bytes

    def usage(self) -> Any:
        """What is reported; the same each time."""
        if self._usage is None:
            self._usage = self._reported()
        return self._usage

    def _reported(self) -> Any:
        reasoning = {"completion_tokens_details": {"reasoning_tokens": self.reasoning}} if self.reasoning else {}
        out = {"prompt_tokens": self.prompt, "completion_tokens": self.tokens,
               "total_tokens": self.prompt + self.tokens} | reasoning  # fmt: skip
        if self.wrong == "zero usage":
            return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if self.wrong == "huge usage":
            return {"prompt_tokens": 10**8, "completion_tokens": 10**7, "total_tokens": 10**8 + 10**7}
        if self.wrong == "bad usage":
            return self.rng.choice(({"prompt_tokens": "7"}, {"prompt_tokens": -3, "completion_tokens": 2}, [1], 3.5,
                                    {**out, "total_tokens": 1}, {"prompt_tokens": 2**63, "completion_tokens": 1}))  # fmt: skip
        if self.wrong == "huge input":
            return out | {"prompt_tokens": 10**6, "total_tokens": 10**6 + self.tokens}
        if self.wrong == "adds up to more":
            return out | {"total_tokens": self.prompt + self.tokens + 7}
        if self.wrong == "parts of no class":
            return out | {"prompt_tokens_details": {"cached_tokens": self.prompt // 2}}
        if self.wrong == "empty" and not self.reasoning:
            return {"prompt_tokens": self.prompt, "completion_tokens": 0, "total_tokens": self.prompt}
        return out

    def _base(self, kind: str) -> dict[str, Any]:
        return {"id": "up-1", "object": kind, "created": 1_700_000_000, "model": self.model}

    def whole(self) -> bytes:
        if self.embeddings:
            vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
            out: dict[str, Any] = {"object": "list", "model": self.model, "data": vectors}
            usage: Any = {"prompt_tokens": self.prompt, "total_tokens": self.prompt}
            if self.wrong in {"huge usage", "bad usage", "zero usage"}:
                usage = self.usage()
            if self.wrong == "huge input":
                usage = {"prompt_tokens": 10**6, "total_tokens": 10**6}
        elif self.wrong in {"error event", "policy event", "policy at the end"}:
            self.pieces = [Piece()]
            return json.dumps(self._error()).encode()
        else:
            message = {"role": "assistant", "content": "".join(self.texts)}
            choice = {"index": 0, "message": message, "finish_reason": self.finish}
            out = self._base("chat.completion") | {"choices": [choice]}
            usage = self.usage()
        piece = Piece("" if self.embeddings else "".join(self.texts))
        if self.wrong != "no usage":
            out["usage"] = piece.usage = usage
            piece.reports = True
        self.pieces = [piece]
        return json.dumps(out).encode()

    def _error(self) -> dict[str, Any]:
        if self.wrong in {"policy event", "policy at the end"}:
            return {"error": {"message": "stopped by the content policy", "type": "server_error"}}
        return {"error": {"message": "overloaded", "type": "server_error", "code": 503}}

    def stream(self) -> list[bytes]:
        """The events, one piece each; the pieces of text in groups."""
        rng, base = self.rng, self._base("chat.completion.chunk")

        def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return b"data: " + json.dumps(base | {"choices": [choice]} | more).encode() + b"\n\n"

        out = [event({"role": "assistant", "content": ""})]
        self.pieces = [Piece()]
        if self.reasoning and self.wrong != "hidden thinking":
            thoughts = "hm " * (self.reasoning if self.wrong == "shown thinking" else min(self.reasoning, 5))
            out.append(event({"reasoning_content": thoughts}))
            self.pieces.append(Piece("", thoughts))
        place = 0
        while place < len(self.texts):
            size = rng.randint(1, 1 + len(self.texts) // 3)
            piece = "".join(self.texts[place : place + size])
            early = self.wrong == "early usage" and place == 0  # and none after it
            usage = {"usage": self.usage()} if early or self.wrong == "double usage" else {}
            out.append(event({"content": piece}, **usage))
            self.pieces.append(Piece(piece, "", usage.get("usage"), bool(usage)))
            place += size
        self.said = len(out)
        if self.wrong in {"error event", "policy event", "policy at the end"}:
            cut = len(out) if self.wrong == "policy at the end" else rng.randint(1, len(out))
            self.pieces = [*self.pieces[:cut], Piece()]
            return [*out[:cut], b"data: " + json.dumps(self._error()).encode() + b"\n\n"]
        if self.wrong == "no terminal":
            return out
        out.append(event({}, self.finish))
        usage_event = b"data: " + json.dumps(base | {"choices": [], "usage": self.usage()}).encode() + b"\n\n"
        done = b"data: [DONE]\n\n"
        rest = [done]
        if self.wrong == "late usage":
            rest = [done, usage_event]
        elif self.wrong not in {"no usage", "early usage"} and self.include:
            rest = [usage_event] * (2 if self.wrong == "double usage" else 1) + [done]
        for event_ in (out[-1], *rest):
            reports = event_ is usage_event and self.wrong != "late usage"
            self.pieces.append(Piece("", "", self.usage() if reports else None, reports))
        return [*out, *rest]
