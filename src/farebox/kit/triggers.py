"""Triggers that refuse to change what must stay, written once for both databases (promises 1.3, I02, I24)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

# Tables that a loaded migration keeps: their triggers must be there (kit.shape).
KEPT: set[str] = set()


def names(table: str, vendor: str) -> list[str]:
    """The names of a kept table's triggers."""
    if vendor == "sqlite":
        return [f"{table}_no_update", f"{table}_no_delete"]
    return [f"{table}_no_change"]


def keep(table: str, *, columns: Sequence[str] = ()) -> tuple[Callable[..., None], Callable[..., None]]:
    """The two functions for `migrations.RunPython` that make the rows of `table` append-only, and undo it.

    With `columns`, updates of other columns stay allowed. Only UPDATE and DELETE are refused: no trigger of ours runs
    on INSERT.
    """
    KEPT.add(table)

    def forwards(_apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "sqlite":
            of = f" OF {', '.join(columns)}" if columns else ""
            for verb, scope in (("UPDATE", of), ("DELETE", "")):
                editor.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb}{scope} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
            return
        editor.execute(
            f"CREATE FUNCTION {table}_keep() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$"
        )
        of = f" OF {', '.join(columns)}" if columns else ""
        editor.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE{of} OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_keep()"
        )

    def backwards(_apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "sqlite":
            for verb in ("update", "delete"):
                editor.execute(f"DROP TRIGGER {table}_no_{verb}")
            return
        editor.execute(f"DROP TRIGGER {table}_no_change ON {table}")
        editor.execute(f"DROP FUNCTION {table}_keep()")

    return forwards, backwards
