"""The receipt of a call as people read it: what `log.receipt` says, recomputed, with its times; and the first one seen.

The same for the customer's console and the operator's office; upstreams and costs are in neither.
"""

from __future__ import annotations

import re
from typing import Any

from farebox.catalog import pricing, rules
from farebox.kit import ids, money
from farebox.kit.db import Tx

from . import log, sql
from .scope import CallScope

_CALL_ID = re.compile(r"call_[0-9A-Za-z]{25}\Z")


def is_id(text: str) -> bool:
    """Whether `text` looks like the id of a call."""
    return bool(_CALL_ID.match(text))


def read(tx: Tx, call: str, scope: CallScope) -> dict[str, Any] | None:
    """The receipt of a call within `scope`, or None.

    Beside `log.receipt`: `sum`, the exact sum of the lines as a text, and `rounded_micro`; `due_micro`, the charge that
    its own facts give, which is the charge (None while it runs); `free`, whether the rule makes it free; `times` in
    milliseconds: until the first attempt, until the first byte, in total.
    """
    found = log.receipt(tx, call, scope.account)
    if found is None or not scope.sees(found):
        return None
    numerator = sum(line["units"] * line["price_micro_per_million"] for line in found["lines"])
    found["sum"] = pricing.fraction(numerator)
    found["rounded_micro"] = money.per_million_up(numerator)
    found["due_micro"] = None
    if found["outcome"] != "open":
        found["due_micro"] = pricing.due(log.facts(found)).charge_micro
    free = found["rule"] in rules.of(found["rule_version"]).free
    found["free"] = free and "allowance_used" not in found["flags"]
    found["times"] = _times(tx, found)
    return found


def saw(tx: Tx, account: str, call: str, *, now_us: int) -> bool:
    """Note that somebody of the account has looked at a receipt; whether it was the first time."""
    return tx.execute(sql.SAW, (account, call, now_us)) == 1


def seen(tx: Tx, account: str) -> bool:
    """Whether somebody of the account has ever looked at a receipt."""
    return tx.one(sql.SEEN, (account,)) is not None


def _times(tx: Tx, found: dict[str, Any]) -> dict[str, int | None]:
    began_us = ids.time_us(found["id"])
    rows = log.attempts(tx, found["id"])
    first_us = rows[0]["started_us"] if rows else None
    byte_us = rows[-1]["first_byte_us"] if rows else None
    return {
        "queue_ms": _ms(began_us, first_us),
        "first_byte_ms": _ms(began_us, byte_us),
        "total_ms": _ms(began_us, found["ended_us"]),
    }


def _ms(from_us: int, until_us: int | None) -> int | None:
    return None if until_us is None else max(0, (until_us - from_us) // 1000)
