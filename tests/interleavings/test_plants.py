"""The judge of interleavings finds what it is there for: guards taken out of the ledger, one at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from farebox.kit import db
from farebox.ledger import holds, journal, references, sql
from farebox.ledger.holds import Purse
from interleavings.scripts import OPERATIONS
from interleavings.theatre import ORDERS, Theatre

pytestmark = pytest.mark.store


@pytest.fixture
def theatre(instance: Any) -> Iterator[Theatre]:
    found = Theatre()
    with found.stage.armed():
        yield found
    found.stage.close()


def played(theatre: Theatre, first: str, second: str) -> str:
    orders = random.Random(1).sample(ORDERS, 20)
    return "\n".join(theatre.run(OPERATIONS[first], OPERATIONS[second], orders, locking=False))


def test_an_unguarded_end_of_a_hold_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(theatre, "settle", "expire") == ""
    unguarded = sql.END_HOLD.replace(" AND state = 'open'", "")
    assert unguarded != sql.END_HOLD
    monkeypatch.setattr(sql, "END_HOLD", unguarded)
    wrong = played(theatre, "settle", "expire")
    assert "I05" in wrong
    assert "I07" in wrong


def test_a_lowering_of_a_hold_that_has_ended_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives back once more what its end gave back."""
    assert played(theatre, "lower", "expire") == ""
    unguarded = sql.LOWER_HOLD.replace(" AND state = 'open'", "")
    assert unguarded != sql.LOWER_HOLD
    monkeypatch.setattr(sql, "LOWER_HOLD", unguarded)
    assert "I05" in played(theatre, "lower", "expire")


def test_a_lowering_by_an_amount_of_before_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(theatre, "extend", "lower") == ""
    unguarded = sql.LOWER_HOLD.replace("AND amount_micro = %s", "AND %s > 0")
    assert unguarded != sql.LOWER_HOLD
    monkeypatch.setattr(sql, "LOWER_HOLD", unguarded)
    assert "I05" in played(theatre, "extend", "lower")


def test_a_hold_that_looks_first_and_takes_then_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = holds._take_one

    def looks_first(tx: db.Tx, purse: Purse, currency: str, amount_micro: int, **more: bool) -> bool:
        if tx.one(sql.READ_ACCOUNT, (purse.id,)) is None:
            return guarded(tx, purse, currency, amount_micro, **more)
        if holds._available(tx, purse)[0] < amount_micro:
            return False
        text = "UPDATE ledger_ledgeraccount SET held_micro = held_micro + %s WHERE id = %s"
        return tx.execute(text, (amount_micro, purse.id)) == 1

    monkeypatch.setattr(holds, "_take_one", looks_first)
    assert played(theatre, "place", "reverse") == "", "the constraint of the table stands behind the guard"

    def drop(tx: db.Tx) -> None:
        tx.execute("ALTER TABLE ledger_ledgeraccount DROP CONSTRAINT ledger_never_below_floor")

    db.write(drop)
    assert "I03" in played(theatre, "place", "reverse")


def test_an_update_lost_between_two_holds_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = holds._take_one

    def reads_and_writes_back(tx: db.Tx, purse: Purse, currency: str, amount_micro: int, **more: bool) -> bool:
        row = tx.one(sql.READ_ACCOUNT, (purse.id,))
        if row is None:
            return guarded(tx, purse, currency, amount_micro, **more)
        if holds._available(tx, purse)[0] < amount_micro:
            return False
        text = "UPDATE ledger_ledgeraccount SET held_micro = %s WHERE id = %s"
        return tx.execute(text, (row[1] + amount_micro, purse.id)) == 1

    monkeypatch.setattr(holds, "_take_one", reads_and_writes_back)
    assert "I05" in played(theatre, "place", "extend")


def test_a_refund_that_forgets_its_lock_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(theatre, "refund", "refund") == ""
    monkeypatch.setattr(journal, "lock", lambda _tx, _account: None)
    assert "I04" in played(theatre, "refund", "refund")


def test_a_reference_that_nobody_guards_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes book one bank line on two accounts."""
    assert played(theatre, "outside", "outside") == ""
    monkeypatch.setattr(references, "take", lambda _tx, _outside, _entry, **_at: None)
    assert "none of" in played(theatre, "outside", "outside")


def test_an_allowance_that_is_read_outside_the_lock_is_found(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls both see what there was before either, and draw it twice."""
    assert played(theatre, "forgive", "forgive") == ""
    guard = "AND drawn_micro = %s AND grown_micro = %s AND charged_micro = %s"
    assert guard in sql.MOVE_ALLOWANCE
    unguarded = sql.MOVE_ALLOWANCE.replace(guard, "AND %s + %s + %s >= 0")
    monkeypatch.setattr(sql, "MOVE_ALLOWANCE", unguarded)
    assert "none of" in played(theatre, "forgive", "forgive")
