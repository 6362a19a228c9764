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
            module = importlib.import_module(f"{room.name}.sql")
        except ModuleNotFoundError:
            continue
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_") and isinstance(value, str):
                found.append((f"{room.name}.{name}", value))
    return found


def test_the_database_understands(shared_instance: Any) -> None:
    from django.db import Error, connection

    misunderstood = {}
    with connection.cursor() as cursor:
        for name, sql in texts():
            if connection.vendor == "sqlite" and "ANY(%s)" in sql:
                assert "FOR UPDATE" in sql, name  # locks rows, which only PostgreSQL does
                continue
            try:
                cursor.execute("EXPLAIN " + re.sub(r"(?<!%)%s", "NULL", sql).replace("%%", "%"))
                assert cursor.fetchall(), name
            except Error as fault:
                misunderstood[name] = str(fault)
    assert misunderstood == {}


def test_there_is_sql() -> None:
    assert {name.split(".")[1] for name, _ in texts()} >= {"kit", "ledger", "accounts", "calls"}
