"""Credit by its lots: what is left of each after any history, against a reference that walks through it step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.kit import db, errors
from farebox.ledger import chart, holds, journal, lots
from farebox.ledger.holds import Purse

pytestmark = pytest.mark.store

DAY_US = 86_400_000_000
PAID_MICRO = 1_000_000
numbers = itertools.count(1)


@dataclass
class Reference:
    """One lot as a child would count it: beans in a jar."""

    entry: str
    amount: int
    expires: int | None
    granted: int
    left: int
    taken: int = 0
    gone: bool = False

    def order(self) -> tuple[Any, ...]:
        return (self.expires is None, self.expires or 0, self.granted)


class Books:
    """An account with paid money and a reference of its credit beside it."""

    def __init__(self) -> None:
        self.account = f"acc_lots{next(numbers)}"
        self.jars: list[Reference] = []
        self.balance = PAID_MICRO
        db.write(self._open)

    def _open(self, tx: Any) -> None:
        journal.open_account(tx, id=self.account, kind="customer", currency="USD", floor_micro=0)
        lines = [(self.account, PAID_MICRO), (chart.house("clearing", "USD"), -PAID_MICRO)]
        journal.post(tx, account=self.account, kind="payment", ref="p", currency="USD", lines=lines, at_us=1)

    def grant(self, at: int, amount: int, expires: int | None) -> str:
        entry = db.write(
            lots.grant, account=self.account, currency="USD", amount_micro=amount, ref=f"g{at}", expires_us=expires,
            now_us=at, note="n", requester="r", single_person=True,
        )  # fmt: skip
        self.jars.append(Reference(entry, amount, expires, at, amount))
        self.balance += amount
        return entry

    def charge(self, at: int, amount: int) -> None:
        hold = f"call_{self.account}_{at}"
        purses = (Purse(self.account),)

        def work(tx: Any) -> None:
            holds.place(tx, hold=hold, purses=purses, currency="USD", want_micro=amount, fit=lambda _: -1, epoch="ep",
                        now_us=at)  # fmt: skip
            holds.settle(tx, hold=hold, purses=purses, currency="USD", charge_micro=amount, now_us=at)

        db.write(work)
        self.balance -= amount
        self._eat(at, amount)

    def _eat(self, at: int, amount: int) -> None:
        for jar in sorted(self.jars, key=Reference.order):
            if not jar.gone and (jar.expires is None or jar.expires > at):
                eaten = min(amount, jar.left)
                jar.left -= eaten
                amount -= eaten

    def reverse(self, at: int, index: int) -> None:
        if not self.jars:
            return
        jar = self.jars[index % len(self.jars)]
        undo = {"entry": jar.entry, "at_us": at, "note": "n", "requester": "r", "single_person": True}
        if jar.taken:
            with pytest.raises(errors.CommandError, match="has expired"):
                db.write(lots.reverse, **undo)
            return
        db.write(lots.reverse, **undo)
        if jar.gone and jar.entry in self.undone:
            return
        self.undone.add(jar.entry)
        spent, jar.left, jar.gone = jar.amount - jar.left, 0, True
        self.balance -= jar.amount
        self._eat(at, spent)

    @property
    def undone(self) -> set[str]:
        return self.__dict__.setdefault("_undone", set())

    def expire(self, at: int) -> None:
        due = [jar for jar in self.jars if not jar.gone and jar.expires is not None and jar.expires <= at]
        taken = sum(jar.left for jar in due)
        assert db.write(lots.expire, account=self.account, currency="USD", now_us=at) == taken
        self.balance -= taken
        for jar in due:
            jar.taken, jar.left, jar.gone = jar.left, 0, True

    def check(self) -> None:
        still_open, rest = db.read(lots.lots_of, self.account)
        assert [rest[lot.id] for lot in still_open] == [jar.left for jar in self.jars if not jar.gone]
        assert db.read(holds.balance, self.account)[0] == self.balance


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(1, 20), st.none() | st.integers(1, 12)),
        st.tuples(st.just("charge"), st.integers(1, 25), st.just(0)),
        st.tuples(st.just("reverse"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history_leaves_what_the_reference_says(house, steps):
    books = Books()
    for at, (what, number, days) in enumerate(steps, start=2):
        at_us = at * DAY_US
        if what == "grant":
            # Half a day more: no charge falls on the very moment.
            books.grant(at_us, number, None if days is None else at_us + days * DAY_US + DAY_US // 2)
        elif what == "charge":
            books.charge(at_us, number)
        elif what == "reverse":
            books.reverse(at_us, number)
        else:
            books.expire(at_us)
        books.check()


def test_a_charge_that_a_closed_lot_paid_for_eats_no_other(house):
    books = Books()
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.grant(1 * DAY_US + 1, 10, 20 * DAY_US)
    books.charge(2 * DAY_US, 8)
    books.expire(11 * DAY_US)
    books.check()
    books.expire(21 * DAY_US)
    books.check()
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO


def test_a_reversal_leaves_the_other_lots_what_the_balance_has(house):
    """10 and 10 were given, 8 spent, one 10 taken back: 2 of credit are left, and no paid money ever expires."""
    books = Books()
    first = books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.grant(2 * DAY_US, 10, 20 * DAY_US)
    books.charge(3 * DAY_US, 8)
    books.reverse(4 * DAY_US, 0)
    assert list(db.read(lots.lots_of, books.account)[1].values()) == [2]
    books.expire(21 * DAY_US)
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO
    assert first in books.undone


def test_a_grant_of_which_part_has_expired_is_not_reversed(house):
    books = Books()
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.charge(2 * DAY_US, 4)
    books.expire(11 * DAY_US)
    books.reverse(12 * DAY_US, 0)
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO


@pytest.mark.parametrize("how", ["refund", "reversal"])
def test_a_charge_that_was_given_back_has_eaten_nothing(house, how):
    from farebox.ledger.models import Entry

    books = Books()
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.charge(2 * DAY_US, 6)
    assert list(db.read(lots.lots_of, books.account)[1].values()) == [4]
    charge = Entry.objects.get(kind="charge")
    if how == "refund":
        assert db.write(holds.refund, hold=charge.ref, currency="USD", now_us=3 * DAY_US) == 6
    else:
        db.write(journal.reverse, entry=charge.id, at_us=3 * DAY_US, note="n", requester="r", single_person=True)
    assert list(db.read(lots.lots_of, books.account)[1].values()) == [10]
    assert db.write(lots.expire, account=books.account, currency="USD", now_us=11 * DAY_US) == 10
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO


def test_lots_whose_lives_do_not_touch_are_not_looked_at(house, monkeypatch):
    """An account that got credit long ago does not have all its charges since then added up again."""
    books = Books()
    books.grant(1 * DAY_US, 10, 2 * DAY_US)
    books.expire(3 * DAY_US)
    books.grant(900 * DAY_US, 10, 901 * DAY_US)
    asked = []
    between = lots.statements.CHARGED_BETWEEN
    real = db.Tx.one

    def one(tx: Any, sql: str, params: Any = ()) -> Any:
        if sql == between:
            asked.append(params[1])
        return real(tx, sql, params)

    monkeypatch.setattr(db.Tx, "one", one)
    books.check()
    assert asked
    assert min(asked) == 900 * DAY_US
