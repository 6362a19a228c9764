"""What the faults of the world do when their time has come; see plan.WORLD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farebox.accounts import accounts, forgiving, projects
from farebox.accounts.keys import key_line, keys
from farebox.kit import db, options, sql
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments, lots

from . import checks, town
from .clocks import BASE_US
from .plan import ALLOWED, BY_HAND, HOSTILE, LEAP, OUTAGE, Fault

if TYPE_CHECKING:
    from .life import Life
    from .world import World

OPERATORS = frozenset({"price change", "key revoked", "account closed", "grant", "cap change", BY_HAND, ALLOWED})
STORE = frozenset(
    {
        "commit not done",
        "commit unknown",
        "busy",
        "store away",
        "store hangs",
        "disk full",
        "slow store",
        "journal full",
    }
)
_COMMITS = frozenset({"commit not done", "commit unknown", "busy"})


def happen(world: World, fault: Fault) -> None:
    """Let a fault happen; those that wait for a commit or a failpoint are counted when they bite."""
    if fault.kind == BY_HAND:
        _give_back(world, fault)
    elif fault.kind == ALLOWED:
        _operate(world, fault, _allow, world.town.keys[fault.count].account)
    elif fault.kind in OPERATORS:
        _operate(world, fault, _command, world.town.keys[1 + fault.count % 3])
    elif fault.kind in _COMMITS:
        left = world.weather.countdown.setdefault(fault.kind, [])
        left.append(fault.count)
        left.sort()
    elif fault.kind == "kill at a point":
        world.kill_points[fault.node, fault.point] = [fault.count]
    else:
        _STEPS[fault.kind](world, fault)


def _kill(world: World, fault: Fault) -> None:
    life = world.machines[fault.node].life
    if life is not None:
        world.kill(life, "time")


def _pause(world: World, fault: Fault) -> None:
    if fault.point:
        world.aimed[fault.node] = fault
    else:
        _pause_now(world, fault)


def beaten(world: World, life: Life) -> None:
    """A node's beat has just come back: here an aimed pause begins."""
    fault = world.aimed.pop(life.node, None)
    if fault is not None:
        _pause_now(world, fault)


def _pause_now(world: World, fault: Fault) -> None:
    life = world.machines[fault.node].life
    if life is None or life in world.loop.dead or life in world.loop.paused:
        return
    world.fired("pause")
    life.paused = True
    life.pauses_s.append(world.loop.now)
    world.loop.paused[life] = []
    world.loop.call_later(fault.long_s, _wake, world, life, fault, context=world.context())


def _wake(world: World, life: Life, fault: Fault) -> None:
    world.note(f"{life.name} runs on")
    world.fired("pause")
    if fault.point and fault.count and life not in world.loop.dead:
        world.kill_points[fault.node, "serve.settled"] = [fault.count]
    world.loop.resume(life)


def _restart(world: World, fault: Fault) -> None:
    life = world.machines[fault.node].life
    if life is None or not life.up or life.stopping or life in world.loop.dead:
        return
    world.fired("restart")
    life.stopping = True
    life.post(life.inner.lost.set)


def _away(world: World, fault: Fault) -> None:
    weather = world.weather
    weather.hangs = fault.kind == "store hangs"
    weather.away_until_s = max(weather.away_until_s, world.loop.now + fault.long_s)
    world.fired(fault.kind)
    world.loop.call_later(fault.long_s, world.fired, fault.kind, context=world.context())


def _disk_full(world: World, fault: Fault) -> None:
    world.weather.full_until_s = world.loop.now + fault.long_s


def _journal_full(world: World, fault: Fault) -> None:
    world.machines[fault.node].disk.full_until_s = world.loop.now + fault.long_s


def _slow(world: World, fault: Fault) -> None:
    world.weather.slow_until_s = world.loop.now + fault.long_s
    world.weather.slow_s = 0.05 * fault.count


def _jump(world: World, fault: Fault) -> None:
    world.fired("clock jumps")
    machine = world.machines[fault.node]
    machine.clock.offset_us += fault.by
    machine.jumps.append((world.loop.now, fault.by))


def _drift(world: World, fault: Fault) -> None:
    world.fired("clock drifts")
    world.machines[fault.node].clock.drift_ppm = fault.by // 36_000


def _hostile(world: World, fault: Fault) -> None:
    world.fired(fault.kind)  # its calls stand in the plan


def _outage(world: World, fault: Fault) -> None:
    host = f"127.0.0.{fault.by + 2}"
    world.down_until_s[host] = world.loop.now + fault.long_s
    world.fired(fault.kind)


def _leap(world: World, fault: Fault) -> None:
    """The clock runs ahead for a while; then an operator sets it right."""
    world.fired("clock leaps")
    machine = world.machines[fault.node]
    machine.clock.offset_us += fault.by
    machine.jumps.append((world.loop.now, fault.by))
    world.open_plans += 1
    world.loop.call_later(fault.long_s, _leapt_back, world, fault, context=world.context())


def _leapt_back(world: World, fault: Fault) -> None:
    world.open_plans -= 1
    machine = world.machines[fault.node]
    machine.clock.offset_us -= fault.by
    machine.jumps.append((world.loop.now, -fault.by))
    set_right(world)


