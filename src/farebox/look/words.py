"""The words of the pages: every string of the rooms that show pages, their Chinese, and its compiled form.

The rooms below refuse by ids, not by strings; `look/refusals.py` has their sentences.

`python -m farebox.look.words` compiles the catalogues. Without a compiled catalogue its room speaks English.
"""

from __future__ import annotations

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
ROOT = Path(__file__).parents[1]
LOCALE = "zh_Hans"
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
    for path in sorted((ROOT / room).rglob("*")):
        if path.suffix in {".py", ".html", ".txt"}:
            for word in _strings(path):
                found.setdefault(word, str(path.relative_to(ROOT)))
    return found


def catalogue(room: str) -> Catalog:
    """A room's words in Chinese; empty where it has none yet."""
    path = _source(room)
    if not path.is_file():
        return Catalog(locale=LOCALE)
    with path.open("rb") as file:
        return read_po(file, locale=LOCALE, abort_invalid=True)


def compiled(room: str) -> bytes:
    """The machine's form of a room's catalogue."""
    made, catalog = io.BytesIO(), catalogue(room)
    catalog.creation_date = catalog.revision_date = _DAY  # the same words are the same bytes
    write_mo(made, catalog)
    return made.getvalue()


def target(room: str) -> Path:
    """Where the compiled catalogue of a room is."""
    return _source(room).with_suffix(".mo")


def missing() -> dict[Word, str]:
    """Strings that no room says in Chinese, with the file where each stands."""
    said = {word for room in ROOMS for word in entries(catalogue(room))}
    return {word: where for room in ROOMS for word, where in used(room).items() if word not in said}


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
    for room in (room for room in ROOMS if _source(room).is_file()):
        fresh = target(room).with_suffix(".new")
        fresh.write_bytes(compiled(room))
        fresh.replace(target(room))
    for word, where in missing().items():
        sys.stderr.write(f"{where}: no Chinese for {word.text!r}\n")


def _source(room: str) -> Path:
    return ROOT / room / "locale" / LOCALE / "LC_MESSAGES" / "django.po"


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
