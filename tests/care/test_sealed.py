"""The file of a backup tells whether it is whole, whatever happened to it."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from farebox.care import sealed
from farebox.kit.errors import CommandError
from kit.backups import unpacked, written

PART = sealed.CHUNK_BYTES


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["open", "sealed"])
@pytest.mark.parametrize("size", [0, 1, PART - 300, PART, 2 * PART + 17])
def test_every_size_comes_back(tmp_path, size, key):
    payload = os.urandom(size)
    path = written(tmp_path / "b", payload, key, name="grüezi")
    assert unpacked(path, key) == payload
    with sealed.opened(path, key) as opened:
        assert opened.manifest["name"] == "grüezi"
        assert opened.manifest["payload_sha256"] == hashlib.sha256(payload).hexdigest()


def test_a_chunk_may_end_just_with_the_text(tmp_path):
    """The last chunk is a full one: no empty chunk follows, and its mark is there."""
    probe = written(tmp_path / "probe", b"", None)
    with sealed.opened(probe, None) as opened:
        said = opened.manifest
    first = 4 + len(json.dumps(said | {"payload_bytes": PART - 500}).encode())
    for size in range(PART - first - 3, PART - first + 4):
        assert len(unpacked(written(tmp_path / f"b{size}", b"x" * size, b"k" * 32), b"k" * 32)) == size


def head_of(whole: bytes) -> bytes:
    return whole[: 17 + 4 + int.from_bytes(whole[17:21], "big") + 32]


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["open", "sealed"])
def test_a_cut_file_says_so_wherever_it_is_cut(tmp_path, key):
    path = written(tmp_path / "b", os.urandom(2 * PART), key)
    whole = path.read_bytes()
    cuts = {5, 17, 19, 21, 60, 200, 400, len(whole) // 2, len(whole) - PART, len(whole) - 16, len(whole) - 1}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        with pytest.raises(CommandError, match="is cut short"):
            unpacked(path, key)
    head = len(head_of(whole))
    for chunks in (0, 1, 2):  # whole chunks gone from the end
        path.write_bytes(whole[: head + chunks * (PART + 16)])
        with pytest.raises(CommandError, match="is cut short"):
            unpacked(path, key)
    path.write_bytes(whole + b"x")
    with pytest.raises(CommandError, match="1 bytes too many"):
        unpacked(path, key)


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["open", "sealed"])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path, key):
    path = written(tmp_path / "b", os.urandom(PART + 100), key)
    whole = path.read_bytes()
    places = [*range(17, 400, 7), PART, PART + 250, len(whole) - 110, len(whole) - 17, len(whole) - 16, len(whole) - 1]
    for at in places:
        changed = bytearray(whole)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(CommandError, match="was changed|is cut short: it ends within its head"):
            unpacked(path, key)
    path.write_bytes(whole)
    assert len(unpacked(path, key)) == PART + 100


def test_chunks_can_not_be_moved_or_left_out(tmp_path):
    key = b"k" * 32
    path = written(tmp_path / "b", os.urandom(3 * PART), key)
    whole = path.read_bytes()
    step = PART + 16
    head = head_of(whole)
    body = whole[len(head) :]
    chunks = [body[n : n + step] for n in range(0, len(body), step)]
    assert len(chunks) == 4
    for order in ([1, 0, 2, 3], [0, 2, 1, 3], [0, 0, 2, 3]):
        path.write_bytes(head + b"".join(chunks[n] for n in order))
        with pytest.raises(CommandError, match="its part . of 4 is not what was written"):
            unpacked(path, key)
    other = written(tmp_path / "other", b"o" * 3 * PART, key).read_bytes()
    path.write_bytes(head + b"".join(chunks[:3]) + other[len(other) - len(chunks[3]) :])
    with pytest.raises(CommandError, match="part 4 of 4"):
        unpacked(path, key)


def test_a_head_that_hides_a_cut_is_found(tmp_path):
    """Whoever cuts an encrypted file and rewrites its head to fit is found by the seal of the last part."""
    path = written(tmp_path / "b", os.urandom(2 * PART), b"k" * 32)
    whole = path.read_bytes()
    head = head_of(whole)
    for plain_bytes in (PART, 2 * PART):
        said = json.dumps(json.loads(head[21:-32]) | {"plain_bytes": plain_bytes}).encode()
        start = head[:17] + len(said).to_bytes(4, "big") + said
        end = len(head) + plain_bytes + plain_bytes // PART * 16
        path.write_bytes(start + hashlib.sha256(start).digest() + whole[len(head) : end])
        with pytest.raises(CommandError, match="its part 1 of . is not what was written"):
            unpacked(path, b"k" * 32)


def test_a_foreign_file_is_none_of_ours(tmp_path):
    path = tmp_path / "b"
    for text in (b"", b"SQLite format 3\0" + bytes(5000), b"farebox", b"farebox backup x\n" + bytes(90)):
        path.write_bytes(text)
        with pytest.raises(CommandError, match="is not a backup of Farebox|is cut short"):
            unpacked(path, None)
    path.write_bytes(b"farebox backup 2\n" + bytes(100))
    with pytest.raises(CommandError, match="of another form"):
        unpacked(path, None)
    with pytest.raises(CommandError, match="No such file"):
        unpacked(tmp_path / "gone", None)
