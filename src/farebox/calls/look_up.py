"""Customers' calls as operators see them; who may see but leaves a trace is written down (security 1)."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Sum

from farebox.accounts.models import Account
from farebox.kit import audit
from farebox.kit.db import Tx

from . import log, receipts
from .models import Call, DayTotal
from .scope import CallScope


def calls(tx: Tx, account: str, *, before: str = "", limit: int = 50, actor: str, logged: bool) -> list[dict[str, Any]]:
    """Calls of an account, newest first; where `logged`, the trail says that `actor` has read them."""
    if logged:
        audit.record(tx, actor=actor, verb="calls.read", object=account)
    return log.recent(tx, account=account, key=None, before=before or None, limit=limit)


def account_of(tx: Tx, call: str) -> str | None:
    """The account whose call this is, or None; the shop's own calls are nobody's."""
    del tx  # the ORM reads in the same transaction
    rows = Call.objects.filter(id=call, account__in=Account.objects.filter(kind="customer").values("id"))
    return rows.values_list("account", flat=True).first()


def receipt(tx: Tx, call: str, account: str, *, actor: str, logged: bool) -> dict[str, Any] | None:
    """The receipt of a call, or None; where `logged` it is noted.

    For operators' eyes beside: its attempts (`tries`), and the upstream's usage report as it came (`told`).
    """
    found = receipts.read(tx, call, CallScope(account))
    if found is None:
        return None
    if logged:
        audit.record(tx, actor=actor, verb="receipt.read", object=account, after={"call": call})
    return found | {"tries": log.attempts(tx, call), "told": log.reported(tx, call, account)}


def totals(tx: Tx, by: str, *, from_day: str, until_day: str) -> list[dict[str, Any]]:
    """Sums of these UTC days, both included, by `day`, `account`, `model` or `channel`, and by currency."""
    del tx  # the ORM reads in the same transaction
    rows = DayTotal.objects.filter(day__gte=from_day, day__lte=until_day).annotate(name=F(by))
    sums = ("calls", "charge_micro", "cost_micro", "input_tokens", "output_tokens")
    grouped = rows.values("name", "currency", "cost_currency").annotate(**{f"sum_{each}": Sum(each) for each in sums})
    return [
        {name.removeprefix("sum_"): value for name, value in row.items()}
        for row in grouped.order_by("name", "currency", "cost_currency")
    ]
