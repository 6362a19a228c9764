"""What a seed will do: its calls, its faults, its mode. A plan is data, so that a failure can be shrunk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from .upstream import VENDORS, WRONGS

CALLS = 12
SPAN_S = 24.0

# Faults of a client, by name.
CLIENTS = ("reset", "half-close", "never reads", "reads slowly", "retries", "sends twice", "slow body")
# Faults of a node, the store, the disk, the clock, and what operators do.
WORLD = (
    "kill at a time", "kill at a point", "pause", "restart", "commit not done", "commit unknown", "busy", "store away",
    "store hangs", "disk full", "journal full", "slow store", "clock jumps", "clock drifts", "price change", "key revoked",
    "account closed", "grant", "cap change",
)  # fmt: skip
# Money that people give back; planned apart, so that the plans of the seeds before it stay as they are.
BY_HAND = "refund by hand"
# One customer whose calls every upstream fails at, and a channel that fails for everybody; planned apart as well.
HOSTILE, OUTAGE = "client: hostile", "upstream: outage"
APART = (BY_HAND, HOSTILE, OUTAGE)
# An operator sets what an account may be forgiven at most; planned apart, too.
ALLOWED = "allowance change"
# A clock that runs a hundred days ahead and comes back; planned apart as well, and for one node alone: the store of one
# that ran ahead keeps all others from starting until all are stopped and the time is put right.
LEAP = "clock leaps"
# Customers who stop reading, while an upstream bills as vendors do; planned apart, as these came later.
STOPS_READING = "stops reading"
POINTS = (
    "tx.statement", "tx.statement", "store.before_commit", "store.after_commit", "serve.before_hold", "serve.held",
    "serve.event", "serve.before_settle", "serve.settled", "serve.answered", "journal.before_write", "journal.written",
    "journal.replayed", "marks.before_write", "node.begun", "node.replayed", "node.refunded",
)  # fmt: skip
MENU = (*(f"upstream: {name}" for name in WRONGS), *(f"client: {name}" for name in CLIENTS), *WORLD, *APART)
BESIDE = (*(f"upstream: {name}" for name in VENDORS), f"client: {STOPS_READING}", ALLOWED)


@dataclass
class Call:
    """One request of one customer, with what its client and its upstreams will do."""

    number: int
    at_s: float
    node: int
    key: int
    model: str
    stream: bool
    text: str
    limit: int | None
    include_usage: bool
    once: bool
    client: str = ""
    client_s: float = 1.0
    wrongs: list[str] = field(default_factory=list)
    slow: float = 1.0


@dataclass
class Fault:
    """One fault of the world: what, when, and how."""

    kind: str
    at_s: float
    node: int = 0
    long_s: float = 0.0
    point: str = ""
    count: int = 0
    by: int = 0


@dataclass
class Plan:
    """A seed's whole plan; `second`: by version 2 of the charging rules."""

    seed: int
    nodes: int
    options: dict[str, Any]
    active: list[str]
    calls: list[Call]
    faults: list[Fault]
    family: str = ""
    hustlers: list[tuple[int, float]] = field(default_factory=list)  # key, and when he begins
    rules_from_s: float | None = None  # the second from which on version 2 of the charging rules counts


# Seeds whose customers want something for nothing, of honest ones whose upstreams fail, and of long thoughts.
HUSTLE, HONEST, THINKING = "hostile customers", "honest customers", "long thoughts"
_SHARE = 0.06


def make(seed: int, family: str | None = None) -> Plan:
    """The plan of a seed; `family` makes it one of those, "" none of them, else some seeds are."""
    drawn = Random(f"family {seed}").random()
    if family is None:
        family = next((name for place, name in enumerate(FAMILIES) if drawn < (place + 1) * _SHARE), "")
    return FAMILIES.get(family, _ordinary)(seed)


