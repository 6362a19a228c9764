"""The dialect `openai`: what is written, what is read, and what is refused."""

from __future__ import annotations

import json

import msgspec
import pytest

import openai_later as openai
from farebox.catalog.usage import Usage
from farebox.upstreams import dialects
from farebox.upstreams.dialect import Ask, BadAnswer, BadUsage, Event
from farebox.upstreams.dialects.openai import DIALECT
from farebox.upstreams.quirks import Quirks
from upstreams.openai_form import answer, channel, chunk

MESSAGES = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def sent(ask, **quirks):
    encoded = DIALECT.encode(ask, channel(quirks=quirks), "up-model")
    return encoded, json.loads(encoded.body)


def chat(**over):
    return Ask("chat", over.pop("stream", False), {"messages": MESSAGES, **over}, limit_tokens=7)


def test_plain_call():
    encoded, body = sent(chat(temperature=0.5))
    assert encoded.path == b"/v1/chat/completions"
    assert encoded.headers.endswith(b"\r\nAuthorization: Bearer sk-secret\r\n")
    assert b"Content-Type: application/json\r\n" in encoded.headers
    assert b"\r\n\r\n" not in encoded.headers
    assert body == {"model": "up-model", "messages": MESSAGES, "temperature": 0.5, "max_tokens": 7}
    assert encoded.body.startswith(b'{"model":"up-model"')


def test_raw_values_pass_byte_for_byte():
    raw = b'[{"role":"user","content":"\\u00e9","n":1e2,  "big":123456789012345678901234567890}]'
    encoded = DIALECT.encode(Ask("chat", False, {"messages": msgspec.Raw(raw)}), channel(), "m")
    assert raw in encoded.body
    assert b"max_tokens" not in encoded.body


def test_stream_always_asks_for_usage():
    for want in (True, False):
        ask = Ask("chat", True, {"messages": MESSAGES}, limit_tokens=None, want_usage=want)
        _, body = sent(ask)
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
    _, body = sent(Ask("completions", True, {"prompt": "x"}, 5))
    assert body == {
        "model": "up-model", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5,
    }  # fmt: skip
    _, body = sent(chat(stream=True), stream_options=False)
    assert body["stream"] is True
    assert "stream_options" not in body


def test_limit_name_is_for_chat_alone():
    _, body = sent(chat(), limit_name="max_completion_tokens")
    assert body["max_completion_tokens"] == 7
    assert "max_tokens" not in body
    _, body = sent(Ask("completions", False, {"prompt": "x"}, 5), limit_name="max_completion_tokens")
    assert body["max_tokens"] == 5
    _, body = sent(Ask("embeddings", False, {"input": "x"}, 5))
    assert body == {"model": "up-model", "input": "x"}


def test_parameters_dropped_renamed_and_passed():
    ask = Ask(
        "chat",
        False,
        {"messages": MESSAGES, "seed": 1, "top_p": 1, "user": "u"},
        None,
        extra={"top_k": 5, "odd": 1},
    )
    _, body = sent(ask, drop=["seed"], rename={"user": "safety_identifier"}, **{"pass": ["top_k", "min_p"]})
    assert body == {
        "model": "up-model",
        "messages": MESSAGES,
        "top_p": 1,
        "safety_identifier": "u",
        "top_k": 5,
    }
    _, body = sent(ask)
    assert "top_k" not in body
    assert "odd" not in body


def test_pass_never_replaces_what_was_priced():
    ask = Ask("chat", False, {"messages": MESSAGES, "n": 1}, None, extra={"n": 9})
    _, body = sent(ask, **{"pass": ["n"]})
    assert body["n"] == 1


@pytest.mark.parametrize("raw", [False, True])
def test_developer_becomes_system(raw):
    messages = msgspec.Raw(json.dumps(MESSAGES).replace("developer", "d\\u0065veloper").encode()) if raw else MESSAGES
    _, body = sent(Ask("chat", False, {"messages": messages}), developer_role=False)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, MESSAGES[1]]
    assert MESSAGES[0]["role"] == "developer"


def test_paths_query_model_in_path():
    quirks = {"paths": {"chat": "/deployments/{model}/chat/completions"}, "query": "api-version=2024-10-21"}
    encoded = DIALECT.encode(chat(), channel(quirks=quirks | {"model_in_body": False}), "gpt 4/o?")
    assert encoded.path == b"/v1/deployments/gpt%204%2Fo%3F/chat/completions?api-version=2024-10-21"
    assert "model" not in json.loads(encoded.body)
    with pytest.raises(ValueError, match="does not answer"):
        sent(Ask("embeddings", False, {"input": "x"}), paths={"embeddings": ""})


