"""Whether a password is nothing but a name: the person's, the shop's, or a part of an e-mail address."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BETWEEN = re.compile(r"[\W_]+")
LETTERS_MIN = 3


def is_own(password: str, words: Iterable[str]) -> bool:
    """Whether `password` is one of `words`, a part of one, or that with figures and signs around or between.

    `ada@lovelace.example` makes `Ada_Lovelace-1815!` one. Parts of fewer than three letters count only as whole words.
    """
    bare = _bare(password)
    return any(bare in _forms(word) or password.casefold() == word.casefold() for word in words if word)


def _bare(text: str) -> str:
    return _BETWEEN.sub("", text.casefold()).strip("0123456789")


def _forms(word: str) -> set[str]:
    """A word without what stands between its parts, each part, and neighbouring parts together."""
    parts = [part for part in map(_bare, _BETWEEN.split(word)) if part]
    forms = {"".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)}
    forms |= {"".join(reversed(parts))}
    return {form for form in forms if len(form) >= LETTERS_MIN}
