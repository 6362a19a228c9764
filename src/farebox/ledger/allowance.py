"""The allowance: how much of what is delivered and not paid an account is forgiven (promises 4.4).

A row beside the account's balance. It begins at an amount, grows with what the account is charged once it has had money
other than granted credit, and gives what calls draw from it; what a refunded call drew comes back. Amounts are
micro-units of the account's currency. Whoever settles has locked the account's balance first, and this row with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from farebox.kit import db
from farebox.kit.db import Tx

from . import sql


@dataclass(frozen=True, slots=True)
class AllowanceTerms:
    """What an account's allowance begins at, how many percent of each charge it grows by, and the most it holds."""

    begin_micro: int
    growth_percent: int
    most_micro: int


@lru_cache(maxsize=256)
def terms(begin_usd_micro: int, growth_percent: int, most_usd_micro: int, usd_rate: str) -> AllowanceTerms:
    """The terms in a currency of which `usd_rate`, a decimal text, is worth one USD."""
    rate = Fraction(usd_rate)
    begin, most = (int(usd_micro * rate) for usd_micro in (begin_usd_micro, most_usd_micro))
    return AllowanceTerms(min(begin, most), growth_percent, most)


@dataclass(frozen=True, slots=True)
class Allowance:
    """The row: what it began with, grew by, gave and got back; `most_micro` where an operator has set the maximum.

    `charged_micro` is what it has grown by a share of, `paid` whether the account is known to have had money that
    nobody gave away. `stored` is False of one that nothing has changed yet.
    """

    account: str
    currency: str
    begun_micro: int
    grown_micro: int
    drawn_micro: int
    returned_micro: int
    charged_micro: int = 0
    paid: bool = False
    most_micro: int | None = None
    stored: bool = True

    @property
    def left_micro(self) -> int:
        """What calls may still draw; below 0 after a call that its hold did not cover."""
        return self.begun_micro + self.grown_micro + self.returned_micro - self.drawn_micro

    def most(self, terms: AllowanceTerms) -> int:
        """The most that it holds."""
        return terms.most_micro if self.most_micro is None else self.most_micro


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call asks to be forgiven: its charge, what it may be charged at most instead, and what it is worth."""

    charge_micro: int
    most_micro: int
    value_micro: int


class Given(NamedTuple):
    """What the allowance gives for a call, and the charge that this leaves; `used` says that it gave too little."""

    drawn_micro: int
    charge_micro: int
    used: bool


def read(tx: Tx, account: str) -> Allowance | None:
    """The allowance of an account; None before anything has changed it."""
    row = tx.one(sql.READ_ALLOWANCE, (account,))
    return None if row is None else _row(account, row)


def at_settlement(tx: Tx, account: str, currency: str, terms: AllowanceTerms) -> Allowance:
    """The allowance that a call under settlement finds, by the terms where nothing has changed it before.

    Its `paid` is true of now.
    """
    row = tx.one(sql.READ_ALLOWANCE_AND_PAID, (account, account))
    if row is None:
        raise AssertionError("a left join of one row has one")
    if row[0] is None:
        return Allowance(account, currency, terms.begin_micro, 0, 0, 0, paid=bool(row[6]), stored=False)
    return _row(account, row)


def _row(account: str, row: Sequence[Any]) -> Allowance:
    (currency, begun, grown, drawn, returned, charged, paid, most) = row
    return Allowance(
        account, str(currency), int(begun), int(grown), int(drawn), int(returned), int(charged), bool(paid), most
    )


def low(tx: Tx, at_most: int) -> list[Allowance]:
    """Allowances of which a fifth or less is left of all that they had, by account; `at_most` so many."""
    return [_row(str(row[0]), row[1:]) for row in tx.all(sql.LOW_ALLOWANCES, (at_most,))]


def left_micro(tx: Tx, account: str, terms: AllowanceTerms) -> int:
    """What an account's calls may still draw."""
    found = read(tx, account)
    return found.left_micro if found is not None else terms.begin_micro


def overdrawn(tx: Tx) -> frozenset[str]:
    """The accounts that drew more than there was: until it is above 0 again, their holds are whole (promises 4.4).

    Where one comes or goes the version `allowances` grows.
    """
    return frozenset(str(account) for (account,) in tx.all(sql.OVERDRAWN))


def give(found: Allowance, claim: Claim) -> Given:
    """What is forgiven of a call, and what it is charged then: pure, from the row as it is."""
    owed_micro = max(0, claim.value_micro - claim.charge_micro)
    drawn_micro = min(owed_micro, max(0, found.left_micro))
    more_micro = max(0, min(claim.most_micro - claim.charge_micro, owed_micro - drawn_micro))
    return Given(drawn_micro, claim.charge_micro + more_micro, used=more_micro > 0)


