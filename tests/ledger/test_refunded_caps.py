"""A refund by hand goes back to the caps of its call as well: a cap counts net charges (promises 1.8, I04)."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.kit import db
from farebox.kit.errors import CommandError, InsufficientFunds
from farebox.ledger import holds
from farebox.ledger.models import Adjustment, LedgerAccount
from kit.overlap import overlapped
from ledger.manual import CAP_MICRO, CHARGE_MICRO, Books

pytestmark = pytest.mark.store


@pytest.fixture
def books(shared_instance: Any) -> Books:
    del shared_instance
    return Books("key", "prj")


def test_a_whole_refund_goes_back_to_every_cap(books):
    assert books.counted_micro == [CHARGE_MICRO, CHARGE_MICRO]
    row = db.write(books.propose, "refund", CHARGE_MICRO)
    assert books.counted_micro == [CHARGE_MICRO, CHARGE_MICRO]
    db.write(books.approve, row)
    assert books.counted_micro == [0, 0]
    assert books.findings() == []


def test_parts_of_it_add_up(books):
    for amount_micro, left_micro in ((200, 400), (400, 0)):
        db.write(books.approve, db.write(books.propose, "refund", amount_micro))
        assert books.counted_micro == [left_micro, left_micro]
        assert books.findings() == []


@pytest.mark.parametrize("kind", ["credit", "grant", "debit"])
def test_what_names_no_call_changes_no_cap(books, kind):
    db.write(books.approve, db.write(books.propose, kind, 50))
    assert books.counted_micro == [CHARGE_MICRO, CHARGE_MICRO]
    assert books.findings() == []


@pytest.mark.slow
def test_approved_twice_at_once_it_goes_back_once(books):
    row = db.write(books.propose, "refund", CHARGE_MICRO)
    said = overlapped(lambda tx: books.approve(tx, row), lambda tx: books.approve(tx, row, "three"))
    assert isinstance(said[1], CommandError), said
    assert books.counted_micro == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("hand_first", [True, False])
def test_the_restart_and_a_person_at_once_give_it_back_once(books, hand_first):
    row = db.write(books.propose, "refund", CHARGE_MICRO)
    ways = [lambda tx: books.approve(tx, row), books.refund]
    overlapped(*(ways if hand_first else ways[::-1]))
    assert books.counted_micro == [0, 0]
    assert books.findings() == []


def test_an_undone_refund_counts_again_once(books):
    done = db.write(books.approve, db.write(books.propose, "refund", 500))
    for _ in range(2):
        db.write(books.reverse, done.entry)
        assert books.counted_micro == [CHARGE_MICRO, CHARGE_MICRO]
    assert books.findings() == []


def test_an_undone_refund_counts_again_where_the_cap_was_spent_meanwhile(books):
    done = db.write(books.approve, db.write(books.propose, "refund", CHARGE_MICRO))
    purses = [holds.Purse(books.account), *(holds.Purse(cap, CAP_MICRO) for cap in books.caps)]
    call = f"{books.call}b"

    def place(tx: Any, hold: str) -> int:
        return holds.place(tx, hold=hold, purses=purses, currency="USD", want_micro=CAP_MICRO, fit=lambda _: -1,
                           epoch=f"ep_{books.call}", now_us=books.now_us)  # fmt: skip

    def spend(tx: Any) -> None:
        place(tx, call)
        holds.settle(tx, hold=call, purses=purses, currency="USD", charge_micro=CAP_MICRO, now_us=books.now_us)

    db.write(spend)
    db.write(books.reverse, done.entry)
    assert books.counted_micro == [CAP_MICRO + CHARGE_MICRO] * 2
    assert books.findings() == []
    with pytest.raises(InsufficientFunds):
        db.write(place, f"{books.call}c")


def test_a_cap_that_was_lowered_holds_after_a_refund(books):
    """The floor stopped at what was spent; of what comes back no more is free than the lowered cap leaves."""
    for cap in ("key", "prj"):
        db.write(holds.set_cap, scope=cap, period_id=books.account, cap_micro=300, currency="USD")
    db.write(books.approve, db.write(books.propose, "refund", CHARGE_MICRO))
    purses = [holds.Purse(books.account), *(holds.Purse(cap, 300) for cap in books.caps)]

    def place(tx: Any, hold: str, want_micro: int) -> int:
        return holds.place(tx, hold=hold, purses=purses, currency="USD", want_micro=want_micro, fit=lambda _: -1,
                           epoch=f"ep_{books.call}", now_us=books.now_us)  # fmt: skip

    with pytest.raises(InsufficientFunds, match="cap of this API key"):
        db.write(place, f"{books.call}b", 301)
    assert db.write(place, f"{books.call}c", 300) == 300


def test_a_refused_undoing_leaves_the_caps(books):
    """What was given back is spent: the entry is not undone, and no cap counts it again."""
    done = db.write(books.approve, db.write(books.propose, "refund", CHARGE_MICRO))
    db.write(books.approve, db.write(books.propose, "debit", books.posted_micro))

    def group(tx: Any) -> None:
        with pytest.raises(CommandError, match="ledger_account.too_little"):
            books.reverse(tx, done.entry)

    db.write(group)
    assert books.counted_micro == [0, 0]
    assert books.findings() == []


def test_prove_sees_a_cap_that_still_counts_it(books):
    db.write(books.approve, db.write(books.propose, "refund", CHARGE_MICRO))
    LedgerAccount.objects.filter(id=books.caps[0]).update(posted_micro=-CHARGE_MICRO)
    finding = f"I04 memo account {books.caps[0]} does not count what its calls were charged"
    assert books.findings() == [finding]
    LedgerAccount.objects.filter(id=books.caps[0]).update(posted_micro=0)
    assert books.findings() == []


def test_the_migration_brings_old_refunds_to_the_caps_and_back(books):
    from importlib import import_module

    from django.apps import apps

    migration = import_module("farebox.ledger.migrations.0005_two_approvers")
    done = db.write(books.approve, db.write(books.propose, "refund", 500))
    undone = db.write(books.approve, db.write(books.propose, "refund", 100))
    db.write(books.reverse, undone.entry)
    assert Adjustment.objects.filter(account=books.account, state="booked").count() == 2
    assert books.counted_micro == [100, 100]
    LedgerAccount.objects.filter(id=books.caps[0]).update(floor_micro=-550)
    migration._count_again(apps, None)
    assert books.counted_micro == [CHARGE_MICRO, CHARGE_MICRO]
    assert LedgerAccount.objects.get(id=books.caps[0]).floor_micro == -CHARGE_MICRO
    assert LedgerAccount.objects.get(id=books.caps[1]).floor_micro == -CAP_MICRO
    migration._give_back(apps, None)
    assert books.counted_micro == [100, 100]
    assert done.booked_micro == 500
    assert books.findings() == []
    other = Books("key")
    db.write(other.reverse, other.charge)
    migration._count_again(apps, None)
    assert (books.counted_micro, other.counted_micro) == ([CHARGE_MICRO, CHARGE_MICRO], [CHARGE_MICRO])
    migration._give_back(apps, None)
    assert (books.counted_micro, other.counted_micro) == ([100, 100], [0])


def test_a_reversed_charge_goes_back_to_every_cap_once(books):
    for _ in range(2):
        db.write(books.reverse, books.charge)
        assert books.counted_micro == [0, 0]
    assert books.findings() == []
    assert db.write(books.refund) == 0
    assert books.counted_micro == [0, 0]


def test_prove_sees_a_cap_that_still_counts_a_reversed_charge(books):
    db.write(books.reverse, books.charge)
    LedgerAccount.objects.filter(id=books.caps[0]).update(posted_micro=-CHARGE_MICRO)
    assert books.findings() == [f"I04 memo account {books.caps[0]} does not count what its calls were charged"]
    LedgerAccount.objects.filter(id=books.caps[0]).update(posted_micro=0)
    assert books.findings() == []


def test_what_the_restart_gave_back_is_not_taken_again(books):
    from farebox.ledger.models import Entry

    db.write(books.refund)
    given = Entry.objects.get(account=books.account, kind="refund").id
    with pytest.raises(CommandError, match="entry.refund_stays"):
        db.write(books.reverse, given)
    assert (books.posted_micro, books.counted_micro) == (10_000, [0, 0])
    assert books.findings() == []
