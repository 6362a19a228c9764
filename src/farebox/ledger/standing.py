"""What is held at this moment, over all accounts, and which are frozen."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, Min, Sum

from farebox.kit.db import Tx

from . import sql
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


def frozen_before_migration() -> list[str]:
    """Ledger accounts that are frozen for their drift, by id, in a store that an earlier version may have made."""
    table = LedgerAccount._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return []
        columns = {column.name for column in connection.introspection.get_table_description(cursor, table)}
        if "frozen" not in columns:
            return []
        cursor.execute(sql.FROZEN)
        return [str(row[0]) for row in cursor.fetchall()]