def book(
    tx: Tx,
    found: Allowance,
    terms: AllowanceTerms,
    *,
    hold: str,
    drawn_micro: int,
    short_micro: int,
    charge_micro: int,
    now_us: int,
) -> int:
    """Book what a settled hold draws, its `short_micro` beside it, and its growth; what it drew in total.

    `found` is what `at_settlement` gave in this transaction, under the lock of the account's balance.
    """
    total_micro = drawn_micro + short_micro
    grows = charge_micro > 0 and found.paid
    # Most calls: nothing is drawn, and there is nothing to grow. They write no row here.
    if not total_micro and not (grows and (not found.stored or found.left_micro < found.most(terms))):
        return 0
    account = found.account
    if not found.stored:
        _open(tx, account, found.currency, terms)
    charged_micro = found.charged_micro + charge_micro * grows
    growth_micro = _share(charged_micro, terms) - _share(found.charged_micro, terms)
    room_micro = max(0, found.most(terms) - (found.left_micro - total_micro))
    grown_micro = min(growth_micro, room_micro)
    if total_micro:
        tx.execute(sql.WRITE_DRAW, (hold, account, drawn_micro, short_micro, now_us))
    before = (found.drawn_micro, found.grown_micro, found.charged_micro, found.begun_micro)
    params = (total_micro, grown_micro, charged_micro, found.paid, account, *before)
    if tx.execute(sql.MOVE_ALLOWANCE, params) != 1:
        raise AssertionError(f"the allowance of {account} was changed between two statements of a locked account")
    # Nodes keep in memory who is below 0, and hold whole ceilings for them. Only a change of sides concerns them.
    if (found.left_micro < 0) != (found.left_micro - total_micro + grown_micro < 0):
        db.bump(tx, "allowances")
    return total_micro


def give_back(tx: Tx, hold: str) -> int:
    """Give back what a call drew, once, when its charge is refunded; the micro-units given back now."""
    row = tx.one(sql.RETURN_DRAW, (hold,))
    if row is None:
        return 0
    account, back_micro = str(row[0]), int(row[1]) + int(row[2])
    if tx.execute(sql.RETURN_TO_ALLOWANCE, (back_micro, account)) != 1:
        raise AssertionError(f"there is no allowance of {account}, from which {hold} drew")
    db.bump(tx, "allowances")
    return back_micro


def set_most(tx: Tx, *, account: str, currency: str, terms: AllowanceTerms, most_micro: int | None) -> Allowance:
    """Set the most that this account's allowance holds, None for the shop's own; what is above it goes. The row."""
    _open(tx, account, currency, terms)
    found = read(tx, account) or _gone(account)
    most = terms.most_micro if most_micro is None else most_micro
    # Raised, it is filled: an operator gives it to somebody whom he trusts so far.
    change_micro = most - found.left_micro if most_micro is not None else min(0, most - found.left_micro)
    before = (found.drawn_micro, found.grown_micro, found.returned_micro, found.begun_micro)
    if tx.execute(sql.SET_ALLOWANCE, (most_micro, change_micro, account, *before)) != 1:
        raise AssertionError(f"the allowance of {account} was changed between two statements of a locked account")
    db.bump(tx, "allowances")
    return read(tx, account) or _gone(account)


def prove(tx: Tx) -> list[str]:
    """Findings of I33, one sentence each: drawn and returned are the calls', nothing is drawn that was not there."""
    findings = [
        f"I33 the allowance of {account} gave {drawn} and got back {returned}, its calls say {draws} and {back}"
        for account, drawn, returned, draws, back in tx.all(sql.ALLOWANCES_OTHERWISE)
    ]
    findings += [f"I33 {account} drew more than its allowance had" for (account,) in tx.all(sql.OVERDRAWN_BEYOND)]
    findings += [
        f"I33 the allowance of {account} grew by more than its share" for (account,) in tx.all(sql.GROWN_BEYOND)
    ]
    return findings


def view(found: Allowance | None, terms: AllowanceTerms | None) -> dict[str, Any] | None:
    """What may be shown of an allowance, JSON-able; None where an account has none."""
    if terms is None:
        return None
    if found is None:
        return {"left_micro": terms.begin_micro, "most_micro": terms.most_micro, "drawn_micro": 0}
    return {"left_micro": found.left_micro, "most_micro": found.most(terms), "drawn_micro": found.drawn_micro}


def _share(charged_micro: int, terms: AllowanceTerms) -> int:
    """The growth for so much in total: of the sum, so that many small charges grow as one large one."""
    return charged_micro * terms.growth_percent // 100


def _open(tx: Tx, account: str, currency: str, terms: AllowanceTerms) -> None:
    tx.execute(sql.OPEN_ALLOWANCE, (account, currency, min(terms.begin_micro, terms.most_micro)))


def _gone(account: str) -> Allowance:
    raise AssertionError(f"the allowance of {account} is gone")
