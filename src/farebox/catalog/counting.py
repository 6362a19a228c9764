"""Counting: tokens of o200k_base by class of the text, from which factors make a vendor's count (promises 4.2).

May block: ask `heavy` first and count in a thread. It goes piece by piece, and of more than `TEXT_BYTES_MAX` of text
pieces from all over it stand for the rest. Where the vocabulary is missing, or the tokenizer chokes on a piece, tokens
are guessed from bytes by class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from farebox.catalog import tokens
from farebox.catalog.factors import Vector
from farebox.catalog.tokens import TEXT_BYTES_MAX

__all__ = ["TOKENIZER", "Vector", "bytes_of", "heavy", "vector"]

TOKENIZER: Final = "o200k_base"
_BLOCK_CHARS = 16 * 1024

_LATIN, _CJK, _OTHER, _DIGITS, _BASE64, _REST = range(
    6
)  # places in a Vector; _REST: bytes that belong to the token before

# Sounds random: letters of both cases and digits, or hexadecimal, that change all the time. Words and paths don't.
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_CHANGE = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_CHANGES_LEAST = 3  # one change in so many characters; random text has one in two

_CJK_CHARS = (
    "\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
)
_LATIN_CHARS = "\u0000-\u024f\u1e00-\u1eff\u2000-\u206f"
_BY_CLASS = (
    (_CJK, re.compile(rf"[{_CJK_CHARS}]+")),
    (_OTHER, re.compile(rf"[^{_CJK_CHARS}{_LATIN_CHARS}]+")),
    (_DIGITS, re.compile(r"[0-9]+")),
)
_FOLLOWED = re.compile(b"[\x00-\x04]\x05+")
# Where there is no vocabulary: tenths of UTF-8 bytes a token of each class has in the mean.
_BYTES_A_TOKEN_TENTHS = (42, 42, 45, 25, 15)


def heavy(total_bytes: int) -> bool:
    """Whether counting that much text would block the event loop, and so belongs in a thread."""
    return tokens.heavy(total_bytes, TOKENIZER)


def bytes_of(texts: Sequence[str]) -> int:
    """UTF-8 bytes of the texts, whatever is no character counted as one byte."""
    return sum(len(block.encode("utf-8", "replace")) for block in _blocks(texts))


def vector(texts: Sequence[str]) -> Vector:
    """Tokens of the texts by class; of more than `TEXT_BYTES_MAX` a part is counted that stands for all of it."""
    if not tokens.too_long(texts):
        return _vector(texts)
    total_bytes = bytes_of(texts)
    part = list(_spread(texts, total_bytes))
    part_bytes = bytes_of(part)
    return Vector(*(units * total_bytes // part_bytes for units in _vector(part)))


def _vector(texts: Iterable[str]) -> Vector:
    totals = [0, 0, 0, 0, 0]
    for text in texts:
        for piece in tokens.short_pieces(text):
            for part, random in _parts(piece):
                _add(totals, part, random=random)
    return Vector(*totals)


def _blocks(texts: Sequence[str]) -> Iterator[str]:
    """The texts one after the other, in blocks that are short enough to work on."""
    kept: list[str] = []
    chars = 0
    for text in texts:
        for start in range(0, len(text), _BLOCK_CHARS):
            part = text[start : start + _BLOCK_CHARS]
            kept.append(part)
            chars += len(part)
            if chars >= _BLOCK_CHARS:
                yield "".join(kept)
                kept, chars = [], 0
    if kept:
        yield "".join(kept)


def _spread(texts: Sequence[str], total_bytes: int) -> Iterator[str]:
    """Blocks from all over the texts, of `TEXT_BYTES_MAX` in all at most."""
    seen = taken = 0
    for block in _blocks(texts):
        size = len(block.encode("utf-8", "replace"))
        seen += size
        if (taken + size) * total_bytes <= seen * TEXT_BYTES_MAX:
            taken += size
            yield block


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in parts, and of each whether it looks random."""
    start = 0
    for run in _RUN.finditer(text):
        if _random(run[0]):
            if run.start() > start:
                yield text[start : run.start()], False
            yield run[0], True
            start = run.end()
    if start < len(text):
        yield text[start:], False


def _random(run: str) -> bool:
    return sum(1 for _ in _CHANGE.finditer(run)) * _CHANGES_LEAST >= len(run)


def _add(totals: list[int], text: str, *, random: bool) -> None:
    numbers = tokens.numbers(TOKENIZER, text)
    if numbers is None:
        _guess(totals, text, random=random)
    elif random:
        totals[_BASE64] += len(numbers)
    else:
        classes = bytes(map(_classes.__getitem__, numbers))
        for which in range(_BASE64):
            totals[which] += classes.count(which)
        rest = classes.count(_REST)
        for run in _FOLLOWED.finditer(classes) if rest else ():
            totals[run[0][0]] += len(run[0]) - 1
            rest -= len(run[0]) - 1
        totals[_OTHER] += rest


def _guess(totals: list[int], text: str, *, random: bool) -> None:
    """Tokens from bytes by class."""
    whole = len(text.encode("utf-8", "replace"))
    if random:
        totals[_BASE64] += -(-whole * 10 // _BYTES_A_TOKEN_TENTHS[_BASE64])
        return
    for which, chars in _BY_CLASS:
        size = sum(len(found[0].encode("utf-8", "replace")) for found in chars.finditer(text))
        totals[which] += -(-size * 10 // _BYTES_A_TOKEN_TENTHS[which])
        whole -= size
    totals[_LATIN] += -(-whole * 10 // _BYTES_A_TOKEN_TENTHS[_LATIN])


class _Classes(dict[int, int]):
    """The class of each token by its number, found when it is first met."""

    def __missing__(self, number: int) -> int:
        found = self[number] = _class_of(tokens.piece_of(TOKENIZER, number))
        return found


_classes: Final = _Classes()


def _class_of(token: bytes) -> int:
    """The class of a token: by its first character that is no space; a part of a character by its lead byte."""
    seen = token.strip() or token
    lead = seen[0]
    if lead < 0x80:
        return _DIGITS if seen.isdigit() else _LATIN
    if lead < 0xC0:
        return _REST
    first = seen.decode("utf-8", "ignore")[:1]
    if not first:  # half a character: E3 to ED are Chinese, Japanese, Korean; C2 to C9 Latin
        return _CJK if 0xE3 <= lead <= 0xED or lead == 0xEF else _LATIN if lead <= 0xC9 else _OTHER
    for which, chars in _BY_CLASS[:2]:
        if chars.match(first):
            return which
    return _LATIN
