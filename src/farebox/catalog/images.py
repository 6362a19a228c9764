"""Image tokens: the vendors' formulas, and an image's size read from its header without decoding it.

Formulas: OpenAI's vision guide ("tile" models). Headers: PNG (ISO/IEC 15948, IHDR), GIF89a, JPEG (ITU-T T.81,
SOF segments), WebP (RFC 9649).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LONG_SIDE = 2048
_SHORT_SIDE = 768
_TILE = 512
# The most tiles that 2048 x 768 pixels can need.
_TILES_MAX = 8


@dataclass(frozen=True, slots=True)
class Formula:
    """Tokens of an image: `base`, and in high detail `tile` more for each tile of 512 x 512 pixels."""

    base: int
    tile: int


FORMULAS = {
    "openai_tile": Formula(base=85, tile=170),
    "openai_tile_mini": Formula(base=2833, tile=5667),
}


def image_tokens(formula: str, width: int, height: int, detail: str = "auto") -> int:
    """Tokens of one image of `width` x `height` pixels by `formula`; `auto` counts as high.

    A small image is not enlarged: the lower reading of the vendor's guide. ValueError for an unknown formula
    or a size that is not one.
    """
    known = _known(formula)
    if width < 1 or height < 1:
        raise ValueError("an image has at least one pixel")
    if detail == "low":
        return known.base
    return known.base + known.tile * _tiles(width, height, enlarge=False)


def image_bound(formula: str, size: tuple[int, int] | None, detail: str = "auto") -> int:
    """The most tokens that one image can count; `size` None if unknown. ValueError for an unknown formula."""
    known = _known(formula)
    if detail == "low":
        return known.base
    tiles = _TILES_MAX if size is None else _tiles(*size, enlarge=True)
    return known.base + known.tile * tiles


def _known(formula: str) -> Formula:
    try:
        return FORMULAS[formula]
    except KeyError:
        raise ValueError(f"no image formula {formula!r:.40}") from None


def _tiles(width: int, height: int, *, enlarge: bool) -> int:
    """Tiles after fitting the image into 2048 x 2048 and its short side to 768.

    With `enlarge` the higher reading of the guide: a short side is enlarged too, and fractions of pixels
    count.
    """
    up = 1 if enlarge else 0
    long, short = max(width, height), min(width, height)
    if long > _LONG_SIDE:
        long, short = _LONG_SIDE, max(1, (short * _LONG_SIDE + up * (long - 1)) // long)
    if short > _SHORT_SIDE or (enlarge and short < _SHORT_SIDE):
        long, short = min(_LONG_SIDE, (long * _SHORT_SIDE + up * (short - 1)) // short), _SHORT_SIDE
    return -(-long // _TILE) * -(-short // _TILE)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a PNG, JPEG, GIF or WebP; None if it does not say.

    The first bytes of the file are enough; a JPEG's size stands behind its metadata.
    """
    try:
        size = _size(data)
    except (struct.error, IndexError):
        return None
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def _size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", data, 6)
        return width, height
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            at += 2
            continue
        if marker in {0xD9, 0xDA}:  # the picture itself begins, or ends
            return None
        # SOF0 to SOF15 without DHT, JPG and DAC, which share the range.
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(_exactly(data, 27, 3), "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(_exactly(data, 21, 4), "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _exactly(data: bytes, at: int, count: int) -> bytes:
    part = data[at : at + count]
    if len(part) < count:
        raise IndexError(at)
    return part
