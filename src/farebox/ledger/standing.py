"""What is held at this moment, over all accounts."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Min, Sum

from farebox.kit.db import Tx

from .models import Hold, LedgerAccount


@dataclass(frozen=True, slots=True)
class Standing:
    """Open holds: how many, since when the oldest (None without any), and micro-units held by currency."""

    holds: int
    oldest_us: int | None
    held_micro: dict[str, int]


def now(tx: Tx) -> Standing:
    """The holds that are open, by their index; sums from the ledger accounts of customers."""
    del tx  # the ORM reads in the same transaction
    found = Hold.objects.filter(state="open").aggregate(holds=Count("id"), oldest_us=Min("placed_us"))
    held = (
        LedgerAccount.objects.filter(kind="customer", held_micro__gt=0)
        .values_list("currency")
        .annotate(Sum("held_micro"))
        .order_by("currency")
    )
    return Standing(found["holds"], found["oldest_us"], dict(held))
