"""Two accounts at the bounds of one process at once, one of them hostile: the honest one loses nothing (I34).

BOUNDS_S=60 runs it for a minute (`make nightly`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farebox.kit import process_limits
from kit.receipts import alone
from kit.worst import CHAT, EMBED, MIB

SECONDS = float(os.environ.get("BOUNDS_S", "4"))
TESTS = Path(__file__).parents[1]
SANDBOX = "from farebox import sandbox; sandbox.run('127.0.0.1', 0)"
CALLS_MAX, MINE = 40, 9  # a quarter of the places is 10
GROWTH_BYTES = 500 * MIB  # of the process of the tests, whatever it had before


@contextlib.contextmanager
def process(*command: str, first: str) -> Iterator[Any]:
    """A process that has said its first line."""
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environ) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line.startswith(first), line
            yield running, line
        finally:
            running.terminate()


class Honest:
    """A customer with as many calls at once as nobody may refuse him, who looks at each answer."""

    def __init__(self, customer: Any, model: str) -> None:
        self.customer = customer
        self.model = model
        self.calls: list[str] = []
        self.slowest_s: dict[str, float] = {}

    async def ask(self, path: str, **asked: Any) -> tuple[dict[str, str], bytes]:
        body = json.dumps({"model": self.model, **asked}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.customer.shop.server.port)
        head = (
            f"POST {path} HTTP/1.0\r\nAuthorization: Bearer {self.customer.key}\r\nContent-Type: application/json\r\n"
        )
        try:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            raw = await asyncio.wait_for(reader.read(), 60 + 4 * SECONDS)
        finally:
            writer.close()
        first, _, answer = raw.partition(b"\r\n\r\n")
        status, *lines = first.decode().split("\r\n")
        assert status.split(" ")[1] == "200", (raw[:600], path)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.calls.append(headers["x-request-id"])
        return headers, answer

    async def stream(self) -> None:
        _, body = await self.ask(
            CHAT, stream=True, messages=[{"role": "user", "content": "sandbox: tokens=120+pace=5"}]
        )
        events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events[-3:]
        said = [json.loads(event)["choices"][0] for event in events[:-1]]
        assert len("".join(each["delta"].get("content") or "" for each in said)) > 120 * 3
        assert said[-1]["finish_reason"] == "stop"

    async def whole(self) -> None:
        text = "word " * 40_000
        _, body = await self.ask(CHAT, max_tokens=8, messages=[{"role": "user", "content": text}])
        answer = json.loads(body)
        assert answer["choices"][0]["message"]["content"].startswith("[sandbox] You said")
        assert answer["usage"]["prompt_tokens"] == 40_001

    async def likely(self) -> None:
        asked = {"n": 2, "logprobs": True, "top_logprobs": 20, "max_tokens": 60}
        _, body = await self.ask(CHAT, messages=[{"role": "user", "content": "sandbox: tokens=60"}], **asked)
        assert [len(choice["logprobs"]["content"]) for choice in json.loads(body)["choices"]] == [60, 60]

    async def vectors(self) -> None:
        _, body = await self.ask(EMBED, input=[f"text {n}" for n in range(40)])
        assert [row["index"] for row in json.loads(body)["data"]] == list(range(40))

    async def large(self) -> None:
        _, body = await self.ask(CHAT, max_tokens=8, messages=[{"role": "user", "content": "a" * (5 * MIB)}])
        assert json.loads(body)["choices"][0]["finish_reason"] == "length"

    async def work(self, until_s: float) -> None:
        async def again(kind: Any) -> None:
            while (began_s := time.monotonic()) < until_s:
                await kind()
                took_s = time.monotonic() - began_s
                self.slowest_s[kind.__name__] = max(self.slowest_s.get(kind.__name__, 0), round(took_s, 2))

        kinds = [self.stream] * (MINE - 4) + [self.whole, self.likely, self.vectors, self.large]
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(again(kind))


@pytest.mark.slow
@pytest.mark.store
@pytest.mark.timeout(180 + 6 * SECONDS)
def test_an_honest_account_beside_a_hostile_one_loses_nothing(shop, option, monkeypatch):
    option(calls_max=CALLS_MAX, connections_max=160)
    monkeypatch.setattr(shop.server.reception.flight.callers, "bytes_max", 96 * MIB)
    hostile, rich = shop.account("100000"), shop.account("100000")
    process_limits.return_large()
    before_bytes = most_bytes = process_limits.rss_bytes()
    with process("-c", SANDBOX, first="The sandbox") as (_, line):
        kinds = ["chat", "completions", "embeddings"]
        facts = {"kinds": kinds, "context_tokens": 10**7, "output_tokens_max": 10**6, "tokenizer": ""}
        model = alone(shop, "bounded", line.split()[-1], **facts)
        honest = Honest(rich, model)
        with process(
            "-m", "kit.hostile", str(shop.server.port), hostile.key, str(SECONDS + 2), model, first="ready"
        ) as (
            enemy,
            _,
        ):
            time.sleep(0.5)

            async def both() -> None:
                nonlocal most_bytes
                working = asyncio.create_task(honest.work(time.monotonic() + SECONDS))
                while not working.done():
                    most_bytes = max(most_bytes, process_limits.rss_bytes())
                    await asyncio.to_thread(shop.probe)
                    await asyncio.wait([working], timeout=0.2)
                await working

            asyncio.run(both())
            seen = {kind: Counter(count) for kind, count in json.loads(enemy.stdout.readline()).items()}
    print(f"{len(honest.calls)} calls, the slowest {honest.slowest_s}, {most_bytes // MIB} MiB; {seen}")
    assert seen.keys() >= {
        "large",
        "unfinished",
        "alternatives",
        "echo",
        "failures",
        "refused",
        "unread",
        "held",
        "pages",
    }
    assert seen["held"]["429"]  # he was at his bounds
    if SECONDS >= 30:
        assert (
            seen["failures"]["502"] and seen["refused"]["400"] and seen["alternatives"]["200"] and seen["echo"]["200"]
        )
    assert most_bytes - before_bytes < GROWTH_BYTES
    charges = [rich.receipt(call) for call in honest.calls]
    assert {receipt["outcome"] for receipt in charges} == {"served"}
    assert rich.balance == (100_000_000_000 - sum(receipt["charge_micro"] for receipt in charges), 0)
    for _ in range(500):
        if not shop.server.ports.shop.calls and not hostile.balance[1]:
            break
        time.sleep(0.02)
    assert hostile.balance[1] == 0
