"""Manual money in the books: a charge goes back once, whoever gives it back, and `prove` sees what was forged."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.kit import db
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments, chart, holds, journal, lots
from farebox.ledger.holds import Purse
from farebox.ledger.models import Adjustment
from kit.overlap import overlapped
from ledger.manual import CHARGE_MICRO, PLENTY_MICRO, Books

pytestmark = pytest.mark.store


@pytest.fixture
def books(shared_instance: Any) -> Books:
    del shared_instance
    return Books()


def test_what_a_person_gave_back_the_restart_does_not_give_again(books):
    db.write(books.approve, db.write(books.propose, "refund", 200))
    assert books.posted_micro == 10_000 - CHARGE_MICRO + 200
    assert db.write(books.refund) == 0
    with pytest.raises(CommandError, match="entry.refunded"):
        db.write(books.reverse, books.charge)
    assert books.posted_micro == 10_000 - CHARGE_MICRO + 200
    assert books.findings() == []


@pytest.mark.parametrize("by", ["restart", "reversal"])
def test_what_went_back_after_the_proposal_is_not_approved(books, by):
    row = db.write(books.propose, "refund", 600)
    if by == "restart":
        assert db.write(books.refund) == CHARGE_MICRO
    else:
        db.write(books.reverse, books.charge)
    with pytest.raises(CommandError, match="refund.given_back"):
        db.write(books.approve, row)
    assert books.posted_micro == 10_000
    assert Adjustment.objects.get(id=row.id).state == "proposed"


def test_a_refund_that_was_undone_can_be_given_again(books):
    done = db.write(books.approve, db.write(books.propose, "refund", 600))
    db.write(books.reverse, done.entry)
    assert books.posted_micro == 10_000 - CHARGE_MICRO
    assert books.findings() == []
    db.write(books.approve, db.write(books.propose, "refund", 600))
    assert books.posted_micro == 10_000
    assert books.findings() == []


def test_a_lapsed_proposal_bars_no_new_one(books):
    row = db.write(books.propose, "refund", 600)
    with pytest.raises(CommandError, match="refund.too_much"):
        db.write(books.propose, "refund", 600)
    Adjustment.objects.filter(id=row.id).update(proposed_us=books.now_us - adjustments.LAPSES_US)
    db.write(books.approve, db.write(books.propose, "refund", 600))
    assert books.posted_micro == 10_000


def test_a_refusal_leaves_the_row_as_it_was_for_the_rest_of_its_group(books):
    """A refused member of a commit group is not rolled back: it must not have written."""
    row = db.write(books.propose, "debit", 500)
    db.write(books.approve, db.write(books.propose, "debit", 9400))

    def group(tx: Any) -> None:
        with pytest.raises(CommandError, match="adjustment.nothing_available"):
            books.approve(tx, row)

    db.write(group)
    assert Adjustment.objects.get(id=row.id).state == "proposed"
    assert books.posted_micro == 0


@pytest.mark.slow
def test_two_proposals_at_once_do_not_give_the_charge_twice(books):
    said = overlapped(
        lambda tx: books.propose(tx, "refund", 400), lambda tx: books.propose(tx, "refund", 400, requester="three")
    )
    assert isinstance(said[0], Adjustment)
    assert isinstance(said[1], CommandError), said
    assert "refund.too_much" in said[1].message


@pytest.mark.slow
@pytest.mark.parametrize("by", ["restart", "reversal"])
def test_an_approval_and_another_refund_at_once(books, by):
    row = db.write(books.propose, "refund", 600)
    other = books.refund if by == "restart" else lambda tx: books.reverse(tx, books.charge)
    said = overlapped(lambda tx: books.approve(tx, row), other)
    assert said[0].state == "booked"
    assert said[1] == 0 or isinstance(said[1], CommandError), said
    assert books.posted_micro == 10_000
    other_books = Books()  # the other way round, on an account of its own
    row = db.write(other_books.propose, "refund", 600)
    said = overlapped(
        other_books.refund if by == "restart" else lambda tx: other_books.reverse(tx, other_books.charge),
        lambda tx: other_books.approve(tx, row),
    )
    assert isinstance(said[1], CommandError), said
    assert other_books.posted_micro == 10_000
    assert other_books.findings() == []


@pytest.mark.slow
def test_two_debits_at_once_take_what_is_there(books):
    rows = [db.write(books.propose, "debit", 9000) for _ in range(2)]
    said = overlapped(lambda tx: books.approve(tx, rows[0]), lambda tx: books.approve(tx, rows[1]))
    assert [row.booked_micro for row in said] == [9000, 400]
    assert books.posted_micro == 0


def test_granted_credit_comes_back_as_granted_credit(books):
    """What a call ate of a grant is a grant again when a person gives the charge back: it can't be paid out."""
    grant = db.write(books.propose, "grant", 1000, now_us=books.now_us)
    db.write(books.approve, grant)
    other = f"{books.call}b"
    purses = [Purse(books.account)]

    def call(tx: Any) -> None:
        holds.place(tx, hold=other, purses=purses, currency="USD", want_micro=1000, fit=lambda _: -1,
                    epoch=f"ep_{books.call}", now_us=books.now_us + 5)  # fmt: skip
        holds.settle(tx, hold=other, purses=purses, currency="USD", charge_micro=300, now_us=books.now_us + 5)

    db.write(call)

    def left() -> int:
        return sum(db.read(lots.lots_of, books.account)[1].values())

    before_micro = left()
    row = db.write(
        adjustments.propose, account=books.account, kind="refund", amount_micro=200, day_max_micro=PLENTY_MICRO,
        call=other, reason="r", requester="one", actor="one", now_us=books.now_us, currency="USD",
    )  # fmt: skip
    db.write(books.approve, row)
    assert left() == before_micro + 200


