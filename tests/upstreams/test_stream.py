"""The event stream reader: whatever the cuts, whatever the line ends, the same events."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.protocol.stream import SseReader, StreamBroken, is_stream
from kit.rows import for_each

MOST = 1 << 20


def read(*pieces: bytes, end: bool = True) -> list[bytes]:
    reader = SseReader(MOST)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end() if end else events


@for_each(
    ("stream", "events"),
    [
        (b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n', [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        (b'data: {"a":1}\r\n\r\ndata: [DONE]\r\n\r\n', [b'{"a":1}', b"[DONE]"]),
        (b'data: {"a":1}\r\rdata: [DONE]\r\r', [b'{"a":1}', b"[DONE]"]),
        (b'data:{"a":1}\n\ndata:  x\n\n', [b'{"a":1}', b" x"]),
        (b'\xef\xbb\xbfdata: {"a":1}\n\n', [b'{"a":1}']),
        (b": ping\n\ndata: x\n: inside\n\n: ping\n", [b"x"]),
        (b"event: message_start\nid: 7\nretry: 10\ndata: x\n\n", [b"x"]),
        (b"data: one\ndata: two\ndata\ndata:\n\n", [b"one\ntwo\n\n"]),
        (b"\n\n\ndata: x\n\n\n\n\ndata: y\n\n", [b"x", b"y"]),
        (b"data: x\n\nevent: e\n\ndata: y\n\n", [b"x", b"y"]),
        (b"data: \n\ndata:\n\ndata\n\ndata: x\n\n", [b"x"]),
        (b"datum: x\n\n database: y\n\nDATA: z\n\n", []),
        (b"data: \xe4\xbd\xa0\xe5\xa5\xbd\n\n", ["你好".encode()]),
        (b"data: a data: b\n\ndata: data: c\n\n", [b"a data: b", b"data: c"]),
        (b"", []),
        (b"\n\n", []),
        (b"\xef\xbb", []),
    ],
)
def test_events_are_the_same_at_every_cut(stream, events):
    assert read(stream, end=False) == events
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:], end=False) == events, cut
    assert read(*(stream[i : i + 1] for i in range(len(stream))), end=False) == events


@for_each(
    ("tail", "kept"),
    [
        (b"data: [DONE]", [b"[DONE]"]),
        (b"data: [DONE]\n", [b"[DONE]"]),
        (b'data: {"usage":{"a":1}}', [b'{"usage":{"a":1}}']),
        (b'data: {"usage":{"a":1}}\r', [b'{"usage":{"a":1}}']),
        (b'data: {"usage":{"a":1}', []),
        (b'data: {"usage', []),
        (b"data: [DO", []),
        (b"data: ", []),
        (b": comment", []),
        (b'data: {"a":\ndata: 1}', [b'{"a":\n1}']),
        (b"data: " + b"[" * 200_000, []),
        (b'data: {"a":"\xff"}', []),
    ],
)
def test_a_last_event_without_empty_line_counts_only_if_whole(tail, kept):
    assert read(b"data: x\n\n" + tail) == [b"x", *kept]
    assert read(b"data: x\n\n", tail[:3], tail[3:]) == [b"x", *kept]


LINES = st.sampled_from(
    [
        b"data: x",
        b'data: {"a":"b"}',
        b"data:y",
        b"data: ",
        b"data",
        b": note",
        b"event: e",
        b"id",
        b"",
        b"",
        b"",
        b"\xef\xbb\xbfdata: z",
    ]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])


def by_the_standard(text: bytes) -> list[bytes]:
    """The standard's own algorithm, a line at a time, without any of the reader's short cuts."""
    events: list[bytes] = []
    data: list[bytes] = []
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line in text.split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        if not line:
            if b"\n".join(data):
                events.append(b"\n".join(data))
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return events


@pytest.mark.slow
@given(st.lists(st.tuples(LINES, ENDS), max_size=25), st.integers(0, 2**32))
def test_any_cut_of_any_stream_gives_the_events_of_the_standard(lines, seed):
    stream = b"".join(line + end for line, end in lines)
    dice = random.Random(seed)
    pieces, rest = [], stream
    while rest:
        size = dice.choice((1, 1, 2, 3, 8, 40))
        pieces.append(rest[:size])
        rest = rest[size:]
    assert read(*pieces, end=False) == read(stream, end=False) == by_the_standard(stream)
    assert read(*pieces) == read(stream)


def test_a_line_may_be_as_long_as_the_limit_and_not_a_byte_more():
    most = b"data: " + b"x" * (MOST - 6)
    assert read(most + b"\n\n") == [most[6:]]
    assert read(b"data: a\n\n" + most + b"\n\n") == [b"a", most[6:]]
    for stream in (
        most + b"x\n\n",
        b"data: a\n\n" + most + b"x\n\n",
        most + b"x",
        b":" * (MOST + 1),
    ):
        with pytest.raises(StreamBroken, match="longer than"):
            read(stream)
        with pytest.raises(StreamBroken):
            read(*(stream[i : i + 65_536] for i in range(0, len(stream), 65_536)))


def test_an_event_of_many_lines_is_bounded_and_comments_are_not():
    reader = SseReader(MOST)
    for _ in range(MOST // 1000 + 10):
        assert reader.feed(b": " + b"c" * 1000 + b"\n") == []
    assert reader.feed(b"data: x\n\n") == [b"x"]
    with pytest.raises(StreamBroken, match="event"):
        read(*[b"data: " + b"c" * 1000 + b"\n"] * (MOST // 1000 + 10))


@pytest.mark.parametrize("head", [b"data: {", b"\xef\xbb\xbfdata:", b"\r\n: ping", b"event: x", b"id: 1", b"retry: 5"])
def test_a_stream_is_known_by_its_first_bytes(head):
    assert is_stream(head)


@pytest.mark.parametrize("head", [b"", b"{", b'{"data":1}', b"[1]", b"<html>", b"database: x", b"hello"])
def test_what_is_no_stream(head):
    assert not is_stream(head)


@pytest.mark.slow
def test_a_long_line_in_small_pieces_costs_no_more_than_its_length():
    reader = SseReader()
    for _ in range(50_000):
        reader.feed(b"abcd")
    assert sum(map(len, reader._line)) == 200_000
    assert reader.feed(b"\ndata: x\n\n") == [b"x"]
