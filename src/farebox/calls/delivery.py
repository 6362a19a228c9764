"""Which whole answers have left us, and what is given back for those that had not when the process died (R25).

A stream needs no mark: its text was delivered before its charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farebox.kit import ids
from farebox.kit.db import Tx

from . import log, sql

LAST_US = 5_000_000  # what a dead process settled earlier than this before its last settlement was delivered


def mark(tx: Tx, calls: Sequence[str], *, now_us: int) -> None:
    """Note that the answers of these calls have left."""
    for call in calls:
        tx.execute(sql.MARK_DELIVERED, (now_us, call))


def first_from(from_us: int) -> str:
    """The smallest id of a call whose request began at `from_us` or later."""
    return "call_" + ids.base62(max(0, from_us), 9)


def oldest_us(calls: Iterable[str], *, now_us: int) -> int:
    """When the oldest of these calls began, `now_us` if there is none; microseconds."""
    first = min(calls, default="")
    return ids.time_us(first) if first else now_us


def undelivered(tx: Tx, epoch: str, *, first: str, waited_us: int) -> list[tuple[str, str]]:
    """(call, account) of the charged answers that a dead epoch has left without a mark in its last 5 s.

    Calls whose id is smaller than `first` are not looked at. A settlement is as old as its commit, which may come up
    to `waited_us` after the end that is in its row.
    """
    row = tx.one(sql.LAST_SETTLED, (first, epoch))
    if row is None or row[0] is None:
        return []
    rows = tx.all(sql.UNDELIVERED, (first, epoch, int(row[0]) - LAST_US - waited_us))
    return [(str(found[0]), str(found[1])) for found in rows]


def refund(tx: Tx, call: str, account: str, *, now_us: int) -> int:
    """Give back what an answer was charged that never left, once; the micro-units given back now."""
    if tx.one(sql.DELIVERED, (call,)) is not None:  # its process lives after all
        return 0
    return log.give_back(tx, call, account, now_us=now_us)
