"""Changes to an event: nothing but what was meant changes, whatever else it holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import openai_later as openai
from farebox.upstreams import splice
from farebox.upstreams.dialects.openai import DIALECT
from upstreams.openai_form import answer, chunk

words = st.text(max_size=12) | st.sampled_from(
    [
        "model",
        '"model"',
        '"model":"m"',
        'a"model":"m"',
        "\\",
        '\\"',
        '"',
        "/models/a.gguf",
        "模型",
        "\n",
        "\u2028",
        '{"model":"m"}',
    ]
)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12) | words
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    st.dictionaries(words, trees, max_size=5), names, names, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans(),
    st.none() | st.integers(1, 2),
)  # fmt: skip
def test_splice_changes_the_model_and_nothing_else(fields, old, new, ascii_, separators, slashes, indent):
    fields = fields | {"model": old}
    raw = json.dumps(fields, ensure_ascii=ascii_, separators=separators, indent=indent)
    if slashes:
        raw = raw.replace("/", "\\/")
    changed = splice.splice_model(raw.encode(), old=old, new=new)
    assert json.loads(changed) == fields | {"model": new}
    assert list(json.loads(changed)) == list(fields)


def test_splice_leaves_the_other_bytes():
    raw = chunk({"content": "\\u00e9 é"}, model="/var/models/x.gguf", odd=1.0)
    for written in (
        raw,
        raw.replace(b": ", b":"),
        raw.replace(b"/var/models", b"\\/var\\/models").replace(b"/x", b"\\/x"),
    ):
        changed = splice.splice_model(written, old="/var/models/x.gguf", new="smol")
        before, _, after = written.partition(b'"model"')
        assert changed.startswith(before + b'"model"')
        assert changed.endswith(after.partition(b".gguf")[2])
        assert json.loads(changed)["model"] == "smol"


def test_splice_is_not_fooled():
    # A key that ends in what looks like the field, the field nested, the name as a value, and no field at all.
    for raw in (
        b'{"\\"model":"m","x":1,"model" : "m"}',
        b'{"x":{"model":"m"},"model":"m"}',
        b'{"x":"model","model":"m"}',
        b'{"x":"\\"model\\":\\"m\\"","model":"m"}',
    ):
        expected = json.loads(raw) | {"model": "sold"}
        assert json.loads(splice.splice_model(raw, old="m", new="sold")) == expected
    assert json.loads(splice.splice_model(b'{"x":1}', old="m", new="sold")) == {"x": 1, "model": "sold"}
    with pytest.raises(ValueError):
        splice.splice_model(b"[]", old="m", new="sold")


@pytest.mark.slow
@given(st.dictionaries(words, trees, max_size=5), trees)
def test_usage_in_and_out(fields, usage):
    raw = json.dumps(fields, indent=1).encode()
    assert json.loads(splice.with_usage(raw, usage=1)) == fields | {"usage": 1}
    used = json.dumps(fields | {"usage": usage}, indent=1).encode()
    without = splice.without_usage(used)
    assert json.loads(without) == {name: value for name, value in fields.items() if name != "usage"}
    assert b"\n" not in without


def test_built_chunks_are_what_the_sdk_knows():
    head = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "gpt-4"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    raw = splice.finish_chunk("chat", indexes=[0, 2], **head)
    made = openai.ChatCompletionChunk.model_validate_json(raw)
    assert [(c.index, c.finish_reason, c.delta.content) for c in made.choices] == [
        (0, "length", None),
        (2, "length", None),
    ]
    assert (made.id, made.created, made.model, made.object) == (
        "chatcmpl-1",
        1_790_000_000,
        "gpt-4",
        "chat.completion.chunk",
    )
    assert b'"delta":{}' in raw
    assert DIALECT.event(raw, "chat").finishes == [(0, "length"), (2, "length")]
    made = openai.ChatCompletionChunk.model_validate_json(splice.usage_chunk("chat", usage=usage, **head))
    assert (made.choices, made.usage.total_tokens) == ([], 3)
    made = openai.Completion.model_validate_json(splice.finish_chunk("completions", indexes=[1], **head))
    assert [(c.index, c.finish_reason, c.text) for c in made.choices] == [(1, "length", "")]
    assert made.object == "text_completion"
    made = openai.Completion.model_validate_json(splice.usage_chunk("completions", usage=usage, **head))
    assert (made.choices, made.usage.total_tokens) == ([], 3)


HEAD = {"id": "ours", "created": 5, "model": "sold"}


@pytest.mark.parametrize(
    "over",
    [
        {}, {"id": ""}, {"id": None}, {"created": None}, {"created": 0}, {"created": 1.5}, {"model": None}, {"object": ""},
        {"choices": None}, {"choices": [{"delta": {"content": "x"}}]}, {"choices": [{"index": 0}]}, {"choices": [{"index": None, "delta": None}]},
        {"choices": [{"index": 0, "message": {"content": "x"}}]},
    ],
)  # fmt: skip
def test_tidy_chunk(over):
    raw = chunk(**over).replace(b"null, ", b"null,\n")
    tidied = splice.tidy_event(raw, "chat", **HEAD)
    made = openai.ChatCompletionChunk.model_validate_json(tidied)
    assert made.model == "sold"
    event = DIALECT.event(tidied, "chat")
    assert event.tidy
    assert event.pieces == DIALECT.event(raw, "chat").pieces
    assert b"\n" not in tidied
    if not over:
        assert made.id == "chatcmpl-1"
        assert made.created == 1_790_000_000


def test_tidy_bare_objects():
    usage = splice.tidy_event(b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}', "chat", **HEAD)
    made = openai.ChatCompletionChunk.model_validate_json(usage)
    assert (made.choices, made.id, made.created, made.usage.prompt_tokens) == ([], "ours", 5, 1)
    assert list(json.loads(usage)) == ["id", "object", "created", "model", "usage", "choices"]
    text = splice.tidy_event(b'{"choices":[{"text":null},{"text":"b"}]}', "completions", **HEAD)
    assert [(c["index"], c["text"]) for c in json.loads(text)["choices"]] == [(0, ""), (1, "b")]
    error = b'{"error":{"message":"x"}}'
    assert splice.tidy_event(error, "chat", **HEAD) == error


def test_tidy_answers():
    raw = answer(id=None, created=None, object=None, choices=[{"message": {"content": "x"}}])
    tidied = splice.tidy_event(raw, "chat", stream=False, **HEAD)
    event = DIALECT.answer(tidied, "chat")
    assert event.tidy
    assert (event.id, event.created, event.model) == ("ours", 5, "sold")
    assert json.loads(tidied)["object"] == "chat.completion"
    moved = splice.tidy_event(answer(choices=[{"index": 0, "finish_reason": "stop"}]), "chat", stream=False, **HEAD)
    assert openai.ChatCompletion.model_validate_json(moved).choices[0].message.content is None
    vectors = b'{"data":[{"embedding":[1,2]},{"embedding":[3]}],"usage":{"prompt_tokens":1,"total_tokens":1}}'
    made = openai.CreateEmbeddingResponse.model_validate_json(
        splice.tidy_event(vectors, "embeddings", stream=False, **HEAD)
    )
    assert [(row.index, row.embedding) for row in made.data] == [(0, [1, 2]), (1, [3])]
    assert (made.object, made.model) == ("list", "sold")
