"""The house's rules that import contracts cannot see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import farebox

ROOT = Path(farebox.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)
SQL = re.compile(r"^\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM)\s", re.IGNORECASE | re.DOTALL)
# What a database says of itself is no table of a room, and reads differently on each.
OF_ITSELF = re.compile(r"\b(sqlite_master|pg_class|pg_constraint)\b")
ROOMS = ("kit", "ledger", "catalog", "accounts", "upstreams", "calls", "payments")
# Tables of a lower floor that a room may read for its proof: it compares its own rows with them.
READS_BELOW = {"calls": {"ledger"}}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_lives_in_statements_and_names_only_its_room(path: Path) -> None:
    for text in strings(path):
        if not SQL.match(text) or OF_ITSELF.search(text):
            continue
        assert path.name == "statements.py", f"SQL outside statements.py: {text[:60]!r}"
        own = room_of(path)
        named = {room for room in ROOMS if re.search(rf"\b{room}_[a-z]", text)}
        reading = bool(re.match(r"\s*SELECT", text))
        allowed = {own} | (READS_BELOW.get(own, set()) if reading else set())
        assert named <= allowed, f"{own} names tables of {named - allowed}: {text[:60]!r}"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in {"ledger", "catalog", "payments"} or path == ROOT / "kit" / "money.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_float_in_the_money_rooms(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"line {node.lineno}: a float"
        assert not (isinstance(node, ast.Name) and node.id == "float"), f"line {node.lineno}: float"
        division = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)
        if division and "Path" not in path.read_text(encoding="utf-8"):
            raise AssertionError(f"line {node.lineno}: true division; money divides with // and says how it rounds")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_do_not_occur(path: Path) -> None:
    """One word, one meaning: identifiers never say what the glossary replaced. The sandbox speaks another's words."""
    if "sandbox" in path.parts:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
        if isinstance(name, str):
            assert not re.search(r"user_id|ratio(?!n)|wallet|(?<!in)quota(?!_name)", name), f"{name} in {path.name}"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in {"ledger"} or path.relative_to(ROOT).as_posix() in {
        "catalog/pricing.py", "catalog/usage.py", "gateway/serve.py", "gateway/purse.py", "gateway/hold.py"}],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_the_money_path_asks_its_ports_for_time_and_chance(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            assert not names & {"time", "random", "uuid", "secrets", "socket", "os"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"create_task", "environ"}, f"line {node.lineno}: {node.attr}"
            if isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("datetime", "now"), ("asyncio", "sleep")}, (
                    f"line {node.lineno}"
                )


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) in {"console", "office"}], ids=str)
def test_pages_write_nothing_by_themselves(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\.(save|create|bulk_create|update|delete|get_or_create)\(", text)
    assert "signals" not in text
