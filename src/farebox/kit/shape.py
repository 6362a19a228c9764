"""The shape of a store: tables, columns, constraints, triggers; as they are, and as this version makes them (F42)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from . import triggers

_SHOWN_MAX = 4
BOOKKEEPING = frozenset({"django_migrations", "sqlite_sequence"})

# What the databases say of themselves: sqlite.org/schematab.html; PostgreSQL, chapter 51 (system catalogs).
_SQLITE_COLUMNS = """
SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
"""
_SQLITE_NAMES = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_PG_COLUMNS = """
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
AND NOT a.attisdropped
"""
_PG_NAMES = """
SELECT 'constraint', conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND convalidated
UNION ALL
SELECT 'index', c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND i.indisvalid
UNION ALL
SELECT 'trigger', t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
"""
_CONSTRAINT = re.compile(r'CONSTRAINT "([^"]+)"')


@dataclass(slots=True)
class Shape:
    """Columns by table, and the names of constraints and indexes together, and of triggers that are switched on."""

    columns: dict[str, set[str]] = field(default_factory=dict)
    rules: set[str] = field(default_factory=set)
    triggers: set[str] = field(default_factory=set)


def real(connection: Any) -> Shape:
    """The shape of the store behind one of Django's connections."""
    shape = Shape()
    on_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE_COLUMNS if on_sqlite else _PG_COLUMNS)
        for table, column in cursor.fetchall():
            shape.columns.setdefault(table, set()).add(column)
        cursor.execute(_SQLITE_NAMES if on_sqlite else _PG_NAMES)
        for kind, name, *sql in cursor.fetchall():
            if kind == "trigger":
                shape.triggers.add(name)
            elif kind == "table":
                shape.rules.update(_CONSTRAINT.findall(sql[0]))
            else:
                shape.rules.add(name)
    return shape


@functools.cache
def migrations() -> MigrationLoader:
    """The migrations of the program, read from their files once a process: nothing that asks for them takes as long."""
    return MigrationLoader(None)


@functools.cache
def meant(vendor: str) -> Shape:
    """The shape that this version's models and migrations make."""
    migrations()  # they say which tables have triggers
    shape = Shape()
    for model in apps.get_models(include_auto_created=True):
        facts = model._meta
        if facts.managed and not facts.proxy:
            shape.columns[facts.db_table] = {str(each.column) for each in facts.local_concrete_fields}
            shape.rules.update(rule.name for rule in facts.constraints)
            shape.rules.update(index.name for index in facts.indexes)
    for table in triggers.KEPT:
        shape.triggers.update(triggers.names(table, vendor))
    return shape


def differences(found: Shape, wanted: Shape) -> list[str]:
    """What of our tables is not as it should be, one clause each; tables of others do not count."""
    out = []
    for table, columns in sorted(wanted.columns.items()):
        have = found.columns.get(table)
        if have is None:
            out.append(f"table {table} is missing")
            continue
        out += [f"column {table}.{column} is missing" for column in sorted(columns - have)]
        out += [f"column {table}.{column} is not known" for column in sorted(have - columns)]
    out += [f"constraint {name} is missing" for name in sorted(wanted.rules - found.rules)]
    out += [f"trigger {name} is missing or off" for name in sorted(wanted.triggers - found.triggers)]
    return out


def shown(clauses: list[str]) -> str:
    """The first few clauses, and how many more there are."""
    more = len(clauses) - _SHOWN_MAX
    return "; ".join(clauses[:_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")


def tables_of_file(file: Path) -> set[str]:
    """The tables in an SQLite file, which is opened for reading alone: nothing in it changes. sqlite.Error."""
    connection = sqlite.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return {str(row[0]) for row in connection.execute(_SQLITE_TABLES)}
    finally:
        connection.close()


def strange(tables: set[str], wanted: Shape) -> list[str]:
    """The tables of another program, if the store is not ours: it has some, and none that only Farebox makes."""
    if "kit_version" in tables:
        return []
    return sorted(tables - wanted.columns.keys() - BOOKKEEPING)
