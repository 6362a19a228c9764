"""What dialects with names, blocks and usage in pieces are given: named events, merged reports, neutral parts."""

from __future__ import annotations

from farebox.protocol.dialect import Event, Part, Shown
from farebox.protocol.openai_form import fields, neutral
from farebox.protocol.stream import Named, NamedSseReader, SseReader
from farebox.protocol.usages import Merged
from kit.rows import for_each

STREAM = (
    b"event: begin\ndata: {}\n\n: nothing\n\nevent:lost\n\ndata: 1\n\n"
    b"event: two\r\ndata: a\r\ndata: b\r\n\r\nevent: last\ndata: [1]"
)
NAMED = [(b"begin", b"{}"), (b"", b"1"), (b"two", b"a\nb"), (b"last", b"[1]")]


@for_each("size", [1, 2, 3, 7, 1000])
def test_names_stay_with_their_events_however_the_stream_is_cut(size):
    reader = NamedSseReader()
    payloads = [payload for at in range(0, len(STREAM), size) for payload in reader.feed(STREAM[at : at + size])]
    payloads += reader.end()
    assert all(type(payload) is Named for payload in payloads)
    assert [(payload.name, bytes(payload)) for payload in payloads] == NAMED


def test_without_names_the_payloads_are_the_same():
    reader = SseReader()
    assert [*reader.feed(STREAM), *reader.end()] == [payload for _name, payload in NAMED]


def test_a_later_count_stands_also_where_it_is_smaller():
    """Classes are disjoint: the larger of each would add up to more than any one report said."""
    merged = Merged()
    merged.add({"input": 100, "known": 0})
    assert merged.add({"input": 20, "known": 80}) == {"input": 20, "known": 80}


def test_reports_merge_by_field_and_what_says_nothing_changes_nothing():
    merged = Merged()
    first = merged.add({"input": 100, "output": 1, "split": {"a": 3}, "tier": "x"})
    last = merged.add({"output": 25, "input": 0, "split": {"b": 4}, "tier": None})
    assert first == {"input": 100, "output": 1, "split": {"a": 3}, "tier": "x"}
    assert last == {"input": 100, "output": 25, "split": {"a": 3, "b": 4}, "tier": "x"}


def test_neutral_parts_as_a_whole_chat():
    parts = [
        Part(0, 0, "thought", "Hm."),
        Part(0, 1, "text", "Hel"),
        Part(0, 1, "text", "lo"),
        Part(0, 2, "call", "find", "c1"),
        Part(0, 2, "arguments", '{"a":1}'),
        Part(0, 3, "call", "tell", "c2"),
        Part(1, 0, "refusal", "No."),
    ]
    event = Event(b"", parts=parts, finishes=[(0, "tool_calls"), (1, "stop")])
    found = neutral.answer(event, fields.CHAT, Shown("chatcmpl-1", 7, "sold"))
    assert (found["id"], found["object"], found["created"], found["model"]) == (
        "chatcmpl-1",
        "chat.completion",
        7,
        "sold",
    )
    first, second = found["choices"]
    assert first["message"] == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}},
            {"id": "c2", "type": "function", "function": {"name": "tell", "arguments": ""}},
        ],
    }
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "stop")
    assert (second["index"], second["message"]["refusal"]) == (1, "No.")


def test_neutral_parts_as_a_completed_text():
    event = Event(b"", parts=[Part(0, 0, "thought", "Hm."), Part(0, 1, "text", "and so on")], finishes=[(0, "length")])
    [row] = neutral.answer(event, fields.TEXT, Shown())["choices"]
    assert row == {"index": 0, "text": "and so on", "logprobs": None, "finish_reason": "length"}
