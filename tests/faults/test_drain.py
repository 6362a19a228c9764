"""SIGTERM: no new calls, those under way may end, what lasts longer is ended cleanly."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kit.serving import Serving
from kit.shop import Shop

pytestmark = [pytest.mark.store, pytest.mark.slow]


@contextlib.contextmanager
def serving(instance: Any, *, drain_s: int) -> Iterator[tuple[Any, Any, Any]]:
    """A shop whose own server is stopped, an account with 10, and a real process that serves the store."""
    shop = Shop(instance)
    me = shop.account("10")
    shop.stop()
    process = Serving({**instance.environ, "FAREBOX_PORT": "0", "FAREBOX_DRAIN_S": str(drain_s)})
    try:
        yield shop, me, process
    finally:
        if process.process.poll() is None:
            process.kill()
        elif process.process.stdout is not None:
            process.process.stdout.close()
        shop.close()


@pytest.mark.rule("R15")
@pytest.mark.fault("F29")
def test_sigterm_lets_calls_under_way_end_and_cuts_what_lasts_longer(instance):
    """Two streams: one ends within the drain, one does not: it gets an error event, costs nothing, holds nothing."""
    from farebox.ledger.models import Hold

    with serving(instance, drain_s=5) as (shop, me, running):
        bodies: dict[str, bytes] = {}
        begun = threading.Semaphore(0)

        def call(name: str, text: str) -> None:
            line = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
            body = {"model": "gpt-4", "stream": True, "messages": [{"role": "user", "content": text}]}
            headers = {"Authorization": f"Bearer {me.key}", "Content-Type": "application/json"}
            line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = line.getresponse()
            begun.release()
            bodies[name] = answer.read()
            line.close()

        threads = [
            threading.Thread(target=call, args=("short", "sandbox: tokens=10+pace=100")),
            threading.Thread(target=call, args=("long", "sandbox: tokens=200+pace=100")),
        ]
        for thread in threads:
            thread.start()
        assert all(begun.acquire(timeout=20) for _ in threads)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError):
            http.client.HTTPConnection("127.0.0.1", running.port, timeout=5).connect()
        assert running.process.wait(20) == 0
        for thread in threads:
            thread.join(20)
        assert bodies["short"].endswith(b"data: [DONE]\n\n")
        assert b'"error"' in bodies["long"]
        assert b"[DONE]" not in bodies["long"]
        assert not Hold.objects.filter(state="open").exists()
        from farebox.calls.models import Call

        rules = {call.outcome: (call.rule, call.charge_micro > 0) for call in Call.objects.filter(account=me.account)}
        assert rules == {"served": ("R02", True), "broken": ("R15", False)}
        assert shop.findings() == []


@pytest.mark.fault("F29")
def test_sigterm_lets_an_answer_leave_that_was_charged_before(instance):
    """A slow reader gets all of a body of many MB, and nobody is waited for once he has it."""
    from farebox.calls.models import Call
    from farebox.ledger.models import Entry

    with (
        serving(instance, drain_s=60) as (shop, me, running),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as line,
    ):
        line.sock = socket.socket()
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        line.sock.settimeout(60)
        line.sock.connect(("127.0.0.1", running.port))
        inputs = [f"word {number}" for number in range(1500)]
        body = {"model": "text-embedding-3-small", "input": inputs, "encoding_format": "base64"}
        headers = {"Authorization": f"Bearer {me.key}", "Content-Type": "application/json"}
        line.request("POST", "/v1/embeddings", json.dumps(body), headers)
        answer = line.getresponse()  # the head: the call is settled
        call = Call.objects.get(account=me.account)
        assert call.charge_micro > 0
        running.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert running.process.poll() is None
        length = int(answer.headers["Content-Length"])
        assert length > 12_000_000  # more than the system's buffers take
        assert len(json.loads(answer.read())["data"]) == len(inputs)
        assert running.process.wait(30) == 0
        assert Call.objects.get(id=call.id).charge_micro == call.charge_micro
        assert not Entry.objects.filter(kind="refund").exists()
        assert shop.findings() == []


@pytest.mark.fault("F29")
def test_a_store_that_hangs_does_not_keep_a_process_that_stops(instance, monkeypatch):
    """Writes that never come back: the process is gone ten seconds after the drain all the same."""
    import asyncio

    from farebox.kit.db import Store

    hung: list[str] = []

    async def hang(_store: Store, fn: Any, *_args: Any, **_options: Any) -> Any:
        hung.append(getattr(fn, "__name__", ""))
        await asyncio.Event().wait()

    shop = Shop(instance)
    try:
        me = shop.account("10")
        assert me.chat("gpt-4", "hello").status == 200
        shop.server.ports.shop.refusals[("2026-01-01", "", "invalid_api_key")] = 1  # the schedule's last words
        monkeypatch.setattr(Store, "write", hang)
        begin = time.monotonic()
        shop.loop.run(shop.server.stop(drain_s=0.1), timeout_s=60)
        took_s = time.monotonic() - begin
        shop.server = None
        assert hung[0] == "_count" and len(hung) > 1
        assert took_s < 12
    finally:
        monkeypatch.undo()
        shop.close()