def _ordinary(seed: int) -> Plan:
    """A random half of the menu is active, each of it fires with its own small chance."""
    rng = Random(f"plan {seed}")
    active = [name for name in MENU if name not in APART and rng.random() < 0.5]
    if rng.random() < 0.1:
        active = [name for name in active if name.startswith(("upstream", "client"))]
    nodes = rng.choice((1, 2))
    options = {
        "version_poll_ms": 1000,
        "lease_beat_ms": rng.choice((1000, 2000)),
        "lease_beats_missed": rng.choice((3, 4)),
        "hold_grace_s": rng.choice((2, 6, 12)),
        "first_byte_s": 8, "idle_s": 5, "connect_s": 3, "call_s_max": 30, "slow_reader_s": 4, "read_on_s": 3,
        "read_on_json_s": 6, "settle_wait_s": 2, "drain_s": rng.choice((1, 5)), "store_wait_ms": rng.choice((250, 1000)),
        "hold_output_tokens": rng.choice((16, 40, 120)), "attempts_max": 3,
    }  # fmt: skip
    calls = [_call(rng, number, nodes, active) for number in range(CALLS)]
    faults = _faults(rng, nodes, active)
    if nodes == 2:
        _aim(Random(f"aim {seed}"), faults)
    by_hand = _by_hand(Random(f"hand {seed}"))
    if by_hand:
        active.append(BY_HAND)
        faults = sorted([*faults, *by_hand], key=lambda fault: fault.at_s)
    for name, planned in ((HOSTILE, _hostile), (OUTAGE, _outage)):
        apart = Random(f"{name} {seed}")
        if apart.random() < 0.4:
            active.append(name)
            planned(apart, nodes, calls, faults)
    rules_from_s = _rules(Random(f"rules {seed}"), options)
    if _vendors(Random(f"vendors {seed}"), calls, rules_from_s):
        active.append("vendors")
    apart = Random(f"allowance {seed}")
    if apart.random() < 0.3:
        active.append(ALLOWED)
        for _ in range(apart.randint(1, 3)):
            by = apart.choice((-1, 0, 700, 9_000, 200_000))
            faults.append(Fault(ALLOWED, apart.uniform(0.5, SPAN_S), count=apart.choice((0, 0, 1, 2)), by=by))
    leaps = _leaps(Random(f"leap {seed}"), nodes)
    if leaps:
        active.append(LEAP)
        faults += leaps
    faults.sort(key=lambda fault: fault.at_s)
    return Plan(seed, nodes, options, active, calls, faults, rules_from_s=rules_from_s)


_LIGHT = ("kill at a time", "kill at a point", "restart", "commit unknown", "commit not done", "busy", "store away",
          "slow store", "pause")  # fmt: skip
_HONEST = (*_LIGHT, "disk full", "journal full", "clock drifts", "price change", "grant")
# How upstreams fail an honest customer.
_FAILS = (
    "refuse",
    "5xx",
    "429",
    "401",
    "html",
    "stall",
    "stall head",
    "cut",
    "cut head",
    "garbage",
    "error event",
    "cut late",
)


def _hustle(seed: int) -> Plan:
    """Two customers who know every trick, and a few others."""
    made, rng = _ordinary(seed), Random(f"hustle {seed}")
    calls = made.calls[:4]
    for call in calls:
        call.key = rng.choice((1, 5))
    options = made.options | {
        "allowance_begin_usd_micro": rng.choice((100_000, 20_000, 5_000)),
        "allowance_growth_percent": 3,
        "allowance_most_usd_micro": 5_000_000,
    }
    active = [name for name in _LIGHT if rng.random() < 0.3]
    faults = _faults(rng, made.nodes, active)
    hustlers = [(0, rng.uniform(0.2, 2.0)), (4, rng.uniform(0.2, 2.0))]
    return replace(made, options=options, active=[*active, HUSTLE], calls=calls, faults=faults, family=HUSTLE,
                   hustlers=hustlers, rules_from_s=0.0)  # fmt: skip


def _honest(seed: int) -> Plan:
    """Three customers who do nothing wrong, by the terms of a new shop, and upstreams of which half fail."""
    made, rng = _ordinary(seed), Random(f"honest {seed}")
    options = {name: value for name, value in made.options.items() if not name.startswith("allowance")}
    active = [name for name in _HONEST if rng.random() < 0.3]
    calls = [_call(rng, number, made.nodes, []) for number in range(21)]
    for call in calls:
        call.key, call.limit, call.once = rng.choice((0, 4, 5)), rng.choice((None, None, 100)), False
        call.stream = call.model != "vector" and rng.random() < 0.8
        call.wrongs = [rng.choice(_FAILS) if rng.random() < 0.6 else "" for _ in range(4)]
    return replace(made, options=options, active=[*active, HONEST], calls=calls, family=HONEST, rules_from_s=0.0,
                   faults=_faults(rng, made.nodes, active))  # fmt: skip


