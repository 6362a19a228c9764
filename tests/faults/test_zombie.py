"""A process that is paused until its holds have expired (F30), and one whose log takes nothing any more (F38)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from kit.serving import PROGRAM, Serving
from kit.shop import Shop
from kit.talk import Talk, chat, wait_for

pytestmark = pytest.mark.slow


class Door:
    """Where a shop's customers find its server: a process of its own instead of the shop's."""

    def __init__(self, port: int) -> None:
        self.port = port


@contextlib.contextmanager
def filled(instance):
    """A shop whose server has stopped, for another process to serve."""
    shop = Shop(instance)
    me = shop.account("1")
    shop.stop()
    try:
        yield shop, me
    finally:
        shop.server = None
        shop.close()


def end_as_a_neighbour_does(shop) -> None:
    """Miss the heartbeats of whoever lives here, end its epoch, expire what it holds."""
    from farebox.calls import log
    from farebox.kit import clock, epochs
    from farebox.ledger import holds

    observer = epochs.Observer(3)
    ended: list[str] = []
    for _ in range(10):
        ended, observer.seen = shop.write(observer.tick, own="another", now_us=clock.now_us())
        if ended:
            break
    [epoch] = ended
    assert shop.write(log.expire, epoch=epoch, now_us=clock.now_us()) == 1
    assert shop.read(holds.epochs) == []


@pytest.mark.store
@pytest.mark.fault("F30")
@pytest.mark.rule("R24")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
def test_a_zombie_charges_nothing_and_leaves(instance, stream):
    from farebox.kit import errors

    with filled(instance) as (shop, me):
        serving = Serving({**instance.environ, "FAREBOX_PORT": "0", "FAREBOX_LEASE_BEAT_MS": "200"})
        try:
            shop.server = Door(serving.port)
            how = "tokens=20+pace=40" if stream else "tokens=20+slow=0.8"
            talk = Talk(me, "/v1/chat/completions", chat("gpt-4", f"sandbox: {how}", stream=stream))
            if stream:
                talk.until(b"data: ", times=3)
            wait_for(lambda: me.balance[1] > 0 and shop.sandbox.requests)
            for _ in range(20):
                serving.process.send_signal(signal.SIGSTOP)
                try:
                    end_as_a_neighbour_does(shop)
                    break
                except errors.StoreUnavailable:  # it was stopped with the database locked
                    serving.process.send_signal(signal.SIGCONT)
                    time.sleep(0.01)
            shop.loop.run(shop.sandbox.idle())  # the answer is complete, and waits in the sockets
            assert me.balance == (1_000_000, 0)
            serving.process.send_signal(signal.SIGCONT)
            talk.rest()
            assert b'"error"' in talk.data
            assert b"[DONE]" not in talk.data
            assert (b"HTTP/1.1 200 OK" in talk.data) == stream
            assert serving.process.wait(20) != 0
            assert me.balance == (1_000_000, 0)
            from farebox.calls.models import Call

            call = Call.objects.get(account=me.account)
            assert (call.outcome, call.rule, call.charge_micro, call.flags) == ("broken", "R24", 0, "expired")
            assert shop.findings() == []
        finally:
            if serving.process.poll() is None:
                serving.process.send_signal(signal.SIGCONT)
            serving.kill()


def log_end(kind: str) -> tuple[int, int | None]:
    """A descriptor to log to that takes nothing (full, or gone), and what to close after the test."""
    if kind == "disk":
        return os.open("/dev/full", os.O_WRONLY), None
    read_end, write_end = os.pipe()
    if kind == "gone":
        os.close(read_end)
        return write_end, None
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    return write_end, read_end


@pytest.mark.fault("F38")
@pytest.mark.parametrize("kind", ["pipe", "gone", "disk"])
def test_a_log_that_takes_nothing_hurts_no_call(instance, kind):
    with filled(instance) as (shop, me):
        number, close_later = log_end(kind)
        environ = {
            **os.environ,
            **instance.environ,
            "FAREBOX_PORT": "0",
            "FAREBOX_LOG_LEVEL": "info",
            "FAREBOX_DRAIN_S": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=environ, stdout=subprocess.PIPE, stderr=number, text=True
        )
        os.close(number)
        try:
            assert process.stdout is not None
            shop.server = Door(int(process.stdout.readline()))
            since_s = time.monotonic()
            for turn in range(12):  # each writes a warning: another model has answered
                text = "sandbox: substitute=other+tokens=5+usage=10,5"
                answer = me.chat("gpt-4", text, stream=bool(turn % 2))
                assert answer.status == 200
                assert "substituted" in me.receipt(answer)["flags"]
            assert time.monotonic() - since_s < 10
            assert me.balance == (1_000_000 - 12 * (10 * 30 + 5 * 60), 0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert shop.findings() == []
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
            process.stdout.close()
            if close_later is not None:
                os.close(close_later)
