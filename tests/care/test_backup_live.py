"""A shop is backed up while it sells, and goes on elsewhere (promises: I30)."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from pathlib import Path

import pytest

from farebox.care import elsewhere
from kit import cli
from kit.backups import database_or_nothing, keys_of, on_the_server, tools_on_path
from kit.serving import Serving

pytestmark = pytest.mark.store


class Callers:
    """Customers who call without pause, until told to stop."""

    def __init__(self, customers) -> None:
        self.ended: list[tuple[float, int]] = []
        self._going = True
        self._threads = [threading.Thread(target=self._call, args=(customer,)) for customer in customers]
        for thread in self._threads:
            thread.start()

    def _call(self, customer) -> None:
        while self._going:
            status = customer.chat("gpt-4", "Hello there", stream=len(self.ended) % 2 == 0, max_tokens=20).status
            self.ended.append((time.monotonic(), status))

    def stop(self) -> None:
        self._going = False
        for thread in self._threads:
            thread.join(60)


@pytest.mark.slow
def test_under_load_the_copy_is_one_moment_of_the_books(shop, tmp_path, monkeypatch):
    """Calls go on while the copy is made; elsewhere its books prove, hold for hold, and a restored shop sells on."""
    tools_on_path(monkeypatch)
    customers = [shop.account("5") for _ in range(4)]
    waiting = shop.account("5")
    slow = threading.Thread(target=waiting.chat, args=("gpt-4", "sandbox: slow=8\nHello"))
    slow.start()
    callers = Callers(customers)
    env = shop.instance.environ
    made = []
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            begun = time.monotonic()
            ran = cli.program("backup", str(tmp_path / f"{len(made)}.backup"), "--json", env=env)
            assert ran.code == 0, ran.err
            made.append((ran.json["manifest"], sum(begun < at < time.monotonic() for at, _ in callers.ended)))
    finally:
        callers.stop()
        slow.join(60)
    assert {status for _, status in callers.ended} == {200}
    calls = [said["rows"]["calls_call"] for said, _ in made]
    assert calls == sorted(calls)
    assert 0 < calls[-1] <= shop.counts()["Call"]
    assert all(meanwhile > 0 for _, meanwhile in made)  # while each copy was made, calls were placed and settled
    for number in range(len(made)):
        drilled = cli.program(
            "restore", str(tmp_path / f"{number}.backup"), "--check", "--json", *database_or_nothing(), env=env
        )
        assert drilled.code == 0, drilled.out + drilled.err
    restored_elsewhere(shop, tmp_path, customers[0], len(made) - 1, made[-1][0])


def restored_elsewhere(shop, tmp_path, customer, number: int, said) -> None:
    file = str(tmp_path / f"{number}.backup")
    if shop.options.on_sqlite:
        folder = tmp_path / "new"
        ran = cli.program("restore", file, "--into", str(folder), "--keys", str(shop.instance.data / "keys"), env={})
        assert ran.code == 0, ran.out + ran.err
        proved(said, {"FAREBOX_DATA_DIR": str(folder), "FAREBOX_DATABASE": ""}, folder / "farebox.db")
        sells_on(folder, customer)
        return
    with on_the_server("elsewhere_instance") as (address,):
        ran = cli.program("restore", file, "--database", address, *keys_of(shop.instance), env={})
        assert ran.code == 0, ran.out + ran.err
        proved(said, {"FAREBOX_DATA_DIR": str(shop.instance.data), "FAREBOX_DATABASE": address}, address)


def proved(said, env, place) -> None:
    ran = cli.program("prove", "--json", env=env)
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["trial_balance_micro"] == said["trial_balance_micro"]
    assert ran.json["house_micro"] == said["house_micro"]
    assert ran.json["postings"] == said["postings"] > 0
    with elsewhere.store(place):
        from farebox.ledger.models import Hold

        assert Hold.objects.filter(state="open").exists()  # the slow call's, at least: a legal state of a living shop


def sells_on(folder: Path, customer) -> None:
    """A server on the restored folder ends what was held, and sells to the customer with the old key."""
    env = {"FAREBOX_DATA_DIR": str(folder), "FAREBOX_DATABASE": "", "FAREBOX_LOG_LEVEL": "error", "FAREBOX_PORT": "0"}
    serving = Serving(env)
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)) as line:
            body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
            head = {"Authorization": f"Bearer {customer.key}", "Content-Type": "application/json"}
            line.request("POST", "/v1/chat/completions", json.dumps(body), head)
            assert line.getresponse().status == 200
    finally:
        serving.stop()
    ran = cli.program("prove", "--json", env={name: env[name] for name in ("FAREBOX_DATA_DIR", "FAREBOX_DATABASE")})
    assert ran.code == 0, ran.out
    with elsewhere.store(folder / "farebox.db"):
        from farebox.ledger.models import Hold

        assert not Hold.objects.filter(state="open").exists()
