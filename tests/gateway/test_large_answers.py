"""The largest answers of upstreams keep the interpreter for no longer than a tenth of a second at a time (I34)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit import pieces
from kit.receipts import alone
from kit.shop import Loop
from kit.talk import Canned, http

CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"
MIB = 1024 * 1024
PIECE_S = 0.1
# At night an answer is as large as it may be; by day a quarter of that is, which took a second in one piece.
LIKELY = (7 if os.environ.get("NIGHT") else 2) * MIB
USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":10,"total_tokens":19}'
VECTOR = [number / 7919 for number in range(-768, 768)]


@contextlib.contextmanager
def elsewhere() -> Iterator[Canned]:
    """An upstream on a loop of its own."""
    loop, upstream = Loop(), Canned(b"")
    loop.run(upstream._start())
    try:
        yield upstream
    finally:
        loop.run(upstream._stop())
        loop.close()


def chosen(choices: list[bytes], usage: bytes = USAGE) -> bytes:
    return b'{"id":"x","model":"large","choices":[' + b",".join(choices) + b"]," + usage + b"}"


def choice(index: int, content: bytes, logprobs: bytes = b"null") -> bytes:
    return b'{"index":%d,"message":{"role":"assistant","content":"%b"},"logprobs":%b,"finish_reason":"stop"}' % (
        index, content, logprobs,
    )  # fmt: skip


def likely(size: int) -> bytes:
    """Log probabilities with twenty alternatives each."""
    alternatives = [{"token": f"sand{n}", "logprob": -1.2345678 - n, "bytes": list(b"sand1")} for n in range(20)]
    said = {"token": "sand", "logprob": -0.1234, "bytes": list(b"sand"), "top_logprobs": alternatives}
    one = json.dumps(said, separators=(",", ":")).encode()
    return b'{"content":[' + b",".join([one] * (size // len(one))) + b"]}"


def vectors(embedding: bytes, size: int) -> bytes:
    one = b'{"object":"embedding","index":0,"embedding":' + embedding + b"}"
    return b'{"object":"list","data":[' + b",".join([one] * (size // len(one))) + b'],"model":"m",' + USAGE + b"}"


FLOATS = json.dumps(VECTOR).encode()
TEXT = json.dumps(base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()).encode()
# (path, what is asked for, the answer)
LARGEST: dict[str, tuple[str, dict[str, Any], Callable[[], bytes]]] = {
    "log probabilities": (CHAT, {"n": 8}, lambda: chosen([choice(n, b"sand", likely(LIKELY)) for n in range(8)])),
    "escapes": (CHAT, {"n": 4}, lambda: chosen([choice(n, b"\\n" * (7 * MIB)) for n in range(4)])),
    "text": (CHAT, {}, lambda: chosen([choice(0, b"a b c d " * (7 * MIB))])),
    "text without a report": (CHAT, {}, lambda: chosen([choice(0, b"a b c d " * (7 * MIB))], b'"x":1')),
    "floats": (EMBED, {"input": ["a"]}, lambda: vectors(FLOATS, 56 * MIB)),
    "base64 for floats": (EMBED, {"input": ["a"]}, lambda: vectors(TEXT, 16 * MIB)),
    "a stream that came whole": (CHAT, {"stream": True, "n": 8}, lambda: chosen([choice(n, b"a", likely(2 * MIB)) for n in range(8)])),
}  # fmt: skip

KINDS = set(LARGEST) if os.environ.get("NIGHT") else {"log probabilities"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_answer_keeps_the_interpreter(shop):
    """56 MiB of log probabilities were decoded in one piece of 4.9 s, base64 was made floats on the loop for 3 s."""
    rich, took = shop.account("100000"), {}
    with elsewhere() as upstream:
        kinds = ["chat", "completions", "embeddings"]
        name = alone(
            shop, "large", upstream.base_url, kinds=kinds, context_tokens=10**7, output_tokens_max=10**6, tokenizer=""
        )
        with pieces.watched(shop.loop.loop) as watch:
            for kind, (path, asked, answer) in LARGEST.items():
                if kind not in KINDS:
                    continue
                body = answer()
                upstream.answer = http(body)
                asked = {"model": name, **asked}
                if path == EMBED:
                    asked["input"] = ["a"] * body.count(b'"index"')
                else:
                    asked["messages"] = [{"role": "user", "content": "Hi"}]
                for _ in range(2):  # what was measured may hold another process's interruption: the better one counts
                    watch.forget()
                    got = rich.request("POST", path, asked)
                    assert got.status == 200 and len(got.body) > len(body) // 2, (kind, got.body[:300])
                    took[kind] = min(took.get(kind, (9.9, "")), watch.longest)
                    if took[kind][0] < PIECE_S:
                        break
                print(f"{took[kind][0] * 1000:.0f} ms {kind}: {took[kind][1]}", flush=True)
    assert {kind: each for kind, each in took.items() if each[0] >= PIECE_S} == {}


def test_nothing_comes_between_the_pieces_of_an_answer(shop, option):
    """Silence is filled with empty lines; an answer that is written in pieces is none."""
    option(keepalive_json_s=0, keepalive_every_s=0)
    looking = True

    async def look() -> None:
        while looking:
            for door in list(shop.server.reception.doors):
                door.look(time.monotonic())
            await asyncio.sleep(0)

    watching = asyncio.run_coroutine_threadsafe(look(), shop.loop.loop)
    try:
        for more in ({}, {"User-Agent": "OpenAI/Python 2.0"}):  # which gets no empty lines before its answer
            asked = {"model": "text-embedding-3-small", "input": ["a"] * 40}
            answer = shop.account("1").request("POST", EMBED, asked, headers=more)
            assert answer.body.startswith(b"\n") == (not more)
            assert b"\n" not in answer.body.strip() and len(answer.json["data"]) == 40
    finally:
        looking = False
        watching.result(5)
