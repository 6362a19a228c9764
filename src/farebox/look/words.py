"""The words of the pages: every string of the rooms that show pages, their Chinese, and its compiled form.

The rooms below have no pages; what they refuse is read from their code and lies in `refusals.po` beside them: the
Chinese of every sentence, and the English of those that speak of the shell. `look/refusals.py` puts them on pages.

`python -m farebox.look.words` compiles the catalogues. A catalogue that is not compiled is no fault: its room then
speaks English.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

ROOMS = ("look", "console", "office", "protocol")
BELOW = ("kit", "catalog", "ledger", "protocol", "upstreams", "accounts", "calls", "payments", "site")
# What these files refuse is said when a process starts, or on a command's way to the store: only a shell shows it.
OF_THE_SHELL = frozenset(
    f"{name}.py"
    for name in "kit/clock kit/disk kit/ground kit/lock kit/mail kit/options kit/outbox kit/secrets site/serve".split()
)
# Other libraries' sentences that are passed on inside of one of ours.
PASSED_ON = {"accounts": ("{1} does not appear to be an IPv4 or IPv6 network",)}
HOUSE = Path(__file__).parents[1]
LOCALE, ENGLISH = "zh_Hans", "en"
_RAISED = frozenset({"CommandError", "MoneyError", "AddressRefused"})
_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_ONE, _MANY, _WITH, _WITH_MANY = None, (1, 2), ((1, "c"), 2), ((1, "c"), 2, 3)
_KEYWORDS = {
    "_": _ONE,
    **dict.fromkeys(("gettext", "gettext_lazy", "gettext_noop"), _ONE),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), _MANY),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), _WITH),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), _WITH_MANY),
}


class Word(NamedTuple):
    """A string that pages show: its context, and its plural where a number decides."""

    text: str
    plural: str = ""
    context: str = ""


def used(room: str) -> dict[Word, str]:
    """Every string of a room, with the file where it stands first."""
    found: dict[Word, str] = {}
    for path in sorted((HOUSE / room).rglob("*")):
        if path.suffix in {".py", ".html", ".txt"}:
            for word in _strings(path):
                found.setdefault(word, str(path.relative_to(HOUSE)))
    return found


def refusals(room: str) -> dict[str, str]:
    """Every sentence that a room below can refuse with, its values as {1}, {2} …, with its file.

    A sentence that can't be read from the code is an empty text.
    """
    found = dict.fromkeys(PASSED_ON.get(room, ()), room)
    for path in sorted((HOUSE / room).rglob("*.py")):
        where = str(path.relative_to(HOUSE))
        if where in OF_THE_SHELL:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in _RAISED:
                found.setdefault(_sentence(node.args[0]), where)
    return found


def catalogue(room: str, kind: str = "django", locale: str = LOCALE) -> Catalog:
    """A room's words in a language, Chinese if not named; empty where it has none yet."""
    path = _source(room, kind, locale)
    if not path.is_file():
        return Catalog(locale=locale)
    with path.open("rb") as file:
        return read_po(file, locale=locale, abort_invalid=True)


def compiled(room: str, kind: str = "django", locale: str = LOCALE) -> bytes:
    """The machine's form of a room's catalogue."""
    made, catalog = io.BytesIO(), catalogue(room, kind, locale)
    catalog.creation_date = catalog.revision_date = _DAY  # the same words are the same bytes
    write_mo(made, catalog)
    return made.getvalue()


def target(room: str, kind: str = "django", locale: str = LOCALE) -> Path:
    """Where the compiled catalogue of a room lies."""
    return _source(room, kind, locale).with_suffix(".mo")


def kept() -> list[tuple[str, str, str]]:
    """Every catalogue that there is: its room, its kind and its language."""
    wanted = [(room, "django", LOCALE) for room in ROOMS]
    wanted += [(room, "refusals", locale) for room in BELOW for locale in (LOCALE, ENGLISH)]
    return [each for each in wanted if _source(*each).is_file()]


def missing() -> dict[Word, str]:
    """Strings that no room says in Chinese, with the file where each stands."""
    said = {word for room in ROOMS for word in entries(catalogue(room))}
    found = {word: where for room in ROOMS for word, where in used(room).items() if word not in said}
    for room in BELOW:
        below = {word.text for word in entries(catalogue(room, "refusals"))}
        found |= {Word(text): where for text, where in refusals(room).items() if text not in below}
    return found


def entries(catalog: Catalog) -> dict[Word, tuple[str, ...]]:
    """A catalogue's strings and what they are in Chinese; those without any are left out."""
    found = {}
    for message in catalog:
        text, plural = (message.id, "") if isinstance(message.id, str) else (message.id[0], message.id[1])
        said = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
        if text and said and all(said):
            found[Word(text, plural, message.context or "")] = said
    return found


def main() -> None:
    """Compile every room's catalogue; say what has no Chinese yet."""
    for each in kept():
        fresh = target(*each).with_suffix(".new")
        fresh.write_bytes(compiled(*each))
        fresh.replace(target(*each))
    for word, where in missing().items():
        sys.stderr.write(f"{where}: no Chinese for {word.text!r}\n")


def _source(room: str, kind: str, locale: str) -> Path:
    return HOUSE / room / "locale" / locale / "LC_MESSAGES" / f"{kind}.po"


def _name(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


def _sentence(given: ast.expr) -> str:
    """A text of the code with {1}, {2} … for its values; empty for what is no text."""
    if isinstance(given, ast.Constant):
        return str(given.value)
    parts, n = [], 0
    for part in given.values if isinstance(given, ast.JoinedStr) else []:
        n += isinstance(part, ast.FormattedValue)
        parts.append(str(part.value) if isinstance(part, ast.Constant) else f"{{{n}}}")
    return "".join(parts)


def _strings(path: Path) -> Iterator[Word]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        # What is no string has become a row of X; without its indentation it reads as code.
        text = "\n".join(line.strip() for line in templatize(text).split("\n"))
    for _line, found, _comments, context in extract("python", io.BytesIO(text.encode()), keywords=_KEYWORDS):
        first, second = found if isinstance(found, tuple) else (found, "")
        yield Word(first, second, context or "")


if __name__ == "__main__":
    main()
