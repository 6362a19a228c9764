"""Plays pairs of operations on fresh scenes, and judges what came of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from farebox.kit import db
from interleavings import scripts
from interleavings.baton import STEPS, Stage
from interleavings.scripts import Operation, Scene

Order = tuple[int, ...]

# All ways to merge two scripts of five steps: C(10, 5) = 252.
ORDERS: list[Order] = [
    tuple(0 if place in chosen else 1 for place in range(2 * STEPS))
    for chosen in itertools.combinations(range(2 * STEPS), STEPS)
]


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

    def run(self, first: Operation, second: Operation, orders: Sequence[Order], *, locking: bool) -> list[str]:
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

    def judge(self, scene: Scene, first: Operation, second: Operation, order: Order, *, locking: bool) -> list[str]:
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
