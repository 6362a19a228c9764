"""Halves of signs in JSON: a server that cuts its text by UTF-16 units writes half an emoji as one lone escape.

RFC 8259 8.2 leaves open what a reader makes of them; ours refuses them, so such JSON is read here instead.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

_strict: Final = msgspec.json.Decoder().decode
LOST: Final = "\ufffd"


def loads(raw: bytes) -> Any:
    """The value of a JSON text, with lone halves in its strings kept; ValueError or RecursionError if it is not one."""
    try:
        return _strict(raw)
    except ValueError:
        # The other reader is slower, and takes halves: as escapes, and as the bytes that UTF-8 has no use for.
        return json.loads(raw.decode("utf-8", "surrogatepass"), parse_constant=refused)


def mended(text: str) -> str:
    """`text` with halves that follow one another joined, and U+FFFD for each that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def mended_tree(value: Any) -> Any:
    """The JSON value with each of its strings `mended`."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [mended_tree(each) for each in value]
    if isinstance(value, dict):
        return {mended(name): mended_tree(each) for name, each in value.items()}
    return value


class Halves:
    """The halves at the end of the texts of one stream, each by the key of its text, until the other half comes."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: dict[tuple[Any, ...], str] = {}

    def joined(self, key: tuple[Any, ...], text: str) -> str:
        """The next piece of a text, with the half before it, and without one at its end, which is held."""
        text = self.held.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.held[key] = text[-1]
            text = text[:-1]
        return mended(text)


def refused(word: str) -> None:
    """ValueError: what Python's own reader takes for a number, and JSON does not (NaN, Infinity)."""
    raise ValueError(f"{word} is no JSON")
