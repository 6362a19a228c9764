"""kill -9 of the serving process on SQLite: at random moments and at every failpoint, one restart after the other.

Server, upstream and client are processes of their own, the latter two keep journals. `KILLS` is how many (10; 2,000 a
night). In the end every failpoint has killed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kit import world
from kit.faultpoints import Points
from kit.world import World

pytestmark = [pytest.mark.store, pytest.mark.slow]

KILLS = int(os.environ.get("KILLS", "10"))
_LOOK_EVERY = 20
_PROVE_EVERY = 200
_COMMAND_EVERY = 10
_AWAY_EVERY = 30
_START_S_MAX = 15  # a start that waited for a lease would take longer
_AWAY_S = 12  # a process waits for SQLite's lock before it finds that the store is away


def hit(tested: World, locker: Any, child: Any, name: str) -> bool:
    """Let the child come to its failpoint; whether that killed it. Those of the journal need the store to be away."""
    if not name.startswith("journal."):
        return bool(child.wait_ended(8))
    if not child.wait_ready():
        return bool(child.hit)
    tested.wait_busy(child)
    locker.say("lock")
    try:
        if name == "journal.replayed":
            tested.wait_journal(child, tested.instance.data, _AWAY_S)
        else:
            child.wait_ended(_AWAY_S)
    finally:
        locker.say("free")
    return bool(child.wait_ended(15))


def kill_while_away(tested: World, locker: Any) -> None:
    """Kill when customers have their end and its charge is in the journal alone: the next start writes it (F33)."""
    child = tested.start()
    assert child.wait_ready(), tested.nursery.said
    tested.wait_busy(child)
    locker.say("lock")
    try:
        if tested.wait_journal(child, tested.instance.data, _AWAY_S):
            time.sleep(0.2)
        child.kill()
    finally:
        locker.say("free")


def one_kill(
    tested: World, locker: Any, points: Points, rng: random.Random, starts_s: list[float], number: int
) -> None:
    """One life of a serving process, and its end."""
    if number % _COMMAND_EVERY == _COMMAND_EVERY - 1:
        command = tested.command()
        starts_s.append(command.start_s)
        time.sleep(rng.uniform(0.02, 0.4))
        command.kill()
    elif number % _AWAY_EVERY == _AWAY_EVERY // 2:
        kill_while_away(tested, locker)
    elif number % 2:
        child = tested.start()
        assert child.wait_ready(), tested.nursery.said
        time.sleep(rng.uniform(0.02, 0.4) if number % 3 else rng.uniform(0.5, 1.2))  # marks come within half a second
        child.kill()
    else:
        name = points.next()
        child = tested.start(points.text(name))
        done = hit(tested, locker, child, name)
        child.kill()
        points.count(name, reached=done)


@pytest.mark.timeout(60 + 6 * KILLS)
@pytest.mark.fault("F01", "F04", "F09", "F28", "F31", "F32")
def test_kill_9_on_sqlite(instance: Any, tmp_path: Path, capsys: Any) -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        return  # test_nodes.py kills nodes on PostgreSQL
    rng = random.Random(20261124)
    with world.opened(instance, tmp_path) as tested:
        locker = tested.locker()
        points = Points(rng)
        starts_s: list[float] = []
        begin = time.monotonic()
        tested.client.go()
        for number in range(KILLS):
            one_kill(tested, locker, points, rng, starts_s, number)
            if number % _LOOK_EVERY == _LOOK_EVERY - 1 or number == KILLS - 1:
                child = tested.start()
                assert child.wait_ready(), tested.nursery.said
                assert not (findings := tested.quiet()), "\n".join(findings)
                if number % _PROVE_EVERY == _PROVE_EVERY - 1 or number == KILLS - 1:
                    assert not (findings := tested.prove()), "\n".join(findings)
                assert child.stop() == 0
                tested.client.go()
        took_s = time.monotonic() - begin
        counts = tested.comparison.counts
        start_s = sorted(starts_s)[len(starts_s) // 2] if starts_s else 0.0
        with capsys.disabled():
            print(f"\n{KILLS} kills in {took_s:.0f} s, {tested.comparison.calls} calls: {world.report(counts)}")
            print(f"the median start took {start_s:.1f} s; {points.report()}")
        assert counts["end seen, stream"] and counts["end seen, whole"] and counts["stream cut, free"]
        assert counts["end seen, journalled"] or KILLS < _AWAY_EVERY
        assert start_s <= _START_S_MAX, f"starts took {starts_s} s"
        if 3 * len(points.hits) <= KILLS:
            assert all(points.hits.values()), "a failpoint was never hit"


def test_a_second_server_is_refused_on_sqlite(instance: Any, tmp_path: Path) -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        return  # several nodes are the point of PostgreSQL
    with world.opened(instance, tmp_path) as tested:
        child = tested.start()
        assert child.wait_ready()
        done = subprocess.run(
            [sys.executable, "-m", "farebox.cli.main", "serve"],
            env={**os.environ, **tested.environ, "FAREBOX_PORT": "0"},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        assert "Another Farebox process" in done.stderr
        assert child.stop() == 0