FORGED = [
    ({"booked_micro": 599}, "I27 adjustment {id} and its entry disagree"),
    ({"requester": "somebody"}, "I27 adjustment {id} and its entry disagree"),
    ({"decider": "somebody"}, "I27 adjustment {id} and its entry disagree"),
    ({"kind": "credit", "call": ""}, "I27 adjustment {id} and its entry disagree"),
    ({"entry": "ent_none"}, "I27 adjustment {id} and its entry disagree"),
    ({"state": "declined"}, "I27 entry {entry} is manual money that no adjustment has booked"),
    ({"call": "call_none"}, "I20 of call call_none more was given back than it was charged"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "finding"), FORGED)
def test_prove_sees_what_was_forged(books, change, finding):
    row = db.write(books.approve, db.write(books.propose, "refund", 600))
    assert books.findings() == []
    Adjustment.objects.filter(id=row.id).update(**change)
    assert finding.format(id=row.id, entry=row.entry) in books.findings()
    original = {name: getattr(row, name) for name in change}
    Adjustment.objects.filter(id=row.id).update(**original)
    assert books.findings() == []


@pytest.mark.parametrize("kind", ["credit", "grant", "debit", "write_off"])
def test_prove_knows_every_kind(books, kind):
    row = db.write(books.approve, db.write(books.propose, kind, 50))
    assert books.findings() == []
    Adjustment.objects.filter(id=row.id).update(state="proposed", booked_micro=None, entry="")
    assert books.findings() == [f"I27 entry {row.entry} is manual money that no adjustment has booked"]
    Adjustment.objects.filter(id=row.id).update(state="booked", booked_micro=50, entry=row.entry)


def test_prove_sees_manual_money_without_a_row(books):
    def slip(tx: Any) -> str:
        lines = [(books.account, 7), (chart.own("adjustments", "USD"), -7)]
        return journal.post(
            tx, account=books.account, kind="credit", ref="slip", currency="USD", lines=lines, at_us=books.now_us
        )

    entry = db.write(slip)
    assert books.findings() == [f"I27 entry {entry} is manual money that no adjustment has booked"]