def test_auth_forms():
    encoded, _ = sent(chat(), auth_header="api-key", auth_scheme="")
    assert b"api-key: sk-secret\r\n" in encoded.headers
    assert b"Bearer" not in encoded.headers
    encoded, _ = sent(chat(), no_auth=True, extra_headers={"X-Org": "a b"})
    assert b"sk-secret" not in encoded.headers
    assert b"X-Org: a b\r\n" in encoded.headers
    encoded, _ = sent(chat(), extra_headers={"user-agent": "shop"})
    assert encoded.headers.lower().count(b"user-agent:") == 1
    assert b"sk-secret" not in repr(channel()).encode()


def test_base64_embeddings():
    ask = Ask("embeddings", False, {"input": "x", "encoding_format": "base64"})
    assert sent(ask)[1]["encoding_format"] == "base64"
    assert "encoding_format" not in sent(ask, base64_embeddings=False)[1]


# --- reading a stream


def test_chunks_as_the_sdk_makes_them():
    for delta in (
        {"role": "assistant", "content": ""},
        {"content": "Hé"},
        {"refusal": "No."},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
        {},
    ):
        raw = openai.ChatCompletionChunk.model_validate(json.loads(chunk(delta))).model_dump_json().encode()
        event = DIALECT.event(raw, "chat")
        assert (event.raw, event.model, event.choices, event.tidy) == (raw, "m", 1, True)
        assert event.usage is None
        assert event.error is None
        assert event.visible == (delta not in ({}, {"role": "assistant", "content": ""}))


@pytest.mark.parametrize(
    ("delta", "pieces", "visible", "reasoning"),
    [
        ({"content": "Hé"}, ["Hé"], True, False),
        ({"content": None, "reasoning_content": "hm"}, ["hm"], False, True),
        ({"reasoning": "hm"}, ["hm"], False, True),
        ({"reasoning": "hm", "reasoning_content": "hm"}, ["hm"], False, True),
        ({"reasoning_content": "", "content": "x"}, ["x"], True, False),
        ({"tool_calls": [{"function": {"name": "f", "arguments": '{"a"'}}]}, ["f", '{"a"'], True, False),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, ["f", '{"a":1}'], True, False),
        ({"tool_calls": [{"custom": {"name": "f", "input": "i"}}]}, ["f", "i"], True, False),
        ({"function_call": {"arguments": "x"}}, ["x"], True, False),
        ({"refusal": "No."}, ["No."], True, False),
        ({"audio": {"transcript": "said", "data": "AAAA"}}, ["said"], True, False),
        ({"audio": {"data": "AAAA"}}, [], True, False),
        ({"images": [{"type": "image_url"}]}, [], True, False),
        ({"content": [{"type": "text", "text": "t"}]}, ["t"], True, False),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]},
            ["t"],
            False,
            True,
        ),
        ({"content": []}, [], False, False),
        ({"content": ""}, [], False, False),
    ],
)
def test_what_counts_as_output(delta, pieces, visible, reasoning):
    for event in (DIALECT.event(chunk(delta), "chat"), DIALECT.answer(answer(delta), "chat")):
        assert event.pieces == [(0, piece) for piece in pieces]
        assert event.output_bytes == sum(len(piece.encode()) for piece in pieces)
        assert (event.visible, event.reasoning) == (visible, reasoning)


def test_interleaved_choices_and_finishes():
    choices = [
        {"index": 3, "delta": {"content": "c"}, "finish_reason": None},
        {"index": 1, "delta": {"content": "a"}, "finish_reason": "stop"},
        {"index": 0, "delta": {}, "finish_reason": ""},
    ]
    event = DIALECT.event(chunk(choices=choices), "chat")
    assert event.pieces == [(3, "c"), (1, "a")]
    assert event.finishes == [(1, "stop")]
    assert event.choices == 3
    assert event.tidy


@pytest.mark.parametrize(
    "over",
    [
        {"id": ""}, {"id": None}, {"created": None}, {"created": 1.5}, {"model": ""}, {"object": None}, {"choices": None},
        {"choices": [{"delta": {"content": "x"}}]}, {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "message": {"content": "x"}}]},
    ],
)  # fmt: skip
def test_what_is_left_out_is_seen(over):
    assert not DIALECT.event(chunk(**over), "chat").tidy


