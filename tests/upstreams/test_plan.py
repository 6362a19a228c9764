"""The order in which channels are tried."""

from __future__ import annotations

from collections import Counter
from random import Random

from farebox.protocol.dialect import Fault
from farebox.upstreams import plan
from farebox.upstreams.board import Board, Candidate
from farebox.upstreams.breaker import FAILURES_MAX
from farebox.upstreams.health import Health
from upstreams.openai_form import channel


def board(*channels):
    return Board(by_model={"m": tuple(Candidate(c, "up", {}) for c in channels)})


def order(b, health=None, rng=None, *, model="m", kind="chat", attempts_max=16):
    found = plan.route(
        b,
        model,
        kind=kind,
        health=health or Health(),
        rng=rng or Random(1),
        attempts_max=attempts_max,
    )
    return [candidate.channel.id for candidate in found]


def test_weights_are_shares():
    b = board(channel(id="a", weight=1), channel(id="b", weight=3), channel(id="c", weight=0))
    rng = Random(4711)
    orders = [order(b, rng=rng) for _ in range(8000)]
    first = Counter(o[0] for o in orders)
    assert 0.23 < first["a"] / 8000 < 0.27
    assert first["c"] == 0
    assert all(o[2] == "c" for o in orders)


def test_second_places_are_drawn_by_weight_too():
    b = board(channel(id="a", weight=1), channel(id="b", weight=1), channel(id="c", weight=2))
    rng = Random(7)
    second = Counter(o[1] for o in (order(b, rng=rng) for _ in range(8000)) if o[0] == "a")
    assert 0.62 < second["c"] / second.total() < 0.71


def test_spares_share_alike():
    b = board(channel(id="a", weight=0), channel(id="b", weight=0))
    rng = Random(7)
    first = Counter(order(b, rng=rng)[0] for _ in range(2000))
    assert 800 < first["a"] < 1200


def test_tiers_ascend_and_attempts_end():
    b = board(*(channel(id=f"c{n}", tier=n % 3, weight=5) for n in range(9)))
    assert [int(id_[1:]) % 3 for id_ in order(b)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(order(b, attempts_max=4)) == 4
    assert len(plan.route(b, "m", kind="chat", health=Health(), rng=Random(1))) == 4


def test_same_luck_same_order():
    b = board(*(channel(id=f"c{n}") for n in range(9)))
    assert order(b, rng=Random(5)) == order(b, rng=Random(5))
    assert len({tuple(order(b, rng=Random(seed))) for seed in range(50)}) > 40


def test_channels_that_rest_are_left_out_until_a_probe_was_answered():
    one, two = channel(id="a", tier=1), channel(id="b", tier=2)
    b, health = board(one, two), Health()
    for n in range(FAILURES_MAX):
        slot = health.take(one, 0, account=f"acc_{n}")
        health.failed(slot, Fault("down", "x", 500), 0)
        health.give(slot)
    assert order(b, health) == ["b"]
    assert order(board(one), health) == []
    probe = health.take(one, 10_000_000, forced=True)
    assert order(b, health) == ["b"]
    health.succeeded(probe, 10_000_000)
    assert order(b, health) == ["a", "b"]
    assert order(board(one), health) == ["a"]


def test_full_channels_come_last():
    one, two = channel(id="a", tier=1, concurrency_max=1), channel(id="b", tier=2)
    health = Health()
    slot = health.take(one, 0)
    assert order(board(one, two), health) == ["b", "a"]
    health.give(slot)
    assert order(board(one, two), health) == ["a", "b"]


def test_kinds_and_unknown_models():
    one, two = channel(id="a", quirks={"paths": {"embeddings": ""}}), channel(id="b")
    assert order(board(one, two), kind="embeddings") == ["b"]
    assert order(board(one), kind="embeddings") == []
    assert sorted(order(board(one, two))) == ["a", "b"]
    assert order(board(one), model="other") == []
