"""Channels and events that the tests of this room share."""

from __future__ import annotations

import json
from typing import Any

from farebox.kit.fetch import Target
from farebox.protocol import quirks
from farebox.upstreams.spec import ChannelSpec


def channel(*, secret: str = "sk-secret", base_url: str = "https://api.example.com/v1", **over: Any) -> ChannelSpec:
    """A channel; `quirks` is a dict of quirks, everything else a field of ChannelSpec."""
    found = quirks.parsed(over.pop("quirks", {}))
    target, prefix = Target.parse(base_url, False)
    fields = {
        "id": "ch_1", "name": "one", "upstream": "vendor", "dialect": "openai", "target": target,
        "path_prefix": prefix, "auth_headers": quirks.head_lines(found, secret), "quirks": found, "tier": 1,
        "weight": 1, "concurrency_max": 0, "cancel_billing": "unknown", "cost_currency": "USD",
    }  # fmt: skip
    return ChannelSpec(**(fields | over))


def chunk(delta: Any = None, *, finish: str | None = None, **over: Any) -> bytes:
    """A chat chunk with one choice."""
    made = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "m",
        "choices": [{"index": 0, "delta": delta if delta is not None else {}, "finish_reason": finish}],
    }  # fmt: skip
    return json.dumps(made | over, ensure_ascii=False).encode()


def answer(message: Any = None, *, finish: str | None = "stop", **over: Any) -> bytes:
    """A whole chat answer with one choice."""
    said = message if message is not None else {"role": "assistant", "content": "Hello"}
    made = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }  # fmt: skip
    return json.dumps(made | over, ensure_ascii=False).encode()
