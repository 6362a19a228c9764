"""The demo's past month: calls with their charges, written by the verbs that real calls use, under an earlier clock.

The books add up afterwards as after any month: `farebox prove` finds nothing. The month is the same in every demo.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farebox.kit import clock

from .people import Team

if TYPE_CHECKING:
    from farebox.accounts.keys.caller import Caller
    from farebox.calls.log import CallEnd, CallStart
    from farebox.catalog.pricing import Offer
    from farebox.catalog.shelf import Shelf
    from farebox.catalog.usage import Usage
    from farebox.kit.db import Tx

DAYS = 30
CHANNEL = "sandbox"
EPOCH = "demo"
_S_US, _HOUR_US, _DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000
_HOURS = (0, 0, 0, 0, 0, 0, 1, 2, 6, 9, 10, 9, 6, 8, 10, 10, 9, 7, 5, 4, 3, 3, 2, 1)
# How a call ends: rule, outcome, status, of a thousand.
_ENDS = (
    (917, "R02", "served", 200),
    (30, "R22", "served", 200),
    (8, "R03", "served", 200),
    (12, "R18", "left", 200),
    (18, "R13", "failed", 502),
    (10, "R12", "refused", 400),
    (5, "R14", "broken", 502),
)
_FREE = frozenset({"R12", "R13", "R14"})


@dataclass(frozen=True, slots=True)
class Habit:
    """What the owner of a key does: calls on a weekday, and with which models, how often each."""

    key: str
    calls: int
    models: tuple[str, ...]
    weights: tuple[int, ...]
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]


@contextmanager
def at(now_us: int) -> Iterator[Callable[[int], None]]:
    """Let the process's clock stand at this moment; what it gives moves it."""
    before, past = clock.SYSTEM, _Past(now_us)
    clock.SYSTEM = past
    try:
        yield past.move
    finally:
        clock.SYSTEM = before


class _Past(clock.SystemClock):
    """A clock that stands where it was put."""

    __slots__ = ("at_us",)

    def __init__(self, at_us: int) -> None:
        super().__init__()
        self.at_us = at_us

    def now_us(self) -> int:
        """The moment it was put at."""
        return self.at_us

    def move(self, at_us: int) -> None:
        """Put it there."""
        self.at_us = at_us


def write(tx: Tx, keys: Team, demo_key: str, *, until_us: int, move: Callable[[int], None]) -> int:
    """A month of calls that ends shortly before `until_us`; how many. Nothing is told about money but by the verbs."""
    from farebox.accounts.keys import authenticate
    from farebox.catalog import shelf

    goods = shelf.load(tx, 0)
    habits = _habits(keys, demo_key)
    callers = {habit.key: authenticate.caller_of(tx, habit.key) for habit in habits}
    costs = _costs()
    chance = random.Random(4711)  # noqa: S311 - the same month in every demo
    plan = sorted(_plan(habits, chance, until_us), key=lambda each: each[0])
    written = 0
    for at_us, habit in plan:
        move(at_us)
        written += _call(tx, goods, callers[habit.key], habit, costs, chance, at_us)
    return written


def _habits(keys: Team, demo_key: str) -> list[Habit]:
    chat = ("gpt-4o-mini", "gpt-3.5-turbo-0125")
    return [
        Habit(keys.bot, 22, (*chat, "gpt-4"), (78, 14, 8), (200, 5200), (40, 700)),
        Habit(keys.developer, 6, ("gpt-4-0125-preview", "gpt-4o-mini"), (45, 55), (400, 9000), (200, 1200)),
        Habit(demo_key, 4, ("text-embedding-3-small", "gpt-4o-mini"), (60, 40), (100, 6000), (50, 300)),
        *(Habit(key, 2, chat, (90, 10), (60, 900), (40, 500)) for key in keys.students),
    ]


def _plan(habits: list[Habit], chance: random.Random, until_us: int) -> Iterator[tuple[int, Habit]]:
    """The moments of all calls, at the hours of a working day, fewer at the weekend."""
    today = until_us // _DAY_US
    for day in range(today - DAYS, today + 1):
        share = 0.25 if (day + 3) % 7 >= 5 else 1.0  # day 0 was a Thursday
        for habit in habits:
            for _ in range(round(habit.calls * share * chance.uniform(0.5, 1.5))):
                hour = chance.choices(range(24), _HOURS)[0]
                at_us = day * _DAY_US + hour * _HOUR_US + chance.randrange(_HOUR_US)
                if at_us < until_us - 300 * _S_US:
                    yield at_us, habit


