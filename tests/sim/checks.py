"""What must hold at every moment, and at the end; told by SQL on the store itself, not by the code under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from farebox.calls import proof as calls_proof
from farebox.kit import db
from farebox.ledger import proof as ledger_proof

from .client import Answer
from .clocks import BASE_US
from .model import least

if TYPE_CHECKING:
    from .client import Sent
    from .life import Life
    from .model import Model
    from .world import World

EVERY_S = 20.0

_BELOW_FLOOR = """
SELECT id FROM ledger_ledgeraccount
WHERE held_micro < 0 OR (floor_micro IS NOT NULL AND posted_micro - held_micro < floor_micro)
"""
# Each finds nothing where the invariant holds (promises 2).
QUERIES = {
    "I01 an entry does not balance": """
        SELECT entry_id FROM ledger_posting GROUP BY entry_id HAVING SUM(amount_micro) <> 0 OR COUNT(*) < 2""",
    "I04 an account is not the sum of its postings": """
        SELECT a.id FROM ledger_ledgeraccount a WHERE a.kind = 'customer' AND a.posted_micro <>
        (SELECT COALESCE(SUM(p.amount_micro), 0) FROM ledger_posting p WHERE p.account = a.id)""",
    "I05 an account holds other than its open holds": """
        SELECT a.id FROM ledger_ledgeraccount a WHERE a.held_micro <>
        (SELECT COALESCE(SUM(h.amount_micro), 0) FROM ledger_hold h
         WHERE h.state = 'open' AND ' ' || h.purses || ' ' LIKE '% ' || a.id || ' %')""",
    "I07 a charge without its entry": """
        SELECT h.id FROM ledger_hold h WHERE (h.state = 'settled' AND h.charge_micro > 0) <> EXISTS
        (SELECT 1 FROM ledger_entry e WHERE e.kind = 'charge' AND e.ref = h.id)""",
    "I07 a call and its hold disagree": """
        SELECT c.id FROM calls_call c LEFT JOIN ledger_hold h ON h.id = c.id
        WHERE h.id IS NULL OR (c.outcome = 'open') <> (h.state = 'open')
        OR COALESCE(c.charge_micro, 0) <> COALESCE(h.charge_micro, 0)""",
    "I08 a charge above its hold": """
        SELECT id FROM ledger_hold WHERE charge_micro > amount_micro OR charge_micro < 0""",
    "I27 more was given back than was charged": """
        SELECT h.id FROM ledger_hold h WHERE h.state = 'settled' AND h.charge_micro <
        (SELECT COALESCE(SUM(p.amount_micro), 0) FROM ledger_entry e
         JOIN ledger_posting p ON p.entry_id = e.id AND p.account = e.account
         WHERE (e.kind = 'refund' AND e.ref = h.id)
         OR (e.kind = 'call_refund' AND e.ref IN (SELECT a.id FROM ledger_adjustment a WHERE a.call = h.id))
         OR (e.kind = 'reversal' AND e.ref IN
             (SELECT c.id FROM ledger_entry c WHERE c.kind = 'charge' AND c.ref = h.id)))""",
    "I13 a failed call was charged": """
        SELECT id FROM calls_call WHERE charge_micro > 0 AND (status >= 400 OR outcome = 'broken'
        OR (outcome = 'failed' AND (rule_version = 1 OR ' ' || flags || ' ' NOT LIKE '% allowance_used %')))""",
    "I11 two charged attempts": """
        SELECT call_id FROM calls_attempt WHERE charged GROUP BY call_id HAVING COUNT(*) > 1""",
    "one charge entry each": """
        SELECT ref FROM ledger_entry WHERE kind IN ('charge', 'refund') GROUP BY kind, ref HAVING COUNT(*) > 1""",
}


def rows(sql: str, params: Any = ()) -> list[Any]:
    """The rows of a query of the simulator's own."""
    found: list[Any] = connection.connection.execute(sql, params).fetchall()
    return found


def every(world: World) -> None:
    """The invariants, as they stand between two steps."""
    for name, sql in QUERIES.items():
        for row in rows(sql):
            world.find(f"{name}: {row[0]}")
    true_us = BASE_US + int((world.loop.now - 1000.0) * 1e6)
    for lot, expired in rows("SELECT id, expired_micro FROM ledger_creditlot WHERE expired_micro > 0 AND expires_us > ?",
                             (true_us,)):  # fmt: skip
        world.find(f"I25 {expired} of lot {lot} expired before its end")
    for hold, state, charge in rows("SELECT id, state, charge_micro FROM ledger_hold WHERE state <> 'open'"):
        before = world.terminal.setdefault(hold, (state, charge))
        if before != (state, charge):
            world.find(f"I06 hold {hold} was {before}, is {(state, charge)}")


