"""Forget on time: diagnostics go after the promised days, receipts stay for ever (money.md 1.11)."""

from __future__ import annotations

from farebox.kit import ids
from farebox.kit.db import Tx

from . import statements

_DAY_US = 86_400_000_000


def forget(tx: Tx, *, older_than_us: int, at_most: int = 1000) -> int:
    """Drop the diagnostics of calls opened before `older_than_us`, `at_most` of them; how many were dropped."""
    edge = "call_" + ids.base62(older_than_us, 9)
    start = "call_" + ids.base62(max(0, older_than_us - 30 * _DAY_US), 9)
    return tx.execute(statements.FORGET_DIAGNOSTICS, (edge, start, at_most))