def _rules(rng: Random, options: dict[str, Any]) -> float | None:
    """When version 2 begins: from the start in most seeds, never in some, in the middle of some; and its terms."""
    kind, within_s = rng.random(), rng.uniform(2.0, SPAN_S - 2)
    options |= {
        "unread_s": 2,
        "allowance_begin_usd_micro": rng.choice((100_000, 100_000, 5_000, 400, 0)),
        "allowance_growth_percent": rng.choice((3, 3, 40)),
        "allowance_most_usd_micro": rng.choice((5_000_000, 5_000_000, 6_000, 300)),
    }
    return None if kind < 0.15 else within_s if kind < 0.3 else 0.0


def _vendors(rng: Random, calls: list[Call], rules_from_s: float | None) -> bool:
    """Some upstreams bill as vendors do, and some customers stop reading for a while."""
    if rng.random() < 0.3:
        return False
    # A class without a price takes a model off the shelf by version 1: nobody could call it any more.
    wrongs = [name for name in VENDORS if rules_from_s == 0 or name != "parts of no class"]
    for call in calls:
        if rng.random() < 0.3 and call.wrongs:
            call.wrongs[rng.randrange(len(call.wrongs))] = rng.choice(wrongs)
        if rng.random() < 0.15 and not call.client:
            call.client, call.client_s = STOPS_READING, rng.choice((0.5, 2.5, 3.0))
    return True


def _thinking(seed: int) -> Plan:
    """With answers among them that are thought about and long: their holds grow with time, and are lowered."""
    made, rng = _ordinary(seed), Random(f"second {seed}")
    first = len(made.calls)
    thinking = [
        Call(
            number, rng.uniform(0.5, SPAN_S - 6), rng.randrange(made.nodes), rng.choice((0, 0, 1, 2)), "thinker", stream=True,
            text="ask ", limit=None, include_usage=True, once=False, slow=20.0,
        )
        for number in range(first, first + 3)
    ]  # fmt: skip
    options = made.options | {"hold_output_tokens": 16, "hold_hidden_tokens": rng.choice((40, 150, 150))}
    return replace(made, calls=[*made.calls, *thinking], options=options, family=THINKING, rules_from_s=0.0)


FAMILIES = {HUSTLE: _hustle, HONEST: _honest, THINKING: _thinking}


def _leaps(rng: Random, nodes: int) -> list[Fault]:
    if nodes > 1 or rng.random() > 0.3:
        return []
    return [Fault(LEAP, rng.uniform(1.0, SPAN_S), long_s=rng.choice((0.5, 2.0, 6.0)), by=100 * 86_400_000_000)]


def _call(rng: Random, number: int, nodes: int, active: list[str]) -> Call:
    model = rng.choice(("plain", "plain", "plain", "thinker", "vector"))
    wrongs = [name for name in WRONGS if f"upstream: {name}" in active]
    clients = [name for name in CLIENTS if f"client: {name}" in active]
    return Call(
        number=number,
        at_s=rng.uniform(0.2, SPAN_S) if rng.random() < 0.7 else rng.choice((2.0, 5.0, 9.0)),
        node=rng.randrange(nodes),
        key=rng.choice((0, 0, 0, 1, 1, 2, 2, 3)),
        model=model,
        stream=model != "vector" and rng.random() < 0.6,
        text="ask " * rng.choice((1, 5, 30)),
        limit=rng.choice((None, None, 5, 40, 250)),
        include_usage=rng.random() < 0.5,
        once=rng.random() < 0.3,
        client=rng.choice(clients) if clients and rng.random() < 0.35 else "",
        client_s=rng.choice((0.005, 0.05, 0.5, 2.0, 6.0)) * rng.random(),
        wrongs=[rng.choice(wrongs) if wrongs and rng.random() < 0.4 else "" for _ in range(4)],
        slow=rng.choice((1.0, 1.0, 5.0, 20.0)),
    )


