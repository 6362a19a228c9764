"""Forget on time: diagnostics go after the promised days, receipts stay for ever (promises 1.11)."""

from __future__ import annotations

from farebox.kit import ids
from farebox.kit.db import Tx

from . import sql

_MARK = "forgotten"


def forget(tx: Tx, *, older_than_us: int, at_most: int = 1000) -> int:
    """Drop timings and error texts of the next `at_most` calls opened before `older_than_us`; how many calls it were.

    Goes on where the last run ended, by the calls' primary key; what an upstream said of an attempt goes with them.
    """
    found = tx.one(sql.READ_MARK, (_MARK,))
    after = str(found[0]) if found else ""
    row = tx.one(sql.LAST_TO_FORGET, (after, "call_" + ids.base62(max(0, older_than_us), 9), at_most))
    if row is None or row[0] is None:
        return 0
    last = str(row[0])
    tx.execute(sql.FORGET_ATTEMPTS, (after, last))
    forgotten = tx.execute(sql.FORGET_CALLS, (after, last))
    tx.execute(sql.MOVE_MARK, (_MARK, last))
    return forgotten
