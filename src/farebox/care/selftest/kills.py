"""kill -9 under load, again and again: nothing stays held, nothing is charged twice, the proof is clean."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from typing import Any

from . import scratch
from .scratch import Scratch, Serving
from .tried import Tell, Tried

KILLS = 3
CLIENTS = 6
UNDER_WAY_S = 10
RECOVERED_S = 15
_LAST_S = 0.5


class Client(threading.Thread):
    """A customer who calls one after another while there is a port, and notes (call id, whether he saw the end)."""

    def __init__(self, key: str, seed: int) -> None:
        super().__init__(name="selftest-client", daemon=True)
        self._key = key
        self._rng = random.Random(seed)  # noqa: S311 - spreads load
        self.port = 0
        self.going = True
        self.saw: list[tuple[str, bool]] = []

    def run(self) -> None:
        """Until `going` is False."""
        while self.going:
            port = self.port
            if not port:
                time.sleep(0.01)
                continue
            said = f"sandbox: tokens={self._rng.randint(1, 16)}+pace={self._rng.choice((1, 5, 20))}\nhello"
            try:
                status, call, whole, _ = scratch.post(port, self._key, said, stream=self._rng.random() < 0.7)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                time.sleep(0.01)
                continue
            if status == 200:
                self.saw.append((call, whole))


def run(tell: Tell, shop: Scratch) -> Tried:
    """Kill the server under load, start it again, look; at the end compare what customers saw with the books."""
    tried = Tried(f"kill -9 of the server under {CLIENTS} clients, and recovery")
    key = shop.keys["load"]
    clients = [Client(key, seed) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    serving = shop.serve()
    try:
        for number in range(1, KILLS + 1):
            tell(f"Killing the server under load, {number} of {KILLS} …")
            serving = _kill(tried, shop, serving, clients)
            tried.times += 1
        _let(clients, serving.port)
        time.sleep(_LAST_S)
    finally:
        for client in clients:
            client.going = False
        for client in clients:
            client.join(scratch.CALL_S)
        code = serving.stop()
    if code:
        tried.failures.append(f"the server ended with exit code {code}")
    _compare(tried, shop.inside("facts"), [entry for client in clients for entry in client.saw])
    return tried


def _kill(tried: Tried, shop: Scratch, serving: Serving, clients: list[Client]) -> Serving:
    """One kill with calls under way, and the server that follows it."""
    _let(clients, serving.port)
    key = shop.keys["load"]
    time.sleep(0.2)
    if not scratch.held(serving.port, key, within_s=UNDER_WAY_S, something=True):
        tried.failures.append("no call was under way when the server was to be killed")
    serving.kill()
    _let(clients, 0)
    after = shop.serve()
    if not scratch.held(after.port, key, within_s=RECOVERED_S, something=False):
        tried.failures.append(f"money stayed held for {RECOVERED_S} s after a restart")
    return after


def _let(clients: list[Client], port: int) -> None:
    for client in clients:
        client.port = port


def _compare(tried: Tried, facts: dict[str, Any], saw: list[tuple[str, bool]]) -> None:
    charged, ended = set(facts["charged"]), {call for call, whole in saw if whole}
    tried.note = f"{facts['calls']} calls, {facts['cut']} cut and free, {facts['refunded']} refunded"
    tried.failures += facts["findings"]
    if facts["open"]:
        tried.failures.append(f"{facts['open']} holds are still open")
    if facts["lowest_micro"] < 0:
        tried.failures.append(f"a balance went down to {facts['lowest_micro']} micro-units")
    if not ended:
        tried.failures.append("no call came to its end: nothing was tried")
    if not facts["cut"]:
        tried.failures.append("no kill hit a call under way: nothing was tried")
    if free := sorted(ended - charged):
        tried.failures.append(f"{len(free)} calls came to their end and were not charged, such as {free[0]}")
    if twice := [ref for ref, count in Counter(facts["charges"]).items() if count > 1]:
        tried.failures.append(f"{len(twice)} calls were charged twice, such as {twice[0]}")
