"""kill -9 of the serving process at random moments under load: nothing held, nothing charged twice, the proof clean.

Server, sandbox upstream and load are processes and threads of their own; the client keeps a journal of what it saw.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from serving import Serving
from shop import Shop

pytestmark = [pytest.mark.store, pytest.mark.slow]

KILLS = 10


class Load(threading.Thread):
    """A client that calls one after another and notes (call id, whether it saw the end) for each answer."""

    def __init__(self, key: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.key = key
        self.port = 0
        self.rng = random.Random(seed)
        self.saw: list[tuple[str, bool]] = []
        self.going = True

    def run(self) -> None:
        while self.going:
            port = self.port
            if not port:
                time.sleep(0.005)
                continue
            try:
                self._call(port)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.01)

    def _call(self, port: int) -> None:
        stream = self.rng.random() < 0.5
        text = f"sandbox: tokens={self.rng.randint(1, 30)}+pace={self.rng.choice([0, 1, 3])}\nhello"
        body = {"model": "gpt-4", "stream": stream, "messages": [{"role": "user", "content": text}]}
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = line.getresponse()
            call = response.getheader("x-request-id") or ""
            entry = len(self.saw)
            self.saw.append((call, False))
            data = response.read()
            whole = data.endswith(b"data: [DONE]\n\n") if stream else bool(json.loads(data).get("usage"))
            self.saw[entry] = (call, whole and response.status == 200)
        finally:
            line.close()


def wait_until(what: Any, seconds: float, why: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def test_kill_9_at_random_moments_under_load(house: Any, tmp_path: Path) -> None:
    from farebox.calls.models import Call
    from farebox.ledger.models import Entry, Hold, LedgerAccount

    shop = Shop(house)
    me = shop.account("1000")
    shop.stop()
    environ = {
        **house.environ, "FAREBOX_PORT": "0", "FAREBOX_DRAIN_S": "5", "FAREBOX_HOLD_GRACE_S": "0",
        "FAREBOX_LEASE_BEAT_MS": "50", "FAREBOX_LEASE_BEATS_MISSED": "3",
    }  # fmt: skip
    rng = random.Random(20261124)
    clients = [Load(me.key, seed) for seed in range(8)]
    for client in clients:
        client.start()
    cut = 0
    serving = Serving(environ)
    try:
        for number in range(KILLS):
            for client in clients:
                client.port = serving.port
            time.sleep(rng.uniform(0.1, 0.5))
            if number % 2:  # every other kill waits for a call under way, however slow the machine is today
                wait_until(lambda: Hold.objects.filter(state="open").exists(), 20, "no call was ever under way")
            serving.kill()
            cut += Hold.objects.filter(state="open").count()
            for client in clients:
                client.port = 0
            serving = Serving(environ)
            wait_until(lambda: not Hold.objects.filter(state="open").exists(), 10, "holds stayed open after a restart")
        for client in clients:
            client.going = False
            client.port = serving.port
        for client in clients:
            client.join(20)
    finally:
        for client in clients:
            client.going = False
    assert serving.stop() == 0
    try:
        assert cut > 0, "no kill hit a call under way: the test did not test"
        assert not Hold.objects.filter(state="open").exists()
        assert LedgerAccount.objects.get(id=me.account).held_micro == 0
        assert shop.findings() == []
        saw = [entry for client in clients for entry in client.saw]
        ended = {call for call, whole in saw if whole}
        charged = set(Call.objects.filter(charge_micro__gt=0).values_list("id", flat=True))
        assert len(ended) > 50
        assert ended <= charged, "a customer saw the end of a call that was not charged (I14)"
        refs = list(Entry.objects.filter(kind="charge").values_list("ref", flat=True))
        assert len(refs) == len(set(refs))
        assert set(refs) == charged
        expired = Call.objects.filter(flags="expired")
        assert {call.rule for call in expired} <= {"R15"}
        assert not ended & set(expired.values_list("id", flat=True))
    finally:
        shop.close()


def test_a_second_server_is_refused_on_sqlite(house: Any) -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        return  # several nodes are the point of PostgreSQL
    shop = Shop(house)
    try:
        environ = {**os.environ, **house.environ, "FAREBOX_PORT": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "farebox.ops.cli", "serve"], env=environ, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 1
        assert "Another Farebox process" in done.stderr
    finally:
        shop.close()
