"""What was forgiven of calls: by account, model, channel or cause, from the totals of UTC days."""

from __future__ import annotations

from dataclasses import dataclass

from farebox.kit.db import Tx

from . import sql

DRAWS_READ = 1000


@dataclass(slots=True)
class Forgiven:
    """How many calls were forgiven something, how much of their value, and how much of that allowances gave."""

    key: str
    calls: int = 0
    forgiven_micro: int = 0
    drawn_micro: int = 0

    def add(self, other: Forgiven) -> None:
        """Take another one in."""
        self.calls += other.calls
        self.forgiven_micro += other.forgiven_micro
        self.drawn_micro += other.drawn_micro


@dataclass(frozen=True, slots=True)
class OfKey:
    """What calls of one key, by one member, drew from their account's allowance; `last` is the newest of them."""

    key: str
    member: str
    calls: int
    forgiven_micro: int
    drawn_micro: int
    last: str


def by_key(tx: Tx, account: str) -> list[OfKey]:
    """The newest calls that drew from an account's allowance, by key and member, those that drew most first."""
    return [
        OfKey(str(key), str(member), int(calls), int(forgiven_micro or 0), int(drawn_micro or 0), str(last))
        for key, member, calls, forgiven_micro, drawn_micro, last in tx.all(sql.DRAWN_BY_KEY, (account, DRAWS_READ))
    ]


def read(tx: Tx, by: str, *, currency: str, from_day: str, until_day: str) -> list[Forgiven]:
    """By `by` (`account`, `model`, `channel` or `cause`), the most first; days such as `2026-11-24`, both included."""
    rows = tx.all(sql.FORGIVEN[by], (from_day, until_day))
    found = [
        Forgiven(str(key), int(calls), int(forgiven_micro), int(drawn_micro))
        for key, of, calls, forgiven_micro, drawn_micro in rows
        if of == currency
    ]
    return sorted(found, key=lambda row: (-row.forgiven_micro, row.key))