def _faults(rng: Random, nodes: int, active: list[str]) -> list[Fault]:
    faults = []
    for kind in (name for name in WORLD if name in active):
        for _ in range(2):
            if rng.random() > 0.35:
                continue
            fault = Fault(kind, rng.uniform(0.5, SPAN_S), rng.randrange(nodes))
            fault.long_s = rng.choice((0.3, 1.0, 4.0, 9.0))
            fault.count = rng.choice((1, 1, 2, 3, 5, 9, 20))
            fault.by = rng.randint(-3_600_000_000, 3_600_000_000)
            fault.point = rng.choice(POINTS) if kind == "kill at a point" else ""
            if fault.point.startswith(("node", "journal")):  # passed seldom: wait for the first, and bring it about
                fault.count = rng.choice((1, 1, 2))
                if fault.point.startswith("node"):
                    faults.append(Fault("kill at a time", fault.at_s + 0.5, fault.node))
                else:
                    faults.append(Fault("store away", fault.at_s + 0.5, fault.node, 4.0))
            if kind == "pause":
                fault.long_s = rng.choice((1.0, 5.0, 20.0, 40.0))
            faults.append(fault)
            if kind == "journal full":  # alone it would never be noticed
                faults.append(Fault("store away", fault.at_s, fault.node, rng.choice((4.0, 9.0))))
    return sorted(faults, key=lambda fault: fault.at_s)


def _by_hand(rng: Random) -> list[Fault]:
    """Refunds that one person proposes and another approves `long_s` later, and charges that are undone (`point`)."""
    if rng.random() < 0.5:
        return []
    return [
        Fault(
            BY_HAND, rng.uniform(2.0, SPAN_S + 6), long_s=rng.choice((0.0, 0.0, 0.2, 2.0, 8.0)),
            count=rng.choice((1, 1, 1, 2, 5)), by=rng.choice((1, 1, 2, 3)), point=rng.choice(("", "", "", "charge")),
        )
        for _ in range(rng.choice((1, 2, 4)))
    ]  # fmt: skip


def _hostile(rng: Random, nodes: int, calls: list[Call], faults: list[Fault]) -> None:
    """Calls of one account, on one or two keys of it, at which every upstream fails."""
    at_s, node, keys = rng.uniform(0.5, SPAN_S - 8), rng.randrange(nodes), rng.choice(((0,), (2, 3)))
    wrong = rng.choice(("5xx", "5xx", "401", "refuse"))
    faults.append(Fault(HOSTILE, at_s))
    for number in range(len(calls), len(calls) + 6):
        at_s += rng.choice((0.1, 0.3, 1.5))
        calls.append(_failing(number, at_s, node, rng.choice(keys), [wrong] * 4))


def _outage(rng: Random, nodes: int, calls: list[Call], faults: list[Fault]) -> None:
    """A channel that fails for everybody for some seconds, and who calls meanwhile and after."""
    at_s, node = rng.uniform(0.5, SPAN_S - 12), rng.randrange(nodes)
    faults.append(Fault(OUTAGE, at_s, long_s=rng.choice((4.0, 12.0, 25.0)), by=rng.choice((0, 0, 1, 2))))
    for number in range(len(calls), len(calls) + 7):
        at_s += rng.choice((0.1, 0.3, 3.0))
        calls.append(_failing(number, at_s, node, rng.choice((0, 1, 2, 3)), []))


def _failing(number: int, at_s: float, node: int, key: int, wrongs: list[str]) -> Call:
    return Call(
        number, at_s, node, key, "plain", stream=False, text="ask ", limit=5, include_usage=False, once=False,
        wrongs=wrongs,
    )  # fmt: skip


def _aim(rng: Random, faults: list[Fault]) -> None:
    """Let a pause come within a beat: who wakes from it works for a whole beat without knowing that its lease is lost.

    In most of these it is killed when it has settled a call of that time and the answer has not left yet.
    """
    for fault in faults:
        if fault.kind == "pause" and rng.random() < 0.5:
            fault.point = "beat"
            fault.count = rng.choice((0, 1, 1, 1, 2, 3))