def test_completions():
    raw = b'{"id":"c","object":"text_completion","created":1,"model":"m","choices":[{"index":1,"text":"hi","finish_reason":"length"}]}'
    event = DIALECT.event(raw, "completions")
    assert (event.pieces, event.finishes, event.tidy) == ([(1, "hi")], [(1, "length")], True)
    assert DIALECT.answer(raw, "completions").pieces == [(1, "hi")]
    assert not DIALECT.event(raw.replace(b'"text":"hi",', b""), "completions").tidy


def test_usage_beside_choices_and_alone():
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    assert DIALECT.event(chunk({"content": "x"}, usage=usage), "chat").usage == usage
    event = DIALECT.event(chunk(choices=[], usage=usage), "chat")
    assert (event.usage, event.choices, event.tidy) == (usage, 0, True)
    alone = DIALECT.event(b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}', "chat")
    assert (alone.usage, alone.tidy) == (usage, False)
    # What is no object is carried on, so that it can be refused with a reason.
    assert DIALECT.event(chunk(usage=0), "chat").usage == 0


def test_done_and_lines():
    assert DIALECT.event(b"[DONE]", "chat").done
    assert not DIALECT.event(chunk(), "chat").done
    event = DIALECT.event(b'{"choices":\n[],\r\n"usage":null}', "chat")
    assert event.raw == b'{"choices": [],  "usage":null}'


BAD = {
    "empty": b"",
    "text": b"hello",
    "page": b"<html></html>",
    "list": b"[]",
    "cut": chunk({"content": "x"})[:-1],
    "two": chunk() + chunk(),
    "utf8": chunk({"content": "é"}).replace(b"\xc3\xa9", b"\xff"),
    "utf8 in a field that is skipped": chunk(odd="é").replace(b"\xc3\xa9", b"\xc3"),
    "nan": chunk(odd=float("nan")),
    "deep": chunk(odd=None).replace(b"null}", b"[" * 10_000 + b"]" * 10_000 + b"}"),
    "65 deep": chunk(odd=None)[:-5] + b"[" * 64 + b"]" * 64 + b"}",
    "no choices": b'{"id":"x","object":"chat.completion.chunk"}',
    "choices text": chunk(choices="x"),
    "choices of texts": chunk(choices=["x"]),
    "negative index": chunk(choices=[{"index": -1, "delta": {}}]),
    "content number": chunk({"content": 5}),
    "model number": chunk(model=5),
    "framework's error": b'{"detail":"Not Found"}',
}


@pytest.mark.parametrize("name", BAD)
def test_broken_events(name):
    with pytest.raises(BadAnswer):
        DIALECT.event(BAD[name], "chat")


@pytest.mark.parametrize("name", [*BAD, "empty choices", "null choices", "usage alone"])
def test_broken_answers(name):
    more = {
        "empty choices": answer(choices=[]),
        "null choices": answer(choices=None),
        "usage alone": b'{"usage":{"prompt_tokens":1,"completion_tokens":1}}',
    }
    with pytest.raises(BadAnswer):
        DIALECT.answer({**BAD, **more}[name], "chat")


def test_depth_is_counted_outside_strings():
    braces = '{"[' * 500 + '\\" \\\\'
    assert DIALECT.event(chunk({"content": braces}), "chat").pieces == [(0, braces)]
    deep = chunk(odd=None)[:-5] + b"[" * 63 + b"]" * 63 + b"}"
    assert DIALECT.event(deep, "chat").choices == 1
    wide = chunk(odd=[{"a": [1]}] * 200, choices=[])
    assert DIALECT.event(wide, "chat").choices == 0


def test_errors_inside_a_200():
    for raw in (
        b'{"error":{"message":"boom","type":"server_error"}}',
        b'{"error":"boom"}',
        b'{"object":"error","message":"boom","code":500}',
    ):
        for event in (
            DIALECT.event(raw, "chat"),
            DIALECT.answer(raw, "chat"),
            DIALECT.answer(raw, "embeddings"),
        ):
            assert isinstance(event, Event)
            assert event.error.message == "boom"
            assert event.error.kind == "down"
            assert event.pieces == []
    with_choices = DIALECT.event(chunk({"content": "x"}, error={"code": 429, "message": "slow down"}), "chat")
    assert with_choices.error.kind == "busy"
    assert with_choices.pieces == []
    assert DIALECT.event(chunk({"content": "x"}, error=None), "chat").error is None


