"""Whatever the code writes into the audit trail has its words in the office."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import farebox
from farebox.office.pages.trail_words import VERBS

SOURCE = Path(farebox.__file__).parent
VERB = re.compile(r"[a-z_]+\.[a-z_]+")
# Calls that take the verb by its place: their names, and which place it is.
BY_PLACE = {"note": 0, "changed": 2}
# What `f"{kind}.set_rates"` comes to.
OF_A_KIND = {f"{kind}.set_rates" for kind in ("account", "project", "member", "key")}


def recorded():
    """Every verb that stands in the code, as an argument or as the variable that becomes one."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            given = []
            if isinstance(node, ast.Call):
                given = [each.value for each in node.keywords if each.arg == "verb"]
                place = BY_PLACE.get(ast.unparse(node.func).rpartition(".")[2])
                given += node.args[place : place + 1] if place is not None else []
            elif isinstance(node, ast.Assign) and [each for each in node.targets if ast.unparse(each) == "verb"]:
                given = [node.value]
            found |= {
                each.value
                for value in given
                for each in ast.walk(value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and VERB.fullmatch(each.value)
            }
    return found


@pytest.mark.slow
def test_every_verb_of_the_trail_has_words():
    verbs = recorded() | OF_A_KIND
    assert {"key.rename", "proposal.drop", "step_up.failed", "account.freeze"} <= verbs, (
        "the walk misses a kind of place"
    )
    assert sorted(verbs - set(VERBS)) == []
    assert sorted(set(VERBS) - verbs) == [], "words of what nothing records"
