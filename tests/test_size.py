"""How large a function may be: the worst of today may only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import farebox

ROOT = Path(farebox.__file__).parent
# Lines from `def` to the end, parameters without self, and decisions (branches, loops, handlers, boolean operators).
LINES_MAX, PARAMETERS_MAX, DECISIONS_MAX = 80, 15, 27
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)


class Function(NamedTuple):
    at: str
    lines: int
    parameters: int
    decisions: int


def functions() -> Iterator[Function]:
    for path in sorted(ROOT.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                yield Function(
                    f"{path.relative_to(ROOT)}:{node.lineno} {node.name}",
                    (node.end_lineno or 0) - node.lineno + 1,
                    sum(each.arg not in {"self", "cls"} for each in given),
                    1 + sum(decisions(each) for each in node.body),
                )


def decisions(node: ast.AST) -> int:
    """Decisions in it, without those of functions within."""
    own = isinstance(node, _BRANCHES) + (len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0)
    within = (
        each for each in ast.iter_child_nodes(node) if not isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return own + sum(decisions(each) for each in within)


def test_no_function_outgrows_the_largest_of_today():
    found = list(functions())
    assert len(found) > 3000
    for most, of in ((LINES_MAX, "lines"), (PARAMETERS_MAX, "parameters"), (DECISIONS_MAX, "decisions")):
        worst = max(found, key=lambda each, of=of: getattr(each, of))
        assert getattr(worst, of) <= most, f"{worst.at} has {getattr(worst, of)} {of}: divide it"


def test_most_functions_fit_half_a_screen():
    lengths = sorted(each.lines for each in functions())
    assert lengths[len(lengths) * 99 // 100] <= 40


def test_no_room_has_more_than_its_share():
    sizes = {
        room.name: sum(len(path.read_bytes().splitlines()) for path in room.rglob("*.py"))
        for room in ROOT.iterdir()
        if (room / "__init__.py").is_file()
    }
    largest = max(sizes, key=sizes.__getitem__)
    assert sizes[largest] <= 0.15 * sum(sizes.values()), largest
