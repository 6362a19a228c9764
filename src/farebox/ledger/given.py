"""What people gave back of charges, by call and by time, as far as it was not undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet, Sum

from farebox.kit.db import Tx

from .models import Adjustment, Entry


class Refund(NamedTuple):
    """A refund by hand: of which call of which account, how much, and when it was booked."""

    account: str
    call: str
    currency: str
    amount_micro: int
    at_us: int


def by_call(tx: Tx, account: str, calls: Sequence[str]) -> dict[str, int]:
    """Micro-units given back by hand of these calls of an account; calls without are left out."""
    del tx  # the ORM reads in the same transaction
    rows = _booked().filter(account=account, call__in=list(calls)).order_by()
    return {call: int(given) for call, given in rows.values_list("call").annotate(Sum("booked_micro"))}


def since(tx: Tx, account: str, *, from_us: int) -> dict[str, int]:
    """Micro-units given back by hand of an account's calls, as far as that was booked at this moment or later."""
    del tx  # the ORM reads in the same transaction
    rows = _booked().filter(account=account, decided_us__gte=from_us).order_by()
    return {call: int(given) for call, given in rows.values_list("call").annotate(Sum("booked_micro"))}


def between(tx: Tx, from_us: int, until_us: int) -> list[Refund]:
    """The refunds that were booked in a span of time."""
    del tx  # the ORM reads in the same transaction
    rows = _booked().filter(decided_us__gte=from_us, decided_us__lt=until_us).order_by("decided_us")
    return [
        Refund(row.account, row.call, row.currency, int(row.booked_micro or 0), int(row.decided_us or 0))
        for row in rows
    ]


def _booked() -> QuerySet[Adjustment]:
    undone = Entry.objects.filter(account=OuterRef("account"), kind="reversal", ref=OuterRef("entry"))
    return Adjustment.objects.filter(kind="refund", state="booked").exclude(Exists(undone))
