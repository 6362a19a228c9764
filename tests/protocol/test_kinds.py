"""What is special about a kind of call stands in `protocol/kinds`, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import farebox
from farebox.catalog import kinds as names
from farebox.protocol import kinds
from farebox.protocol.kind import Billing

ROOT = Path(farebox.__file__).parent
# Where a kind's name may stand as a text all the same, and why.
NAMED = {
    "demo/goods.py": "the demo's goods are made up",
    "care/selftest/replay.py": "its recordings are of a kind each",
    "upstreams/discreet.py": "a word in the names of upstreams",
}


def named(text: str) -> list[int]:
    """The lines in which a program has a kind's name as a text."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in kinds.KINDS
    ]


def test_a_name_of_a_kind_stands_in_protocol_and_catalog_alone():
    found = {}
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        if lines := named(path.read_text(encoding="utf-8")):
            found[place] = lines
    elsewhere = {place for place in found if not place.startswith(("protocol/", "catalog/"))}
    excused = {place for place in elsewhere if place in NAMED}
    assert elsewhere - excused == set()
    assert {each for each in NAMED if not any(place.startswith(each) for place in excused)} == set()


def test_a_name_is_found():
    assert named("x = 1\nif kind == 'embeddings':\n    pass\n") == [2]


def test_the_catalogue_knows_the_same_kinds():
    assert tuple(kinds.KINDS) == names.NAMES
    assert all(name == kind.name for name, kind in kinds.KINDS.items())


def test_a_kind_that_nobody_can_settle_does_not_start():
    class Pictures(type(kinds.KINDS["chat"])):
        name = "pictures"
        paths = ("/pictures",)
        billing = Billing.PER_IMAGE

    with pytest.raises(RuntimeError, match="billing"):
        kinds.register(Pictures())
    assert "pictures" not in kinds.KINDS


def test_a_path_has_one_kind():
    class Again(type(kinds.KINDS["chat"])):
        name = "again"

    with pytest.raises(RuntimeError, match="/chat/completions"):
        kinds.register(Again())
    assert "again" not in kinds.KINDS
