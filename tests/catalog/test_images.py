"""Sizes from headers, and OpenAI's own examples of image tokens."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.catalog import images
from farebox.catalog.images import image_bound, image_size, image_tokens

sides = st.integers(1, 20_000)


def png(width, height) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def gif(width, height) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\xf7\x00\x00"


def jpeg(width, height, *, before: bytes = b"", sof: int = 0xC0) -> bytes:
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8" + app0 + before + bytes([0xFF, sof]) + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda"


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def lossy(width, height) -> bytes:
    return webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height))


def lossless(width, height) -> bytes:
    return webp(b"VP8L", b"\x2f" + ((width - 1) | (height - 1) << 14 | 1 << 28).to_bytes(4, "little"))


def extended(width, height) -> bytes:
    return webp(b"VP8X", b"\x10\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


EXIF = b"\xff\xe1" + struct.pack(">H", 60_002) + b"Exif\x00\x00" + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01" * 6_666


@pytest.mark.parametrize("make", [png, gif, jpeg, lossy, lossless, extended])
def test_the_header_says_the_size(make):
    for size in ((1, 1), (640, 480), (3, 16_000), (16_000, 3)):
        assert image_size(make(*size)) == size
        assert image_size(make(*size) + b"\x00" * 99) == size


def test_a_jpeg_says_it_behind_its_metadata():
    assert len(EXIF) >= 60_000
    assert image_size(jpeg(4032, 3024, before=EXIF)) == (4032, 3024)
    assert image_size(jpeg(4032, 3024, before=b"\xff\xff\xff\xc4\x00\x04ab" + b"\xff\x01", sof=0xC2)) == (
        4032,
        3024,
    )


def test_what_says_no_size_is_unknown():
    for data in (
        b"",
        b"\x89PNG",
        b"<svg width='9'/>",
        b"BM" + b"\x00" * 60,
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x02",
    ):
        assert image_size(data) is None
    assert image_size(png(0, 5)) is None
    assert image_size(webp(b"ALPH", b"\x00" * 20)) is None


@pytest.mark.slow
@given(st.sampled_from([png, gif, jpeg, lossy, lossless, extended]), st.integers(0, 40))
def test_a_cut_header_is_unknown_or_right(make, length):
    assert image_size(make(640, 480)[:length]) in {None, (640, 480)}


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff", b"RIFF1234WEBPVP8X"]),
    st.binary(max_size=80),
)
def test_no_bytes_break_it(head, tail):
    size = image_size(head + tail)
    assert size is None or (size[0] > 0 and size[1] > 0)


def test_openais_own_examples():
    assert image_tokens("openai_tile", 1024, 1024, "high") == 765
    assert image_tokens("openai_tile", 2048, 4096, "high") == 1105
    assert image_tokens("openai_tile", 4096, 8192, "low") == 85
    assert image_tokens("openai_tile", 512, 512) == 85 + 170
    assert image_tokens("openai_tile", 513, 512, "auto") == 85 + 2 * 170
    assert image_tokens("openai_tile_mini", 1024, 1024) == 2833 + 4 * 5667


@pytest.mark.slow
@given(st.sampled_from(sorted(images.FORMULAS)), sides, sides, st.sampled_from(["low", "high", "auto"]))
def test_a_bound_is_never_too_low(formula, width, height, detail):
    tokens = image_tokens(formula, width, height, detail)
    assert image_tokens(formula, height, width, detail) == tokens
    assert tokens <= image_bound(formula, (width, height), detail) <= image_bound(formula, None, detail)


def test_an_image_of_unknown_size_can_need_eight_tiles():
    assert image_bound("openai_tile", None, "high") == image_tokens("openai_tile", 2048, 768) == 1445
    assert image_bound("openai_tile", None, "low") == 85


def test_no_formula_no_tokens():
    for formula in ("", "other"):
        with pytest.raises(ValueError, match="formula"):
            image_tokens(formula, 1, 1)
        with pytest.raises(ValueError, match="formula"):
            image_bound(formula, None)
    with pytest.raises(ValueError, match="pixel"):
        image_tokens("openai_tile", 0, 5)
