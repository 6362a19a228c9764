"""A long JSON text in pieces, so that reading it keeps the interpreter for a few milliseconds at a time.

A decoder says how far a value went when something follows it. So the pieces are found: whole values, runs of small ones
in long lists. What is made of the pieces is what a decoder would make of the whole.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from farebox.kit import depth
from farebox.protocol import halves

# What is no longer than this is read at once.
PIECE_BYTES: Final = 256 * 1024
# Strings are read at once: with escapes, or beyond ASCII, no more takes less than a tenth of a second.
DEAR_STRING_BYTES_MAX: Final = 16 * 1024 * 1024
_RUN_BYTES: Final = 64 * 1024
_HALVES_BYTES: Final = (16 * 1024, PIECE_BYTES)
_OPEN_OBJECT, _OPEN_LIST, _QUOTE, _BACKSLASH = b'{["\\'
_COMMA, _COLON, _END_OBJECT, _END_LIST = b",:}]"
_skip: Final = msgspec.json.Decoder(Raw).decode
_encode: Final = msgspec.json.Encoder().encode
_scan: Final = json.JSONDecoder(parse_constant=halves.refused).raw_decode
_WHITE: Final = re.compile(rb"[ \t\r\n]*")
_FOLLOWS: Final = re.compile(r"trailing characters \(byte (\d+)\)")


class TooDeep(ValueError):
    """Nested deeper than `depth.DEPTH_MAX` levels."""


class StringTooLong(ValueError):
    """A string that takes too long to be read."""


class Piece:
    """A piece of a text, from `start` to `end`: a value, with its name in an object, or a run of values in a list.

    `parts` are those of a long list or object; None for what is read at once.
    """

    __slots__ = ("end", "name", "parts", "start")

    def __init__(self, start: int, end: int, parts: list[Piece] | None, name: str = "") -> None:
        self.start = start
        self.end = end
        self.parts = parts
        self.name = name


class Carved:
    """The parts of a JSON text; ValueError if it is not one, TooDeep, TooLong."""

    __slots__ = ("_view", "body", "top")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._view = memoryview(body)
        start = self._white(0)
        end, parts = self._value(start, 0)
        if self._white(end) != len(body):
            raise ValueError("something follows the value")
        self.top = Piece(start, end, parts)

    def is_list(self, part: Piece) -> bool:
        """Whether it is a long list."""
        return part.parts is not None and self.body[part.start] == _OPEN_LIST

    def member(self, name: str) -> Piece | None:
        """The long list of this name in the text's object; the last, as decoders have it."""
        if self.top.parts is None or self.is_list(self.top):
            return None
        found = next((part for part in reversed(self.top.parts) if part.name == name), None)
        return found if found is not None and self.is_list(found) else None

    def without(self, part: Piece) -> bytes:
        """The text with an empty list in place of this one."""
        return b"".join((self._view[: part.start], b"[]", self._view[part.end :]))

    def lists(self, part: Piece) -> Iterator[bytes]:
        """The values of a long list as shorter lists."""
        for each in part.parts or ():
            yield b"".join((b"[", self._view[each.start : each.end], b"]"))

    def value(self, part: Piece | None = None, *, way: tuple[str, ...] = ()) -> Any:
        """What a part, or the whole, stands for. Long lists of log probabilities stay raw, as our encoder writes them.

        `way` are the names that lead to it. ValueError where a string or a number is none.
        """
        part = part or self.top
        if part.parts is None:
            return halves.loads(self.body[part.start : part.end])
        if not self.is_list(part):
            return {each.name: self.value(each, way=(*way, each.name)) for each in part.parts}
        if way[:-1] == ("choices", "logprobs"):
            written = [self._written(each) for each in part.parts]
            return Raw(b"".join((b"[", b",".join(written), b"]")))
        values: list[Any] = []
        for each, text in zip(part.parts, self.lists(part), strict=True):
            if each.parts is None:
                values += halves.loads(text)
            else:
                values.append(self.value(each, way=way))
        return values

    def _written(self, part: Piece) -> bytes:
        """A part of a list as our encoder writes it, without brackets."""
        listed = part.parts is None
        found = halves.loads(b"[%b]" % self.body[part.start : part.end]) if listed else [self.value(part)]
        try:
            return _encode(found)[1:-1]
        except UnicodeEncodeError:
            return _encode(halves.mended_tree(found))[1:-1]

    # finding the parts

    def _white(self, at: int) -> int:
        found = _WHITE.match(self.body, at)
        return found.end() if found else at

    def _sign(self, at: int) -> int:
        if at >= len(self.body):
            raise ValueError("the text is cut")
        return self.body[at]

    def _value(self, at: int, level: int) -> tuple[int, list[Piece] | None]:
        """Where the value at `at` ends, and its parts."""
        end = self._short_end(at)
        if end:
            self._check_depth(at, end, level)
            return end, None
        if level >= depth.DEPTH_MAX:
            raise TooDeep
        sign = self._sign(at)
        if sign == _OPEN_LIST:
            return self._list(at, level + 1)
        if sign == _OPEN_OBJECT:
            return self._object(at, level + 1)
        if sign == _QUOTE:
            return self._string_end(at), None
        raise ValueError("no value")

    def _check_depth(self, start: int, end: int, level: int) -> None:
        if depth.too_deep(b"[" * level + self.body[start:end] + b"]" * level):
            raise TooDeep

    def _short_end(self, at: int) -> int:
        """Where the value at `at` ends; 0 if that is not within a piece."""
        window = self._view[at : at + PIECE_BYTES]
        try:
            _skip(window)
        except msgspec.DecodeError as fault:
            if found := _FOLLOWS.search(str(fault)):
                return at + len(bytes(window[: int(found[1]) - 1]).rstrip(b" \t\r\n"))
            return self._end_with_halves(at)
        except RecursionError:
            raise TooDeep from None
        end = at + len(bytes(window).rstrip(b" \t\r\n"))
        return end if end < at + len(window) or end == len(self.body) else 0

    def _end_with_halves(self, at: int) -> int:
        """The same for a value that only the other reader takes."""
        for size in _HALVES_BYTES:
            window = self.body[at : at + size]
            if b"\\u" not in window and window.isascii():
                continue
            text = codecs.getincrementaldecoder("utf-8")("surrogatepass").decode(window)
            try:
                _, end = _scan(text)
            except (ValueError, RecursionError):
                continue
            if end < len(text) or at + size >= len(self.body):
                return at + len(text[:end].encode("utf-8", "surrogatepass"))
        return 0

    def _string_end(self, at: int) -> int:
        end = at
        while True:
            end = self.body.find(b'"', end + 1)
            if end < 0:
                raise ValueError("a string without end")
            first = end
            while self.body[first - 1] == _BACKSLASH and first - 1 > at:
                first -= 1
            if (end - first) % 2 == 0:
                break
        if end - at > DEAR_STRING_BYTES_MAX:
            text = self.body[at:end]
            if b"\\" in text or not text.isascii():
                raise StringTooLong
        return end + 1

    def _list(self, at: int, level: int) -> tuple[int, list[Piece]]:
        parts: list[Piece] = []
        at = self._white(at + 1)
        if self._sign(at) == _END_LIST:
            return at + 1, parts
        run = at
        while True:
            end, inner = self._flat_run(at), None
            if not end:
                end, inner = self._value(at, level)
            if inner is not None:
                if run < at:
                    parts.append(Piece(run, self._before(at), None))
                parts.append(Piece(at, end, inner))
            follows = self._white(end)
            sign = self._sign(follows)
            if sign not in (_COMMA, _END_LIST):
                raise ValueError("no list")
            at = self._white(follows + 1)
            if inner is not None:
                run = at
            elif end - run >= _RUN_BYTES or sign == _END_LIST:
                parts.append(Piece(run, end, None))
                run = at
            if sign == _END_LIST:
                return follows + 1, parts

    def _before(self, at: int) -> int:
        """Where the values before the comma before `at` end."""
        return self.body.rindex(b",", 0, at)

    def _flat_run(self, at: int) -> int:
        """Where a run of values that are no lists and no objects ends, found at one stroke; 0 if it can't be so."""
        if self._sign(at) in (_OPEN_LIST, _OPEN_OBJECT):
            return 0
        end = self.body.rfind(b",", at, at + _RUN_BYTES)
        if end < 0:
            return 0
        try:
            _skip(b"[%b]" % self.body[at:end])
        except msgspec.DecodeError:
            return 0
        return end

    def _object(self, at: int, level: int) -> tuple[int, list[Piece]]:
        parts: list[Piece] = []
        at = self._white(at + 1)
        if self._sign(at) == _END_OBJECT:
            return at + 1, parts
        while True:
            if self._sign(at) != _QUOTE:
                raise ValueError("no name")
            end = self._string_end(at)
            name = halves.loads(self.body[at:end])
            at = self._white(end)
            if self._sign(at) != _COLON:
                raise ValueError("no colon")
            start = self._white(at + 1)
            end, inner = self._value(start, level)
            parts.append(Piece(start, end, inner, name))
            end = self._white(end)
            sign = self._sign(end)
            if sign == _END_OBJECT:
                return end + 1, parts
            if sign != _COMMA:
                raise ValueError("no object")
            at = self._white(end + 1)
