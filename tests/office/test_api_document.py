"""docs/management-api.md is what the API's schema makes today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made():
    """The program that writes the page."""
    return runpy.run_path(str(DOCS / "management_api.py"))


@pytest.fixture(scope="module")
def found():
    from farebox.care import ready

    ready.django()
    from farebox.office.api.app import described

    return described()


def test_the_page_is_current(made, found):
    assert (DOCS / "management-api.md").read_text(encoding="utf-8") == made["page"](found), "run `make docs`"


def test_every_operation_and_every_field_that_it_takes_is_there(made, found):
    page = made["page"](found)
    sections = dict(section.split("\n", 1) for section in page.split("\n### ")[1:])
    operations = list(made["operations"](found))
    assert len(operations) > 50
    for path, method, each in operations:
        section = sections[f"`{method} {path}`"]
        named = [of["name"] for of in each.get("parameters", [])]
        if "requestBody" in each:
            named += found["components"]["schemas"][made["refers"](each["requestBody"])]["properties"]
        assert [name for name in named if f"| `{name}` |" not in section] == []
        assert all(role in section for role in each["x-roles"])


def test_fields_are_told_in_words(made):
    value, default = made["value"], made["default"]
    assert value({"type": "integer", "minimum": 1, "maximum": 5000}) == "integer, 1 to 5,000"
    assert value({"type": "string", "maxLength": 9}) == "text, at most 9 characters"
    assert value({"anyOf": [{"type": "boolean"}, {"type": "null"}]}) == "true or false or null"
    assert (
        value({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}) == "list of one of `a`, `b`, at least 1"
    )
    assert value({"$ref": "#/components/schemas/Me"}, linked=True) == "[Me](#object-me)"
    assert (default({}), default({"default": False})) == ("optional", "optional, `false` by default")
