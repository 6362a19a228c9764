"""Streams of odd upstreams, read by the real SDKs' own `.stream()` and by LangChain: read whole, or an error for nothing."""

from __future__ import annotations

import json

import pytest

from kit.receipts import alone
from kit.talk import canned, http
from upstreams.odd import END, HI, ODD, ROLE, chunk, sse

pytestmark = pytest.mark.clients

PYTHON = pytest.mark.parametrize("client", ["openai1", "openai2", "openai3"], indirect=True)
LANGCHAIN = pytest.mark.parametrize("client", ["openai1", "openai3"], indirect=True)
NODE = pytest.mark.parametrize("client", ["openai6", "openai7"], indirect=True)

PRICE = 100 * 30 + 10 * 60
TEXT = "x" * 200  # an upstream that reports 100 tokens of input must have been given so many
SAID = [{"role": "user", "content": TEXT}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]


@pytest.fixture(scope="module")
def odd(shop):
    """An upstream that says what a test wants; `model` is answered by it alone."""
    with canned(shop, b"") as upstream:
        upstream.model = alone(shop, "odd-streams", upstream.base_url)
        yield upstream


def lines(*payloads) -> bytes:
    told = [payload if isinstance(payload, bytes) else json.dumps(payload).encode() for payload in payloads]
    return b"".join(b"data: " + one + b"\n\n" for one in told)


BROKEN = {
    "no stream": b"hello",
    "nothing in it": b'data: {"type":"ping"}\n\n',
    "an error first": lines({"error": {"message": "boom"}}),
    "an error later": lines(*HI[:3], {"error": {"message": "boom"}}),
    "an event that is broken": lines(*HI[:3], b'{"choices":[{"index":0,"delta":{"content":'),
    "an event that is too long": lines(*HI[:3], b"x" * 9_000_000),
    "not UTF-8": lines(ROLE, json.dumps(chunk({"content": "@@"})).encode().replace(b"@@", b"\xff\xfe"), END),
    "broken off": lines(*HI[:3], chunk({}, "network_error")),
}


def check(name, final, calls) -> None:
    """What a client made of an odd stream."""
    each = ODD[name]
    [choice] = final["choices"]
    assert (choice["message"]["content"] or "", choice["finish_reason"], calls) == (
        each.text,
        each.finish,
        each.calls,
    ), name


def paid(me) -> None:
    """Every odd stream was paid as reported, or as counted where nothing was."""
    listed = me.get("/v1/calls?limit=100").json["data"]
    for (name, each), call in zip(ODD.items(), reversed(listed), strict=True):
        reported = any(isinstance(event, dict) and event.get("usage") for event in each.sends)
        assert call["usage_source"] == ("reported" if reported else "counted"), name
        assert call["charge_micro"] == PRICE or not reported, name


def nothing_paid(me, times) -> None:
    """So many calls were made, and none cost anything."""
    listed = me.get("/v1/calls?limit=100").json["data"]
    assert [call["charge_micro"] for call in listed] == [0] * times


def called(message) -> list[tuple[str, str]]:
    return [(one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls") or ()]


def every(odd):
    for name, each in ODD.items():
        odd.answer = http(sse(each), kind="text/event-stream")
        yield name


@PYTHON
def test_openai_python_reads_every_odd_stream(client, me, odd):
    for name in every(odd):
        given = {"model": odd.model, "messages": SAID, "tools": TOOLS}
        if ODD[name].finish == "length":  # its way to say so
            assert client.fails("sdk_chat.accumulated", me, **given)["class"] == "LengthFinishReasonError"
            continue
        final = client("sdk_chat.accumulated", me, **given)["final"]
        check(name, final, called(final["choices"][0]["message"]))
    paid(me)


@NODE
@pytest.mark.parametrize("step", ["accumulated", "parsing"])
def test_openai_node_reads_every_odd_stream(client, me, odd, step):
    tools = {"tools": TOOLS} if step == "accumulated" else {"tool": "get_weather"}
    for name in every(odd):
        if step == "parsing" and ODD[name].finish == "length":  # it throws by itself
            assert "length" in client.fails(step, me, model=odd.model, messages=SAID, **tools)["words"]
            continue
        final = client(step, me, model=odd.model, messages=SAID, n=1, **tools)["final"]
        check(name, final, called(final["choices"][0]["message"]))
    paid(me)


@LANGCHAIN
def test_langchain_reads_every_odd_stream(client, me, odd):
    for name in every(odd):
        joined = client("langchain_chat.stream_tools", me, model=odd.model, text=TEXT)["joined"]
        choice = {"message": {"content": joined["content"]}, "finish_reason": joined["meta"]["finish_reason"]}
        calls = [
            (one["name"], json.dumps(one["args"], separators=(",", ":"), ensure_ascii=False))
            for one in joined["tool_calls"]
        ]
        check(name, {"choices": [choice]}, calls)
        assert joined["meta"]["model_name"] == odd.model
    paid(me)


@pytest.mark.parametrize("client", ["openai1", "openai3", "openai6", "openai7"], indirect=True)
def test_what_can_not_be_read_is_an_error_and_free(client, me, odd, shop):
    node = client.name in {"openai6", "openai7"}
    step, once = ("accumulated", {}) if node else ("sdk_chat.accumulated", {"retries": 0})
    for name, body in BROKEN.items():
        shop.reset_health()
        odd.answer = http(body, kind="text/event-stream")
        raised = client.fails(step, me, model=odd.model, messages=SAID, **once)
        assert raised["class"] in {"InternalServerError", "APIError"}, (name, raised)
    nothing_paid(me, len(BROKEN))


@LANGCHAIN
def test_langchain_gets_an_error_and_pays_nothing(client, me, odd, shop):
    for name, body in BROKEN.items():
        shop.reset_health()
        odd.answer = http(body, kind="text/event-stream")
        assert (
            "charged" in client.fails("langchain_chat.stream", me, model=odd.model, text=TEXT, max_retries=0)["words"]
        ), name
    nothing_paid(me, len(BROKEN))
