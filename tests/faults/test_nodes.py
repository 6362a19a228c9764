"""kill -9 on PostgreSQL: two nodes on one database; one dies while the other works, and the other ends its holds.

One kill in four hits the database (immediate stop), one in eight is a pause longer than lease and grace: the node that
wakes up can settle nothing any more, and leaves. `KILLS` is how many (6; 2,000 a night).
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kit import world
from kit.faultpoints import Points
from kit.nursery import Child
from kit.world import World, wait_until

pytestmark = [pytest.mark.store, pytest.mark.slow]

KILLS = int(os.environ.get("KILLS", "6"))
_LOOK_EVERY = 20
_PROVE_EVERY = 200
_LEASE = {"FAREBOX_LEASE_BEAT_MS": "50", "FAREBOX_LEASE_BEATS_MISSED": "5", "FAREBOX_HOLD_GRACE_S": "1"}
_AWAY_S = 4  # longer than a settlement waits for the store before it goes into the journal
_LONG_S = 20  # for what takes half a second on a machine that has nothing else to do


class Nodes:
    """Two nodes that are started again whenever they are found dead. `lost` counts those that left by themselves."""

    def __init__(self, tested: World) -> None:
        self.tested = tested
        self.lost = 0
        self.places: list[Child | None] = [None, None]

    def environ(self, place: int) -> dict[str, str]:
        instance = self.tested.instance
        return {
            **_LEASE,
            "FAREBOX_DATA_DIR": str(self.tested.folder / f"node{place}"),
            "FAREBOX_PEPPER_FILE": str(instance.data / "keys" / "pepper"),
            "FAREBOX_MASTER_KEY_FILE": str(instance.data / "keys" / "master"),
        }

    def start(self, place: int, failpoint: str = "") -> Child:
        child = self.tested.start(failpoint, node=place, **self.environ(place))
        self.places[place] = child
        return child

    def armed(self, rng: random.Random, failpoint: str) -> Child:
        """A node that has been started with this failpoint: in a place that is free, or whose node dies for it."""
        dead = [place for place, child in enumerate(self.places) if child is None or not child.alive]
        place = dead[0] if dead else rng.randrange(2)
        old = self.places[place]
        if old is not None:
            old.kill()
        child = self.start(place, failpoint)
        self.ready(1 - place)
        return child

    def ready(self, *places: int) -> None:
        """These listen, or both; who is dead is started until he does."""
        wanted = places or (0, 1)
        for place in wanted:
            child = self.places[place]
            if child is None or not child.alive:
                self.lost += child is not None and child.code == 1
                self.start(place)
        for place in wanted:
            for _ in range(20):
                child = self.places[place]
                assert child is not None
                if child.wait_ready():
                    break
                self.start(place)
            else:
                raise AssertionError(f"a node does not start\n{self.tested.nursery.said}")

    def epoch(self, place: int) -> str:
        """The epoch of the node that lives there: its journal bears the name. "" if it has just left by itself."""
        return max((path.stem for path in (self.tested.folder / f"node{place}" / "journal").glob("*.log")), default="")

    def stop(self) -> None:
        for child in self.places:
            if child is not None and child.alive:
                child.stop()


def epochs_of_holds() -> set[str]:
    from farebox.ledger.models import Hold

    return set(Hold.objects.filter(state="open").values_list("epoch", flat=True))


def alive_epochs() -> set[str]:
    from farebox.kit.models import Epoch

    return set(Epoch.objects.filter(ended_us=None).values_list("id", flat=True))


def all_epochs() -> str:
    from farebox.kit.models import Epoch

    rows = Epoch.objects.order_by("-id").values_list("id", "beats", "started_us", "ended_us", "ended_why")[:6]
    return "\n".join(map(str, rows))


def others_end_holds(nodes: Nodes, before: set[str]) -> None:
    """What a dead node held is ended while it stays dead: the living one does it."""
    dead = before & epochs_of_holds()
    wait_until(
        lambda: not (dead - alive_epochs()) & epochs_of_holds() and len(alive_epochs()) <= 1,
        _LONG_S,
        f"the holds of a dead node stayed open\n{nodes.tested.nursery.said}",
    )


def kill_node(nodes: Nodes, points: Points, rng: random.Random, number: int) -> None:
    """One node dies, at a failpoint or at any time; sometimes it comes back only after the other has cleared up."""
    if number % 8 in {2, 6}:
        nodes.ready()
        child = nodes.places[rng.randrange(2)]
        assert child is not None
        time.sleep(rng.uniform(0.05, 0.4))
        child.kill()
    else:
        name = points.next(lambda name: not name.startswith("journal."))
        child = nodes.armed(rng, points.text(name))
        points.count(name, reached=child.wait_ended(8) and child.hit)
        child.kill()
    if number % 8 == 2:
        others_end_holds(nodes, alive_epochs())


def kill_database(nodes: Nodes, points: Points, rng: random.Random, number: int) -> None:
    """The database crashes under load; for so long that settlements are journalled, or for a moment."""
    from django.db import connection

    server = nodes.tested.instance.server
    long = number % 8 == 5
    name = points.next(lambda name: name.startswith("journal.")) if long else ""
    child = None
    if long:
        child = nodes.armed(rng, points.text(name))
        if not child.wait_ready():
            points.count(name, reached=child.hit)
            return
        nodes.tested.wait_busy(child)
    else:
        nodes.ready()
    begin = time.time()
    connection.close()  # this process's own, which would be cut too
    server.stop()
    if child is None:
        time.sleep(rng.uniform(0.0, 0.4))
    elif name == "journal.replayed":
        data = nodes.tested.folder / f"node{nodes.places.index(child)}"
        nodes.tested.wait_journal(child, data, _AWAY_S)
    else:
        child.wait_ended(_AWAY_S)
    server.start()
    if child is not None:
        points.count(name, reached=child.wait_ended(8) and child.hit)
        child.kill()
    # So long a journal may be replayed too late for the grace of these tests.
    nodes.tested.comparison.away.append((begin, time.time() + 2))


def pause_node(nodes: Nodes, rng: random.Random) -> bool:
    """Stop a node for longer than lease and grace, then wake it; whether it left, as it must."""
    nodes.ready()
    place = rng.randrange(2)
    child = nodes.places[place]
    assert child is not None
    time.sleep(rng.uniform(0.02, 0.2))
    child.signal(signal.SIGSTOP)
    epoch = nodes.epoch(place)

    def ended() -> bool:
        # On a busy machine the other one may have lost its own lease: then there is nobody to end this one's.
        nodes.ready(1 - place)
        return epoch not in alive_epochs() and epoch not in epochs_of_holds()

    wait_until(
        ended,
        _LONG_S,
        f"nobody ended the epoch of a node that hangs\n{nodes.tested.nursery.said}",
    )
    child.signal(signal.SIGCONT)
    if not child.wait_ended(_LONG_S):
        child.signal(signal.SIGUSR1)
        time.sleep(1)
    assert child.wait_ended(0), (
        f"a node that has lost its lease goes on; it was {epoch}, is {nodes.epoch(place)}, and these are known:\n"
        f"{all_epochs()}\n{nodes.tested.nursery.said}"
    )
    return child.code == 1


@pytest.mark.timeout(90 + 6 * KILLS)
@pytest.mark.fault("F28", "F30", "F31")
def test_kill_9_on_postgresql(fragile_instance: Any, tmp_path: Path, capsys: Any) -> None:
    from django.db import connection

    if connection.vendor == "sqlite":
        return  # one process is the point of SQLite: test_kill.py
    rng = random.Random(20261125)
    zombies = 0
    with world.opened(fragile_instance, tmp_path, nodes=2, seed=2) as tested:
        points = Points(rng)
        nodes = Nodes(tested)
        begin = time.monotonic()
        tested.client.go()
        for number in range(KILLS):
            if number % 4 == 1:
                kill_database(nodes, points, rng, number)
            elif number % 8 == 3:
                zombies += pause_node(nodes, rng)
            else:
                kill_node(nodes, points, rng, number)
            if number % _LOOK_EVERY == _LOOK_EVERY - 1 or number == KILLS - 1:
                nodes.ready()
                assert not (findings := tested.quiet()), "\n".join(findings)
                if number % _PROVE_EVERY == _PROVE_EVERY - 1 or number == KILLS - 1:
                    assert not (findings := tested.prove()), "\n".join(findings)
                tested.client.go()
        took_s = time.monotonic() - begin
        tested.client.pause()
        nodes.stop()
        counts = tested.comparison.counts
        with capsys.disabled():
            print(f"\n{KILLS} kills in {took_s:.0f} s, {tested.comparison.calls} calls: {world.report(counts)}")
            print(f"{zombies} zombies left; {nodes.lost} nodes lost their lease; {points.report()}")
        assert counts["end seen, stream"] and counts["end seen, whole"] and counts["stream cut, free"]
        assert zombies == len([number for number in range(KILLS) if number % 8 == 3])
        if len(points.hits) * 4 <= KILLS:
            assert all(points.hits.values()), "a failpoint was never hit"
