"""What was refunded by hand, as the calls' own sums see it: taken off the day, key and model of the call it was for.

A settlement's day total keeps the charge; who shows a sum to a customer takes these off, as receipt and request log do.
"""

from __future__ import annotations

from dataclasses import dataclass

from farebox.accounts import zones
from farebox.kit.db import Tx
from farebox.ledger import given

from .models import Call

_AT_ONCE = 500
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Refunded:
    """What was given back of one call: the call's own day, moment, project, key and model."""

    day: str
    opened_us: int
    project: str
    key: str
    model: str
    amount_micro: int


def of_days(tx: Tx, account: str, *, from_day: str, until_day: str = "") -> list[Refunded]:
    """Refunds by hand of calls on the account's own days from and until which, both included."""
    # A call is refunded after it began, and no zone is more than a day away from UTC.
    found = since(tx, account, from_us=zones.begin_us(from_day, "UTC") - _DAY_US)
    return [each for each in found if from_day <= each.day and (not until_day or each.day <= until_day)]


def since(tx: Tx, account: str, *, from_us: int) -> list[Refunded]:
    """Refunds by hand of calls that began at this moment or later."""
    by_call = given.since(tx, account, from_us=from_us)
    if not by_call:
        return []
    zone, ids = zones.of(tx, account), list(by_call)
    out = []
    for at in range(0, len(ids), _AT_ONCE):
        rows = Call.objects.filter(id__in=ids[at : at + _AT_ONCE], account=account, opened_us__gte=from_us)
        for call, opened_us, project, key, model in rows.values_list("id", "opened_us", "project", "key", "model"):
            out.append(Refunded(zones.day(opened_us, zone), opened_us, project, key, model, by_call[call]))
    return out