def _call(
    tx: Tx, goods: Shelf, caller: Caller, habit: Habit, costs: dict[str, Any], chance: random.Random, at_us: int
) -> int:
    """One call from hold to receipt; 0 where its cap or balance did not pay it, as it would have been."""
    from farebox.calls import log
    from farebox.catalog import pricing
    from farebox.kit import errors
    from farebox.protocol import kinds

    model = chance.choices(habit.models, habit.weights)[0]
    offer = goods.offer(model, caller.price_list, at_us, currency=caller.currency)
    if offer is None:
        return 0
    usage = _usage(offer, habit, chance)
    start = _start(caller, offer, at_us, stream=chance.random() < 0.6 and kinds.chats(offer.card))
    want_micro = pricing.ceiling(offer.prices, input_tokens=habit.input_tokens[1] + 400, output_tokens=4096)
    try:
        log.open_call(tx, start, want_micro, lambda _available_micro: -1)
    except errors.FareboxError:
        return 0
    log.end_call(tx, start, _end(start, offer, usage, costs.get(model), chance))
    return 1


def _usage(offer: Offer, habit: Habit, chance: random.Random) -> Usage:
    from farebox.catalog.usage import Usage

    given = chance.randint(*habit.input_tokens)
    cached = given // 2 if "cached_read" in offer.prices and chance.random() < 0.25 else 0
    output = chance.randint(*habit.output_tokens) if "output" in offer.prices else 0
    return Usage(input=given - cached, cached_read=cached, output=output)


def _start(caller: Caller, offer: Offer, at_us: int, *, stream: bool) -> CallStart:
    import msgspec

    from farebox.accounts import zones
    from farebox.calls.log import CallStart
    from farebox.kit import ids
    from farebox.protocol.kinds import KINDS

    kind = next(name for name in KINDS if name in offer.card.kinds)
    return CallStart(
        id=ids.new("call", at_us), account=caller.account, project=caller.project, key=caller.key,
        member=caller.member, endpoint=kind, model=offer.card.name,
        asked=offer.asked, stream=stream, epoch=EPOCH, currency=offer.currency, limit_tokens=None,
        price_list=offer.price_list, price_version=offer.version,
        prices=msgspec.json.encode(dict(sorted(offer.prices.items()))).decode(), rule_version=offer.rule_version,
        opened_us=at_us, purses=caller.purses(at_us), own_day=zones.day(at_us, caller.time_zone),
    )  # fmt: skip


def _end(start: CallStart, offer: Offer, usage: Usage, costs: dict[str, int] | None, chance: random.Random) -> CallEnd:
    from farebox.calls.log import AttemptFacts, CallEnd
    from farebox.catalog import pricing

    _, rule, outcome, status = chance.choices(_ENDS, [end[0] for end in _ENDS])[0]
    if rule in {"R14", "R18"} and not start.stream:
        rule, outcome, status = "R02", "served", 200
    free = rule in _FREE
    first_us = start.opened_us + chance.randint(180, 900) * 1000
    ended_us = first_us + chance.randint(20, 60) * 1000 + usage.output * chance.randint(6, 14) * 1000

    def attempt(word: str, *, code: int | None, error: str, charged: bool) -> AttemptFacts:
        return AttemptFacts(
            upstream=CHANNEL, channel=CHANNEL, model=start.model, started_us=start.opened_us + 2000, outcome=word,
            status=code, error=error, charged=charged, cost_currency="USD", ended_us=ended_us,
            first_byte_us=None if word == "failed" else first_us,
            cost_micro=pricing.charge(costs, usage).amount_micro if charged and costs else None,
        )  # fmt: skip

    down, wrong = "down: the upstream answered 503", "request: the request is not valid"
    cut = "down: the stream broke off"
    attempts = {
        "R22": [
            attempt("failed", code=503, error=down, charged=False),
            attempt("served", code=200, error="", charged=True),
        ],
        "R13": [attempt("failed", code=503, error=down, charged=False)] * 2,
        "R12": [attempt("failed", code=400, error=wrong, charged=False)],
        "R14": [attempt("broken", code=200, error=cut, charged=False)],
    }.get(rule) or [attempt("served", code=200, error="", charged=True)]
    return CallEnd(
        outcome=outcome, rule=rule, status=status,
        charge_micro=0 if free else pricing.charge(offer.prices, usage).amount_micro,
        usage={} if free else dict(usage.items()),
        usage_source="" if free else ("counted" if rule in {"R03", "R18"} else "reported"),
        finish_reason="" if free or rule == "R18" else "stop", flags=["estimated"] if rule == "R03" else [],
        attempts=list(attempts), ended_us=ended_us,
        error={"R13": down, "R12": wrong, "R14": cut}.get(rule, ""),
        diagnostics={"total_ms": (ended_us - start.opened_us) // 1000},
    )  # fmt: skip


def _costs() -> dict[str, Any]:
    import msgspec

    from farebox.upstreams.models import Offering

    rows = Offering.objects.filter(channel__name=CHANNEL).values_list("model", "costs")
    return {model: msgspec.json.decode(costs) for model, costs in rows if costs}
