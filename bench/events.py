"""Processor time of the reader of streams, an event of each kind of upstream: `.venv/bin/python bench/events.py`.

With another build's `src` in front of PYTHONPATH it measures that one; run both in turn, and compare medians.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from typing import Any

from farebox.protocol.dialect import Ask, Shown
from farebox.protocol.dialects.openai import DIALECT

EVENTS = 200
REPEATS = 15
HEAD = {
    "id": "gen-1760000000-AbCdEfGhIjKlMnOp",
    "object": "chat.completion.chunk",
    "created": 1760000000,
    "model": "up",
}
WORDS = [" the", " quick", "brown", " fox\n", " você", " 你好", '"a"', " jumps"]
ASK = Ask("chat", True, {}, shown=Shown("chatcmpl-0abcDEF", 1790000000, "sold"))
SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}


def main() -> None:
    gc.disable()
    for name, sent in streams().items():
        events = [json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() for one in sent]
        took = sorted(measured(events) for _ in range(REPEATS))
        print(f"{name:28} {statistics.median(took):6.2f} µs an event ({took[0]:.2f} to {took[-1]:.2f})")


def measured(events: list[bytes]) -> float:
    """Microseconds of processor time an event."""
    began = time.process_time_ns()
    for _ in range(2):
        read = DIALECT.reader(ASK).event
        for payload in events:
            read(payload)
    return (time.process_time_ns() - began) / (2000 * len(events))


def streams() -> dict[str, list[dict[str, Any]]]:
    """By kind of upstream, the events of a stream without their end."""
    words = [WORDS[number % len(WORDS)] for number in range(EVENTS)]
    role, said = {"role": "assistant"}, {"type": "reasoning.text", "format": "unknown", "index": 0}
    begun = [chunk(role | {"content": ""})]
    named = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}
    router = {"provider": "Azure", "system_fingerprint": "fp"}
    pieces = [{"index": 0, "function": {"arguments": word}} for word in words]
    return {
        "as OpenAI": begun + [chunk({"content": word}, logprobs=None) for word in words],
        "OpenRouter": [router | chunk(role | {"content": word}, native_finish_reason=None) for word in words],
        "OpenRouter, thinking": [
            router | chunk(role | {"content": "", "reasoning": word, "reasoning_details": [said | {"text": word}]})
            for word in words
        ],
        "reasoning_content": begun + [chunk({"content": None, "reasoning_content": word}) for word in words],
        "tool calls": [chunk(role | {"tool_calls": [named]}), *(chunk({"tool_calls": [one]}) for one in pieces)],
        "tool calls, all in each": [
            chunk(role | {"tool_calls": [named | one | {"id": "call_a"}]}) for one in [named, *pieces]
        ],
        "vLLM, usage in each": [
            chunk({"content": word}, stop_reason=None) | {"usage": {"prompt_tokens": 9, "completion_tokens": number}}
            for number, word in enumerate(words)
        ],
        "Azure": [chunk({"content": word}, content_filter_results=SAFE) for word in words],
        "ids that change": [chunk(role | {"content": word}) | {"id": f"c{at}"} for at, word in enumerate(words)],
    }


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An event with one choice; `more` stands beside its delta."""
    return HEAD | {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}


if __name__ == "__main__":
    main()
