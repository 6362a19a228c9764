"""An operator's own text of a page, in a few marks of Markdown: a shop setting, or a file of the data folder.

The file is `texts/<page>.<language>.md`; the setting, `terms_en` and its like, comes before it.
"""

from __future__ import annotations

from typing import NamedTuple

from farebox.kit import db, options, settings

CHARS_MAX = 200_000
LANGUAGES = {"zh-hans": "zh", "en": "en"}
_HEADINGS = {"# ": "h1", "## ": "h2", "### ": "h3"}


class TextBlock(NamedTuple):
    """A heading (`h1` to `h3`), a paragraph (`p`) or a list (`ul`) with its lines."""

    kind: str
    lines: tuple[str, ...]


class OwnText(NamedTuple):
    """A page in the operator's words; `lang` is the language that it is written in."""

    lang: str
    parts: tuple[TextBlock, ...]


def find(page: str, language: str) -> OwnText | None:
    """The text of a page in this language, else in the other one; None where there is none."""
    wanted = LANGUAGES.get(language, "en")
    set_here = db.read(settings.values)
    for lang in sorted(LANGUAGES.values(), key=lambda each: each != wanted):
        found = str(set_here.get(f"{page}_{lang}", "")) or _file(page, lang)
        if not found:
            continue
        return OwnText("zh-Hans" if lang == "zh" else "en", parts(found[:CHARS_MAX]))
    return None


def _file(page: str, lang: str) -> str:
    path = options.current().data / "texts" / f"{page}.{lang}.md"
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def parts(text: str) -> tuple[TextBlock, ...]:
    """Headings (`#`), lists (`-`) and paragraphs; an empty line ends a part. Everything else is shown as it stands."""
    made: list[TextBlock] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        for line in filter(None, map(str.strip, block.split("\n"))):
            kind, words = _kind(line)
            # A line goes on with the paragraph or list before it, in the same block.
            if made and kind == made[-1].kind and kind in {"p", "ul"}:
                made[-1] = TextBlock(kind, (*made[-1].lines, words))
            else:
                made.append(TextBlock(kind, (words,)))
        made.append(TextBlock("", ()))
    return tuple(part for part in made if part.kind)


def _kind(line: str) -> tuple[str, str]:
    for mark, kind in _HEADINGS.items():
        if line.startswith(mark):
            return kind, line.removeprefix(mark).strip()
    if line.startswith(("- ", "* ")):
        return "ul", line[2:].strip()
    return "p", line
