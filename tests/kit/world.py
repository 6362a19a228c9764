"""A shop for the tests that kill: store, upstream, client and serving processes, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kit.nursery import Child, Nursery
from kit.recording import Client
from kit.shop import Shop
from kit.threeway import MODEL, PRICE_MICRO, Comparison

_PRICES = {name: f"{micro / 1_000_000:.2f}" for name, micro in PRICE_MICRO.items()}
GRANTED_MICRO = 1_000_000_000_000
_FACTS = {
    "owned_by": "test", "kinds": ["chat"], "modalities": ["text"], "context_tokens": 200_000,
    "output_tokens_max": 100_000, "hidden_output": False, "tokenizer": "", "image_formula": "",
    "input_overhead_tokens": 0,
}  # fmt: skip
_OUR_MISTAKES = ('"app.broken"', '"journal.stuck"', '"void.failed"', '"serve.job"')
# Holds SQLite's write lock for as long as it is told, as a process would that hangs in a transaction.
_LOCKER = """
import sys
import pysqlite3.dbapi2 as sqlite
line = sqlite.connect(sys.argv[1], isolation_level=None, timeout=30)
for word in sys.stdin:
    line.execute("BEGIN IMMEDIATE" if word == "lock\\n" else "ROLLBACK")
    print(word.strip(), flush=True)
"""


def free_port() -> int:
    """A port for a server that comes and goes: none that the system gives to clients meanwhile."""
    rng = random.Random(os.urandom(8))
    while True:
        port = rng.randint(15_000, 30_000)
        with socket.socket() as line:
            with contextlib.suppress(OSError):
                line.bind(("127.0.0.1", port))
                return port


def wait_until(what: Callable[[], Any], timeout_s: float, why: str) -> Any:
    """The first true value of `what`."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, why
        time.sleep(0.02)
    return found


