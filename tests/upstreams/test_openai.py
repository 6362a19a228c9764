"""The dialect `openai`: what is written, what is read, and what is refused."""

from __future__ import annotations

import json

import msgspec
import pytest

from farebox.catalog.usage import Usage
from farebox.protocol import dialects
from farebox.protocol.dialect import Ask, BadUsage
from farebox.protocol.dialects.openai import DIALECT
from farebox.protocol.quirks import Quirks
from kit.rows import for_each
from upstreams.openai_form import channel

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
    (None, "not an object"), ([], "not an object"), (7, "not an object"), ({}, "prompt_tokens is missing"),
    ({"completion_tokens": 1}, "prompt_tokens is missing"),
    ({"prompt_tokens": "10", "completion_tokens": 1}, "prompt_tokens is not a whole"),
    ({"prompt_tokens": 10, "completion_tokens": 1.0}, "completion_tokens is not a whole"),
    ({"prompt_tokens": 10, "completion_tokens": True}, "completion_tokens is not a whole"),
    ({"prompt_tokens": 10, "completion_tokens": -1}, "completion_tokens is out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 2**63}, "out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 12}, "total_tokens is 12"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": "11"}, "total_tokens is not a whole"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 9}},
     "parts of prompt_tokens"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 2}}, "parts of"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}}, "parts of completion"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -2}}, "out of bounds"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": []}, "not an object"),
    ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 0.5}, "prompt_cache_hit_tokens is not a whole"),
]  # fmt: skip


@for_each(("reported", "usage"), GOOD_USAGE)
def test_good_usage(reported, usage):
    found = DIALECT.usage(reported, Quirks()).usage
    assert found == usage
    assert found.total == reported["prompt_tokens"] + reported.get("completion_tokens", 0)


@for_each(("reported", "why"), BAD_USAGE)
def test_bad_usage(reported, why):
    with pytest.raises(BadUsage, match=why):
        DIALECT.usage(reported, Quirks())


def test_registry():
    assert dialects.of("openai") is DIALECT
    assert {name: d.name for name, d in dialects.DIALECTS.items()} == {name: name for name in dialects.DIALECTS}
