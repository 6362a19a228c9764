"""The OpenAI SDK, three majors, unmodified: chat completions. What it shows is what was asked, and what the receipt says."""

from __future__ import annotations

import json

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("client", ["openai1", "openai2", "openai3"], indirect=True),
]

MODEL = "gpt-4o-mini"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


def say(text, *before):
    return [*before, {"role": "user", "content": text}]


def told(receipt, shown):
    """The receipt is the one of this answer, and its usage is what the client was told."""
    assert receipt["id"] == shown["request_id"]
    used = receipt["usage"]
    assert (used["input"], used.get("output", 0)) == (
        shown["usage"]["prompt_tokens"],
        shown["usage"]["completion_tokens"],
    )
    assert shown["usage"]["total_tokens"] == sum(used.values())
    assert receipt["charge_micro"] > 0


def text_of(chunks, index=0):
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


@pytest.fixture(scope="module")
def thinker(shop):
    """A model whose reasoning has a price of its own."""
    return shop.model("thinker", {"input": "1", "output": "2", "reasoning": "3"}, hidden_output=True)


def test_the_environment_holds_the_major_it_is_named_for(client, me):
    assert client("sdk_chat.version", me).split(".")[0] == client.name[-1]


def test_an_answer(client, me):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("Hello there", {"role": "system", "content": "Be."}))
    (choice,) = shown["choices"]
    assert choice["message"]["content"] == "[sandbox] You said: Hello there"
    assert (choice["message"]["role"], choice["finish_reason"], choice["index"]) == ("assistant", "stop", 0)
    assert (shown["model"], shown["object"]) == (MODEL, "chat.completion")
    told(me.only, shown)
    assert (me.only["rule"], me.only["endpoint"], me.only["stream"]) == ("R02", "chat", False)


def test_an_answer_awaited(client, me):
    shown = client("sdk_chat.plain_async", me, model=MODEL, messages=say("你好，世界"))
    assert shown["choices"][0]["message"]["content"] == "[sandbox] You said: 你好，世界"
    told(me.only, shown)


def test_a_stream_has_no_usage_unless_asked(client, me):
    shown = client("sdk_chat.stream", me, model=MODEL, messages=say("Grüße — 你好"))
    chunks = shown["chunks"]
    assert text_of(chunks) == "[sandbox] You said: Grüße — 你好"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all(chunk["choices"] and chunk.get("usage") is None for chunk in chunks)
    assert [choice["finish_reason"] for choice in chunks[-1]["choices"]] == ["stop"]
    assert {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        (chunks[0]["id"], chunks[0]["created"], MODEL, "chat.completion.chunk")
    }
    receipt = me.only
    assert (receipt["id"], receipt["rule"], receipt["usage_source"]) == (shown["request_id"], "R02", "reported")
    assert me.asked["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_stream_with_usage_has_it_in_one_last_chunk(client, me, way):
    shown = client(f"sdk_chat.{way}", me, model=MODEL, messages=say("Hello"), stream_options={"include_usage": True})
    *chunks, last = shown["chunks"]
    assert text_of(chunks) == "[sandbox] You said: Hello"
    assert all(chunk.get("usage") is None for chunk in chunks)
    assert (last["choices"], last["model"]) == ([], MODEL)
    told(me.only, {"request_id": me.only["id"], "usage": last["usage"]})


def test_a_stream_put_together_by_the_sdk(client, me):
    shown = client("sdk_chat.accumulated", me, model=MODEL, messages=say("Hello"))
    assert shown["final"]["choices"][0]["message"]["content"] == "[sandbox] You said: Hello"
    assert "content.done" in shown["kinds"]
    assert me.only["rule"] == "R02"


def test_the_parameters_arrive(client, me):
    given = {
        "temperature": 0.25, "top_p": 0.5, "presence_penalty": 0.125, "frequency_penalty": -0.5, "seed": 7,
        "stop": ["###"], "logit_bias": {"50256": -100}, "user": "me",
    }  # fmt: skip
    client("sdk_chat.plain", me, model=MODEL, messages=say("Hello"), **given)
    assert {name: me.asked[name] for name in given} == given
    assert me.asked["messages"] == say("Hello")
    assert me.only["rule"] == "R02"


def test_a_stop_ends_the_text(client, me):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("one two three"), stop=" two")
    assert shown["choices"][0]["message"]["content"] == "[sandbox] You said: one"
    told(me.only, shown)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_ends_the_text(client, me, name):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("sandbox: full\n"), **{name: 5})
    assert (shown["choices"][0]["finish_reason"], shown["usage"]["completion_tokens"]) == ("length", 5)
    told(me.only, shown)
    assert me.only["rule"] == "R07"


