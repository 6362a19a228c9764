"""All of a request that the upstream reads is in what it may report: the report stands, and the hold covers it."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest

from farebox.catalog import tokens
from kit.receipts import START, alone
from kit.talk import canned, http

pytestmark = [pytest.mark.store, pytest.mark.rule("R02")]

WORDS = "the city whose weather is asked for, in the language of its country, with the country behind it; " * 30
OBJECT = {"type": "object", "properties": {"city": {"type": "string", "description": WORDS}}}
ASKED = {
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": OBJECT}}],
    "functions": [{"name": "weather", "parameters": OBJECT}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "weather", "schema": OBJECT}},
}
IMAGE_TOKENS = 85 + 4 * 170  # of 1,024 x 1,024 pixels: OpenAI's vision guide


@pytest.fixture(scope="module")
def upstream(shop):
    """The only upstream of a model that sees images: it reports what a test says."""
    with canned(shop, b"") as upstream:
        facts = {"modalities": ["text", "image"], "image_formula": "openai_tile", "tokenizer": "o200k_base"}
        alone(shop, "counts", upstream.base_url, **facts)
        yield upstream


def charged(upstream: Any, me: Any, content: Any, input_tokens: int, **asked: Any) -> None:
    """A call whose upstream reports so many tokens of input pays for them, and its hold was enough for that."""
    said = {"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": input_tokens, "completion_tokens": 2, "total_tokens": input_tokens + 2}
    upstream.answer = http({"id": "c", "object": "chat.completion", "choices": [said], "usage": usage})
    body = {"model": "counts", "messages": [{"role": "user", "content": content}], "max_tokens": 16, **asked}
    receipt = me.receipt(me.request("POST", "/v1/chat/completions", body))
    assert (receipt["usage"], receipt["flags"]) == ({"input": input_tokens, "output": 2}, [])
    assert receipt["hold_micro"] >= input_tokens * 30 + 16 * 60
    assert me.balance == (START - input_tokens * 30 - 2 * 60, 0)


@pytest.mark.parametrize("name", ASKED)
def test_tools_and_schemas_are_input(upstream, me, name):
    counted = tokens.count_exact("o200k_base", ["Hello", json.dumps(ASKED[name])])
    charged(upstream, me, "Hello", counted + tokens.chat_overhead(1), **{name: ASKED[name]})


def test_images_are_input(upstream, me):
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1024, 1024) + b"\x08\x02\0\0\0"
    url = "data:image/png;base64," + b64encode(head).decode()
    images = [{"type": "image_url", "image_url": {"url": url}}] * 2
    charged(upstream, me, [{"type": "text", "text": "Hello"}, *images], 1 + tokens.chat_overhead(1) + 2 * IMAGE_TOKENS)
