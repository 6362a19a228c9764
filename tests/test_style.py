"""Plain English (docs/style.md): turns that read as translated are found in what people read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

from farebox.cli.main import farebox
from farebox.kit import options
from kit.rows import for_each

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "farebox"
# The left column of the table in docs/style.md, each with what finds it.
TURNS = {
    "who wants": r"(?-i:\bWho(?:ever)? wants\b)",
    "is no option, are no tokens": r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|such\b|proof\b|way\b|need\b|place\b|test\b|room\b|file to\b)\w+",
    "that is none, that are none": r"(?<!there )\b(?:is|are) (?-i:none)\b",
    "alone (for *only*)": r"\balone\b",
    "anew": r"\banew\b",
    "at one time, at once": r"\bat (?:one time|once)\b",
    "in mid-stream, in mid-call": r"\bin mid-\w+",
    "stands in a file, stands there": r"\bst(?:ands?|ood)\b(?! (?:for|in by|in for)\b)",
    "lies in a folder": r"\blies?\b",
    "signs (for *characters*)": r"\bsigns\b(?! (?:you )?(?:in|up|off|out)\b)",
    "goes on, go on": r"\bgo(?:es|ing)? on\b",
    "by itself, by themselves": r"\bby (?:itself|themselves)\b",
    "of before, from before": r"\b(?:of|from) before\b",
    "as shipped": r"\bas shipped\b",
    "shall": r"\bshall\b",
    "without a word": r"\bwithout a word\b",
    "comes twice, come twice": r"\bc[oa]mes? twice\b",
    "he, him, his": r"\b(?:he|him|his)\b",
    "draw up, drawn up": r"\bdr(?:aws?|ew|awn) up\b",
    "put away": r"\bputs? (?:\w+ ){0,3}away\b",
    "thaw": r"\bthaw(?:s|ed)?\b",
    "mend": r"\bmend(?:s|ed|ing)?\b",
    "calls a minute, tokens a minute": r"\b(?:calls|tokens|requests|limits|sign-ups|invitations|events|reports) an? (?:second|minute|hour|day|month)\b",
    "for good": r"\bfor good\b",
    "in all (for *together*)": r"\bin all(?=[.,;:)]|$)",
    "parted by": r"\bparted by\b",
    "fit to take, fit to show": r"\bfit to (?:take|show)\b",
    "dawdle, in earnest, before long": r"\bdawdl\w+|\bin earnest\b|\bbefore long\b",
}
FOUND = {turn: re.compile(pattern, re.IGNORECASE) for turn, pattern in TURNS.items()}
# Docstrings of functions and classes that are still to be rewritten: how many turns there may be. Only ever lower it.
DOCSTRINGS_MAX = 379
DECISION_MAX = 13  # on one page of decisions, which are history


def turns(text: str) -> list[str]:
    """The turns in a text, with what is around them; code, quotes of the program and addresses are nobody's English."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"`[^`\n]*`|\]\([^)]*\)|https?:\S+", "", plain)
    plain = " ".join(plain.split())
    return [
        f"{turn}: …{plain[max(0, hit.start() - 40) : hit.end() + 25]}…"
        for turn, find in FOUND.items()
        for hit in find.finditer(plain)
    ]


def pages() -> Iterator[Path]:
    """Documents that people wrote; one is generated, one has the turns as its subject, decisions are history."""
    for path in sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")]):
        if path.parent.name != "decisions" and path.name not in {"management-api.md", "style.md"}:
            yield path


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """(command, text) of all help of a command and of those below it."""
    yield name, command.help or ""
    for param in command.params:
        yield name, getattr(param, "help", None) or ""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from helps(each, f"{name} {each.name}")


def sentences() -> Iterator[str]:
    """Texts of the source that people may read: of templates, and those of programs that end like a sentence."""
    for path in SOURCE.rglob("*.html"):
        yield re.sub(r"<[^>]*>|\{[{%#].*?[}%#]\}", " ", path.read_text(encoding="utf-8"))
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docs
                and node.value.rstrip().endswith((".", ". "))
            ):
                yield node.value


def test_documents_are_in_plain_english():
    assert [
        f"{path.relative_to(ROOT)}: {turn}" for path in pages() for turn in turns(path.read_text(encoding="utf-8"))
    ] == []


def test_options_are_in_plain_english():
    assert [f"{option.name}: {turn}" for option in options.OPTIONS for turn in turns(option.sentence)] == []


def test_help_is_in_plain_english():
    found = list(helps(farebox, "farebox"))
    assert len(found) > 200
    assert [f"{name}: {turn}" for name, text in found for turn in turns(text)] == []


def docstrings(*, modules: bool) -> Iterator[tuple[str, str]]:
    """(file, text) of the docstrings of modules, or of those of functions and classes."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        below = (
            node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        )
        for node in [tree] if modules else below:
            yield str(path.relative_to(SOURCE)), ast.get_docstring(node) or ""


def test_sentences_of_the_source_are_in_plain_english():
    assert [turn for text in sentences() for turn in turns(text)] == []


def test_docstrings_of_modules_are_in_plain_english():
    assert [f"{path}: {turn}" for path, text in docstrings(modules=True) for turn in turns(text)] == []


def test_the_rest_only_gets_better():
    assert sum(len(turns(text)) for _, text in docstrings(modules=False)) <= DOCSTRINGS_MAX
    decided = {path.name: len(turns(path.read_text(encoding="utf-8"))) for path in (DOCS / "decisions").glob("*.md")}
    assert {name: many for name, many in decided.items() if many > DECISION_MAX} == {}


def test_the_table_has_every_turn():
    table = (DOCS / "style.md").read_text(encoding="utf-8").partition("## Turns to avoid")[2]
    assert re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, re.MULTILINE)[1:] == list(TURNS)


@for_each("said", [
    "Who wants to be sure sends a header.", "A name is no password.", "an idempotency key that is none", "for members alone", "the period begins anew",
    "one in mid-stream", "it stands in the trail", "The folder lies on a disk", "letters and signs", "The shop goes on", "by itself it looks once",
    "it comes twice", "he has the link", "Calls a minute of an account", "A draft is drawn up", "put the draft away",
])  # fmt: skip
def test_a_turn_is_found(said):
    assert turns(said)


@for_each("said", [
    "There is no longer a limit.", "There is none.", "a name that is None", "it stands for the account", "who signs in", "`alone`", "standalone", "[a link](#goes-on)", "once a day", "in all cases",
])  # fmt: skip
def test_plain_words_are_not(said):
    assert not turns(said)
