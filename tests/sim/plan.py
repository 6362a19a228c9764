"""What a seed will do: its calls, its faults, its mode. A plan is data, so that a failure can be shrunk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from .upstream import WRONGS

CALLS = 12
SPAN_S = 24.0

# Faults of a client, by name; the menu of testing.md 1.4.
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
# A clock that runs a hundred days ahead and comes back; planned apart as well, and for one node alone: the store of one
# that ran ahead keeps all others from starting until all are stopped and the time is put right.
LEAP = "clock leaps"
POINTS = (
    "tx.statement", "tx.statement", "store.before_commit", "store.after_commit", "serve.before_hold", "serve.held",
    "serve.event", "serve.before_settle", "serve.settled", "serve.answered", "journal.before_write", "journal.written",
    "journal.replayed", "marks.before_write", "node.begun", "node.replayed", "node.refunded",
)  # fmt: skip
MENU = (*(f"upstream: {name}" for name in WRONGS), *(f"client: {name}" for name in CLIENTS), *WORLD, *APART)


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
    second: bool = False


def make(seed: int) -> Plan:
    """The plan of a seed: a random half of the menu is active, each of it fires with its own small chance."""
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
    leaps = _leaps(Random(f"leap {seed}"), nodes)
    if leaps:
        active.append(LEAP)
        faults += leaps
    return Plan(seed, nodes, options, active, calls, sorted(faults, key=lambda fault: fault.at_s))


def second(seed: int) -> Plan:
    """The plan of a seed by version 2 of the charging rules, with answers among them that are thought about and long."""
    made, rng = make(seed), Random(f"second {seed}")
    first = len(made.calls)
    thinking = [
        Call(
            number, rng.uniform(0.5, SPAN_S - 6), rng.randrange(made.nodes), rng.choice((0, 0, 1, 2)), "thinker", stream=True,
            text="ask ", limit=None, include_usage=True, once=False, slow=20.0,
        )
        for number in range(first, first + 3)
    ]  # fmt: skip
    options = made.options | {"hold_output_tokens": 16, "hold_hidden_tokens": rng.choice((40, 150, 150))}
    return replace(made, second=True, calls=[*made.calls, *thinking], options=options)


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
