"""What must hold at every moment, and at the end; told by SQL on the store itself, not by the code under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from farebox.calls import proof as calls_proof
from farebox.kit import db
from farebox.ledger import proof as ledger_proof

if TYPE_CHECKING:
    from .client import Sent
    from .world import Life, World

EVERY_S = 20.0

# Each finds nothing where the invariant holds (money.md 2).
QUERIES = {
    "I01 an entry does not balance": """
        SELECT entry_id FROM ledger_posting GROUP BY entry_id HAVING SUM(amount_micro) <> 0 OR COUNT(*) < 2""",
    "I03 an account is below its floor": """
        SELECT id FROM ledger_ledgeraccount
        WHERE held_micro < 0 OR (floor_micro IS NOT NULL AND posted_micro - held_micro < floor_micro)""",
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
    "I13 a failed call was charged": """
        SELECT id FROM calls_call WHERE charge_micro > 0 AND (status >= 400 OR outcome IN ('failed', 'broken'))""",
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
    for hold, state, charge in rows("SELECT id, state, charge_micro FROM ledger_hold WHERE state <> 'open'"):
        before = world.terminal.setdefault(hold, (state, charge))
        if before != (state, charge):
            world.find(f"I06 hold {hold} was {before}, is {(state, charge)}")


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


def resting(world: World) -> bool:
    """Whether nothing is owed: no open hold, empty journals, every node up."""
    for machine in world.machines:
        life = machine.life
        if life is None or not life.up or life in world.loop.dead or life in world.loop.paused:
            return False
        if len(life.journal) or life.shop.to_void or life.tasks or life.shop.delivered:
            return False
    return not rows("SELECT 1 FROM ledger_hold WHERE state = 'open' LIMIT 1")


def proven(world: World, *, whole: bool) -> None:
    """The shop's own proof of its books."""
    if whole:
        from farebox.ops import proof

        found = [finding for part in proof.prove().findings.values() for finding in part]
    else:
        with db.reading() as tx:
            books = ledger_proof.prove(tx, now_us=world.wall_us(), grace_us=60_000_000)
            found = books.findings + calls_proof.prove(tx)
    for finding in found:
        world.find(f"proof: {finding}")
