"""Rules of the code that import contracts cannot see."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import farebox

ROOT = Path(farebox.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)
SQL = re.compile(r"^\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM)\s", re.IGNORECASE | re.DOTALL)
# What a database says of itself is no table of a room, and reads differently on each.
OF_ITSELF = re.compile(r"\b(sqlite_master|pg_class|pg_constraint|clock_timestamp)\b")
ROOMS = ("kit", "ledger", "catalog", "accounts", "upstreams", "calls", "payments")
# Tables of a lower floor that a room may read for its proof: it compares its own rows with them.
READS_BELOW = {"calls": {"ledger"}}
MONEY_PATH = frozenset({
    "catalog/pricing.py", "catalog/usage.py", "gateway/serve.py", "gateway/purse.py", "gateway/hold.py",
})  # fmt: skip
AT_ONCE = {("datetime", "now"), ("asyncio", "sleep")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@pytest.fixture(scope="module")
def parsed() -> dict[Path, list[ast.AST]]:
    """Every file of the program, taken apart once."""
    return {path: list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in FILES}


def broken(parsed: dict[Path, list[ast.AST]], rule: Callable[[Path, list[ast.AST]], Iterator[str]]) -> list[str]:
    """What a rule finds in all files, with the file that it is in."""
    return [f"{path.relative_to(ROOT)}: {found}" for path, nodes in parsed.items() for found in rule(path, nodes)]


def test_sql_lives_in_sql_py_and_names_only_its_room(parsed):
    def rule(path: Path, nodes: list[ast.AST]) -> Iterator[str]:
        for node in nodes:
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str) or not SQL.match(text) or OF_ITSELF.search(text):
                continue
            if path.name != "sql.py":
                yield f"SQL outside sql.py: {text[:60]!r}"
            own = room_of(path)
            named = {room for room in ROOMS if re.search(rf"\b{room}_[a-z]", text)}
            reading = bool(re.match(r"\s*SELECT", text))
            if others := named - {own} - (READS_BELOW.get(own, set()) if reading else set()):
                yield f"{own} names tables of {others}: {text[:60]!r}"

    assert broken(parsed, rule) == []


def test_no_float_in_the_money_rooms(parsed):
    def rule(path: Path, nodes: list[ast.AST]) -> Iterator[str]:
        if room_of(path) not in {"ledger", "catalog", "payments"} and path != ROOT / "kit" / "money.py":
            return
        paths = any(isinstance(node, ast.Name) and node.id == "Path" for node in nodes)
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                yield f"line {node.lineno}: a float"
            if isinstance(node, ast.Name) and node.id == "float":
                yield f"line {node.lineno}: float"
            if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div) and not paths:
                yield f"line {node.lineno}: true division; money divides with // and says how it rounds"

    assert broken(parsed, rule) == []


def test_words_that_do_not_occur(parsed):
    """One word, one meaning: identifiers never say what the glossary replaced. The sandbox speaks another's words."""

    def rule(path: Path, nodes: list[ast.AST]) -> Iterator[str]:
        if "sandbox" in path.parts:
            return
        for node in nodes:
            name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
            if isinstance(name, str) and re.search(
                r"user_id|ratio(?!n)|wallet|(?<!in)quota(?!_name)|(?<![a-z])editions?\b|(?<![a-z])ending_|_ending\b",
                name,
            ):
                yield name

    assert broken(parsed, rule) == []


def test_the_money_path_asks_its_ports_for_time_and_chance(parsed):
    """No clock, chance or environment of its own: the simulator gives it those."""
    alone = {"time", "random", "uuid", "secrets", "socket", "os"}

    def rule(path: Path, nodes: list[ast.AST]) -> Iterator[str]:
        if room_of(path) != "ledger" and path.relative_to(ROOT).as_posix() not in MONEY_PATH:
            return
        for node in nodes:
            if isinstance(node, ast.Import) and (bad := {each.name.split(".")[0] for each in node.names} & alone):
                yield f"line {node.lineno}: {bad}"
            if isinstance(node, ast.Attribute):
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                if node.attr in {"create_task", "environ"} or (of, node.attr) in AT_ONCE:
                    yield f"line {node.lineno}: {node.attr}"

    assert broken(parsed, rule) == []


def test_pages_write_nothing_by_themselves():
    writes = re.compile(r"\.(save|create|bulk_create|update|delete|get_or_create)\(|signals")
    pages = [path for path in FILES if room_of(path) in {"console", "office"}]
    assert pages
    assert [path for path in pages if writes.search(path.read_text(encoding="utf-8"))] == []


def test_every_rule_finds_what_breaks_it(tmp_path, monkeypatch):
    """A rule that reads nothing would pass for ever."""
    ledger = tmp_path / "ledger" / "hold.py"
    text = 'import time\nSELECT = "SELECT a FROM calls_call"\nhalf = 1 / 2\nwallet = 0.5\n'
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    here = {ledger: list(ast.walk(ast.parse(text)))}
    for test in (
        test_sql_lives_in_sql_py_and_names_only_its_room,
        test_no_float_in_the_money_rooms,
        test_words_that_do_not_occur,
        test_the_money_path_asks_its_ports_for_time_and_chance,
    ):
        with pytest.raises(AssertionError):
            test(here)
