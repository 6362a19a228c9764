"""`Idempotency-Key`: a request sent again is never a second charge (promises 1.15, R26, I26).

The scope is the project; the text is kept as a digest, for 24 hours. Answers are not stored: who asks again gets the
id of the first call. A key whose call cost nothing and delivered nothing is free again.
"""

from __future__ import annotations

import hashlib

from farebox.kit.db import Tx
from farebox.kit.errors import Conflict

from . import sql

KEPT_US = 24 * 3600 * 1_000_000


def ident(project: str, text: str) -> str:
    """What a key is called in the store: a digest of project and text."""
    return hashlib.sha256(f"{project}\0{text}".encode()).hexdigest()[:48]


def check(tx: Tx, *, key: str, call: str, now_us: int) -> str | None:
    """The call that used this key last, if `call` may take it over; None if nobody did. Conflict otherwise."""
    row = tx.one(sql.READ_ONCE, (key,))
    if row is None:
        return None
    first, at_us = str(row[0]), int(row[1])
    if first == call or now_us - at_us >= KEPT_US or _is_free(tx, first):
        return first
    return _refuse(first, running=_is_open(tx, first))


def take(tx: Tx, *, key: str, call: str, before: str | None, now_us: int) -> None:
    """Note that `call` uses this key now, after `before`, which `check` has just named in the same transaction."""
    if tx.execute(sql.TAKE_ONCE, (key, call, now_us, before or "")) != 1:
        raise AssertionError("an idempotency key changed hands while its account was locked")


def forget(tx: Tx, *, now_us: int, at_most: int = 1000) -> int:
    """Drop keys older than 24 hours; how many, `at_most` of them."""
    return tx.execute(sql.FORGET_ONCE, (now_us - KEPT_US, at_most))


def _is_open(tx: Tx, call: str) -> bool:
    row = tx.one(sql.READ_END, (call,))
    return row is not None and row[0] == "open"


def _is_free(tx: Tx, call: str) -> bool:
    row = tx.one(sql.READ_END, (call,))
    if row is None:
        return True
    outcome, status, charge_micro, flags = row
    if outcome == "open":
        return False
    if charge_micro:
        return "refunded" in str(flags).split()
    return outcome == "left" or status is None or status >= 400


def _refuse(first: str, *, running: bool) -> str:
    if running:
        raise Conflict(
            f"The call {first} with the same Idempotency-Key is still running. Wait for its end.", retry_after_s=1
        )
    raise Conflict(
        f"The call {first} with the same Idempotency-Key has ended; its answer is not kept, and it is not charged "
        f"again. Its receipt is at /v1/calls/{first}, for the API key that made it. Use another Idempotency-Key for "
        "another call."
    )
