"""Streams of odd upstreams: what each sends, and what a client must be able to make of it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

HEAD = {"id": "gen-179-abc", "created": 1_760_000_000, "model": "up", "object": "chat.completion.chunk"}
USED = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    return (
        HEAD | {"choices": [{"index": 0, "delta": delta if delta is not None else {}, "finish_reason": finish}]} | more
    )


def call(arguments: Any, name: str | None = "get_weather", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    return {"function": function, **more}


def tools(*calls: dict[str, Any], finish: Any = "tool_calls") -> list[Any]:
    parts = [chunk({"tool_calls": [one]}) for one in calls]
    return [chunk({"role": "assistant", "content": None}), *parts, chunk({}, finish), USAGE]


def half(event: dict[str, Any], escape: str) -> str:
    """The event with an escape where its text says `@`."""
    return json.dumps(event).replace("@", escape)


USAGE = HEAD | {"choices": [], "usage": USED}
ROLE = chunk({"role": "assistant", "content": ""})
END = chunk({}, "stop")
HI = [ROLE, chunk({"content": "Hello"}), chunk({"content": " there"}), END, USAGE]
OSLO, ROME = ("get_weather", '{"city":"Oslo"}'), ("get_weather", '{"city":"Rome"}')


class Odd(NamedTuple):
    """What an upstream sends, and the text, calls and finish reason that a client must find."""

    sends: list[Any]
    text: str = "Hello there"
    calls: list[tuple[str, str]] = []
    finish: str = "stop"


def of_parts(*parts: Any, **facts: Any) -> Odd:
    return Odd([ROLE, *parts, END, USAGE], **facts)


ODD: dict[str, Odd] = {
    "as it should be": Odd(HI),
    "no role": Odd([*HI[1:3], END, USAGE]),
    "role in each": Odd([chunk({"role": "assistant", "content": part}) for part in ("Hello", " there")] + [END, USAGE]),
    "another role": Odd([chunk({"role": "model", "content": "Hello there"}), END, USAGE]),
    "no finish reason": Odd([*HI[:3], USAGE]),
    "no finish reason, no usage": Odd(HI[:3]),
    "finish in words of Anthropic": Odd([*HI[:3], chunk({}, "end_turn"), USAGE]),
    "finish in words of Gemini": Odd([*HI[:3], chunk({}, "MAX_TOKENS"), USAGE], finish="length"),
    "finish nobody knows": Odd([*HI[:3], chunk({}, "eos_found"), USAGE]),
    "finish that is no text": Odd([*HI[:3], chunk({}, 1), USAGE]),
    "finish with the text": Odd([ROLE, chunk({"content": "Hello there"}, "stop"), USAGE]),
    "finish is empty until the end": Odd([*(chunk({"content": part}, "") for part in ("Hello", " there")), END, USAGE]),
    "ids that change": Odd([event | {"id": f"x{n}", "created": n, "model": f"m{n}"} for n, event in enumerate(HI)]),
    "no head at all": Odd([{"choices": event["choices"]} for event in HI[:4]] + [{"usage": USED}]),
    "odd head": Odd([event | {"id": 7, "created": "now", "object": None, "model": 5} for event in HI]),
    "choices first, the rest behind": Odd([{"choices": e["choices"], **HEAD, "usage": None} for e in HI[:4]] + [USAGE]),
    "no index": Odd([HEAD | {"choices": [{"delta": {"content": "Hello there"}, "finish_reason": "stop"}]}, USAGE]),
    "index from one": Odd([json.loads(json.dumps(event).replace('"index": 0', '"index": 1')) for event in HI]),
    "index as text": Odd([json.loads(json.dumps(event).replace('"index": 0', '"index": "0"')) for event in HI]),
    "message for delta": Odd([HEAD | {"choices": [{"index": 0, "message": {"content": "Hello there"}, "finish_reason": "stop"}]}]),
    "content in parts": Odd([chunk({"content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]}), END]),
    "events without choices": Odd([{"type": "ping"}, *HI[:2], {"type": "ping", "at": 1}, HEAD, {"choices": None}, *HI[2:]]),
    "fields of a vendor": Odd([event | {"provider": "Azure", "cost": 0.1, "x_groq": {"id": "r"}} for event in HI]),
    "lists without index": of_parts(
        chunk({"content": "Hello", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a"}}]}),
        chunk({"content": " there", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://b"}}]}),
    ),
    "no index of tools": Odd(tools(call(OSLO[1], type="function", id="call_a")), "", [OSLO], "tool_calls"),
    "tools in parts, no index": Odd(
        tools(call("", id="call_a"), call('{"city":', None), call('"Oslo"}', None)), "", [OSLO], "tool_calls"),
    "two tools, no index": Odd(tools(call(OSLO[1], id="a"), call(ROME[1], id="b")), "", [OSLO, ROME], "tool_calls"),
    "two tools, nothing but names": Odd(tools(call(OSLO[1]), call(ROME[1])), "", [OSLO, ROME], "tool_calls"),
    "two tools, one index": Odd(
        tools(call(OSLO[1], id="a", index=0), call(ROME[1], id="b", index=0)), "", [OSLO, ROME], "tool_calls"),
    "index of tools from one": Odd(
        tools(call("", id="a", index=1), call(OSLO[1], None, index=1), call(ROME[1], id="b", index=2)),
        "", [OSLO, ROME], "tool_calls"),
    "no id of tools": Odd(tools(call("", index=0), call(OSLO[1], None, index=0)), "", [OSLO], "tool_calls"),
    "id and name in each part": Odd(
        tools(*(call(part, id="a", index=0, type="function") for part in ("", '{"city":', '"Oslo"}'))),
        "", [OSLO], "tool_calls"),
    "another id in each part": Odd(
        tools(call("", id="a", index=0), call('{"city":', None, id="b", index=0), call('"Oslo"}', "", id="c", index=0)),
        "", [OSLO], "tool_calls"),
    "nulls in later parts": Odd(
        tools(call("", id="a", index=0, type="function"), {"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": OSLO[1]}}),
        "", [OSLO], "tool_calls"),
    "arguments as an object": Odd(tools(call({"city": "Oslo"}, id="a", index=0)), "", [OSLO], "tool_calls"),
    "one tool, no list": Odd([ROLE, chunk({"tool_calls": call(OSLO[1], id="a")}), USAGE], "", [OSLO], "tool_calls"),
    "tools and no finish reason": Odd([*tools(call(OSLO[1], id="a", index=0))[:-2], USAGE], "", [OSLO], "tool_calls"),
    "tools that end in tool_use": Odd(tools(call(OSLO[1], id="a", index=0), finish="tool_use"), "", [OSLO], "tool_calls"),
    "an emoji in two events": of_parts(
        chunk({"content": "Well "}), half(chunk({"content": "@"}), "\\ud83d"), half(chunk({"content": "@!"}), "\\ude00"),
        text="Well \U0001f600!"),
    "the first half, and something else": of_parts(half(chunk({"content": "a@"}), "\\ud83d"), chunk({"content": "b"}), text="a\ufffdb"),
    "the second half alone": of_parts(half(chunk({"content": "a@"}), "\\ude00"), text="a\ufffd"),
    "half an emoji last": of_parts(half(chunk({"content": "a@"}), "\\ud83d"), text="a\ufffd"),
    "half an emoji at the very end": Odd([ROLE, half(chunk({"content": "a@"}), "\\ud83d")], text="a\ufffd"),
    "half an emoji first": Odd([half(chunk({"content": "@"}), "\\ud83d"), half(chunk({"content": "@"}), "\\ude00"), END], text="\U0001f600"),
    "half an emoji in arguments": Odd(
        [*tools(call("", id="a", index=0))[:2], half(chunk({"tool_calls": [call('{"c":"@', None, index=0)]}), "\\ud83d"),
         half(chunk({"tool_calls": [call('@"}', None, index=0)]}), "\\ude00"), chunk({}, "tool_calls")],
        "", [("get_weather", '{"c":"\U0001f600"}')], "tool_calls"),
}  # fmt: skip


def payloads(odd: Odd) -> list[bytes]:
    return [event.encode() if isinstance(event, str) else json.dumps(event).encode() for event in odd.sends]


def sse(odd: Odd, *, done: bool = True) -> bytes:
    lines = [*payloads(odd), *([b"[DONE]"] if done else [])]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)
