"""A word has one meaning (docs/glossary.md): a class's name stands for one thing, whichever room it is read in."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import farebox

ROOT = Path(farebox.__file__).parent
# Names that several classes have because they are one thing, seen from several rooms. Shapes of the management API, forms
# and the sandbox, which speaks a vendor's words, are left out altogether.
ONE_THING = {
    "Allowance": "the row, and its table",
    "Attempt": "one try on a channel, under way and recorded",
    "Body": "the parameters of each endpoint",
    "Call": "a call as it was read, and recorded",
    "Channel": "the row, and what a dialect must know of it",
    "Connection": "one of a customer, and one to an upstream",
    "Context": "what jobs need of the server",
    "Desk": "the server as pages see it, and the server",
    "Exchange": "one request and its answer, in and out",
    "Pages": "what the front door needs, and what it gets",
    "Part": "a piece of an answer, and one of a text",
    "Sample": "counts of a call, and their row",
    "Store": "the store, and as much of it as each room needs",
    "StreamOptions": "the parameter of two endpoints",
    "TooDeep": "JSON that is nested too deep, found by two readers",
}
OTHER_SHAPES = ("Schema", "In", "Form", "Worded", "Field")


def classes() -> dict[str, set[str]]:
    found = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        if "migrations" in path.parts or room == "sandbox":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            bases = [ast.unparse(base) for base in node.bases]
            if not any(base.endswith(OTHER_SHAPES) for base in bases):
                found[node.name].add(str(path.relative_to(ROOT)))
    return found


def test_a_class_has_a_name_of_its_own():
    shared = {name: places for name, places in classes().items() if len(places) > 1}
    assert {name: places for name, places in shared.items() if name not in ONE_THING} == {}
    assert ONE_THING.keys() <= shared.keys(), "a name that is shared no more needs no excuse"
