"""Streams of odd upstreams, read by the real SDKs' own `.stream()` and by LangChain: read whole, or an error for nothing."""

from __future__ import annotations

import json

import pytest

from receipts import alone
from talk import canned, http
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


def newest(me) -> dict:
    """The receipt of the call that was made last."""
    return me.receipt(me.get("/v1/calls?limit=1").json["data"][0]["id"])


def check(me, name, final, calls) -> None:
    """What a client made of an odd stream, and what it cost."""
    each = ODD[name]
    [choice] = final["choices"]
    assert (choice["message"]["content"] or "", choice["finish_reason"], calls) == (
        each.text,
        each.finish,
        each.calls,
    ), name
    receipt = newest(me)
    reported = any(isinstance(event, dict) and event.get("usage") for event in each.sends)
    assert receipt["charge_micro"] == PRICE if reported else receipt["usage_source"] == "counted", name


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
            assert newest(me)["charge_micro"] == PRICE
            continue
        final = client("sdk_chat.accumulated", me, **given)["final"]
        check(me, name, final, called(final["choices"][0]["message"]))


@NODE
@pytest.mark.parametrize("step", ["accumulated", "parsing"])
def test_openai_node_reads_every_odd_stream(client, me, odd, step):
    tools = {"tools": TOOLS} if step == "accumulated" else {"tool": "get_weather"}
    for name in every(odd):
        if step == "parsing" and ODD[name].finish == "length":  # it throws by itself
            assert "length" in client.fails(step, me, model=odd.model, messages=SAID, **tools)["words"]
            continue
        final = client(step, me, model=odd.model, messages=SAID, n=1, **tools)["final"]
        check(me, name, final, called(final["choices"][0]["message"]))


@LANGCHAIN
def test_langchain_reads_every_odd_stream(client, me, odd):
    for name in every(odd):
        joined = client("langchain_chat.stream_tools", me, model=odd.model, text=TEXT)["joined"]
        choice = {"message": {"content": joined["content"]}, "finish_reason": joined["meta"]["finish_reason"]}
        calls = [
            (one["name"], json.dumps(one["args"], separators=(",", ":"), ensure_ascii=False))
            for one in joined["tool_calls"]
        ]
        check(me, name, {"choices": [choice]}, calls)
        assert joined["meta"]["model_name"] == odd.model


@pytest.mark.parametrize("client", ["openai1", "openai3", "openai6", "openai7"], indirect=True)
def test_what_can_not_be_read_is_an_error_and_free(client, me, odd, shop):
    step = "accumulated" if client.name in {"openai6", "openai7"} else "sdk_chat.accumulated"
    for name, body in BROKEN.items():
        shop.reset_health()
        odd.answer = http(body, kind="text/event-stream")
        raised = client.fails(step, me, model=odd.model, messages=SAID)
        assert raised["class"] in {"InternalServerError", "APIError"}, (name, raised)
        assert newest(me)["charge_micro"] == 0, name


@LANGCHAIN
def test_langchain_gets_an_error_and_pays_nothing(client, me, odd, shop):
    for name, body in BROKEN.items():
        shop.reset_health()
        odd.answer = http(body, kind="text/event-stream")
        assert "charged" in client.fails("langchain_chat.stream", me, model=odd.model, text=TEXT)["words"], name
        assert newest(me)["charge_micro"] == 0, name