def test_several_choices(client, me):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("Hello"), n=3)
    assert [choice["index"] for choice in shown["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in shown["choices"]} == {"[sandbox] You said: Hello"}
    told(me.only, shown)


def test_several_choices_streamed(client, me):
    shown = client("sdk_chat.stream", me, model=MODEL, messages=say("Hello"), n=2)
    assert [text_of(shown["chunks"], index) for index in (0, 1)] == ["[sandbox] You said: Hello"] * 2
    assert me.only["usage"]["output"] == 16


def test_log_probabilities(client, me):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("Hello"), logprobs=True, top_logprobs=2)
    (choice,) = shown["choices"]
    parts = choice["logprobs"]["content"]
    assert "".join(part["token"] for part in parts) == choice["message"]["content"]
    assert {len(part["top_logprobs"]) for part in parts} == {2}
    told(me.only, shown)


def test_log_probabilities_streamed(client, me):
    shown = client("sdk_chat.stream", me, model=MODEL, messages=say("Hello"), logprobs=True)
    parts = [
        part["token"]
        for chunk in shown["chunks"]
        for choice in chunk["choices"]
        for part in (choice.get("logprobs") or {}).get("content") or ()
    ]
    assert "".join(parts) == text_of(shown["chunks"])
    assert me.only["rule"] == "R02"


def test_a_tool_there_and_back(client, me):
    shown = client("sdk_chat.tool_trip", me, model=MODEL, text="Please call tool", result="12 degrees")
    (choice,) = shown["first"]["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], call["type"], call["function"]["name"]) == ("tool_calls", "function", "weather")
    assert json.loads(call["function"]["arguments"]) == {"city": "sandbox"}
    assert shown["second"]["choices"][0]["message"]["content"] == "[sandbox] The tool said: 12 degrees"
    first, second = me.calls
    told(first, shown["first"])
    told(second, shown["second"])


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "tides")
]


def test_tools_streamed(client, me):
    shown = client("sdk_chat.stream", me, model=MODEL, messages=say("Please call tools"), tools=TOOLS)
    calls: dict[int, dict[str, str]] = {}
    for chunk in shown["chunks"]:
        for part in chunk["choices"][0]["delta"].get("tool_calls") or ():
            call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
            call["id"] += part.get("id") or ""
            call["name"] += part["function"].get("name") or ""
            call["arguments"] += part["function"].get("arguments") or ""
    assert [(calls[at]["name"], json.loads(calls[at]["arguments"])) for at in sorted(calls)] == [
        ("weather", {"city": "sandbox"}),
        ("tides", {"city": "sandbox"}),
    ]
    assert len({call["id"] for call in calls.values()}) == 2
    assert all(call["id"].count("call_") == 1 for call in calls.values())
    assert shown["chunks"][-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert (me.only["rule"], me.only["finish_reason"]) == ("R02", "tool_calls")


def test_tools_put_together_by_the_sdk(client, me):
    given = {"tool_choice": {"type": "function", "function": {"name": "tides"}}, "tools": TOOLS}
    shown = client("sdk_chat.accumulated", me, model=MODEL, messages=say("Hello"), **given)
    (call,) = shown["final"]["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("tides", {"city": "sandbox"})
    assert me.asked["tool_choice"] == given["tool_choice"]
    assert me.only["rule"] == "R02"


def test_a_picture(client, me):
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    shown = client("sdk_chat.plain", me, model=MODEL, messages=[{"role": "user", "content": parts}])
    assert shown["choices"][0]["message"]["content"] == "[sandbox] You sent 1 image and said: What is it?"
    assert me.asked["messages"][0]["content"] == parts
    told(me.only, shown)


def test_an_answer_in_a_schema(client, me):
    shown = client("sdk_chat.parsed", me, model=MODEL, messages=say("Weather?"))
    assert shown["class"] == "Weather"
    assert shown["parsed"] == json.loads(shown["content"]) == {"city": "sandbox", "degrees": 0, "windy": False}
    assert (me.asked["response_format"]["type"], me.only["rule"]) == ("json_schema", "R02")


def test_a_streamed_answer_in_a_schema(client, me):
    shown = client("sdk_chat.accumulated_form", me, model=MODEL, messages=say("Weather?"))
    assert shown == {"city": "sandbox", "degrees": 0, "windy": False}
    assert me.only["rule"] == "R02"


def test_a_json_object(client, me):
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say("Hi"), response_format={"type": "json_object"})
    assert json.loads(shown["choices"][0]["message"]["content"]) == {"sandbox": "You said: Hi"}
    told(me.only, shown)


def test_reasoning_is_shown_and_paid(client, me, thinker):
    shown = client("sdk_chat.plain", me, model=thinker, messages=say("sandbox: reasoning=9\nHello"))
    details = shown["usage"]["completion_tokens_details"]
    assert (shown["choices"][0]["message"]["content"], details["reasoning_tokens"]) == ("[sandbox] You said: Hello", 9)
    used = me.only["usage"]
    assert (used["reasoning"], used["output"]) == (9, shown["usage"]["completion_tokens"] - 9)
    assert sum(used.values()) == shown["usage"]["total_tokens"]


def test_shown_reasoning_arrives_beside_the_text(client, me, thinker):
    shown = client("sdk_chat.stream", me, model=thinker, messages=say("sandbox: reasoning-text\nHello"))
    thought = "".join(
        choice["delta"].get("reasoning_content") or "" for chunk in shown["chunks"] for choice in chunk["choices"]
    )
    assert thought.startswith("sand box the cat")
    assert text_of(shown["chunks"]) == "[sandbox] You said: Hello"
    assert me.only["usage"]["reasoning"] == 8


def test_the_name_that_was_asked_for_is_shown(client, me):
    for way in ("plain", "stream"):
        shown = client(f"sdk_chat.{way}", me, model=MODEL, messages=say("sandbox: big-model\nHello"))
        assert {part["model"] for part in shown.get("chunks", [shown])} == {MODEL}
    assert {row["rule"] for row in me.calls} == {"R02"}


def test_headers_say_what_was_not_passed_on(client, me):
    shown = client("sdk_chat.headers", me, model=MODEL, messages=say("Hello"), extra_body={"top_k": 5})
    assert shown["headers"]["x-ignored-parameters"] == "top_k"
    assert shown["headers"]["x-request-id"] == me.only["id"]
    assert "top_k" not in me.asked