class Process:
    """A program that says one line when it is ready, and is killed at the end."""

    def __init__(self, *command: str, environ: dict[str, str] | None = None, talks: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **(environ or {})},
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.line() == word

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class World:
    """Everything beside the serving processes, and the nursery that they come from.

    `environ` is what all of them share; `ports` are where the client looks for them. `reach` says for the upstream's
    address which models are sold, and under which address each is reached.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        instance: Any,
        folder: Path,
        *,
        nodes: int = 1,
        callers: int = 6,
        seed: int = 1,
        reach: Callable[[str], dict[str, str]] | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.instance = instance
        self.folder = folder
        self.ports = [free_port() for _ in range(nodes)]
        self.upstream_journal = folder / "upstream.jsonl"
        self.client_journal = folder / "client.jsonl"
        self._stack = stack
        self.sandbox = self._keep(
            Process(
                "-m", "farebox.cli.main", "sandbox", "--port", "0", "--journal", str(self.upstream_journal)
            )
        )  # fmt: skip
        self.upstream_url = self.sandbox.line().split()[-1]
        self.account, self.key = self._fill({MODEL: self.upstream_url} if reach is None else reach(self.upstream_url))
        self.environ = {
            **instance.environ, "FAREBOX_SETTLE_WAIT_S": "1", "FAREBOX_DRAIN_S": "2", "FAREBOX_VERSION_POLL_MS": "500",
            "FAREBOX_STORE_WAIT_MS": "1000", "FAREBOX_CALL_S_MAX": "30", "FAREBOX_HOLD_GRACE_S": "1", **(environ or {}),
        }  # fmt: skip
        self.nursery = self._keep(Nursery(self.environ, folder / "serve.log"))
        self.comparison = Comparison(self.client_journal, self.upstream_journal)
        self.client = self._keep(
            Client(self.client_journal, key=self.key, ports=self.ports, model=MODEL, callers=callers, seed=seed)
        )

    def _keep(self, thing: Any) -> Any:
        self._stack.callback(thing.close)
        return thing

    def _fill(self, models: dict[str, str]) -> tuple[str, str]:
        """The models, their price, the upstream's channels, and a customer with money and a key."""
        from farebox.catalog import definitions, price_lists, sheets
        from farebox.kit import clock

        shop = Shop(self.instance)
        try:
            now_us = clock.now_us()
            for model, address in models.items():
                facts = {**_FACTS, "name": model}
                shop.write(definitions.define_model, **facts, classes=sorted(_PRICES), actor="test", now_us=now_us)
                rows = [sheets.row(model, usage_class, price) for usage_class, price in _PRICES.items()]
                shop.write(price_lists.publish, "usd", rows, actor="test", now_us=now_us)
                shop.add_channel(f"far-{model}", address, [model])
            customer = shop.account(str(GRANTED_MICRO // 1_000_000))
            return customer.account, customer.key
        finally:
            shop.close()

    def start(self, failpoint: str = "", *, node: int = 0, **changes: str) -> Child:
        """Fork a serving process for this place; it may not listen yet."""
        return self.nursery.start(failpoint, FAREBOX_PORT=str(self.ports[node]), **changes)

    def command(self, *, node: int = 0, **changes: str) -> Command:
        """`farebox serve` as a person starts it; returns once it listens."""
        return self._keep(Command({**self.environ, "FAREBOX_PORT": str(self.ports[node]), **changes}))

    def locker(self) -> Process:
        """A process that can hold SQLite's write lock: say `lock` and `free`."""
        return self._keep(Process("-c", _LOCKER, str(self.instance.data / "farebox.db"), talks=True))

    def open_holds(self) -> int:
        from farebox.ledger.models import Hold

        return Hold.objects.filter(state="open").count()

    def dead_epochs(self) -> int:
        """The epochs that have ended and that nobody has looked after yet: refunds may come."""
        from farebox.kit.models import Epoch

        return Epoch.objects.filter(ended_us__isnull=False, cleared_us=None).count()

    def wait_busy(self, child: Child) -> None:
        """Return once several calls of the serving process that began last are under way, or it has ended."""
        from farebox.kit.models import Epoch
        from farebox.ledger.models import Hold

        epoch = Epoch.objects.latest("started_us").id
        holds = Hold.objects.filter(state="open", epoch=epoch)
        wait_until(lambda: not child.alive or holds.count() > 1, 20, f"no call is under way\n{self.nursery.said}")

    def wait_journal(self, child: Child, data: Path, timeout_s: float) -> bool:
        """Whether the process wrote settlements into the journal of its data folder in so many seconds, and lives."""
        deadline = time.monotonic() + timeout_s
        while child.alive and time.monotonic() < deadline:
            if any(path.stat().st_size for path in (data / "journal").glob("*.log")):
                return True
            time.sleep(0.02)
        return False

    def quiet(self, *, timeout_s: float = 20) -> list[str]:
        """Let the calls under way end, with the servers running; what does not fit then."""
        self.client.pause()
        wait_until(
            lambda: not self.open_holds() and not self.dead_epochs(),
            timeout_s,
            f"holds stayed open, or dead epochs uncleared\n{self.nursery.said}",
        )
        deadline = time.monotonic() + timeout_s
        while (findings := self.comparison.look()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return findings

    def findings(self) -> list[str]:
        """What `farebox prove` finds."""
        from farebox.care import proof

        return [finding for found in proof.prove().findings.values() for finding in found]

    def prove(self) -> list[str]:
        """The same, whether the balance is what the three journals make it, and what the servers call their mistakes."""
        from farebox.ledger.models import LedgerAccount

        log = self.nursery.log.read_text(errors="replace").splitlines()
        findings = self.findings() + [line[:2000] for line in log if any(event in line for event in _OUR_MISTAKES)]
        books = LedgerAccount.objects.get(id=self.account)
        due_micro = GRANTED_MICRO - self.comparison.charged_micro
        if (books.posted_micro, books.held_micro) != (due_micro, 0):
            findings.append(f"the balance is {books.posted_micro} with {books.held_micro} held, not {due_micro}")
        return findings


@contextlib.contextmanager
def opened(instance: Any, folder: Path, **facts: Any) -> Iterator[World]:
    """A world, closed afterwards whatever happens."""
    with contextlib.ExitStack() as stack:
        yield World(stack, instance, folder, **facts)


class Command:
    """`farebox serve` from the command line, with the same face as a Child; `start_s` is how long it took to listen."""

    def __init__(self, environ: dict[str, str]) -> None:
        begin = time.monotonic()
        self._process = Process("-m", "farebox.cli.main", "serve", environ=environ)
        said = self._process.line()
        self.start_s = time.monotonic() - begin
        assert " serves on http://" in said, f"farebox serve did not start: {said!r}"

    @property
    def alive(self) -> bool:
        return self._process.process.poll() is None

    def kill(self) -> None:
        self._process.close()

    def stop(self) -> int:
        self._process.process.terminate()
        code = self._process.process.wait(30)
        self._process.close()
        return code

    close = kill


def report(counts: dict[str, int]) -> str:
    """The counts as one line, the most frequent first."""
    return json.dumps(dict(sorted(counts.items(), key=lambda pair: -pair[1])))
