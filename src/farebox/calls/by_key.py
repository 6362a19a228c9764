"""What keys did: their charges by UTC day, and when each was used last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery, Sum

from farebox.accounts.models import ApiKey
from farebox.kit.db import Tx

from .models import Call, DayTotal


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of a key."""

    day: str
    calls: int
    input_tokens: int
    output_tokens: int
    charge_micro: int


def spent(tx: Tx, account: str, keys: Sequence[str], *, from_day: str) -> dict[str, dict[str, int]]:
    """Micro-units charged by key and UTC day, from `from_day` on."""
    del tx  # the ORM reads in the same transaction
    out: dict[str, dict[str, int]] = {}
    rows = (
        DayTotal.objects.filter(account=account, day__gte=from_day, key__in=keys)
        .values_list("key", "day")
        .annotate(charge_micro=Sum("charge_micro"))
    )
    for key, day, charge_micro in rows:
        out.setdefault(key, {})[day] = charge_micro
    return out


def days(tx: Tx, account: str, key: str, *, from_day: str) -> dict[str, Day]:
    """The days of a key that had calls, from `from_day` on."""
    del tx
    rows = (
        DayTotal.objects.filter(account=account, day__gte=from_day, key=key)
        .values("day")
        .annotate(
            n=Sum("calls"), tokens_in=Sum("input_tokens"), tokens_out=Sum("output_tokens"), micro=Sum("charge_micro")
        )
        .order_by("day")
    )
    return {row["day"]: Day(row["day"], row["n"], row["tokens_in"], row["tokens_out"], row["micro"]) for row in rows}


def last_used_us(tx: Tx, keys: Sequence[str]) -> dict[str, int]:
    """When the last call of each key began; one look into an index a key, however many calls there are."""
    del tx
    last = Call.objects.filter(key=OuterRef("id")).order_by("-id").values("opened_us")[:1]
    rows = ApiKey.objects.filter(id__in=keys).annotate(used_us=Subquery(last)).values_list("id", "used_us")
    return {key: at_us for key, at_us in rows if at_us is not None}
