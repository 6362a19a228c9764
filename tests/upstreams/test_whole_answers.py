"""Whole answers: what is read, what is shown, and what was streamed where it was not asked for, or the reverse."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.care.selftest import replay
from farebox.catalog.usage import Usage
from farebox.protocol.dialect import Ask, BadAnswer, Shown
from farebox.protocol.dialects.openai import DIALECT
from farebox.protocol.quirks import Quirks
from farebox.protocol.stream import SseReader
from kit import openai_later as openai
from kit.rows import for_each
from upstreams import judges
from upstreams.odd import ODD, sse
from upstreams.openai_form import answer
from upstreams.test_reader import BAD, read

SHOWN = Shown("chatcmpl-0abcDEF", 1_790_000_000, "sold")


def ask(kind: str = "chat", **facts) -> Ask:
    return Ask(kind, False, {}, shown=SHOWN, **facts)


def whole(raw: bytes, **facts):
    return DIALECT.answer(raw, ask(**facts))


def test_an_answer_of_the_sdk():
    raw = openai.ChatCompletion.model_validate(json.loads(answer())).model_dump_json().encode()
    event = whole(raw)
    assert (event.pieces, event.finishes, event.choices) == ([(0, "Hello")], [(0, "stop")], 1)
    assert DIALECT.usage(event.usage, Quirks()).usage == Usage(input=3, output=2)
    made = openai.ChatCompletion.model_validate_json(event.raw)
    assert (made.id, made.created, made.model) == SHOWN
    assert made.choices[0].message.content == "Hello"
    same_either_way(raw)
    assert b"\n" not in whole(json.dumps(json.loads(raw), indent=1).encode()).raw


def same_either_way(raw: bytes, **facts) -> None:
    """What passes as it came says the same as what is written anew; a mark of UTF-8 before it makes it be that."""

    def seen(event):
        shown = json.loads(event.raw)
        for choice in shown["choices"]:
            choice["message"] = {name: value for name, value in choice["message"].items() if value not in (None, [])}
        return {name: getattr(event, name) for name in event.__struct_fields__ if name != "raw"} | {"shown": shown}

    assert seen(whole(raw, **facts)) == seen(whole(b"\xef\xbb\xbf" + raw, **facts))


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.text(max_size=20), st.none() | st.text(max_size=9), st.sampled_from(["stop", "length", "eos", "error"]),
            st.sampled_from([{}, {"refusal": None}, {"cost": 1}, {"annotations": []}]),
        ),
        min_size=1, max_size=3,
    ),
    st.sampled_from([{}, {"service_tier": "x"}, {"citations": ["https://a.example"]}, {"provider": "y", "cost": 0.1}]),
    st.sampled_from([{}, {"cost": 1}, {"completion_tokens_details": {"reasoning_tokens": 1}}, {"total_tokens": 2**63}]),
)  # fmt: skip
def test_what_passes_as_it_came_says_the_same(rows, top, counted):
    found = [
        {"index": at, "message": {"role": "assistant", "content": text, **more}
         | ({} if thought is None else {"reasoning_content": thought}), "finish_reason": reason, "logprobs": None}
        for at, (text, thought, reason, more) in enumerate(rows)
    ]  # fmt: skip
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5} | counted
    raw = json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": found, "usage": usage} | top)
    same_either_way(raw.encode(), choices=2)


@for_each("name", [*BAD, "no choices", "empty choices", "null choices", "usage alone", "framework's error"])
def test_broken_answers(name):
    more = {
        "no choices": b'{"id":"x","object":"chat.completion.chunk"}',
        "empty choices": answer(choices=[]),
        "null choices": answer(choices=None),
        "usage alone": b'{"usage":{"prompt_tokens":1,"completion_tokens":1}}',
        "framework's error": b'{"detail":"Not Found"}',
        "negative index": b'{"choices":[{"index":-1,"message":7}',
    }
    with pytest.raises(BadAnswer):
        whole(({**BAD, **more})[name].replace(b'"delta"', b'"message"'))


def test_errors_inside_a_200():
    for raw in (
        b'{"error":{"message":"boom","type":"server_error"}}',
        b'{"error":"boom"}',
        b'{"object":"error","message":"boom","code":500}',
    ):
        for kind in ("chat", "embeddings"):
            event = whole(raw, kind=kind)
            assert (event.error.message, event.error.kind, event.pieces) == ("boom", "down", [])
    assert whole(b'{"error":{"message":"x","code":"insufficient_quota"}}', kind="embeddings").error.kind == "ours"


@pytest.mark.parametrize(
    ("indexes", "n", "shown"),
    [
        ([0, 1], 2, "ab"),
        ([1, 0], 2, "ba"),
        ([None, None], 2, "ab"),
        ([3, 3], 2, "ab"),
        ([1, 2], 2, "ab"),
        ([0, 1], 1, "a"),
    ],
)
def test_choices_are_numbered(indexes, n, shown):
    rows = [
        {"index": i, "message": {"content": said}, "finish_reason": "stop"}
        for i, said in zip(indexes, "ab", strict=True)
    ]
    event = whole(answer(choices=rows), choices=n)
    made = openai.ChatCompletion.model_validate_json(event.raw)
    assert [choice.index for choice in made.choices] == list(range(n))
    assert "".join(choice.message.content for choice in made.choices) == shown
    assert sorted(text for _, text in event.pieces) == sorted(shown)


def test_what_is_missing_is_there():
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    made = openai.ChatCompletion.model_validate_json(whole(answer({"tool_calls": call}, finish=None)).raw)
    [choice] = made.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", None, "tool_calls")
    [called] = choice.message.tool_calls
    assert (called.type, called.function.arguments, bool(called.id)) == ("function", '{"a":1}', True)
    assert b'"index":0,"id"' not in whole(answer({"tool_calls": call})).raw


def test_embeddings():
    def made(vectors, **over):
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        usage = {"prompt_tokens": 4, "total_tokens": 4, "cost": 1}
        return json.dumps({"object": "list", "model": "e", "data": data, "usage": usage} | over).encode()

    for vectors in ([[0.5, 1.0], [1, 2]], ["AACAPw=="]):
        event = whole(made(vectors, provider="x"), kind="embeddings")
        assert (event.choices, event.visible, event.model) == (len(vectors), True, "e")
        assert DIALECT.usage(event.usage, Quirks()).usage == Usage(input=4)
        shown = json.loads(event.raw)
        assert shown.keys() == {"object", "data", "model", "usage"}
        assert (shown["model"], [row["embedding"] for row in shown["data"]]) == ("sold", vectors)
        assert "cost" not in shown["usage"]
    for bad in ([], [[]], [None], [""], [{"a": 1}]):
        with pytest.raises(BadAnswer):
            whole(made(bad), kind="embeddings")
    for raw in (made([], data=None), b"", b"[]", made([], data=7)):
        with pytest.raises(BadAnswer):
            whole(raw, kind="embeddings")
    bare = b'{"data":[{"embedding":[1,2]},{"embedding":[3],"index":"x"}],"usage":{"prompt_tokens":1,"total_tokens":1}}'
    rows = openai.CreateEmbeddingResponse.model_validate_json(whole(bare, kind="embeddings").raw).data
    assert [(row.index, row.embedding) for row in rows] == [(0, [1, 2]), (1, [3])]


@for_each("name", ODD)
def test_a_stream_made_whole_and_streamed_again_says_the_same(name):
    odd = ODD[name]
    event = whole(sse(odd))
    [choice] = json.loads(event.raw)["choices"]
    message = choice["message"]
    called = [(one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls", ())]
    assert (message["content"] or "", called, choice["finish_reason"]) == (odd.text, odd.calls, odd.finish)
    again = read(DIALECT.chunks(event.raw, ask()))
    final = judges.python([one.raw for one in again if one.choices])["choices"][0]
    judges.node([one.raw for one in again if one.choices])
    assert (final["message"]["content"] or "", final["finish_reason"]) == (odd.text, odd.finish)
    called = [(one["function"]["name"], one["function"]["arguments"]) for one in final["message"]["tool_calls"] or ()]
    assert called == odd.calls
    assert [one.usage for one in again if one.usage] == ([event.usage] if event.usage else [])


def recordings():
    return [
        case for case in replay.cases() if case.stream and case.source == "reported" and case.rule in {"R02", "R07"}
    ]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.file) for case in recordings()])
def test_a_recorded_stream_made_whole_counts_the_same(case):
    data = (replay.RECORDINGS / case.file).read_bytes()
    event = whole(data, kind=case.kind, choices=case.n)
    source = SseReader()
    streamed = read([*source.feed(data), *source.end()], n=case.n, kind=case.kind)
    assert DIALECT.usage(event.usage, Quirks()).usage == Usage(**case.usage)
    for reasoning in (False, True):
        said = "".join(t for e in streamed for _, t in e.pieces if e.visible is not reasoning)
        if case.n == 1 and not any(e.reasoning for e in streamed):
            assert "".join(text for _, text in event.pieces) == said or reasoning
    assert sorted(event.finishes) == sorted({pair for one in streamed for pair in one.finishes})


def test_a_broken_stream_is_no_answer():
    good = sse(ODD["as it should be"])
    for bad in (good.replace(b'"Hello"', b'"Hel'), b"data: hello\n\n", b'data: {"type":"ping"}\n\n', b": ping\n\n"):
        with pytest.raises(BadAnswer):
            whole(bad)
    assert whole(good.replace(b"[DONE]", b'{"error":"boom"}')).error.message == "boom"
    assert not whole(sse(ODD["no finish reason"], done=False)).done
    assert whole(good).done
