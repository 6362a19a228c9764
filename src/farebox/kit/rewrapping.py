"""Sealed texts of the store moved under another master key, a batch a transaction, while everything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models

from . import secrets
from .db import Tx
from .errors import CommandError
from .secrets import Keys

AT_ONCE = 100


@dataclass(slots=True)
class Batch:
    """One batch: where the next begins (None after the last), how many rows it looked at and moved.

    `left`: sealed under another key than that of now all the same, since it was only counted. `lost` are those that no
    key of the file opens: they are no reason to keep a key.
    """

    last: str | int | None
    seen: int = 0
    moved: int = 0
    left: int = 0
    lost: int = 0


# step(tx, master, after, move): the rows after this one; with `move` False they are only counted.
Walk = Callable[[Tx, Keys, "str | int | None", bool], Batch]


def column(model: type[models.Model], name: str) -> Walk:
    """The walk over a column of sealed texts, bound to its table, its name and the row's key; empty ones are none."""
    table = model._meta.db_table

    def walk(tx: Tx, master: Keys, after: str | int | None, move: bool) -> Batch:
        del tx  # the ORM works in the same transaction
        rows = batch(model._default_manager.exclude(**{name: ""}), after, move=move)
        step = Batch(rows[-1].pk if len(rows) == AT_ONCE else None, seen=len(rows))
        for row in rows:
            before = getattr(row, name)
            after_ = moved(before, master, step, move=move, table=table, column=name, row=str(row.pk))
            if after_ != before:
                model._default_manager.filter(pk=row.pk, **{name: before}).update(**{name: after_})
        return step

    return walk


def batch(rows: models.QuerySet[Any], after: str | int | None, *, move: bool) -> list[Any]:
    """The next rows in the order of their keys; nobody changes them meanwhile if they are to `move`."""
    later = rows if after is None else rows.filter(pk__gt=after)
    return list((later.select_for_update() if move else later).order_by("pk")[:AT_ONCE])


def moved(sealed: str, master: Keys, step: Batch, *, move: bool, table: str, column: str, row: str) -> str:
    """The text under the key of now if it can and must be moved, else as it is; counted in `step`."""
    try:
        if secrets.sealed_under(sealed) == master.mints:
            return sealed
        fresh = secrets.rewrap(master, sealed, table=table, column=column, row=row)
    except CommandError:
        step.lost += 1
        return sealed
    if not move:
        step.left += 1
        return sealed
    step.moved += 1
    return fresh
