"""One attack, in a process of its own: what it sends is made first, then it says `there`, and goes on until told to end.

hostile.py NAME --port N --key KEY; a line or the end of standard input ends it. Then it prints what it was told, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import bodies
from wire import Answer, Line, post

SLOW_BYTES_PER_S = 1280
"""A KiB a second, and somewhat more: less is slowness, for which a connection is closed."""
AGAIN_S = 1.0
"""When one who was refused while he sent slowly comes again."""
THERE_S = 20
"""The longest wait until all connections of a crowd have begun."""


@dataclass
class Foe:
    """A hostile account and what it was told."""

    port: int
    key: str
    told: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    """Connections that have sent what they send at first, or were refused."""
    holding: int = 0
    """Those whose bodies are under way."""

    def note(self, answer: Answer) -> None:
        self.told[answer.told] += 1

    async def again(self, requests: list[bytes], first: int) -> None:
        """One connection: one request after the other, without a pause."""
        line: Line | None = None
        for request in itertools.islice(itertools.cycle(requests), first, None):
            try:
                if line is None:
                    line = await Line.open(self.port)
                answer = await line.ask(request)
            except OSError as problem:
                answer = Answer(problem=type(problem).__name__)
                await asyncio.sleep(0.05)
            self.note(answer)
            if line and not answer.keeps:
                line.close()
                line = None

    async def slowly(self, first: bytes, last_bytes: int, bytes_per_s: int) -> None:
        """One connection that never finishes its body: `last_bytes` of it come slowly. Refused, it comes again."""
        begun = False
        while True:
            with contextlib.suppress(OSError):
                line = await Line.open(self.port)
                reading = asyncio.create_task(line.read())
                with contextlib.suppress(OSError):  # refused: what is read says so
                    await line.send(first)
                self.begun += not begun
                begun = True
                self.holding += 1
                self.note(await self._feed(line, reading, last_bytes, bytes_per_s))
                self.holding -= 1
                line.close()
            await asyncio.sleep(AGAIN_S)

    async def _feed(self, line: Line, reading: asyncio.Task[Answer], last_bytes: int, bytes_per_s: int) -> Answer:
        while not (await asyncio.wait({reading}, timeout=1))[0]:
            piece = min(bytes_per_s, last_bytes)
            last_bytes -= piece
            with contextlib.suppress(OSError):
                await line.send(b"x" * piece)
        return reading.result()

    async def every(self, request: bytes, per_s: float) -> None:
        """So many calls a second, each on a connection of its own."""

        async def once() -> None:
            try:
                line = await Line.open(self.port)
            except OSError as problem:
                self.note(Answer(problem=type(problem).__name__))
                return
            self.note(await line.ask(request))
            line.close()

        calls, began_s = set(), time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
            call = asyncio.create_task(once())
            calls.add(call)
            call.add_done_callback(calls.discard)


Workers = list[Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """What it is, how much money its account has (None: it has no account), and what it does with a foe."""

    about: str
    usd: int | None
    start: Callable[[Foe], Workers]
    crowd: bool = False
    """Whether it has begun only once every one of its connections has."""


def again(make: Callable[[str], list[bytes]], connections: int) -> Callable[[Foe], Workers]:
    def start(foe: Foe) -> Workers:
        requests = make(foe.key)
        return [foe.again(requests, n * len(requests) // connections) for n in range(connections)]

    return start


def every(text: str, per_s: float, model: str = "gpt-4o-mini") -> Callable[[Foe], Workers]:
    return lambda foe: [foe.every(bodies.chat(foe.key, model, text)[0], per_s)]


def crowd(
    count: int,
    length: int,
    sent: int,
    bytes_per_s: int,
    path: str = bodies.CHAT,
    kind: str = "application/json",
) -> Callable[[Foe], Workers]:
    """So many connections that announce `length` bytes, send `sent` at once, and never send the last."""

    def start(foe: Foe) -> Workers:
        first = post(path, b"x" * sent, foe.key, length=length, kind=kind)
        return [foe.slowly(first, length - sent - 1, bytes_per_s) for _ in range(count)]

    return start


FORM = "application/x-www-form-urlencoded"
UNFINISHED = crowd(24, 31 * bodies.MIB, 30 * bodies.MIB, 0)
RICH, POOR = 1_000_000, 0
ATTACKS = {
    "echo": Attack("two prompts of 15 MB with echo", RICH, again(bodies.echo, 2)),
    "echo-passing": Attack("two prompts of 8 MB with echo", RICH, again(bodies.echo_passing, 4)),
    "brackets-poor": Attack("30 MB of brackets, no money", POOR, again(bodies.brackets, 2)),
    "brackets-rich": Attack("30 MB of brackets", RICH, again(bodies.brackets, 2)),
    "repeats": Attack("words that the upstream repeats in its 400", RICH, every("sandbox: invalid api key", 4)),
    "fails": Attack("calls at which the upstream answers 500, 4/s", RICH, every("sandbox: status=500", 4)),
    "slow-bodies": Attack(
        "1,500 connections, 1 KiB/s of a body each", RICH, crowd(1500, bodies.MIB, 1024, SLOW_BYTES_PER_S), crowd=True
    ),
    "unfinished-poor": Attack("24 unfinished bodies of 31 MB, no money", POOR, UNFINISHED, crowd=True),
    "unfinished-rich": Attack("24 unfinished bodies of 31 MB", RICH, UNFINISHED, crowd=True),
    "alternatives": Attack("n 8, top_logprobs 20, 1,500 tokens", RICH, again(bodies.alternatives, 2)),
    "largest": Attack("the largest bodies that pass, of all kinds", RICH, again(bodies.largest, 6)),
    "strangers": Attack(
        "300 strangers who hold forms",
        None,
        crowd(300, 64 * 1024, 24 * 1024, SLOW_BYTES_PER_S, "/account/sign-in", FORM),
        crowd=True,
    ),
}


async def attack(chosen: Attack, foe: Foe) -> dict[str, object]:
    """Run it until standard input says something."""
    enough = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, enough.set)
    workers = [asyncio.ensure_future(work) for work in chosen.start(foe)]
    ends_s = time.monotonic() + THERE_S
    while chosen.crowd and foe.begun < len(workers) and time.monotonic() < ends_s:  # noqa: ASYNC110  (nothing is measured yet)
        await asyncio.sleep(0.05)
    print("there", flush=True)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    ended = asyncio.ensure_future(enough.wait())
    await asyncio.wait([ended, *workers], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():  # a worker goes on for ever, unless it fails
        await asyncio.gather(*(worker for worker in workers if worker.done()))
    used, held = (time.process_time() - cpu_s) / (time.perf_counter() - began_s), foe.holding
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return {"told": dict(foe.told.most_common()), "held": held, "cpu": round(used, 3)}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("name", choices=ATTACKS)
    ask.add_argument("--port", type=int, required=True)
    ask.add_argument("--key", default="")
    args = ask.parse_args()
    print(json.dumps(asyncio.run(attack(ATTACKS[args.name], Foe(args.port, args.key)))))


if __name__ == "__main__":
    main()
