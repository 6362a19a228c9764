"""The catalogue of charging rules and faults (docs/rules.md, promises 3.2): none without a test that bears its mark.

The marks are read from the source of the tests, not from a collection, so that it does not matter which tests run.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from kit.rows import for_each

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
RULES = [*(f"R{number:02}" for number in range(1, 28)), "R33"]
FAULTS = [f"F{number:02}" for number in range(1, 44)]
# Tests in these folders speak HTTP to a serving process, and read the receipt.
OVER_HTTP = ("gateway", "clients", "faults")
HEADING = "## Faults without a test of their own"


def marks_in(source: str) -> set[tuple[str, str]]:
    """(kind, name) of every mark that a test bears: by `pytestmark`, by its decorators, or by one of its parameters."""
    found: set[tuple[str, str]] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        places: list[ast.AST] = []
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name.lower().startswith("test"):
            places += node.decorator_list
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "pytestmark" for target in node.targets):
            places.append(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.param":
            places += [word.value for word in node.keywords if word.arg == "marks"]
        for place in places:
            for call in ast.walk(place):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in {"pytest.mark.rule", "pytest.mark.fault"}:
                    kind = ast.unparse(call.func).rpartition(".")[2]
                    found |= {(kind, arg.value) for arg in call.args if isinstance(arg, ast.Constant)}
    return found


@cache
def marked() -> dict[tuple[str, str], set[Path]]:
    """The files of the tests that bear each mark."""
    found: dict[tuple[str, str], set[Path]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for mark in marks_in(path.read_text(encoding="utf-8")):
            found.setdefault(mark, set()).add(path.relative_to(TESTS))
    return found


@cache
def excused() -> dict[str, str]:
    """The faults that docs/proof.md names as having no test of their own, each with the reason."""
    _, _, rest = (DOCS / "proof.md").read_text(encoding="utf-8").partition(HEADING)
    section = rest.partition("\n## ")[0]
    return dict(re.findall(r"^- (F\d\d): (.+)$", section, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_ends_a_call_over_http(rule):
    files = marked().get(("rule", rule), set())
    assert any(path.parts[0] in OVER_HTTP for path in files), f"no test over HTTP bears rule({rule!r})"


@for_each("fault", FAULTS)
def test_every_fault_is_tried_or_says_why_not(fault):
    files = marked().get(("fault", fault), set())
    assert files or fault in excused(), f"no test bears fault({fault!r}), and docs/proof.md does not say why"


def test_no_excuse_for_what_is_tried_and_none_without_a_reason():
    assert set(excused()) <= set(FAULTS)
    assert not [fault for fault in excused() if ("fault", fault) in marked()]
    assert all(len(reason) > 20 for reason in excused().values())


def test_marks_name_what_the_catalogue_has():
    names = {"rule": set(RULES) | {f"R{number}" for number in range(28, 35)}, "fault": set(FAULTS)}
    assert not [mark for mark in marked() if mark[1] not in names[mark[0]]]


def test_the_rules_are_those_that_are_published():
    published = re.findall(r"^\| (R\d\d) \|", (DOCS / "rules.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert published == [f"R{number:02}" for number in range(1, 35)]


def test_a_mark_counts_where_a_test_bears_it_and_nowhere_else():
    source = """
pytestmark = [pytest.mark.store, pytest.mark.fault("F01")]
CASES = [pytest.param(1, marks=pytest.mark.fault("F02"))]
UNUSED = pytest.mark.fault("F03")

@pytest.mark.rule("R01")
@pytest.mark.parametrize("case", CASES)
def test_it(case): ...

@pytest.mark.rule("R02")
def helper(): ...
"""
    assert marks_in(source) == {("fault", "F01"), ("fault", "F02"), ("rule", "R01")}
