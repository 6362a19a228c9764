"""What the rooms below refuse, as a page says it: in its language, and with places of pages instead of commands.

The sentences are those of each room's `refusals.po`, which `look/words.py` compares with the code. A value that is
itself such a sentence, or one of the words below, is said in the same language.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from babel.messages.mofile import read_mo
from django.utils.translation import get_language, gettext, gettext_noop

from farebox.kit.errors import FareboxError

from . import words

_PLACE = re.compile(r"\{(\d+)\}")
# Values that are words: states, areas, and ends of sentences that the code chooses.
_WORDS = frozenset(
    {
        gettext_noop("active"),
        gettext_noop("frozen"),
        gettext_noop("barred"),
        gettext_noop("closed"),
        gettext_noop("archived"),
        gettext_noop("revoked"),
        gettext_noop("expired"),
        gettext_noop("removed"),
        gettext_noop("open"),
        gettext_noop("published"),
        gettext_noop("dropped"),
        gettext_noop("proposed"),
        gettext_noop("booked"),
        gettext_noop("approved"),
        gettext_noop("declined"),
        gettext_noop("withdrawn"),
        gettext_noop("lapsed"),
        gettext_noop("console"),
        gettext_noop("office"),
        gettext_noop("endpoint kind"),
        gettext_noop("modality"),
        gettext_noop("usage class"),
        gettext_noop("none"),
        gettext_noop("in one line"),
        gettext_noop("define it first"),
        gettext_noop("no version in force yet"),
        gettext_noop("Requests a minute"),
        gettext_noop("Tokens a minute"),
        gettext_noop("Calls at once"),
        gettext_noop("A channel on your own network must be marked local."),
    }
)


class Sentence(NamedTuple):
    """A sentence with places for values: how it is recognised, and what a page says."""

    pattern: re.Pattern[str]
    letters: int
    said: str


def said(fault: FareboxError) -> str:
    """The sentence of a refusal for a page; as it was raised where the page's language has no other."""
    return _said(fault.message) or fault.message


def _said(message: str) -> str:
    whole, naming = _sentences(words.LOCALE if get_language() == "zh-hans" else words.ENGLISH)
    if message in whole:
        return whole[message]
    for sentence in naming:
        if found := sentence.pattern.fullmatch(message):
            return _filled(sentence, found.groups())
    return ""


def _filled(sentence: Sentence, values: tuple[str, ...]) -> str:
    said = {str(n): _value(value) for n, value in enumerate(values, 1)}
    if not sentence.letters and all(said[str(n)] == value for n, value in enumerate(values, 1)):
        return ""  # nothing but values, none of which has other words
    return _PLACE.sub(lambda place: said[place[1]], sentence.said)


def _value(value: str) -> str:
    plain = value.strip()
    if plain in _WORDS:
        return gettext(plain)
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "'\"":
        return plain[1:-1]
    return _said(plain) or plain


@functools.cache
def _sentences(locale: str) -> tuple[dict[str, str], list[Sentence]]:
    whole, naming = {}, []
    for room in words.BELOW:
        path = words.target(room, "refusals", locale)
        if not path.is_file():
            continue
        with path.open("rb") as file:
            for word, (as_said, *_) in words.entries(read_mo(file)).items():
                if not _PLACE.search(word.text):
                    whole[word.text] = as_said
                else:
                    naming.append(_read(word.text, as_said))
    # What says most is tried first: `{1}.` fits every sentence.
    naming.sort(key=lambda each: each.letters, reverse=True)
    return whole, naming


def _read(text: str, as_said: str) -> Sentence:
    parts = _PLACE.split(text)
    pattern = "".join("(.*?)" if n % 2 else re.escape(part) for n, part in enumerate(parts))
    letters = sum(sign.isalpha() for part in parts[::2] for sign in part)
    return Sentence(re.compile(pattern, re.DOTALL), letters, as_said)
