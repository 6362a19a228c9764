"""The store is taken away under load (F33): what is under way ends and is charged, what is new is asked to come again.

On PostgreSQL the server is stopped, on SQLite another process keeps the write lock. `AWAY_S` is for how long (8; 30 a
night).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kit import world
from kit.world import World, wait_until

pytestmark = [pytest.mark.store, pytest.mark.slow]

AWAY_S = int(os.environ.get("AWAY_S", "8"))
_LOAD_S = 1.0


def answers(tested: World) -> list[dict[str, Any]]:
    """What the client has got so far."""
    lines = [json.loads(line) for line in tested.client_journal.read_text().rpartition("\n")[0].splitlines()]
    return [line for line in lines if not line.get("begin")]


def take_away(tested: World, instance: Any) -> Any:
    """Take the store away; what gives it back."""
    from django.db import connection

    if connection.vendor == "sqlite":
        locker = tested.locker()
        locker.say("lock")
        return lambda: locker.say("free")
    connection.close()
    instance.server.stop()
    return instance.server.start


@pytest.mark.timeout(120 + 3 * AWAY_S)
@pytest.mark.fault("F33")
def test_the_store_is_away_under_load(fragile_instance: Any, tmp_path: Path, capsys: Any) -> None:
    environ = {"FAREBOX_STORE_WAIT_MS": "100"}
    with world.opened(fragile_instance, tmp_path, callers=12, seed=3, environ=environ) as tested:
        child = tested.start()
        assert child.wait_ready(), tested.nursery.said
        tested.client.go()
        wait_until(lambda: len(answers(tested)) > 50, 30, "the client gets no answers")
        tested.wait_busy(child)
        give_back = take_away(tested, fragile_instance)
        begin = time.time()
        time.sleep(AWAY_S)
        end = time.time()
        give_back()
        time.sleep(_LOAD_S)
        findings = tested.quiet()
        assert not findings, "\n".join(findings)
        assert not (findings := tested.prove()), "\n".join(findings)
        meanwhile = [line for line in answers(tested) if begin + 0.5 <= line["at"] <= end]
        statuses = Counter((line["status"], line["code"]) for line in meanwhile)
        with capsys.disabled():
            print(f"\n{AWAY_S} s away: {dict(statuses)}; {world.report(tested.comparison.counts)}")
        refused = [line for line in answers(tested) if line["status"] == 503 and line["code"] != "upstream_error"]
        assert refused
        assert {line["code"] for line in refused} <= {"store_unavailable", "overloaded"}
        assert all(int(line["wait"]) >= 1 for line in refused), "a 503 without Retry-After"
        # Those of our customers that were being served have their end, and their charge was on the disk.
        assert tested.comparison.counts["end seen, journalled"] > 0
        assert {status for status, _ in statuses} <= {0, 200, 502, 503}
        assert child.alive
        assert child.stop() == 0
        assert not list((fragile_instance.data / "journal").glob("*.log")), "the journal was not emptied"
