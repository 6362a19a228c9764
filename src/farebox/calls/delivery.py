"""Which whole answers have left us, and what is given back for those that had not when the process died (R25).

A stream needs no mark: its text was delivered before its charge.
"""

from __future__ import annotations

from collections.abc import Sequence

from farebox.kit import ids
from farebox.kit.db import Tx
from farebox.ledger import holds

from . import log, statements

LAST_US = 5_000_000  # what a dead process settled earlier than this before its last settlement was delivered


def mark(tx: Tx, calls: Sequence[str], *, now_us: int) -> None:
    """Note that the answers of these calls have left."""
    for call in calls:
        tx.execute(statements.MARK_DELIVERED, (now_us, call))


def undelivered(tx: Tx, epoch: str, *, from_us: int) -> list[tuple[str, str]]:
    """(call, account) of the charged answers that a dead epoch has left without a mark in its last 5 s.

    Calls opened before `from_us` are not looked at.
    """
    first = "call_" + ids.base62(max(0, from_us), 9)
    row = tx.one(statements.LAST_SETTLED, (first, epoch))
    if row is None or row[0] is None:
        return []
    rows = tx.all(statements.UNDELIVERED, (first, epoch, int(row[0]) - LAST_US))
    return [(str(found[0]), str(found[1])) for found in rows]


def refund(tx: Tx, call: str, account: str, *, now_us: int) -> int:
    """Give back what an answer was charged that never left, once; the micro-units given back now."""
    found = tx.one(statements.READ_CALL, (call, account))
    if found is None or tx.one(statements.DELIVERED, (call,)) is not None:  # its process lives after all
        return 0
    facts = log.as_dict(found)
    return log.give_back(
        tx,
        call=call,
        account=account,
        project=facts["project"],
        key=facts["key"],
        model=facts["model"],
        currency=facts["currency"],
        opened_us=facts["opened_us"],
        now_us=now_us,
    )


def purses(tx: Tx, call: str) -> list[str]:
    """The purses that `refund` changes, for the committer to lock in order."""
    return holds.purses(tx, call)
