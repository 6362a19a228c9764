"""SIGTERM: no new calls, those under way may end, what lasts longer is ended cleanly."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time

import pytest

from serving import Serving
from shop import Shop

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.mark.rule("R15")
@pytest.mark.fault("F29")
def test_sigterm_lets_calls_under_way_end_and_cuts_what_lasts_longer(house):
    """Two streams: one ends within the drain, one does not: it gets an error event, costs nothing, holds nothing."""
    from farebox.ledger.models import Hold

    shop = Shop(house)
    me = shop.account("10")
    shop.stop()
    serving = Serving({**house.environ, "FAREBOX_PORT": "0", "FAREBOX_DRAIN_S": "2"})
    bodies: dict[str, bytes] = {}

    def call(name: str, text: str) -> None:
        line = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)
        body = {"model": "gpt-4", "stream": True, "messages": [{"role": "user", "content": text}]}
        headers = {"Authorization": f"Bearer {me.key}", "Content-Type": "application/json"}
        line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        bodies[name] = line.getresponse().read()
        line.close()

    try:
        threads = [
            threading.Thread(target=call, args=("short", "sandbox: tokens=10+pace=100")),
            threading.Thread(target=call, args=("long", "sandbox: tokens=200+pace=100")),
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        serving.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError):
            http.client.HTTPConnection("127.0.0.1", serving.port, timeout=5).connect()
        assert serving.process.wait(20) == 0
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
    finally:
        if serving.process.poll() is None:
            serving.kill()
        elif serving.process.stdout is not None:
            serving.process.stdout.close()
        shop.close()
