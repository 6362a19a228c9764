"""The first look at a JSON body, before anything decodes it: what decoding would cost, in pieces of 256 KiB.

A decoder keeps the interpreter for as long as a body wants it to, whatever thread it runs in. Its work grows with
brackets, commas and colons, with numbers that are not integers (msgspec reads each of those by digits of any length,
up to 15 µs), and with strings that are more than plain ASCII; so these are counted, and bounded, first. Each piece
takes a few milliseconds; between two of them the interpreter is free for other threads.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Final

from . import depth

PIECE_BYTES: Final = 256 * 1024
# Bodies up to here hold too little of anything to be worth a look.
SMALL_BYTES: Final = 16 * 1024
SIGNS_MAX: Final = 200_000
FRACTIONS_MAX: Final = 5_000
# Spaces, digits, brackets: all that is not in strings.
BARE_BYTES_MAX: Final = 4 * 1024 * 1024
# Strings with anything beside plain ASCII are read ten times slower than others, such as images.
DEAR_BYTES_MAX: Final = 8 * 1024 * 1024
# A decoder repeats the string that it does not like; only images are longer, and anything is liked where they stand.
STRING_BYTES_MAX: Final = 8 * 1024 * 1024
DEAR_STRING_BYTES_MAX: Final = 4 * 1024 * 1024
_URL: Final = re.compile(rb'"url"\s{0,32}:\s{0,32}"\Z')
_BRACKETS: Final = bytes(sign for sign in range(256) if sign not in b"[]{}")
_SIGNS: Final = bytes(sign for sign in range(256) if sign not in b"[]{},:")
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_utf8: Final = codecs.getincrementaldecoder("utf-8")


class TooMuch(ValueError):
    """More than a body may hold, in words."""

    def __init__(self, words: str) -> None:
        super().__init__(f"The JSON body {words}")


class TooDeep(TooMuch):
    """Nested too deep."""


class NotUtf8(ValueError):
    """The byte at `start` is no UTF-8."""

    def __init__(self, start: int) -> None:
        super().__init__(f"byte {start}")
        self.start = start


@dataclass(slots=True)
class _Tally:
    signs: int = 0
    fractions: int = 0
    bare_bytes: int = 0
    dear_bytes: int = 0
    quotes: int = 0
    brackets: list[bytes] = field(default_factory=list)
    # The string that is open where the last piece ended: its bytes so far, whether they are dear, and may be so many.
    within: bool = False
    open_bytes: int = 0
    open_dear: bool = False
    open_long: bool = False

    def add(self, piece: bytes, *, plain: bool) -> None:
        """Count a piece of which no character and no escape is in the next one, too."""
        if not plain:
            # Escapes become bytes that are no ASCII, of the same length: what looks like a quote is one.
            piece = piece.replace(b"\\\\", b"\xff\xff").replace(b'\\"', b"\xff\xff").replace(b"\\", b"\xff")
        parts = piece.split(b'"')
        self.quotes += len(parts) - 1
        if self.quotes > 2 * SIGNS_MAX + 2:
            raise TooMuch(f"has more than {SIGNS_MAX:,} strings")
        first = int(self.within)
        self._bare(b'"'.join(parts[first::2]))
        self._strings(parts, first, plain=plain)

    def _bare(self, bare: bytes) -> None:
        self.bare_bytes += len(bare)
        if self.bare_bytes > BARE_BYTES_MAX:
            raise TooMuch(f"has more than {BARE_BYTES_MAX // 1024**2} MiB beside its strings")
        self.signs += len(bare.translate(None, _SIGNS))
        if self.signs > SIGNS_MAX:
            raise TooMuch(f"has more than {SIGNS_MAX:,} brackets, commas and colons")
        letters = bare.count(b"e") - bare.count(b"true") - bare.count(b"false")
        self.fractions += bare.count(b".") + bare.count(b"E") + letters
        if self.fractions > FRACTIONS_MAX:
            raise TooMuch(f"has more than {FRACTIONS_MAX:,} numbers with a fraction or an exponent")
        self.brackets.append(bare.translate(_SQUARE, _BRACKETS))

    def _strings(self, parts: list[bytes], first: int, *, plain: bool) -> None:
        strings = parts[1 - first :: 2]
        opened = (len(parts) + first) % 2 == 0  # the last part is the inside of a string
        if self.within:
            self._grow(strings[0], plain=plain)
            if len(parts) == 1:
                return
            del strings[0]
        last = strings.pop() if opened else b""
        if not plain:
            self.dear_bytes += sum(len(each) for each in strings if not each.isascii())
            self._check_dear()
        self.within, self.open_bytes, self.open_dear, self.open_long = opened, 0, False, False
        if opened:
            self._grow(last, plain=plain)

    def _grow(self, part: bytes, *, plain: bool) -> None:
        """The open string continues."""
        dear = not plain and not part.isascii()
        if self.open_dear:
            self.dear_bytes += len(part)
        elif dear:
            self.dear_bytes += self.open_bytes + len(part)
            self.open_dear = True
        self.open_bytes += len(part)
        self._check_dear()

    def _check_dear(self) -> None:
        if self.open_dear and self.open_bytes > DEAR_STRING_BYTES_MAX:
            mib = DEAR_STRING_BYTES_MAX // 1024**2
            raise TooMuch(f"has a string of more than {mib} MiB with escapes or characters beyond ASCII")
        if self.dear_bytes > DEAR_BYTES_MAX:
            raise TooMuch(
                f"has more than {DEAR_BYTES_MAX // 1024**2} MiB of strings with escapes or characters beyond ASCII"
            )


def check(body: bytes) -> None:
    """Raise TooMuch or NotUtf8 for a body that nothing of ours may decode.

    What comes behind the first fault of a malformed text may be judged wrongly; decoders stop there.
    """
    tally, reader = _Tally(), _utf8()
    view, at, end_all = memoryview(body), 0, len(body)
    while at < end_all:
        end = _cut(body, at, min(at + PIECE_BYTES, end_all))
        piece = bytes(view[at:end])
        ascii_only = piece.isascii()
        if not ascii_only or reader.getstate()[0]:
            kept = len(reader.getstate()[0])
            try:
                reader.decode(piece)
            except UnicodeDecodeError as fault:
                raise NotUtf8(at - kept + fault.start) from None
        tally.add(piece, plain=ascii_only and b"\\" not in piece)
        at = end
        if tally.open_bytes > STRING_BYTES_MAX and not tally.open_long:
            begun = at - tally.open_bytes
            tally.open_long = _URL.search(body[max(0, begun - 80) : begun]) is not None
            if not tally.open_long:
                raise TooMuch(f"has a string of more than {STRING_BYTES_MAX // 1024**2} MiB that is no image")
    if reader.getstate()[0]:
        raise NotUtf8(end_all - len(reader.getstate()[0]))
    if depth.deeper(b"".join(tally.brackets)):
        raise TooDeep(f"is nested deeper than {depth.DEPTH_MAX} levels")


def _cut(body: bytes, start: int, end: int) -> int:
    """Where a piece ends that must not cut an escape in two: behind an even number of backslashes."""
    if end == len(body) or body[end - 1] != 0x5C:
        return end
    run = len(body[start:end]) - len(body[start:end].rstrip(b"\\"))
    return end - 1 if run % 2 and end - 1 > start else end
