"""docs/troubleshooting.md: each message that it explains is one that the program can say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "farebox"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# First cells that tell of something else than a sentence of ours.
OTHERS = ("an answer that ends early", "426 ", '"Failed to fetch"', "streams arrive")


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a program; `…` is what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def said() -> str:
    """All that the program says, one text a line: of its source, its templates and its catalogues of sentences."""
    found = [text for path in SOURCE.rglob("*.py") for text in texts(ast.parse(path.read_text(encoding="utf-8")))]
    found += [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*") if path.suffix in {".html", ".toml"}]
    return "\n".join(" ".join(re.sub(r"\{\w*\}|%\(\w+\)[sd]", "…", text).split()) for text in found)


def can_be_said(message: str) -> bool:
    parts = [re.escape(part.strip()) for part in re.split("…", message) if part.strip(" .:")]
    return re.search(".*".join(parts), said()) is not None


def cells(heading: str) -> list[str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| ([^|]+?) +\|", section, re.MULTILINE)[1:]


@pytest.mark.parametrize("heading", ["What customers see", "What stops a command or a start", "Pages"])
def test_every_message_can_be_said(heading):
    found = [cell.strip("`") for cell in cells(heading) if cell.startswith("`")]
    assert not [message for message in found if not can_be_said(message)]
    assert len(found) > (0 if heading == "Pages" else 20)


def test_a_message_that_nobody_says_is_found():
    assert not can_be_said("This sentence is said by nobody: ….")
    assert not can_be_said("The store is nothing that … anybody damaged")
    assert can_be_said("The store … is damaged: …")


def test_every_event_is_logged():
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    named = [name for cell in cells("What operators see in the log") for name in re.findall(r"`([a-z_.]+)`", cell)]
    assert len(named) > 25
    assert not [name for name in named if f'"{name}"' not in source]


def test_every_loud_event_is_explained():
    """What is logged as an error asks for somebody to look."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    loud = set(re.findall(r"log\.error\(\s*\"([a-z_.]+)\"", source))
    assert len(loud) > 8
    assert not [name for name in loud if f"`{name}`" not in PAGE]


def test_the_first_cells_are_messages():
    rows = cells("What customers see")
    assert [cell for cell in rows if not cell.startswith(("`", *OTHERS))] == []
