"""Where in a JSON text something is, such as `messages[3].content`; and whether a name is repeated in an object.

Decoders keep the last of two members with one name and say nothing; whoever reads the same bytes behind us may keep
the first. The check is counting: a decoder and an encoder at the speed of C leave out what is repeated, and its
colon.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

import msgspec

from .errors import CommandError

# How far a fault is looked for, to name its place.
TOKENS_MAX: Final = 20_000
BYTES_MAX: Final = 1024 * 1024
LEVELS_MAX: Final = 200
PATH_CHARS_MAX: Final = 120

_anything: Final = msgspec.json.Decoder().decode
_text: Final = msgspec.json.Encoder().encode
_string: Final = msgspec.json.Decoder(str).decode
_COLON: Final = re.compile(rb"\\u003[aA]")
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\],:]', re.DOTALL)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


def repeats(data: bytes) -> bool:
    """Whether any object of a valid JSON text has two members of one name, however spelled.

    ValueError for a text that no decoder of ours takes, such as one with a number out of range.
    """
    if b"{" not in data:
        return False
    again = _text(_anything(data))
    if escapes_colons(data):
        return _colons(data) != _colons(again)
    return data.count(b":") != again.count(b":")


def once(text: str, what: str) -> None:
    """CommandError that names the member, where an object of a JSON text has two of one name; any other text passes."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        if not repeats(data):
            return
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return  # whoever reads it next says what is wrong with it
    place = find(data, repeated=True)
    raise CommandError("json.repeated", what=what, place=place or "?")


def names_once(data: bytes) -> bool:
    """Whether it is certain, by one look at the whole of a valid JSON text, that no name is repeated in an object."""
    if escapes_colons(data):
        return False
    try:
        return data.count(b":") == _text(_anything(data)).count(b":")
    except (msgspec.MsgspecError, ValueError):
        return False


def escapes_colons(data: bytes) -> bool:
    """Whether a colon is written as an escape, so that counting those that are not is not enough."""
    return b"\\u003" in data and _COLON.search(data) is not None


def _colons(data: bytes) -> int:
    """Colons outside strings: the members of all objects together."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(data.split(b'"')[::2]).count(b":")


class _Level:
    """An object or list that is open, the name or index in it, and the names that came."""

    __slots__ = ("at", "names", "wants_name")

    def __init__(self, *, is_object: bool) -> None:
        self.at: str | int = "" if is_object else 0
        self.names: set[str] | None = set() if is_object else None
        self.wants_name = is_object


def find(
    data: bytes, *, offset: int | None = None, deeper_than: int | None = None, repeated: bool = False
) -> str | None:
    """The path of what comes first: the byte at `offset`, a level too deep, a name that came before.

    None if it is at the top, or behind what is looked through for it. The text may be malformed from there on.
    """
    levels: list[_Level] = []
    for count, token in enumerate(_TOKEN.finditer(data, 0, BYTES_MAX)):
        if count > TOKENS_MAX or len(levels) > LEVELS_MAX:
            return None
        if offset is not None and token.end() > offset:
            break
        again = _step(levels, token[0])
        if again and repeated:
            return _path(levels)
        if deeper_than is not None and len(levels) > deeper_than:
            return _path(levels[:-1])
    return _path(levels) if offset is not None else None


def largest(data: bytes) -> str | None:
    """The member of the outermost object that is the longest in what can be looked through soon; None for no object."""
    levels: list[_Level] = []
    sizes: dict[str, int] = {}
    names: dict[str, str | None] = {}
    end = 0
    for token in itertools.islice(_TOKEN.finditer(data, 0, BYTES_MAX), TOKENS_MAX):
        _step(levels, token[0])
        if len(levels) > LEVELS_MAX:
            break
        if levels and isinstance(levels[0].at, str):
            name = levels[0].at
            sizes[name] = sizes.get(name, 0) + token.end() - end
            names[name] = names.get(name) or _path(levels[:1])
        end = token.end()
    if levels and isinstance(levels[0].at, str):  # the rest, that nobody looks through, is its
        sizes[levels[0].at] = sizes.get(levels[0].at, 0) + len(data) - end
    return names.get(max(sizes, key=sizes.__getitem__)) if sizes else None


def _step(levels: list[_Level], token: bytes) -> bool:
    """Continue by a token; whether that is a name that came before in its object."""
    sign = token[:1]
    top = levels[-1] if levels else None
    if sign == b'"':
        return top is not None and top.wants_name and _name(top, token)
    if sign in b"{[":
        levels.append(_Level(is_object=sign == b"{"))
    elif sign in b"}]":
        if levels:
            levels.pop()
    elif sign == b"," and top is not None:
        if isinstance(top.at, int):
            top.at += 1
        else:
            top.wants_name = True
    return False


def _name(level: _Level, text: bytes) -> bool:
    """Take the name of a member; whether it came before in its object."""
    try:
        name = _string(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = text[1:-1].decode("utf-8", "replace")
    level.at, level.wants_name = name, False
    names = level.names if level.names is not None else set()
    if name in names:
        return True
    names.add(name)
    return False


def _path(levels: list[_Level]) -> str | None:
    out = ""
    for level in levels:
        if isinstance(level.at, int):
            out += f"[{level.at}]"
        elif level.at:
            shown = level.at if _PLAIN.match(level.at) else ascii(level.at[:32])[1:-1]
            out += f".{shown}" if out else shown
        if len(out) > PATH_CHARS_MAX:
            return out[:PATH_CHARS_MAX] + "…"
    return out or None
