"""The admin socket: who may use it, who is recorded, what happens with and without a server."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from farebox.cli import admin
from farebox.cli.verb import Verb
from farebox.kit import options
from farebox.kit.errors import CommandError
from farebox.kit.lock import FolderLock
from kit import cli

pytestmark = pytest.mark.store


class Running:
    """An admin socket in a loop of its own, as the serving process has it."""

    def __init__(self, registry: dict[str, Any], path: Path | None = None) -> None:
        self.path = path or options.current().admin_socket
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._admin = self._run(admin.start(self.path, registry))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def stop(self) -> None:
        self._run(self._admin.stop())
        self._run(self._admin.stop())  # twice is once
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def running(ready_instance):
    """A store, and a server's socket on it; the folder's lock is taken as a server takes it."""
    from farebox.cli.verbs import VERBS

    seen: list[str] = []

    def broken(tx: Any, *, actor: str) -> None:
        raise RuntimeError("sk-secret-of-the-inside-0123456789")

    def half(tx: Any, *, actor: str) -> None:
        tx.execute("INSERT INTO kit_setting (name, value) VALUES ('half', '1')")
        raise CommandError("Not today.")

    async def probe(*, actor: str, channel: str, model: str) -> dict[str, Any]:
        seen.append(actor)
        return {"ok": False, "call": "call_1", "usage": {}, "attempts": [], "answer": "", "error": f"{channel}/{model}"}

    with FolderLock(ready_instance.data):
        server = Running({**VERBS, "broken": Verb(broken), "half": Verb(half), "channel.test": probe})
        server.seen = seen
        yield server
        server.stop()


def test_write_verbs_are_carried_out_by_the_server(running):
    # Nobody else could write: the lock is taken, so this answer came over the socket.
    account = cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    assert cli.ok("account", "show", "Ada")["id"] == account["id"]
    assert "There is no account" in cli.refused("account", "freeze", "nobody")
    key = cli.ok("key", "create", "Ada")
    assert key["plaintext"].startswith("sk-")
    published = cli.ok("prices", "publish", "official-usd", "--set", "gpt-4", "input", "31.00")
    assert published["version"] == 2


def test_the_actor_is_whom_the_kernel_names(running):
    from farebox.kit.models import AuditEvent

    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(running.path))
        asked = {"verb": "upstream.add", "args": {"name": "lab"}, "actor": "cli:somebody-else"}
        line.sendall(json.dumps(asked).encode() + b"\n")
        assert json.loads(line.makefile().readline())["ok"]["name"] == "lab"
    assert AuditEvent.objects.get(verb="upstream.add").actor == f"cli:{getpass.getuser()}"


def test_only_its_owner_may_open_the_socket(running):
    assert running.path.stat().st_mode & 0o777 == 0o600


def test_a_coroutine_runs_in_the_servers_loop(running):
    ran = cli.run("channel", "test", "lab-1", "gpt-4")
    assert ran.code == 1
    assert "lab-1 did not answer gpt-4: lab-1/gpt-4" in ran.err
    assert running.seen == [f"cli:{getpass.getuser()}"]


def test_a_refusal_takes_back_what_was_written(running):
    from farebox.kit.models import Setting

    with pytest.raises(CommandError, match="Not today"):
        admin.ask_server(running.path, "half", {})
    assert not Setting.objects.filter(name="half").exists()


@pytest.mark.slow
def test_a_mistake_of_ours_says_nothing_of_the_inside(running):
    with pytest.raises(CommandError, match="its log says more") as caught:
        admin.ask_server(running.path, "broken", {})
    assert "sk-secret" not in caught.value.message
    assert caught.value.status == 500
    assert cli.ok("upstream", "add", "lab")["name"] == "lab"


def test_a_server_of_another_version_is_named(running):
    with pytest.raises(CommandError, match="another version"):
        admin.ask_server(running.path, "verb.of.tomorrow", {})
    with pytest.raises(CommandError, match="does not know the argument colour"):
        admin.ask_server(running.path, "upstream.add", {"name": "x", "colour": "red"})


def test_lines_that_are_no_verb(running):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(running.path))
        answers = line.makefile()
        for sent in (b"\n", b"{}\n", b"[1]\n", b"not json\n", b'{"verb": 5}\n', b'{"verb": "grant", "args": [1]}\n'):
            line.sendall(sent)
            assert "error" in json.loads(answers.readline()), sent
        line.sendall(b'{"verb": "upstream.add", "args": {"name": "still-here"}}\n')
        assert json.loads(answers.readline())["ok"]["name"] == "still-here"


@pytest.mark.slow
def test_many_at_once_are_each_done_once(running):
    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")

    def give(number: int) -> str:
        args = {"account": "Ada", "amount_micro": 1_000_000, "reason": "x", "ref": f"r{number % 10}"}
        return admin.ask_server(running.path, "grant", args)[1]["entry"]

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(give, range(40)))
    assert len(set(entries)) == 10
    assert cli.ok("account", "show", "Ada")["posted_micro"] == 10_000_000


def test_without_a_server_the_lock_is_held_meanwhile(ready_instance, monkeypatch):
    from farebox.cli.verbs import VERBS

    held: list[bool] = []
    others = FolderLock(ready_instance.data)
    run = VERBS["upstream.add"].run

    def watched(tx: Any, **args: Any) -> Any:
        held.append(not others.try_take())
        others.release()
        return run(tx, **args)

    monkeypatch.setitem(VERBS, "upstream.add", Verb(watched))
    monkeypatch.setattr(Verb, "perform", lambda self, args, *, actor: _perform(self, args, actor))
    cli.ok("upstream", "add", "lab")
    assert held == [not ready_instance.database]
    assert others.try_take()
    others.release()


def _perform(verb: Verb, args: Any, actor: str) -> Any:
    from farebox.kit import db

    return db.write(verb.run, actor=actor, **args)


@pytest.mark.slow
def test_a_server_that_starts_is_waited_for(ready_instance, monkeypatch):
    from farebox.cli.verbs import VERBS

    if ready_instance.database:
        assert cli.ok("upstream", "add", "lab")["name"] == "lab"
        return
    lock = FolderLock(ready_instance.data)
    lock.take()
    late: list[Running] = []
    timer = threading.Timer(0.5, lambda: late.append(Running(VERBS)))
    timer.start()
    try:
        assert cli.ok("upstream", "add", "lab")["name"] == "lab"
    finally:
        timer.join()
        late[0].stop()
    monkeypatch.setattr(admin, "LOCK_S", 0)
    # The lock is held and nobody answers: a process that is neither a server nor done.
    assert f"pid {os.getpid()}" in cli.refused("upstream", "add", "two")
    lock.release()
    assert cli.ok("upstream", "add", "two")["name"] == "two"


def test_a_socket_that_a_dead_process_left_is_replaced(ready_instance):
    path = options.current().admin_socket
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert admin.ask_server(path, "x", {}) == (False, None)
    running = Running({})
    with pytest.raises(CommandError, match="does not know"):
        admin.ask_server(path, "x", {})
    running.stop()
    assert not path.exists()
    path.write_text("not a socket")
    loop = asyncio.new_event_loop()
    with pytest.raises(CommandError, match="is not a socket"):
        loop.run_until_complete(admin.start(path, {}))
    loop.close()
    path.unlink()


def test_a_server_that_answers_keeps_its_socket(ready_instance):
    first = Running({})
    loop = asyncio.new_event_loop()
    with pytest.raises(CommandError, match=r"Another Farebox server listens on .*data folder of its own"):
        loop.run_until_complete(admin.start(first.path, {}))
    loop.close()
    with pytest.raises(CommandError, match="does not know"):
        admin.ask_server(first.path, "x", {})
    first.stop()
    assert not first.path.exists()


def test_a_server_takes_only_its_own_socket_away(ready_instance):
    first = Running({})
    first.path.unlink()
    second = Running({})
    first.stop()
    with pytest.raises(CommandError, match="does not know"):
        admin.ask_server(second.path, "x", {})
    second.stop()
    assert not second.path.exists()


def test_a_path_longer_than_the_kernel_takes(instance, tmp_path):
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    running = Running({}, folder / "admin.sock")
    with pytest.raises(CommandError, match="does not know"):
        admin.ask_server(running.path, "x", {})
    running.stop()


def test_a_server_that_dies_before_it_answers(instance, tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            line, _ = listener.accept()
            line.recv(1000)
            line.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(CommandError, match="Look whether the change was made"):
            admin.ask_server(path, "grant", {})
        thread.join()


def test_the_lock_ends_with_its_process(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, time; from pathlib import Path; from farebox.kit.lock import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).take(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    lock = FolderLock(tmp_path, wait_s=0)
    with pytest.raises(CommandError, match=f"pid {child.pid}"):
        lock.take()
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 5
    while not lock.try_take():
        assert time.monotonic() < deadline
    assert lock.held
    lock.release()
    assert not lock.held
