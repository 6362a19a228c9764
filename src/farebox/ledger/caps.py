"""What people gave back of a call is no longer counted by its caps: a cap counts net charges (promises 1.8, I04)."""

from __future__ import annotations

from farebox.kit.db import Tx

from . import chart, sql


def give_back(tx: Tx, *, call: str, amount_micro: int) -> None:
    """Let every cap that the call's hold names count `amount_micro` less; under the lock of its ledger account."""
    for purse in _caps(tx, call):
        # In the period of the call, whose memo account the hold names, even if that is over: the cap of today has not
        # paid for it.
        if tx.execute(sql.REFUND_CAP, (amount_micro, purse)) != 1:
            raise AssertionError(f"there is no memo account {purse} of hold {call}")


def count_again(tx: Tx, *, adjustment: str) -> None:
    """Let the caps count once more what this refund had given back, because it was undone."""
    row = tx.one(sql.READ_REFUND, (adjustment,))
    if row is None:
        return
    call, amount_micro = str(row[0]), int(row[1])
    for purse in _caps(tx, call):
        if tx.execute(sql.SPEND_AGAIN, (amount_micro, amount_micro, amount_micro, purse)) != 1:
            raise AssertionError(f"there is no memo account {purse} of hold {call}")


def _caps(tx: Tx, call: str) -> list[str]:
    """The memo accounts of a hold, ascending as every writer locks them."""
    row = tx.one(sql.READ_HOLD, (call,))
    return [] if row is None else sorted(purse for purse in str(row[3]).split() if chart.is_memo(purse))
