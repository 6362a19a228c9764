"""What keys did: their charges by the account's own day, and when each was used last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from farebox.accounts import zones
from farebox.accounts.models import ApiKey
from farebox.kit.db import Tx

from . import refunds
from .models import Call, DayTotal


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a key."""

    day: str
    calls: int
    input_tokens: int
    output_tokens: int
    charge_micro: int


def own(account: str, from_day: str, until_day: str = "") -> Any:
    """The totals of an account's own days from and until which, both included; each with its day as `at`."""
    rows = DayTotal.objects.annotate(at=Coalesce("own_day", "day"))
    # By the UTC day beside too, which the index has.
    rows = rows.filter(account=account, day__gte=zones.later(from_day, -1), at__gte=from_day)
    if until_day:
        rows = rows.filter(day__lte=zones.later(until_day, 1), at__lte=until_day)
    return rows.order_by()


def spent(tx: Tx, account: str, keys: Sequence[str], *, from_day: str) -> dict[str, dict[str, int]]:
    """Micro-units charged by key and the account's day, from `from_day` on."""
    out: dict[str, dict[str, int]] = {}
    rows = (
        own(account, from_day).filter(key__in=keys).values_list("key", "at").annotate(charge_micro=Sum("charge_micro"))
    )
    for key, day, charge_micro in rows:
        out.setdefault(key, {})[day] = charge_micro
    for each in refunds.of_days(tx, account, from_day=from_day):
        if each.key in out:
            out[each.key][each.day] = out[each.key].get(each.day, 0) - each.amount_micro
    return out


def days(tx: Tx, account: str, key: str, *, from_day: str) -> dict[str, Day]:
    """The days of a key that had calls, from `from_day` on."""
    rows = (
        own(account, from_day)
        .filter(key=key)
        .values("at")
        .annotate(
            n=Sum("calls"), tokens_in=Sum("input_tokens"), tokens_out=Sum("output_tokens"), micro=Sum("charge_micro")
        )
        .order_by("at")
    )
    found = {row["at"]: Day(row["at"], row["n"], row["tokens_in"], row["tokens_out"], row["micro"]) for row in rows}
    for each in refunds.of_days(tx, account, from_day=from_day):
        if each.key == key and each.day in found:
            day = found[each.day]
            found[each.day] = replace(day, charge_micro=day.charge_micro - each.amount_micro)
    return found


def last_used_us(tx: Tx, keys: Sequence[str]) -> dict[str, int]:
    """When the last call of each key began; one look into an index a key, however many calls there are."""
    del tx
    last = Call.objects.filter(key=OuterRef("id")).order_by("-id").values("opened_us")[:1]
    rows = ApiKey.objects.filter(id__in=keys).annotate(used_us=Subquery(last)).values_list("id", "used_us")
    return {key: at_us for key, at_us in rows if at_us is not None}
