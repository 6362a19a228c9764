"""docs/architecture.md draws what is there: every table, every foreign key, the floors, the failpoints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DIAGRAMS = "\n".join(re.findall(r"^```mermaid\nerDiagram\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
_LINE = re.compile(r"^ +(\w+) ([|o]{2})(--|\.\.)([|o}{]{2}) (\w+) : \"([^\"]+)\"$", re.MULTILINE)


@pytest.fixture(scope="module")
def models():
    from farebox.care import ready

    ready.django()
    from django.apps import apps

    return apps.get_models(include_auto_created=True)


def test_every_table_is_drawn_and_no_other(models):
    drawn = {name for line in DIAGRAMS.splitlines() for name in re.findall(r"\b[a-z]+_[a-z_]+\b", line.split(" : ")[0])}
    assert drawn == {model._meta.db_table for model in models}


def test_every_foreign_key_is_a_solid_line_and_no_other(models):
    solid = {
        (to, "o" in left, table, name) for to, left, line, _, table, name in _LINE.findall(DIAGRAMS) if line == "--"
    }
    keys = {
        (field.remote_field.model._meta.db_table, field.null, model._meta.db_table, field.name)
        for model in models
        for field in model._meta.concrete_fields
        if field.is_relation
    }
    assert solid == keys


def test_every_line_of_a_diagram_is_read(models):
    lines = [line for line in DIAGRAMS.splitlines() if line]
    alone = [line for line in lines if re.fullmatch(r" +kit_\w+", line)]
    assert len(_LINE.findall(DIAGRAMS)) + len(alone) == len(lines)


def test_the_floors_are_those_of_the_contract():
    """A room that is drawn before it is built has no folder yet."""
    block = re.search(r"^```text\nsite\n.*?^```$", PAGE, re.MULTILINE | re.DOTALL)[0].splitlines()[1:-1]
    built = [line for line in block if all((ROOT / "src" / "farebox" / room).is_dir() for room in line.split(" | "))]
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [each["layers"] for each in linter["contracts"] if each["type"] == "layers"]
    assert built == layers


def test_the_failpoints_of_the_page_exist():
    named = set(re.findall(r"`((?:serve|store|journal|marks|node)\.[a-z_]+)`", PAGE)) - {"serve.py"}
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "farebox").rglob("*.py"))
    assert len(named) > 8
    assert named <= set(re.findall(r"\bpoint\(\"([a-z._]+)\"\)", source))