def solvent(world: World) -> None:
    """I03 after each commit."""
    for row in rows(_BELOW_FLOOR):
        world.find(f"I03 {row[0]} is below its floor")


def durable(world: World, sent: Sent) -> None:
    """I14: a customer sees the end only of a call whose settlement is committed, or on the disk."""
    found = rows("SELECT state FROM ledger_hold WHERE id = ?", (sent.id,))
    state = found[0][0] if found else "missing"
    if state not in {"settled", "voided"} and sent.id not in world.on_disk:
        world.find(f"I14 the customer of {sent.id} saw the end, and its hold is {state}")


def held(world: World, life: Life, sent: Sent) -> None:
    """I12: nothing goes upstream without a hold. One whose node was paused may have lost it meanwhile."""
    found = rows("SELECT state FROM ledger_hold WHERE id = ?", (sent.id,))
    if not found or (found[0][0] != "open" and "pause" not in world.counts and "kill at a time" not in world.counts):
        world.find(f"I12 a request of {sent.id} went upstream, its hold is {found[0][0] if found else 'missing'}")
    del life


def held_by_house(world: World) -> None:
    """I12 for a probe: the shop's hold of 0. One whose node was paused may have lost it meanwhile."""
    found = rows("SELECT 1 FROM ledger_hold WHERE state = 'open' AND purses LIKE '%acc_house%'")
    if not found and "pause" not in world.counts and "kill at a time" not in world.counts:
        world.find("I12 a probe went upstream without a hold")


def of_the_instance(world: World) -> set[str]:
    """The shop's own calls: what they cost, nobody was charged."""
    found = rows("SELECT id, charge_micro FROM calls_call WHERE account = 'acc_house'")
    for call, charge_micro in found:
        if charge_micro:
            world.find(f"the shop's call {call} was charged {charge_micro}")
    return {call for call, _ in found}


def lowered(world: World, opened: Any, held_micro: int) -> None:
    """A hold that is lowered still pays for what its customer has read (promises 4.3)."""
    world.counts["hold lowered"] += 1
    sent = world.by_id[opened.id]
    seen = Answer(b"".join(sent.raw), ended=False).text
    due_micro = least(sent, seen, opened.price_version)
    if held_micro < due_micro:
        world.find(f"the hold of {opened.id} was lowered to {held_micro}, and its customer has read for {due_micro}")


def late_settlement(world: World, call: str) -> None:
    """R24: only a hold that has expired refuses a settlement; its own earlier one does not."""
    found = rows("SELECT state FROM ledger_hold WHERE id = ?", (call,))
    if found and found[0][0] != "expired":
        world.find(f"the settlement of {call} was refused, and its hold is {found[0][0]}")


def expiry(world: World, epoch: str) -> None:
    """I15: a hold expires once its epoch has ended and the grace is over; clocks that jumped are left out."""
    if (
        len(world.machines) == 1
        or world.counts["clock leaps"]
        or world.counts["clock jumps"]
        or world.counts["clock drifts"]
    ):
        return
    found = rows("SELECT ended_us FROM kit_epoch WHERE id = ?", (epoch,))
    ended_us = found[0][0] if found else 0
    if ended_us is None or world.wall_us() - ended_us < world.options.hold_grace_s * 1_000_000:
        world.find(f"I15 holds of {epoch} expired, which ended at {ended_us}, now {world.wall_us()}")


def text(world: World, sent: Sent) -> None:
    """What a customer saw to its end is what one upstream sent, and nothing else."""
    attempts, answer = world.produced.get(sent.id, []), sent.read()
    if sent.call.model == "vector" or not answer.whole or not attempts:
        return
    truth = "".join(attempts[-1].made.texts)
    if not truth.startswith(answer.text):
        world.find(f"the customer of {sent.id} saw {answer.text[:40]!r}, the upstream sent {truth[:40]!r}")


def promptly(world: World, sent: Sent) -> None:
    """R21 and F03: an ended key cuts its calls within 5 s, and is refused within 1 s; prices count as soon."""
    life = sent.life
    if life is None or life.paused or world.stormy or life.gone_s is not None or sent.end_s is None:
        return
    ended_s = world.ended_keys.get(sent.call.key)
    if ended_s is not None:
        if sent.at_s < ended_s and sent.end_s > ended_s + 6.5:
            world.find(f"R21 {sent.id} went on for {sent.end_s - ended_s:.1f} s after its key had ended")
        if sent.at_s > ended_s + 1.5 and sent.read().whole:
            world.find(f"F03 {sent.id} was answered {sent.at_s - ended_s:.1f} s after its key had ended")


