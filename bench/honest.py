"""An honest customer: so many calls a second, whatever becomes of those before. Prints one JSON line.

Open loop: a call's time begins when it was due, so that a shop that stands still is seen by all that had to wait. Every
second call is a stream. Beside them a few streams run all the time, an event each 100 ms: the longest silence on one of
them is told. A call is good if it was answered 200 and is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from typing import Any

from wire import Answer, Line, post

PATH = "/v1/chat/completions"
EVENTS_A_SECOND = 10
LISTENERS = 2
WAIT_S = 30
"""How long after its due time a call may take."""


class Customer:
    """A client with a pool of connections, as SDKs have one."""

    def __init__(self, port: int, key: str, model: str) -> None:
        self.port, self.key, self.model = port, key, model
        self.idle: list[Line] = []
        self.took_s: list[float] = []
        self.late_s: list[float] = []
        self.gaps_s: list[float] = []
        self.bad: Counter[str] = Counter()

    def request(self, text: str, *, stream: bool) -> bytes:
        messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": stream}
        return post(PATH, json.dumps(body).encode(), self.key)

    async def call(self, due_s: float, *, stream: bool) -> None:
        self.late_s.append(time.perf_counter() - due_s)
        self.judge(await self.ask(self.request("sandbox: tokens=20", stream=stream), WAIT_S), stream=stream)
        self.took_s.append(time.perf_counter() - due_s)

    async def listen(self, secs: float) -> None:
        text = f"sandbox: tokens={int(secs * EVENTS_A_SECOND)}+pace={1000 // EVENTS_A_SECOND}"
        answer = await self.ask(self.request(text, stream=True), secs + WAIT_S)
        self.judge(answer, stream=True)
        self.gaps_s.append(answer.gap_s)

    async def ask(self, request: bytes, wait_s: float) -> Answer:
        """Send it on an idle connection, or a new one."""
        while self.idle and not self.idle[-1].usable:
            self.idle.pop().close()
        line: Line | None = None
        try:
            async with asyncio.timeout(wait_s):
                line = self.idle.pop() if self.idle else await Line.open(self.port)
                answer = await line.ask(request)
        except (OSError, TimeoutError) as problem:
            answer = Answer(problem=type(problem).__name__)
        if line and answer.keeps:
            self.idle.append(line)
        elif line:
            line.close()
        return answer

    def judge(self, answer: Answer, *, stream: bool) -> None:
        if answer.status != 200 or not answer.whole:
            self.bad[answer.told] += 1
        elif not (answer.body.endswith(b"data: [DONE]\n\n") if stream else b'"usage"' in answer.body):
            self.bad["200 without its end"] += 1


async def measure(customer: Customer, rate: float, secs: float) -> dict[str, Any]:
    # A connection and the shop's statements are there before the first call counts.
    await customer.ask(customer.request("sandbox: tokens=1", stream=False), WAIT_S)
    calls = [asyncio.create_task(customer.listen(secs)) for _ in range(LISTENERS)]
    start_s = time.perf_counter()
    for number in range(int(rate * secs)):
        due_s = start_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        calls.append(asyncio.create_task(customer.call(due_s, stream=number % 2 == 1)))
    await asyncio.gather(*calls)
    return {
        "calls": len(calls),
        "bad": dict(customer.bad),
        "p50_ms": quantile(customer.took_s, 0.50) * 1000,
        "p99_ms": quantile(customer.took_s, 0.99) * 1000,
        "max_ms": max(customer.took_s) * 1000,
        "late_p99_ms": quantile(customer.late_s, 0.99) * 1000,
        "gap_ms": max(customer.gaps_s) * 1000,
    }


def quantile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--port", type=int, required=True)
    ask.add_argument("--key", required=True)
    ask.add_argument("--model", required=True)
    ask.add_argument("--rate", type=float, default=20, help="calls a second")
    ask.add_argument("--secs", type=float, default=8)
    args = ask.parse_args()
    print(json.dumps(asyncio.run(measure(Customer(args.port, args.key, args.model), args.rate, args.secs))))


if __name__ == "__main__":
    main()
