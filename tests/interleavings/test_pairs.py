"""Every pair of operations on money, in the interleavings of their steps (money.md F06, F07, F35).

A sample by default; `INTERLEAVINGS=all` runs all 252 of each pair, twice: as production locks, and with no row locked
first, so that the guards of the statements are all there is.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from farebox.kit import db
from farebox.ledger import proof
from interleavings import scripts
from interleavings.baton import STEPS, Stage
from interleavings.scripts import OPERATIONS, Operation, Scene

pytestmark = [pytest.mark.store, pytest.mark.timeout(3600)]

ALL = os.environ.get("INTERLEAVINGS") == "all"
SAMPLE = 6
SEED = 20_270_131
ORDERS = [
    tuple(0 if place in chosen else 1 for place in range(2 * STEPS))
    for chosen in itertools.combinations(range(2 * STEPS), STEPS)
]
PAIRS = list(itertools.combinations_with_replacement(OPERATIONS, 2))


class Theatre:
    """A stage, and fresh scenes for it."""

    def __init__(self) -> None:
        self.project = db.write(scripts.open_shop)
        self.stage = Stage()
        self.scenes = 0
        self.runs = 0
        self.pairs: set[tuple[str, str]] = set()
        self.statements: dict[tuple[str, bool], int] = {}

    def fresh(self, number: int) -> list[Scene]:
        names = [f"acc_{self.scenes + index}" for index in range(number)]
        self.scenes += number

        def fill(tx: db.Tx) -> list[Scene]:
            return [scripts.set_scene(tx, name, self.project) for name in names]

        return db.write(fill)

    def length(self, operation: Operation, *, locking: bool) -> int:
        key = (operation.name, locking)
        if key not in self.statements:
            job = scripts.script(operation, self.fresh(1)[0], "0", locking=locking)
            self.statements[key] = self.stage.alone(job)
        return self.statements[key]

    def run(self, first: Operation, second: Operation, orders: Any, *, locking: bool) -> list[str]:
        """Play the orders; what was found wrong, a sentence each."""
        wrong = []
        counts = [self.length(operation, locking=locking) for operation in (first, second)]
        for order, scene in zip(orders, self.fresh(len(orders)), strict=True):
            jobs = [
                scripts.script(operation, scene, str(who), locking=locking)
                for who, operation in enumerate((first, second))
            ]
            self.stage.play(jobs, counts, order)
            self.runs += 1
            wrong += self.judge(scene, first, second, order, locking=locking)
        self.pairs.add((first.name, second.name))
        return wrong

    def judge(self, scene: Scene, first: Operation, second: Operation, order: Any, *, locking: bool) -> list[str]:
        where = f"{first.name} and {second.name}, {'locked' if locking else 'bare'}, {''.join(map(str, order))}"
        actors = self.stage.actors
        wrong = [f"{where}: {actor.name} failed: {actor.error!r}" for actor in actors if actor.error is not None]
        is_so, broken = db.read(scripts.picture, scene)
        wrong += [f"{where}: {sentence}" for sentence in broken]
        if wrong:
            return wrong
        orders = "01 10"
        one_lock = locking and first.through_committer and second.through_committer
        if one_lock or len(set(order[:STEPS])) == 1:
            orders = "01" if order[0] == 0 else "10"
        allowed = scripts.may_be(scene, first, second, orders, locking=locking)
        came = (actors[0].result, actors[1].result, is_so if locking else scripts.without_room(is_so))
        if came not in [each if locking else (*each[:2], scripts.without_room(each[2])) for each in allowed]:
            wrong.append("\n   ".join([f"{where}: {came} is none of", *(str(each) for each in allowed)]))
        return wrong


@pytest.fixture(scope="module")
def theatre(shared_house: Any, request: pytest.FixtureRequest) -> Iterator[Theatre]:
    found = Theatre()
    with found.stage.armed():
        yield found
    found.stage.close()
    counts = found.stage.counts
    line = (
        f"interleavings: {len(found.pairs)} pairs, {found.runs} interleavings, {counts['waits']} waits for locks, "
        f"{counts['deadlocks']} deadlocks, {counts['retries']} retries"
    )
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{line}")


def chosen(number: int) -> list[tuple[int, ...]]:
    return ORDERS if ALL else random.Random(SEED + number).sample(ORDERS, SAMPLE)


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=[f"{first}-{second}" for first, second in PAIRS])
def test_a_pair_ends_as_if_one_came_after_the_other(theatre: Theatre, number: int) -> None:
    first, second = (OPERATIONS[name] for name in PAIRS[number])
    wrong = theatre.run(first, second, chosen(number), locking=True)
    wrong += theatre.run(first, second, chosen(number + len(PAIRS)), locking=False)
    with db.reading() as tx:
        wrong += proof.prove(tx, now_us=0, grace_us=1).findings
    assert wrong == [], "\n".join(wrong[:10]) + f"\n… {len(wrong)} in all"


def test_the_pairs_met_at_locks(theatre: Theatre) -> None:
    if len(theatre.pairs) == len(PAIRS):
        assert theatre.stage.counts["waits"] > theatre.runs // 4
        assert theatre.stage.counts["retries"] > 0