def set_right(world: World) -> None:
    """All processes are stopped, the clocks are set, and the mark goes back, as `farebox clock reset` does it."""
    now_us = BASE_US + int((world.loop.now - 1000.0) * 1e6)
    for machine in world.machines:
        machine.clock.offset_us = machine.clock.drift_ppm = 0
        if machine.life is not None and machine.life not in world.loop.dead:
            world.stop_at_once(machine.life)

    def move(tx: db.Tx) -> None:
        tx.execute(sql.MOVE_TIMES_BACK, (now_us,) * 13)

    db.write(move)
    world.note("the clock is set right")


_STEPS = {
    HOSTILE: _hostile,
    OUTAGE: _outage,
    LEAP: _leap,
    "kill at a time": _kill,
    "pause": _pause,
    "restart": _restart,
    "store away": _away,
    "store hangs": _away,
    "disk full": _disk_full,
    "journal full": _journal_full,
    "slow store": _slow,
    "clock jumps": _jump,
    "clock drifts": _drift,
}


def _operate(world: World, fault: Fault, command: Any, what: Any) -> None:
    """An operator's command, in a transaction of its own beside the nodes."""
    try:
        command(world, fault, what, world.wall_us())
    except CommandError as refusal:
        world.note(f"refused: {refusal.message}")
    else:
        world.fired(fault.kind)


def _command(world: World, fault: Fault, key: town.Key, now_us: int) -> None:
    kind = fault.kind
    if kind == "price change":
        number = len(world.published)
        town.publish(number, now_us)
        world.published.append((world.loop.now, number))
    elif kind == "grant":
        amount_micro = 1000 * fault.count + 7
        if fault.count % 2:
            town.grant(key.account, amount_micro, f"sim {fault.at_s}", now_us)
        else:
            town.pay(key.account, amount_micro, now_us)
        world.granted[key.account] += amount_micro
    elif kind == "cap change":
        cap_micro = 2000 * fault.count
        if fault.node:
            db.write(projects.set_caps, key.project, {"day": cap_micro}, now_us=now_us, actor="sim")
        else:
            db.write(key_line.set_caps, key.id, {"ever": cap_micro}, now_us=now_us, actor="sim")
    else:
        _end_key(world, kind, key, now_us)


def _give_back(world: World, fault: Fault) -> None:
    """Somebody gives back one of the latest charges, or a part of it (`by`), once another person has approved."""
    latest = checks.rows(
        "SELECT e.ref, e.account, e.id, -p.amount_micro FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id"
        " AND p.account = e.account WHERE e.kind = 'charge' ORDER BY e.rowid DESC LIMIT ?",
        (fault.count,),
    )
    if not latest:
        return
    call, account, entry, charge_micro = latest[-1]
    amount_micro = -(-charge_micro // fault.by)
    if fault.point:
        _operate(world, fault, _undo, (call, account, entry, charge_micro))
        return

    def propose(world: World, fault: Fault, what: Any, now_us: int) -> None:
        row = db.write(
            adjustments.propose, account=account, currency="USD", kind="refund", amount_micro=amount_micro,
            reason="sim", call=call, day_max_micro=town.PLENTY, requester="one", actor="one", now_us=now_us,
        )  # fmt: skip
        world.note(f"{call[-6:]} {amount_micro} of {charge_micro} proposed to be given back")
        world.open_plans += 1
        given = (call, account, row.id, amount_micro)
        world.loop.call_later(fault.long_s, decided, given, context=world.context())

    def decided(given: Any) -> None:
        world.open_plans -= 1
        _operate(world, fault, _approve, given)

    _operate(world, fault, propose, None)


def _approve(world: World, fault: Fault, given: Any, now_us: int) -> None:
    call, account, adjustment, amount_micro = given
    db.write(
        adjustments.approve, adjustment, approver="two", single_person=False, day_max_micro=town.PLENTY, actor="two",
        now_us=now_us,
    )  # fmt: skip
    world.give_by_hand(call, account, amount_micro)


def _undo(world: World, fault: Fault, charge: Any, now_us: int) -> None:
    call, account, entry, charge_micro = charge
    if checks.rows("SELECT 1 FROM ledger_entry WHERE kind = 'reversal' AND ref = ?", (entry,)):
        return  # a repeat changes nothing
    db.write(lots.reverse, entry=entry, at_us=now_us, note="sim", requester="one", single_person=True)
    world.give_by_hand(call, account, charge_micro)


def _allow(world: World, fault: Fault, account: str, now_us: int) -> None:
    """An operator's own maximum for what an account is forgiven, or no longer one."""
    before, most_micro = options.current(), None if fault.by < 0 else fault.by
    options.use(world.options)
    try:
        db.write(forgiving.set_most, account, most_micro=most_micro, now_us=now_us, actor="sim")
    finally:
        options.use(before)


def _end_key(world: World, kind: str, key: town.Key, now_us: int) -> None:
    if kind == "key revoked":
        db.write(keys.revoke, key.id, now_us=now_us, actor="sim")
        gone = [key.id]
    else:
        db.write(accounts.close, key.account, leave_money=True, now_us=now_us, actor="sim")
        gone = [each.id for each in world.town.keys if each.account == key.account]
    for number, each in enumerate(world.town.keys):
        if each.id in gone:
            world.ended_keys.setdefault(number, world.loop.now)
