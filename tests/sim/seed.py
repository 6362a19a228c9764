"""Run one seed and judge it; shrink one that failed."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from . import checks, faults, hostile, plan, town
from .client import Sent
from .loop import Stuck
from .model import Claim, Model, claims
from .model_2 import Row
from .plan import SPAN_S, Call, Plan
from .run import nearest
from .world import World

LATE_S = 1800.0  # thirty minutes for everything to come to rest
_MARKED_S = 3.0  # so long after the answer its mark is surely written, if the store lets it be


@dataclass
class Result:
    """What came of a seed."""

    seed: int
    findings: list[str]
    trace: list[str]
    hash: int
    counts: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    active: list[str] = field(default_factory=list)
    calls: int = 0
    steps: int = 0
    forgiven: tuple[int, int, int] = (0, 0, 0)  # of the account that was forgiven most: that, what it drew, its bound
    drawn: tuple[int, int, int] = (0, 0, 0)  # of the one that came nearest to its bound, and drew most of these


def run(seed: int, place: town.Town) -> Result:
    """Run a seed."""
    return play(plan.make(seed), place)


def play(chosen: Plan, place: town.Town) -> Result:
    """Run a plan: its faults and calls, then thirty quiet minutes at most, then the judgement."""
    town.restore(place)
    town.set_rules(chosen.rules_from_s)
    world = World(chosen, place)
    world.enter()
    model = Model(dict(world.granted))
    gc.disable()
    try:
        _run(world)
        if not world.findings:
            _judge(world, model)
    except Stuck as stuck:
        world.find(str(stuck))
    finally:
        world.leave_it()
        gc.enable()
    for context in world.loop.errors:
        world.find(f"unhandled: {context.get('message')} {context.get('exception')!r}")
    return Result(
        chosen.seed, world.findings, world.trace, world.hash, world.counts, world.crashed, model.verdicts,
        chosen.active, len(world.sents), world.loop.steps, *_largest(model),
    )  # fmt: skip


def _largest(model: Model) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    found = [(row.forgiven, row.drawn, row.bound) for row in model.rows.values()] or [(0, 0, 0)]
    return max(found), max(found, key=nearest)


def _run(world: World) -> None:
    loop = world.loop
    world.start()
    if world.plan.family == plan.HUSTLE:
        hostile.teach(world)

    def busy() -> bool:
        return bool(world.findings) or (
            world.open_plans == 0 and loop.now > 1000 + SPAN_S and all(each.end_s is not None for each in world.sents)
        )

    while not busy():
        loop.run(busy, until_s=loop.now + checks.EVERY_S)
        checks.every(world)
        if loop.now > 1000 + SPAN_S + LATE_S:
            late = [each.id for each in world.sents if each.end_s is None]
            world.find(f"calls do not end: {late}")
    world.weather.countdown.clear()
    world.kill_points.clear()
    world.aimed.clear()
    _rest(world, loop.now + LATE_S)
    if not world.findings:
        _probe(world, loop.now + LATE_S)
        _rest(world, loop.now + LATE_S)
    checks.every(world)


def _rest(world: World, until_s: float) -> None:
    """Liveness: with no more faults everything comes to rest."""
    loop = world.loop
    while not world.findings and not checks.resting(world):
        if checks.ahead(world):
            faults.set_right(world)
        if loop.now >= until_s:
            open_holds = checks.rows("SELECT id, epoch FROM ledger_hold WHERE state = 'open'")
            ups = [
                (m.life.name, m.life.up, len(m.life.journal), dict(m.life.shop.to_void))
                for m in world.machines
                if m.life and m.life.up
            ]
            world.find(f"no rest after 30 minutes: holds {open_holds}, nodes {ups}")
            return
        end_s = loop.now + 1.0
        loop.run(lambda: False, until_s=end_s)


def _probe(world: World, until_s: float) -> None:
    """Liveness: a new call works on each node."""
    loop = world.loop
    for node in range(len(world.machines)):
        number = 100 + node
        while not world.findings:
            if checks.ahead(world):
                faults.set_right(world)
            call = Call(
                number, 0, node, 0, "plain", stream=False, text="hello", limit=5, include_usage=False, once=False
            )
            sent = world.send(call, 0, node, "")
            loop.run(lambda: sent.end_s is not None, until_s=loop.now + 60)  # noqa: B023 - run at once
            if sent.read().whole:
                break
            number += 10
            if loop.now > until_s:
                world.find(f"node {node} answers {sent.read().status} for thirty minutes")
            loop.run(lambda: False, until_s=loop.now + 5)


def _judge(world: World, model: Model) -> None:
    checks.proven(world, whole=world.plan.seed % 10 == 0)
    if world.expired and not world.troubled:
        world.find(f"I16 {world.expired} holds expired, and nothing had happened to any node")
    books = claims(
        checks.rows("SELECT id, state, amount_micro, charge_micro FROM ledger_hold"),
        dict(checks.rows("SELECT e.ref, p.amount_micro FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id"
                         " AND p.account = e.account WHERE e.kind = 'refund'")),
        {row[0]: row[1:] for row in checks.rows("SELECT id, rule, flags, price_version, rule_version,"
                                                  " value_micro, drawn_micro FROM calls_call")},
    )  # fmt: skip
    model.balances.update(world.granted)
    charged_once: Counter[str] = Counter()
    for sent in world.sents:
        if not sent.id:
            continue
        claim = books.pop(sent.id, Claim())
        if sent.once and claim.net_micro > 0:
            charged_once[sent.once] += 1
        if world.plan.family == plan.HONEST and sent.read().error and claim.net_micro:
            world.find(f"an honest customer was charged {claim.net_micro} for the failed call {sent.id}, {claim.flags}")
        checks.text(world, sent)
        checks.promptly(world, sent)
        if claim.state:
            checks.prices(world, sent, claim.version)
            checks.rules(world, sent, claim.rules)
        key = world.town.keys[sent.call.key]
        ended_s = world.ended_keys.get(sent.call.key)
        model.judge(sent, world.produced.get(sent.id, []), claim, key.account, doubt=_doubt(world, sent),
                    ended=ended_s is not None and (sent.end_s or 1e9) >= ended_s,
                    by_hand_micro=world.by_hand[sent.id], broke=world.faults_of(sent, key.account))  # fmt: skip
    for hold in books.keys() - checks.of_the_instance(world):
        world.find(f"hold {hold} belongs to no call that was sent")
    for once, charged in charged_once.items():
        if charged > 1:
            world.find(f"I26 {once} was charged {charged} times")
    options = world.options
    begun = min(options.allowance_begin_usd_micro, options.allowance_most_usd_micro)
    for account in world.town.granted:
        model.rows[account] = Row(begun, options.allowance_most_usd_micro, options.allowance_growth_percent)
        model.rows[account].paid = account in world.town.paid
    model.replay(checks.booked())
    checks.allowances(world, model)
    for finding in model.findings:
        world.find(finding)
    stored = dict(
        checks.rows(
            "SELECT id, posted_micro FROM ledger_ledgeraccount WHERE kind = 'customer' AND floor_micro IS NOT NULL"
        )
    )
    for account, balance_micro in model.balances.items():
        if stored.get(account) != balance_micro:
            world.find(f"account {account} has {stored.get(account)}, the model {balance_micro}")


def _doubt(world: World, sent: Sent) -> str:
    """The rule by which a call may be free although its customer saw the end; bounded, and counted by name."""
    life = sent.life
    if life is None or sent.end_s is None:
        return ""
    gone_s = life.gone_s if life.gone_s is not None else 1e12
    stops_s = [*life.pauses_s, gone_s]
    soon = any(0 <= stop_s - sent.end_s < _MARKED_S for stop_s in stops_s)
    if not sent.call.stream and gone_s < 1e12 and (soon or world.stormy):
        return "R25"
    if sent.id in world.on_disk and len(world.machines) > 1 and (gone_s < 1e12 or life.paused):
        return "R24"
    return ""


def shrink(failed: Plan, place: town.Town) -> Result:
    """Drop faults one by one, then calls, while it still fails; the result of the smallest plan."""
    best = play(failed, place)
    going = True
    while going:
        going = False
        for smaller in _smaller(failed):
            found = play(smaller, place)
            if found.findings:
                failed, best, going = smaller, found, True
                break
    return best


def _smaller(of: Plan) -> Any:
    for left in _fewer(of.faults):
        yield replace(of, faults=left)
    for calls in _fewer(of.calls):
        yield replace(of, calls=calls)
    for place, call in enumerate(of.calls):
        if call.client:
            calm = replace(call, client="")
            yield replace(of, calls=[*of.calls[:place], calm, *of.calls[place + 1 :]])
        if any(call.wrongs):
            calm = replace(call, wrongs=[])
            yield replace(of, calls=[*of.calls[:place], calm, *of.calls[place + 1 :]])


def _fewer(parts: list[Any]) -> Iterator[list[Any]]:
    """Without either half, then without each one."""
    half = len(parts) // 2
    if half > 1:
        yield parts[half:]
        yield parts[:half]
    for place in range(len(parts)):
        yield parts[:place] + parts[place + 1 :]


__all__ = ["Random", "Result", "play", "run", "shrink"]
