"""The ground gives way under a real server: full disk, wrong clock, lost files, damage, no memory, no open files."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farebox.kit import disk, ground
from farebox.kit.errors import CommandError
from kit.damage import spoil
from kit.serving import PROGRAM
from kit.shop import Answer, Customer, Shop, opened

pytestmark = [pytest.mark.store, pytest.mark.slow]

MIB = 1024 * 1024
HOUR_US = 3_600_000_000
SLOW_STREAM = "sandbox: tokens=20+pace=100\nhello"


def on_sqlite() -> bool:
    from django.db import connection

    return bool(connection.vendor == "sqlite")


def wait_for(what: Any, seconds: float, why: str) -> None:
    deadline_s = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline_s, why
        time.sleep(0.05)


def refused_kindly(answer: Answer, code: str) -> None:
    """503 in OpenAI's form, with the time to come back."""
    assert answer.status == 503, answer.body
    assert answer.json["error"]["code"] == code
    assert 1 <= int(answer.headers["retry-after"]) <= 5


class Streaming(threading.Thread):
    """A slow stream that runs while the test does something to its shop."""

    def __init__(self, me: Customer) -> None:
        super().__init__(daemon=True)
        self._me = me
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._me.chat("gpt-4", SLOW_STREAM, stream=True)

    def whole(self) -> bool:
        self.join(30)
        return self.answer is not None and self.answer.status == 200 and self.answer.events[-1] == "[DONE]"


def held(me: Customer) -> bool:
    return me.balance[1] > 0


def reads_work(me: Customer) -> None:
    assert me.get("/v1/models").status == 200
    assert me.get("/v1/balance").status == 200
    assert me.get("/v1/calls").status == 200


# F08


@pytest.mark.fault("F08")
def test_a_store_that_may_not_grow_settles_what_runs_and_takes_nothing_new(instance, monkeypatch):
    """SQLite's own SQLITE_FULL; the room that the ballast gives up is what the limit is then raised by."""
    from django.db import connection

    if not on_sqlite():
        return  # its server's disk: the next test
    monkeypatch.setattr(ground, "QUIET_S", 1.0)
    with opened(instance, ballast_mb=1) as shop:
        me = shop.account("10")
        ballast = shop.server.ground.ballast
        give, pages = ballast.free, []

        def limit(tx: Any) -> None:
            pages.append(tx.one("PRAGMA page_count")[0])
            tx.execute(f"PRAGMA max_page_count = {pages[0]}")

        def free() -> bool:
            gave = give()
            if gave:  # in the committer's thread, whose connection has the limit
                more = pages[0] + ballast.size_bytes // 4096
                connection.cursor().execute(f"PRAGMA max_page_count = {more}")
            return gave

        monkeypatch.setattr(ballast, "free", free)
        running = Streaming(me)
        wait_for(lambda: held(me), 5, "the stream did not begin")
        shop.loop.run(shop.server.store.write(limit))
        for _ in range(200):  # until a page more is needed
            answer = me.chat("gpt-4", "Hello")
            if shop.server.ground.short:
                break
            assert answer.status == 200, answer.body
        assert shop.server.ground.short
        assert not ballast.path.exists()
        refused_kindly(me.chat("gpt-4", "Hello"), "store_unavailable")
        reads_work(me)
        assert running.whole(), "what ran is settled from the room of the ballast"
        assert running.answer is not None
        assert me.receipt(running.answer)["charge"] != "0"
        wait_for(lambda: not shop.server.ground.short, 10, "the shop stayed shut though there was room")
        assert ballast.path.stat().st_blocks * 512 >= MIB
        assert me.chat("gpt-4", "Hello").status == 200
        assert shop.findings() == []


def test_a_server_that_reads_only_closes_the_shop_and_opens_it_again(instance, monkeypatch):
    """PostgreSQL after a fail-over to a standby; SQLite on a disk that the kernel has made read-only."""
    from django.db import connection

    monkeypatch.setattr(ground, "QUIET_S", 1.0)
    trouble, again = disk.trouble, threading.Event()

    def mended(fault: BaseException) -> Any:
        """Heard in the committer's thread between two tries, where SQLite's switch can be turned back."""
        if again.is_set() and on_sqlite():
            connection.cursor().execute("PRAGMA query_only = off")
        return trouble(fault)

    def only_read(tx: Any) -> None:
        tx.execute("PRAGMA query_only = on" if on_sqlite() else "SET default_transaction_read_only = on")

    def new_lines_only_read(word: str) -> None:
        if not on_sqlite():
            name = connection.settings_dict["NAME"]
            connection.cursor().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {word}")

    monkeypatch.setattr(disk, "trouble", mended)
    with opened(instance) as shop:
        me = shop.account("10")
        assert me.chat("gpt-4", "Hello").status == 200
        new_lines_only_read("on")
        shop.loop.run(shop.server.store.write(only_read))
        refused_kindly(me.chat("gpt-4", "Hello"), "store_unavailable")
        wait_for(lambda: shop.server.ground.short, 5, "nobody noticed that the store can't be written")
        refused_kindly(me.chat("gpt-4", "Hello"), "store_unavailable")
        reads_work(me)
        assert shop.server.ground.ballast.path.exists()
        again.set()
        new_lines_only_read("off")
        wait_for(lambda: me.chat("gpt-4", "Hello").status == 200, 10, "the shop stayed shut")
        assert shop.findings() == []


