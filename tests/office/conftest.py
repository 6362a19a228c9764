"""What the tests of the office share: a visitor who is outside, operators of each role, options for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit import people
from kit.visitor import Visitor
from office.script import Script


@pytest.fixture
def visitor(shop: Any) -> Visitor:
    return Visitor(shop, "en")


@pytest.fixture
def operator(shop: Any) -> Callable[..., people.Person]:
    """A signed-in operator of a role."""
    return lambda role="admin", language="en": people.operator(shop, role, language)


@pytest.fixture(scope="module")
def scripts(shop: Any) -> dict[str, Script]:
    """A program with a token of each role, by the letters of tests/matrix.toml."""
    roles = {"S": "support", "F": "finance", "X": "admin", "U": "auditor"}
    return {letter: Script(shop, role) for letter, role in roles.items()}


@pytest.fixture(scope="module")
def admin(scripts: dict[str, Script]) -> Script:
    return scripts["X"]


@pytest.fixture
def option(shop: Any) -> Iterator[Callable[..., None]]:
    """Change options of the running shop for one test."""
    before: dict[str, Any] = {}

    def change(**changes: Any) -> None:
        for name, value in changes.items():
            before.setdefault(name, getattr(shop.options, name))
            setattr(shop.options, name, value)

    yield change
    for name, value in before.items():
        setattr(shop.options, name, value)


@pytest.fixture
def two_people(shop: Any) -> Iterator[None]:
    """A shop in which money and prices take two."""
    before = shop.options.single_person
    shop.options.single_person = False
    yield
    shop.options.single_person = before
