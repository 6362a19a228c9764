"""Credit by its lots: what is left of each after any history, against a reference that walks through it step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
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
    """An account with paid money and a reference of its credit beside it.

    The balance is kept as coins with the day on which they came; who spends gives the oldest away first.
    """

    def __init__(self, paid: int = PAID_MICRO) -> None:
        self.account = f"acc_lots{next(numbers)}"
        self.jars: list[Reference] = []
        self.coins: list[list[int]] = []
        self.calls: dict[str, int] = {}  # what each call under way holds
        db.write(journal.open_account, id=self.account, kind="customer", currency="USD", floor_micro=0)
        if paid:
            self.pay(1, paid)

    @property
    def balance(self) -> int:
        return sum(amount for _, amount in self.coins)

    @property
    def available(self) -> int:
        return self.balance - sum(self.calls.values())

    def pay(self, at: int, amount: int) -> None:
        self._post("payment", "clearing", at, amount)
        self.coins.append([at, amount])

    def debit(self, at: int, amount: int) -> None:
        """A correction against the customer: at most what is available, and no charge that eats a lot."""
        amount = min(amount, self.available)
        if amount:
            self._post("debit", "adjustments", at, -amount)
            self.give_away(amount)

    def _post(self, kind: str, own: str, at: int, amount: int) -> None:
        lines = [(self.account, amount), (chart.own(own, "USD"), -amount)]
        db.write(
            journal.post, account=self.account, kind=kind, ref=f"{kind}{at}", currency="USD", lines=lines, at_us=at
        )

    def give_away(self, amount: int) -> None:
        while amount:
            given = min(amount, self.coins[0][1])
            amount -= given
            self.coins[0][1] -= given
            if not self.coins[0][1]:
                del self.coins[0]

    def grant(self, at: int, amount: int, expires: int | None) -> str:
        entry = db.write(
            lots.grant, account=self.account, currency="USD", amount_micro=amount, ref=f"g{at}", expires_us=expires,
            now_us=at, note="n", requester="r", single_person=True,
        )  # fmt: skip
        self.jars.append(Reference(entry, amount, expires, at, amount))
        self.coins.append([at, amount])
        return entry

    def charge(self, at: int, amount: int) -> None:
        if self.begin(at, amount):
            self.end(at, -1, amount)

    def begin(self, at: int, amount: int) -> bool:
        """A call that holds as much of `amount` as is available; none where nothing is."""
        hold, amount = f"call_{self.account}_{at}", min(amount, self.available)
        if not amount:
            return False
        db.write(
            holds.place, hold=hold, purses=(Purse(self.account),), currency="USD", want_micro=amount,
            fit=lambda _: -1, epoch="ep", now_us=at,
        )  # fmt: skip
        self.calls[hold] = amount
        return True

    def end(self, at: int, index: int, amount: int) -> None:
        """End one of the calls under way, which was worth `amount`, at most what it held."""
        if not self.calls:
            return
        hold = list(self.calls)[index % len(self.calls)]
        amount = min(amount, self.calls.pop(hold))
        db.write(holds.settle, hold=hold, purses=(Purse(self.account),), currency="USD", charge_micro=amount, now_us=at)
        self.give_away(amount)
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
            with pytest.raises(errors.CommandError, match="grant.expired"):
                db.write(lots.reverse, **undo)
            return
        if jar.entry not in self.undone and self.available < jar.amount:
            with pytest.raises(errors.CommandError, match="ledger_account.too_little"):
                db.write(lots.reverse, **undo)
            return
        db.write(lots.reverse, **undo)
        if jar.gone and jar.entry in self.undone:
            return
        self.undone.add(jar.entry)
        spent, jar.left, jar.gone = jar.amount - jar.left, 0, True
        self.give_away(jar.amount)
        self._eat(at, spent)

    @property
    def undone(self) -> set[str]:
        return self.__dict__.setdefault("_undone", set())

    def expire(self, at: int) -> int:
        """What is left of a lot goes, but no coin that came after its end, and none that a call may need."""
        taken = 0
        for jar in self.jars:
            if not jar.gone and jar.expires is not None and jar.expires <= at:
                old = sum(amount for came, amount in self.coins if came < jar.expires)
                take = min(jar.left, max(0, old - sum(self.calls.values())))
                self.give_away(take)
                jar.left, jar.taken, taken = jar.left - take, jar.taken + take, taken + take
                jar.gone = not jar.left or take == old or not self.calls
        assert db.write(lots.expire, account=self.account, currency="USD", now_us=at) == taken
        return taken

    def check(self) -> None:
        still_open, rest = db.read(lots.lots_of, self.account)
        assert [rest[lot.id] for lot in still_open] == [jar.left for jar in self.jars if not jar.gone]
        assert db.read(holds.balance, self.account)[::2] == (self.balance, self.available)


GIVEN, LATER, EXPIRE = ("grant", 10, 1), ("pay", 20, 0), ("expire", 0, 0)


def by_hand(tx: Any, account: str, kind: str, amount: int, *, at: int, call: str = "") -> None:
    from farebox.ledger import adjustments

    facts = {"day_max_micro": 10**9, "now_us": at}
    row = adjustments.propose(
        tx, account=account, currency="USD", kind=kind, amount_micro=amount, reason="r", call=call, requester="one",
        actor="one", **facts,
    )  # fmt: skip
    adjustments.approve(tx, row.id, approver="two", single_person=False, actor="two", **facts)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(1, 20), st.none() | st.integers(1, 12)),
        st.tuples(st.just("charge"), st.integers(1, 25), st.just(0)),
        st.tuples(st.just("begin"), st.integers(1, 25), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 5), st.integers(0, 25)),
        st.tuples(st.just("pay"), st.integers(1, 25), st.just(0)),
        st.tuples(st.just("debit"), st.integers(1, 10), st.just(0)),
        st.tuples(st.just("reverse"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=16,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paid=st.sampled_from([0, 5, PAID_MICRO]), steps=STEPS)
@example(paid=0, steps=[GIVEN, ("debit", 4, 0), EXPIRE, LATER, EXPIRE])
@example(paid=0, steps=[GIVEN, ("begin", 3, 0), EXPIRE, ("end", 0, 3), LATER, EXPIRE])
@example(paid=0, steps=[GIVEN, EXPIRE, ("charge", 3, 0), LATER, EXPIRE])
def test_any_history_leaves_what_the_reference_says(instance, paid, steps):
    books = Books(paid)
    for at, (what, number, days) in enumerate(steps, start=2):
        at_us = at * DAY_US
        if what == "grant":
            # Half a day more: no charge falls on the very moment.
            books.grant(at_us, number, None if days is None else at_us + days * DAY_US + DAY_US // 2)
        elif what == "end":
            books.end(at_us, number, days)
        elif what == "expire":
            books.expire(at_us)
        else:
            getattr(books, what)(at_us, number)
        books.check()


def test_a_charge_that_a_closed_lot_paid_for_eats_no_other(instance):
    books = Books()
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.grant(1 * DAY_US + 1, 10, 20 * DAY_US)
    books.charge(2 * DAY_US, 8)
    books.expire(11 * DAY_US)
    books.check()
    books.expire(21 * DAY_US)
    books.check()
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO


def test_a_reversal_leaves_the_other_lots_what_the_balance_has(instance):
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


def test_a_grant_of_which_part_has_expired_is_not_reversed(instance):
    books = Books()
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.charge(2 * DAY_US, 4)
    books.expire(11 * DAY_US)
    books.reverse(12 * DAY_US, 0)
    assert db.read(holds.balance, books.account)[0] == PAID_MICRO


@pytest.mark.parametrize("how", ["refund", "reversal"])
def test_a_charge_that_was_given_back_has_eaten_nothing(instance, how):
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


def test_lots_whose_lives_do_not_touch_are_not_looked_at(instance, monkeypatch):
    """An account that got credit long ago does not have all its charges since then added up again."""
    books = Books()
    books.grant(1 * DAY_US, 10, 2 * DAY_US)
    books.expire(3 * DAY_US)
    books.grant(900 * DAY_US, 10, 901 * DAY_US)
    asked = []
    between = lots.sql.CHARGED_BETWEEN
    real = db.Tx.one

    def one(tx: Any, sql: str, params: Any = ()) -> Any:
        if sql == between:
            asked.append(params[1])
        return real(tx, sql, params)

    monkeypatch.setattr(db.Tx, "one", one)
    books.check()
    assert asked
    assert min(asked) == 900 * DAY_US


def test_a_lot_that_a_debit_ate_takes_nothing_that_was_paid_later(instance):
    """10 were given, 4 of it taken by hand: at its end 6 are there, and 6 go."""
    books = Books(paid=0)
    books.grant(1 * DAY_US, 10, 10 * DAY_US)

    db.write(by_hand, books.account, "debit", 4, at=2 * DAY_US)
    books.give_away(4)
    assert books.expire(11 * DAY_US) == 6
    assert lots.due(12 * DAY_US) == []
    books.pay(30 * DAY_US, 20)
    assert books.expire(31 * DAY_US) == 0
    books.check()


@pytest.mark.parametrize(("worth", "taken"), [(3, 0), (1, 2), (0, 3)])
def test_what_is_held_at_the_end_of_a_lot_is_taken_of_what_the_call_leaves(instance, worth, taken):
    """10 given, 3 of it held at the end: what the call does not cost goes, whatever was paid meanwhile."""
    books = Books(paid=0)
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.begin(9 * DAY_US, 3)
    assert books.expire(11 * DAY_US) == 7
    books.pay(12 * DAY_US, 20)
    assert books.expire(13 * DAY_US) == 0  # the 20 are available, and 3 are still held
    books.end(14 * DAY_US, 0, worth)
    assert lots.due(15 * DAY_US) == [books.account]
    assert books.expire(15 * DAY_US) == taken
    assert lots.due(16 * DAY_US) == []
    assert books.balance == 20
    books.check()


def test_what_is_spent_before_the_first_look_at_an_expired_lot_is_not_taken_later(instance):
    books = Books(paid=0)
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.charge(10 * DAY_US + 1, 3)
    books.pay(10 * DAY_US + 2, 20)
    assert books.expire(10 * DAY_US + 3) == 7
    assert lots.due(11 * DAY_US) == []
    books.check()


def test_each_of_several_lots_leaves_what_came_after_its_own_end(instance):
    """Two lots that one call held: it costs 15 of their 20, and the 20 that were paid and the 7 given stay."""
    books = Books(paid=0)
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.grant(2 * DAY_US, 10, 11 * DAY_US)
    books.begin(9 * DAY_US, 20)
    assert books.expire(12 * DAY_US) == 0
    books.pay(13 * DAY_US, 20)
    books.grant(14 * DAY_US, 7, None)
    assert books.expire(15 * DAY_US) == 0
    books.end(16 * DAY_US, 0, 15)
    assert books.expire(17 * DAY_US) == 5
    assert lots.due(18 * DAY_US) == []
    assert books.balance == 27
    assert db.read(holds.balance, books.account)[0] == 27


@pytest.mark.parametrize("how", ["refund", "by hand", "reversal"])
def test_what_comes_back_of_a_charge_after_the_end_of_its_lot_stays(instance, how):
    """Of 10 given 6 were spent and 1 is held at the end: 3 go, later the 1; the 6 come back and are the customer's."""
    from farebox.ledger.models import Entry

    books = Books(paid=0)
    books.grant(1 * DAY_US, 10, 10 * DAY_US)
    books.charge(2 * DAY_US, 6)
    books.begin(9 * DAY_US, 1)
    assert books.expire(11 * DAY_US) == 3
    charge = Entry.objects.get(kind="charge")
    if how == "refund":
        assert db.write(holds.refund, hold=charge.ref, currency="USD", now_us=12 * DAY_US) == 6
    elif how == "by hand":
        db.write(by_hand, books.account, "refund", 6, call=charge.ref, at=12 * DAY_US)
    else:
        db.write(journal.reverse, entry=charge.id, at_us=12 * DAY_US, note="n", requester="r", single_person=True)
    assert db.write(lots.expire, account=books.account, currency="USD", now_us=13 * DAY_US) == 0
    books.end(14 * DAY_US, 0, 0)
    assert db.write(lots.expire, account=books.account, currency="USD", now_us=15 * DAY_US) == 1
    assert lots.due(16 * DAY_US) == []
    assert db.read(holds.balance, books.account) == (6, 0, 6)