# --- reading an answer


def test_answer_of_the_sdk():
    raw = openai.ChatCompletion.model_validate(json.loads(answer())).model_dump_json().encode()
    event = DIALECT.answer(raw, "chat")
    assert (event.pieces, event.finishes, event.choices, event.tidy) == (
        [(0, "Hello")],
        [(0, "stop")],
        1,
        True,
    )
    assert DIALECT.usage(event.usage, Quirks()).usage == Usage(input=3, output=2)
    assert DIALECT.answer(b"\xef\xbb\xbf" + raw, "chat").raw == raw


def test_embeddings():
    def made(vectors, **over):
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        return json.dumps(
            {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}} | over
        ).encode()

    for vectors in ([[0.5, 1.0], [1, 2]], ["AACAPw=="]):
        event = DIALECT.answer(made(vectors), "embeddings")
        assert (event.choices, event.visible, event.tidy, event.model) == (len(vectors), True, True, "e")
        assert DIALECT.usage(event.usage, Quirks()).usage == Usage(input=4)
    for bad in ([], [[]], [None], [""], [{"a": 1}]):
        with pytest.raises(BadAnswer):
            DIALECT.answer(made(bad), "embeddings")
    with pytest.raises(BadAnswer):
        DIALECT.answer(made([], data=None), "embeddings")
    with pytest.raises(BadAnswer):
        DIALECT.answer(b"", "embeddings")
    assert DIALECT.answer(b'{"error":{"message":"x","code":"insufficient_quota"}}', "embeddings").error.kind == "ours"


# --- usage

GOOD_USAGE = [
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input=10, output=5)),
    ({"prompt_tokens": 10, "completion_tokens": 5}, Usage(input=10, output=5)),
    ({"prompt_tokens": 10, "total_tokens": 10}, Usage(input=10)),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
    (
        {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19,
         "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
         "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 2, "rejected_prediction_tokens": 0}},
        Usage(input=5, cached_read=4, input_audio=1, output=1, reasoning=6, output_audio=2),
    ),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(input=10, output=1)),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": None}}, Usage(input=10, output=1)),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 3},
     Usage(input=3, cached_read=7, output=1)),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 7, "prompt_tokens_details": {"cached_tokens": 7}},
     Usage(input=3, cached_read=7, output=1)),
    ({"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 2}, Usage(input=8, cached_read=2, output=1)),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}},
     Usage(input=5, cached_read=2, cache_write=3, output=1)),
]  # fmt: skip

BAD_USAGE = [
    (None, "no object"), ([], "no object"), (7, "no object"), ({}, "prompt_tokens is missing"),
    ({"completion_tokens": 1}, "prompt_tokens is missing"),
    ({"prompt_tokens": "10", "completion_tokens": 1}, "prompt_tokens is no whole"),
    ({"prompt_tokens": 10, "completion_tokens": 1.0}, "completion_tokens is no whole"),
    ({"prompt_tokens": 10, "completion_tokens": True}, "completion_tokens is no whole"),
    ({"prompt_tokens": 10, "completion_tokens": -1}, "completion_tokens is out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 2**63}, "out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 12}, "total_tokens is 12"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": "11"}, "total_tokens is no whole"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 9}},
     "parts of prompt_tokens"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 2}}, "parts of"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}}, "parts of completion"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -2}}, "out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": []}, "no object"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 0.5}, "prompt_cache_hit_tokens is no whole"),
]  # fmt: skip


@pytest.mark.parametrize(("reported", "usage"), GOOD_USAGE)
def test_good_usage(reported, usage):
    found = DIALECT.usage(reported, Quirks()).usage
    assert found == usage
    assert found.total == reported["prompt_tokens"] + reported.get("completion_tokens", 0)


@pytest.mark.parametrize(("reported", "why"), BAD_USAGE)
def test_bad_usage(reported, why):
    with pytest.raises(BadUsage, match=why):
        DIALECT.usage(reported, Quirks())


def test_registry():
    assert dialects.of("openai") is DIALECT
    assert {name: d.name for name, d in dialects.DIALECTS.items()} == {name: name for name in dialects.DIALECTS}
