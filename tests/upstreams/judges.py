"""What the SDKs demand of a stream: openai-python's own code, and the demands of openai-node written down."""

from __future__ import annotations

import json
from typing import Any

from kit import openai_later as openai


def chunks(raws: list[bytes]) -> list[dict[str, Any]]:
    """The chunks of a stream, each in the schema: one head for all, and no field that is not OpenAI's or a text."""
    found = [json.loads(raw) for raw in raws]
    for raw, chunk in zip(raws, found, strict=True):
        assert b"\n" not in raw
        openai.ChatCompletionChunk.model_validate(chunk)
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in found}) <= 1
    return found


def python(raws: list[bytes]) -> dict[str, Any]:
    """What `.stream()` of openai-python makes of the chunks, with its events fired."""
    state = openai.ChatCompletionStreamState()
    for chunk in chunks(raws):
        list(state.handle_chunk(openai.ChatCompletionChunk.model_validate(chunk)))
    try:
        final = state.get_final_completion().model_dump(mode="json")
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):  # its way to say so
        final = state.current_completion_snapshot.model_dump(mode="json", warnings=False)
    assert [choice["index"] for choice in final["choices"]] == list(range(len(final["choices"])))
    for choice in final["choices"]:
        assert choice["message"]["role"] == "assistant"
    return final


def node(raws: list[bytes]) -> None:
    """What `.stream()` of openai-node throws at (`finalizeChatCompletion`), and what it would lose."""
    told: dict[int, dict[str, Any]] = {}
    for chunk in chunks(raws):
        for choice in chunk["choices"]:
            seen = told.setdefault(choice["index"], {"role": None, "finish": None, "calls": {}, "function": None})
            delta = choice["delta"]
            seen["role"] = delta.get("role") or seen["role"]
            seen["finish"] = choice["finish_reason"] or seen["finish"]
            for call in delta.get("tool_calls") or ():
                one = seen["calls"].setdefault(call["index"], {})
                function = call.get("function") or call["custom"]
                for name, value in {**call, **function}.items():
                    # With tools that it parses, it throws at a name or type that is there and null.
                    assert value is not None or name == "id"
                    one[name] = value if value is not None else one["id"]
    assert sorted(told) == list(range(len(told)))
    for seen in told.values():
        assert seen["role"] == "assistant"
        assert seen["finish"] in {"stop", "length", "tool_calls", "content_filter", "function_call"}
        assert sorted(seen["calls"]) == list(range(len(seen["calls"])))
        for call in seen["calls"].values():
            assert call["id"]
            assert call["type"] in {"function", "custom"}
            assert call["name"] is not None
            assert call.get("arguments", call.get("input")) is not None
