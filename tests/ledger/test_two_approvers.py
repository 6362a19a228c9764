"""Above a limit two persons approve manual money, neither the one who proposed it (security 7, I27)."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.kit import db
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments
from farebox.ledger.models import Adjustment, Entry
from kit.overlap import overlapped
from ledger.manual import Books

pytestmark = pytest.mark.store
LIMIT_MICRO = 100


@pytest.fixture
def books(shared_instance: Any) -> Books:
    del shared_instance
    return Books()


def proposed(books: Books, kind: str = "credit", amount_micro: int = 500, **facts: Any) -> Adjustment:
    return db.write(books.propose, kind, amount_micro, two_above_micro=LIMIT_MICRO, **facts)


def as_it_is(row: Adjustment) -> Adjustment:
    return Adjustment.objects.get(id=row.id)


def test_two_persons_approve_and_the_second_books(books):
    before_micro = books.posted_micro
    row = proposed(books)
    first = db.write(books.approve, row)
    assert (first.state, first.first_approver, first.first_approved_us) == ("proposed", "two", books.now_us)
    assert (first.entry, books.posted_micro) == ("", before_micro)
    done = db.write(books.approve, row, "three")
    assert (done.state, done.first_approver, done.decider) == ("booked", "two", "three")
    assert books.posted_micro == before_micro + 500
    entry = Entry.objects.get(id=done.entry)
    assert (entry.requester, entry.approver, entry.single_person) == ("one", "three", False)
    assert books.findings() == []


@pytest.mark.parametrize(("amount_micro", "needs"), [(LIMIT_MICRO, 1), (LIMIT_MICRO + 1, 2)])
def test_the_limit_itself_needs_one(books, amount_micro, needs):
    row = proposed(books, amount_micro=amount_micro)
    assert row.approvals == needs
    assert db.write(books.approve, row).state == ("booked" if needs == 1 else "proposed")


def test_without_a_limit_one_is_enough(books):
    row = db.write(books.propose, "credit", 10**8, two_above_micro=0)
    assert db.write(books.approve, row).state == "booked"


def test_nobody_approves_twice(books):
    row = proposed(books)
    db.write(books.approve, row)
    with pytest.raises(CommandError, match="adjustment.second_approval"):
        db.write(books.approve, row)
    assert as_it_is(row).state == "proposed"


@pytest.mark.parametrize("before", [0, 1])
def test_the_requester_is_neither_of_the_two(books, before):
    row = proposed(books)
    for _ in range(before):
        db.write(books.approve, row)
    with pytest.raises(CommandError, match="adjustment.own"):
        db.write(books.approve, row, "one")
    assert as_it_is(row).first_approver == ("two" if before else "")


@pytest.mark.parametrize("before", [0, 1])
def test_who_runs_the_shop_alone_books_alone_and_it_is_recorded(books, before):
    row = proposed(books)
    for _ in range(before):
        db.write(books.approve, row)
    done = db.write(books.approve, row, "one", single_person=True)
    assert (done.state, done.single_person, done.approvals) == ("booked", True, 2)
    entry = Entry.objects.get(id=done.entry)
    assert (entry.approver, entry.single_person) == (None, True)
    assert books.findings() == []


@pytest.mark.parametrize(("who", "state"), [("one", "withdrawn"), ("two", "declined"), ("four", "declined")])
def test_what_is_put_down_between_the_two_is_not_booked(books, who, state):
    row = proposed(books)
    db.write(books.approve, row)
    assert db.write(books.decline, row, who).state == state
    before_micro = books.posted_micro
    with pytest.raises(CommandError, match=rf"adjustment.decided state=\(state\.{state}\)"):
        db.write(books.approve, row, "three")
    assert (as_it_is(row).first_approver, books.posted_micro) == ("two", before_micro)
    assert books.findings() == []


def test_it_lapses_between_the_two(books):
    row = proposed(books)
    db.write(books.approve, row)
    Adjustment.objects.filter(id=row.id).update(proposed_us=books.now_us - adjustments.LAPSES_US)
    with pytest.raises(CommandError, match=r"adjustment.decided state=\(state\.lapsed\)"):
        db.write(books.approve, row, "three")
    Adjustment.objects.filter(id=row.id).update(proposed_us=books.now_us - adjustments.LAPSES_US + 1)
    assert db.write(books.approve, row, "three").state == "booked"


def test_the_first_of_two_is_not_noted_on_what_lapsed(books):
    row = proposed(books)
    late_us = books.now_us + adjustments.LAPSES_US
    with pytest.raises(CommandError, match=r"adjustment.decided state=\(state\.lapsed\)"):
        db.write(books.approve, row, now_us=late_us)
    assert as_it_is(row).first_approver == ""


@pytest.mark.slow
def test_two_approvers_at_once_are_two(books):
    before_micro = books.posted_micro
    row = proposed(books)
    said = overlapped(lambda tx: books.approve(tx, row), lambda tx: books.approve(tx, row, "three"))
    assert [each.state for each in said] == ["proposed", "booked"]
    done = as_it_is(row)
    assert (done.first_approver, done.decider) == ("two", "three")
    assert books.posted_micro == before_micro + 500


@pytest.mark.slow
def test_one_person_twice_at_once_is_one(books):
    row = proposed(books)
    said = overlapped(lambda tx: books.approve(tx, row), lambda tx: books.approve(tx, row))
    assert said[0].state == "proposed"
    assert isinstance(said[1], CommandError), said
    assert as_it_is(row).state == "proposed"


@pytest.mark.slow
def test_two_second_approvers_at_once_book_once(books):
    before_micro = books.posted_micro
    row = proposed(books)
    db.write(books.approve, row)
    said = overlapped(lambda tx: books.approve(tx, row, "three"), lambda tx: books.approve(tx, row, "four"))
    assert said[0].state == "booked"
    assert isinstance(said[1], CommandError), said
    assert books.posted_micro == before_micro + 500


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 1])
def test_an_approval_while_it_is_withdrawn(books, before):
    row = proposed(books)
    for _ in range(before):
        db.write(books.approve, row)
    before_micro = books.posted_micro
    said = overlapped(lambda tx: books.decline(tx, row, "one"), lambda tx: books.approve(tx, row, "three"))
    assert said[0].state == "withdrawn"
    assert isinstance(said[1], CommandError), said
    assert as_it_is(row).first_approver == ("two" if before else "")
    assert books.posted_micro == before_micro


@pytest.mark.slow
def test_a_withdrawal_while_the_second_approves(books):
    row = proposed(books)
    db.write(books.approve, row)
    said = overlapped(lambda tx: books.approve(tx, row, "three"), lambda tx: books.decline(tx, row, "one"))
    assert said[0].state == "booked"
    assert isinstance(said[1], CommandError), said
    assert as_it_is(row).state == "booked"


BAD = [
    {"approvals": 2, "first_approver": "one"},
    {"approvals": 1, "first_approver": "two"},
    {"approvals": 3},
    {"approvals": 2, "state": "booked", "decider": "two", "booked_micro": 5, "first_approver": "two"},
    {"approvals": 2, "state": "booked", "decider": "two", "booked_micro": 5, "first_approver": ""},
]


@pytest.mark.parametrize("change", BAD)
def test_the_store_itself_refuses(books, change):
    row = db.write(books.propose, "credit", 50)
    with pytest.raises(Exception, match="ledger_adjustment_two_approvers"):
        db.write(lambda tx: Adjustment.objects.filter(id=row.id).update(**change))


def test_what_one_person_approves_a_day_is_bounded(books):
    rows = [db.write(books.propose, "credit", 60) for _ in range(3)]
    most = {"day_max_micro": 120}
    for row in rows[:2]:
        assert db.write(books.approve, row, "day", **most).state == "booked"
    with pytest.raises(CommandError, match="adjustment.approve_day_max"):
        db.write(books.approve, rows[2], "day", **most)
    assert as_it_is(rows[2]).state == "proposed"
    assert db.write(books.approve, rows[2], "other", **most).state == "booked"


def test_a_first_approval_counts_for_its_day_unless_it_came_to_nothing(books):
    row, other = proposed(books, amount_micro=200), db.write(books.propose, "credit", 50)
    most = {"day_max_micro": 200}
    db.write(books.approve, row, "first", **most)
    with pytest.raises(CommandError, match="adjustment.approve_day_max"):
        db.write(books.approve, other, "first", **most)
    db.write(books.decline, row, "one")
    assert db.write(books.approve, other, "first", **most).state == "booked"


def test_another_day_another_sum(books):
    rows = [db.write(books.propose, "credit", 60) for _ in range(2)]
    day_us = 86_400_000_000
    assert db.write(books.approve, rows[0], "daily", day_max_micro=100).state == "booked"
    morning_us = books.now_us - books.now_us % day_us + day_us
    assert db.write(books.approve, rows[1], "daily", day_max_micro=100, now_us=morning_us).state == "booked"