def may_mount() -> bool:
    """Whether this process may mount a small disk: root on a machine of its own, not in a plain container."""
    place = Path("/tmp") / f"farebox-mount-{os.getpid()}"
    place.mkdir()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
            return False
        subprocess.run(["umount", place], check=True, capture_output=True)
        return True
    except OSError:
        return False
    finally:
        place.rmdir()


@contextlib.contextmanager
def small_disk(place: Path, *, size_mib: int) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill_up(path: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))


class Process:
    """`farebox serve` in a process of its own, with its standard error, under limits of the shell."""

    def __init__(self, environ: dict[str, str], *, limit: str = "true") -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'{limit}; exec "$0" -c "$1"', sys.executable, PROGRAM],
            env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.end()
            raise AssertionError(f"the server did not start: {''.join(self.said)[-2000:]}")
        self.port = int(line)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def end(self) -> int:
        """Stop it if it still runs; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait(10)
        self._listener.join(5)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


def ask(port: int, key: str, method: str, path: str, body: Any = None, *, timeout_s: float = 20) -> Answer:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    with contextlib.closing(line):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        line.request(method, path, None if body is None else json.dumps(body), headers)
        response = line.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def say_hello(port: int, key: str, text: str = "Hello", **more: Any) -> Answer:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": text}], **more}
    return ask(port, key, "POST", "/v1/chat/completions", body)


def on_a_small_disk(tmp_path: Path, shop: Shop, me: Customer) -> None:
    """The whole of F08 on a disk that is really full: SQLite's file there, or PostgreSQL's journal and ballast."""
    shop.stop()
    place = tmp_path / "disk"
    with small_disk(place, size_mib=24):
        if on_sqlite():
            from django.db import connection

            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = place / "data"
        shutil.copytree(shop.instance.data, data, ignore=shutil.ignore_patterns("*.sock", "ballast"))
        environ = {
            **shop.instance.environ, "FAREBOX_DATA_DIR": str(data), "FAREBOX_PORT": "0", "FAREBOX_BALLAST_MB": "4",
            "FAREBOX_LEASE_BEAT_MS": "500",
        }  # fmt: skip
        server = Process(environ)
        try:
            key, port = me.key, server.port
            assert say_hello(port, key).status == 200
            assert (data / "ballast").stat().st_blocks * 512 >= 4 * MIB
            running: list[Answer] = []
            stream = threading.Thread(
                target=lambda: running.append(say_hello(port, key, SLOW_STREAM, stream=True)), daemon=True
            )
            stream.start()
            time.sleep(0.3)
            fill_up(place / "filler")
            wait_for(lambda: say_hello(port, key).status == 503, 10, "calls were taken on a full disk")
            refused_kindly(say_hello(port, key), "store_unavailable")
            assert not (data / "ballast").exists()
            for path in ("/v1/models", "/v1/balance"):
                assert ask(port, key, "GET", path).status == 200
            stream.join(20)
            assert [answer.events[-1] for answer in running] == ["[DONE]"]
            charged = ask(port, key, "GET", f"/v1/calls/{running[0].call}").json
            assert (charged["outcome"], charged["rule"]) == ("served", "R02")
            fill_up(place / "slack")
            server.process.kill()
            server.end()
            with pytest.raises(AssertionError, match=r"server\.disk"):
                Process(environ)
            (place / "slack").unlink()
            server = Process(environ)  # what room the ballast had is enough for a start
            port = server.port
            refused_kindly(say_hello(port, key), "store_unavailable")
            (place / "filler").unlink()
            wait_for(lambda: say_hello(port, key).status == 200, 15, "the shop stayed shut though there was room")
            assert (data / "ballast").stat().st_blocks * 512 >= 4 * MIB
        finally:
            code = server.end()
        assert code == 0, "".join(server.said)
        if on_sqlite():
            from farebox.kit import options

            shutil.copy(data / "farebox.db", options.current().sqlite_file)


@pytest.mark.parametrize("way", ["full", *(["tmpfs"] if os.geteuid() == 0 and may_mount() else [])])
@pytest.mark.fault("F08")
def test_a_disk_that_is_really_full(instance, tmp_path, way):
    """Where a small disk may be mounted it is filled; elsewhere the start finds no room for its ballast."""
    if way == "tmpfs" and not on_sqlite():
        return  # the disk of the database's server; of ours the journal alone is written
    with opened(instance) as shop:
        me = shop.account("10")
        if way == "tmpfs":
            on_a_small_disk(tmp_path, shop, me)
        else:
            shop.stop()
            server = Process(
                {**shop.instance.environ, "FAREBOX_PORT": "0", "FAREBOX_BALLAST_MB": "32"}, limit="ulimit -f 200000"
            )
            try:
                ballast = shop.instance.data / "ballast"
                assert ballast.stat().st_size == 32 * MIB
                assert say_hello(server.port, me.key).status == 200
            finally:
                assert server.end() == 0
            server = Process(
                {**shop.instance.environ, "FAREBOX_PORT": "0", "FAREBOX_BALLAST_MB": "512"}, limit="ulimit -f 200000"
            )
            try:
                refused_kindly(say_hello(server.port, me.key), "store_unavailable")
                assert ask(server.port, me.key, "GET", "/v1/models").status == 200
                assert not ballast.exists()
            finally:
                assert server.end() == 0
        assert shop.findings() == []


# F37


@pytest.mark.fault("F37")
def test_a_clock_behind_the_books_holds_and_one_far_behind_does_not_start(instance, monkeypatch):
    from farebox.calls.models import Call
    from farebox.kit import clock
    from farebox.kit.models import Epoch

    monkeypatch.setattr(clock, "SYSTEM", clock.SystemClock())
    with opened(instance) as shop:
        me = shop.account("10")
        assert me.chat("gpt-4", "Hello").status == 200
        began_us = Epoch.objects.get().started_us
        wait_for(lambda: Epoch.objects.get().seen_us > began_us, 10, "the beat did not write the time down")
        shop.stop()
        mark_us = time.time_ns() // 1000 + HOUR_US
        Epoch.objects.update(seen_us=mark_us)
        shop.start()
        answer = me.chat("gpt-4", "Hello")
        assert answer.status == 200
        assert me.receipt(answer)["charge"] != "0"
        assert Call.objects.get(id=answer.call).opened_us >= mark_us
        shop.stop()
        monkeypatch.setattr(clock, "SYSTEM", clock.SystemClock())
        Epoch.objects.update(seen_us=time.time_ns() // 1000 + 30 * HOUR_US)
        with pytest.raises(CommandError, match="clock.behind hours=29"):
            shop.start()
        Epoch.objects.update(seen_us=mark_us, started_us=mark_us, ended_us=mark_us)
        shop.start()
        assert shop.findings() == []


# F40


@pytest.mark.parametrize("deed", ["replaced", "deleted", "lock", "log"])
@pytest.mark.fault("F40")
def test_a_store_that_is_gone_stops_its_process(instance, deed):
    if not on_sqlite():
        return  # no file of ours
    with opened(instance) as shop:
        me = shop.account("10")
        shop.stop()
        server = Process({**instance.environ, "FAREBOX_PORT": "0", "FAREBOX_DRAIN_S": "60"})
        try:
            assert say_hello(server.port, me.key).status == 200
            time.sleep(1.2)  # it has looked at its log
            assert server.process.poll() is None
            file: Path = instance.data / {"lock": "serve.lock", "log": "farebox.db-wal"}.get(deed, "farebox.db")
            copy = instance.data / "copy"
            shutil.copy(file, copy)
            if deed == "replaced":
                copy.replace(file)
            else:
                file.unlink()
            assert server.process.wait(10) == 1
        finally:
            server.end()
        said = "".join(server.said)
        assert f"{file} was {'replaced' if deed == 'replaced' else 'deleted'} while the store was in use." in said
        if copy.exists():
            copy.replace(file)


@pytest.mark.fault("F40")
def test_an_sqlite_store_on_a_network_disk_does_not_start(instance, tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text("30 27 0:40 / / rw - nfs4 host:/export rw\n")
    with opened(instance) as shop:
        shop.stop()
        monkeypatch.setattr(disk, "MOUNTS", tmp_path / "mountinfo")
        if on_sqlite():
            with pytest.raises(CommandError, match="store.network_disk"):
                shop.start()
            shop.server = None
        else:
            shop.start()


# F41


@pytest.mark.fault("F41")
def test_a_damaged_store_does_not_start(instance):
    if not on_sqlite():
        return  # PostgreSQL has checksums of its own
    from django.db import connection

    from farebox.kit import options

    with opened(instance) as shop:
        shop.stop()
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        file = options.current().sqlite_file
        good = file.read_bytes()
        spoil(file, pages=20)
        with pytest.raises(CommandError, match="store.damaged"):
            shop.start()
        shop.server = None
        file.write_bytes(good)
        shop.start()
        assert shop.account("1").chat("gpt-4", "Hello").status == 200


@pytest.mark.fault("F41")
def test_damage_that_the_daily_check_finds_closes_the_shop(instance):
    if not on_sqlite():
        return
    from django.db import connection

    from farebox.jobs import schedule
    from farebox.kit import options

    with opened(instance) as shop:
        me = shop.account("10")
        assert me.chat("gpt-4", "Hello").status == 200
        context = schedule.Context(store=shop.server.store, damaged=shop.server.ground.damaged)
        shop.loop.run(schedule.check_file(context))
        assert not shop.server.ground.short
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file = options.current().sqlite_file
        good = file.read_bytes()
        spoil(file, pages=20)
        shop.loop.run(schedule.check_file(context))
        file.write_bytes(good)
        assert shop.server.ground.short
        refused_kindly(me.chat("gpt-4", "Hello"), "store_unavailable")
        time.sleep(1.2)
        assert shop.server.ground.short, "no look at the disk mends a damaged file"


# F43


@pytest.mark.fault("F43")
def test_calls_are_shed_while_memory_is_short(instance):
    from farebox.kit import process_limits

    with opened(instance, rss_max_mb=process_limits.rss_bytes() // MIB + 128) as shop:
        me = shop.account("10")
        running = Streaming(me)
        wait_for(lambda: held(me), 5, "the stream did not begin")
        eaten = bytearray(b"x") * (160 * MIB)
        wait_for(lambda: shop.server.ground.shed, 5, "nobody looked at the memory")
        refused_kindly(me.chat("gpt-4", "Hello"), "overloaded")
        reads_work(me)
        assert running.whole(), "what runs goes on"
        del eaten
        wait_for(lambda: not shop.server.ground.shed, 5, "calls were shed for ever")
        assert me.chat("gpt-4", "Hello").status == 200
        assert shop.findings() == []


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("fault", [OSError(24, "Too many open files"), RuntimeError("can't start new thread")])
def test_a_request_that_finds_nothing_left_may_come_again(instance, monkeypatch, fault):
    from farebox.gateway.http import app

    async def used_up(*_: Any) -> Any:
        raise fault

    with opened(instance) as shop:
        me = shop.account("10")
        monkeypatch.setitem(app.FREE, "/models", used_up)
        refused_kindly(me.get("/v1/models"), "overloaded")


@pytest.mark.fault("F43")
def test_more_connections_than_open_files_get_503_and_do_not_spin(instance):
    with opened(instance) as shop:
        me = shop.account("10")
        shop.stop()
        server = Process(
            {**instance.environ, "FAREBOX_PORT": "0", "FAREBOX_LOG_LEVEL": "warning"}, limit="ulimit -n 160"
        )
        lines: list[socket.socket] = []
        try:
            assert say_hello(server.port, me.key).status == 200
            wait_for(
                lambda: any("ground.few_files" in line for line in server.said), 5, "nobody said that files are few"
            )
            for _ in range(40):  # 160 files: 80 are kept, 40 connections are allowed
                lines.append(socket.create_connection(("127.0.0.1", server.port), 5))
            time.sleep(0.3)
            refused_kindly(say_hello(server.port, me.key), "overloaded")
            for _ in range(160):
                lines.append(socket.create_connection(("127.0.0.1", server.port), 5))
            time.sleep(0.5)
            before_s = processor_s(server.process.pid)
            time.sleep(1.5)
            assert processor_s(server.process.pid) - before_s < 0.5, "it spins"
            assert server.process.poll() is None
            for line in lines:
                line.close()
            lines.clear()
            wait_for(lambda: _answers(server.port, me.key), 10, "it did not recover")
        finally:
            for line in lines:
                line.close()
            code = server.end()
        assert code == 0, "".join(server.said)[-2000:]
        assert shop.findings() == []


def _answers(port: int, key: str) -> bool:
    try:
        return say_hello(port, key).status == 200
    except (OSError, http.client.HTTPException):
        return False