def prices(world: World, sent: Sent, version: int) -> None:
    """The price is the one in force when the money was held: never an older one for long, never a later one."""
    life = sent.life
    if (
        life is None
        or life.paused
        or world.stormy
        or world.counts["clock leaps"]
        or world.counts["clock jumps"]
        or world.counts["clock drifts"]
    ):
        return
    begun_s = world.published[version - 1][0]
    over_s = world.published[version][0] if version < len(world.published) else 1e12
    if begun_s > (sent.end_s or 1e12) or over_s + 1.5 < sent.at_s:
        world.find(f"F36 {sent.id} of {sent.at_s:.1f} has prices of version {version}")


def rules(world: World, sent: Sent, version: int) -> None:
    """The version of the charging rules is that of the moment when the money was held, by the clock of its node."""
    from_s = world.plan.rules_from_s
    opened_us = rows("SELECT opened_us FROM calls_call WHERE id = ?", (sent.id,))
    if not opened_us:
        return
    due = from_s is not None and (from_s == 0 or opened_us[0][0] >= BASE_US + int(from_s * 1e6))
    if version != 1 + due:
        world.find(f"{sent.id} of {sent.at_s - 1000:.3f} is of version {version}, they change at {from_s}")


def booked() -> list[tuple[str, str]]:
    """In which order calls ended, charges were given back, and accounts got money that nobody gave away."""
    out = []
    calls = dict(rows("SELECT id, call FROM ledger_adjustment WHERE call <> ''"))
    charges = dict(rows("SELECT id, ref FROM ledger_entry WHERE kind = 'charge'"))
    for what, of in rows("SELECT what, id FROM sim_booked ORDER BY n"):
        if what in {"ended", "refund"}:
            out.append(("ended" if what == "ended" else "back", of))
        elif what in {"credit", "most"}:
            out.append(("paid" if what == "credit" else what, of))
        else:
            out.append(("back", calls.get(of) or charges.get(of) or of))
    return out


def allowances(world: World, model: Model) -> None:
    """I33: the row is what began, grew, was drawn and given back; drawn is never more than there was, but for `short`."""
    sql = "SELECT account, begun_micro, grown_micro, drawn_micro, returned_micro FROM ledger_allowance"
    stored = {account: tuple(row) for account, *row in rows(sql)}
    for account, row in model.rows.items():
        is_so = stored.pop(account, None)
        if not model.findings and is_so != (row.shown if row.there else None):
            world.find(f"I33 the allowance of {account} is {is_so}, the model's {row.shown}")
        if row.drawn > row.bound:
            world.find(f"I33 {account} drew {row.drawn} of {row.bound}")
    for account in stored:
        world.find(f"I33 {account} has an allowance, and should have none")


def ahead(world: World) -> bool:
    """Whether a clock that was moved keeps the shop closed: its operators put it right."""
    lives = [machine.life for machine in world.machines if machine.life is not None and machine.life.up]
    found = any(life.shop.ground.ahead for life in lives)
    if found and not any(world.counts[kind] for kind in ("clock jumps", "clock leaps", "clock drifts")):
        world.find("I25 a node takes its clock for one that ran ahead, and nobody had moved it")
    return found


def resting(world: World) -> bool:
    """Whether nothing is owed: no open hold, empty journals, every node up."""
    for machine in world.machines:
        life = machine.life
        if life is None or not life.up or life in world.loop.dead or life in world.loop.paused:
            return False
        if len(life.journal) or life.shop.to_void or life.tasks or life.shop.delivered:
            return False
    if rows("SELECT 1 FROM ledger_hold WHERE state = 'open' LIMIT 1"):
        return False
    living = {machine.life.shop.epoch for machine in world.machines if machine.life is not None}
    return {row[0] for row in rows("SELECT id FROM kit_epoch WHERE cleared_us IS NULL")} <= living


def proven(world: World, *, whole: bool) -> None:
    """The shop's own proof of its books."""
    if whole:
        from farebox.care import proof

        found = [finding for part in proof.prove().findings.values() for finding in part]
    else:
        with db.reading() as tx:
            books = ledger_proof.prove(tx, now_us=world.wall_us(), grace_us=60_000_000)
            found = books.findings + calls_proof.prove(tx)
    for finding in found:
        world.find(f"proof: {finding}")
