"""Customers who want something for nothing: they know every trick, and do what has paid best so far (promises 4.5).

A trick is a call that its customer has made end as he likes. After each round he compares what he got, at list price,
with what his account was charged, and mostly repeats the trick with the best mean. One such account also leaves samples
of a vendor's reports that nobody else has seen, to move the factors of own counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from farebox.catalog import factor_fitting, factors, samples
from farebox.catalog.factors import Quartile, Sample, Vector
from farebox.kit import db

from . import checks
from .plan import Call
from .town import PRICES

if TYPE_CHECKING:
    from .client import Sent
    from .world import World

_WATCH_S, _PATIENCE_S = 0.25, 6.0
_TRIES_FIRST = 1
_CURIOUS = 0.15
_BURST = 4
LEARNED = "learned"  # a model that nobody calls
VENDOR = 1_200_000  # its vendor counts so many millionths of a token for one of ours
_OFF_MOST = 100_000


@dataclass(frozen=True)
class Trick:
    """How to get something for nothing; `letter` is that of the list of tricks that were tried by hand."""

    letter: str
    model: str = "plain"
    stream: bool = True
    wrong: str = ""
    client: str = ""
    client_s: float = 1.0
    limit: int | None = None
    times: int = 5
    at_once: int = 1
    slow: float = 1.0


TRICKS = {
    "thoughts, and away": Trick("a", "thinker", wrong="shown thinking", client="leaves at words", slow=5.0),
    "away in the middle": Trick("b", wrong="no usage", client="leaves at words", slow=5.0),
    "away at the end mark": Trick("b", wrong="no usage", client="leaves at end"),
    "stopped by policy": Trick("c", wrong="policy at the end"),
    "not reading": Trick("d", wrong="cut late", client="stops reading", client_s=3.0),
    "broken off": Trick("d", wrong="cut late"),
    "an input out of bounds": Trick("e", stream=False, wrong="huge input", times=30),
    "thinking beyond the limit": Trick("f", "thinker", wrong="hidden thinking", limit=5),
    "more than asked": Trick("g", wrong="more than asked", limit=40),
    "many at once": Trick("h", at_once=_BURST, client="reset", client_s=0.4, slow=5.0),
    "an empty answer": Trick("i", stream=False, wrong="empty", times=30),
    "nothing reported": Trick("j", stream=False, wrong="no usage"),
    "a report on the way": Trick("-", "thinker", wrong="early usage", slow=5.0, client="leaves at end"),
    "parts of no class": Trick("k", stream=False, wrong="parts of no class"),
    "a report of nothing": Trick("-", wrong="zero usage"),
    "away at once": Trick("-", client="reset", client_s=0.01, times=30),
    "vectors, and away": Trick("-", "vector", stream=False, client="reset", client_s=0.05, times=30),
    "honest": Trick(""),
}


@dataclass
class Hustler:
    """One such customer: his key, and what each trick has brought him: rounds, and micro-units got and not paid."""

    world: World
    key: int
    rounds: int
    rng: Random
    first: int
    got: dict[str, list[int]] = field(default_factory=dict)

    def begin(self, at_s: float) -> None:
        self.world.open_plans += 1
        self._later(at_s, self._round)

    def _later(self, delay_s: float, step: Any, *args: Any) -> None:
        self.world.loop.call_later(delay_s, step, *args, context=self.world.context())

    def _round(self) -> None:
        if not self.rounds or self.key in self.world.ended_keys:
            self.world.open_plans -= 1
            return
        self.rounds -= 1
        name = self._best()
        trick = TRICKS[name]
        self.world.fired(f"trick: {name}")
        sents = []
        for _ in range(trick.at_once):
            self.first += 1
            call = Call(
                self.first, 0, self.rng.randrange(self.world.plan.nodes), self.key, trick.model, trick.stream,
                "ask " * trick.times, trick.limit, include_usage=self.rng.random() < 0.5, once=False,
                client=trick.client, client_s=trick.client_s, wrongs=[trick.wrong] * 4, slow=trick.slow,
            )  # fmt: skip
            sents.append(self.world.send(call, 0, call.node, ""))
        self._later(_WATCH_S, self._look, name, sents, self.world.loop.now)

    def _best(self) -> str:
        untried = [name for name in TRICKS if len(self.got.get(name, ())) < _TRIES_FIRST]
        if untried and self.rng.random() < 0.6:
            return self.rng.choice(untried)
        if self.rng.random() < _CURIOUS or not self.got:
            return self.rng.choice(list(TRICKS))
        return max(self.got, key=lambda name: sum(self.got[name]) / len(self.got[name]))

    def _look(self, name: str, sents: list[Sent], since_s: float) -> None:
        """Wait for the ends, and see what it has brought."""
        late = self.world.loop.now > since_s + _PATIENCE_S
        ids = [sent.id for sent in sents if sent.id]
        open_ = any(checks.rows("SELECT 1 FROM ledger_hold WHERE id = ? AND state = 'open'", (each,)) for each in ids)
        if not late and (open_ or any(sent.end_s is None for sent in sents)):
            self._later(_WATCH_S, self._look, name, sents, since_s)
            return
        self.got.setdefault(name, []).append(sum(self._gain(sent) for sent in sents))
        self._later(0.02, self._round)

    def _gain(self, sent: Sent) -> int:
        attempts = self.world.produced.get(sent.id, [])
        if not attempts or attempts[-1].script.status != 200 or attempts[-1].head_s is None:
            return 0
        made, raw = attempts[-1].made, b"".join(sent.raw)
        text = "".join(made.texts)
        seen = len(sent.read().text) * len(made.texts) // len(text) if text else 0
        thought = made.reasoning if b"reasoning_content" in raw or made.wrong == "hidden thinking" else 0
        prices = PRICES[sent.call.model][0]
        value_micro = (made.prompt * prices[0] + (seen + thought) * prices[1]) // 1_000_000
        paid = checks.rows("SELECT charge_micro FROM ledger_hold WHERE id = ? AND charge_micro > 0", (sent.id,))
        return value_micro - (paid[0][0] if paid else 0)


def teach(world: World) -> None:
    """Three honest accounts and one hostile leave samples: own counts must be the vendor's all the same (promises 4.2)."""
    rng = Random(f"samples {world.plan.seed}")
    hostile = rng.choice((factors.FACTOR_LEAST, factors.FACTOR_MOST))
    for number in range(58):
        honest = number < 38
        given, made = Vector(latin=rng.randint(50, 400)), Vector(latin=rng.randint(50, 400))
        by = VENDOR if honest else hostile
        sample = Sample(
            f"acc_{number % 3}" if honest else "acc_hostile", given, made, messages=1,
            reported_input=given.latin * by // factors.ONE + 3, reported_output=made.latin * by // factors.ONE,
            input_bytes=given.latin * 4, output_bytes=made.latin * 4, bound=given.latin * 4 + 80,
        )  # fmt: skip
        db.write(samples.add, LEARNED, sample, world.wall_us() + number)
    learned = factor_fitting.fit(db.read(samples.of, LEARNED))
    for side, vector in ((learned.input, Vector(latin=1000)), (learned.output, Vector(latin=1000))):
        for quartile in Quartile:
            counted, due = side.tokens(vector, 0, quartile), 1000 * VENDOR // factors.ONE
            if not learned.in_force or abs(counted - due) * factors.ONE > due * _OFF_MOST:
                world.find(f"4.2 one account has moved an own count to {counted}, its vendor says {due}")
                return
