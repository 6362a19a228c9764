"""Every SQL text of every room is understood by both databases, on the freshly migrated schema."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import pytest

import farebox

pytestmark = pytest.mark.store


def texts() -> list[tuple[str, str]]:
    found = []
    for room in pkgutil.iter_modules(farebox.__path__, "farebox."):
        if not room.ispkg:
            continue
        try:
            module = importlib.import_module(f"{room.name}.statements")
        except ModuleNotFoundError:
            continue
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_") and isinstance(value, str):
                found.append((f"{room.name}.{name}", value))
    return found


@pytest.mark.parametrize(("name", "sql"), texts(), ids=lambda value: value if value.startswith("farebox.") else "")
def test_the_database_understands(shared_house: Any, name: str, sql: str) -> None:
    from django.db import connection

    if connection.vendor == "sqlite" and "ANY(%s)" in sql:
        assert "FOR UPDATE" in sql  # locks rows, which only PostgreSQL does
        return
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + re.sub(r"(?<!%)%s", "NULL", sql).replace("%%", "%"))
        assert cursor.fetchall()


def test_there_are_statements() -> None:
    assert {name.split(".")[1] for name, _ in texts()} >= {"kit", "ledger", "accounts", "calls"}
