"""A kind and a dialect that only these tests know, served by the shop as its own are: the sockets hold what comes next."""

from __future__ import annotations

import json

import pytest

import blocks
from blocks.kind import frame
from kit.talk import canned, chat, http, on_sale

PRICES = {"input": "10", "cached_read": "1", "output": "100"}
BEGIN = frame("begin", {"who": "there", "used": {"heard": 40, "known": 20}})
STREAM = (
    BEGIN
    + frame("still", {})
    + frame("block", {"n": 0, "what": "thought"})
    + frame("piece", {"0": "Let me see. "})
    + frame("block", {"n": 1, "what": "text"})
    + frame("block", {"n": 2, "what": "call", "tool": "find", "id": "c7"})
    + frame("piece", {"1": "Hel", "2": '{"a":'})
    + frame("piece", {"1": "lo", "2": "1}"})
    + frame("end", {"why": "tools", "used": {"said": 9}})
)
WHOLE = {"who": "there", "texts": ["Hel", "lo"], "why": "done", "used": {"heard": 40, "known": 20, "said": 9}}
# 40 x 10 + 20 x 1 + 9 x 100, in micro-units of a dollar for a million.
CHARGE_MICRO = 1_320
USAGE = {"input": 40, "cached_read": 20, "output": 9}


@pytest.fixture(scope="module", autouse=True)
def both():
    with blocks.registered():
        yield


@pytest.fixture
def spoken(shop):
    """A model that an upstream which speaks blocks answers with this body; its name, and the upstream."""
    made = []

    def speak(body, *, kind="text/event-stream", status="200 OK"):
        upstream = canned(shop, http(body, kind=kind, status=status))
        made.append(upstream)
        there = upstream.__enter__()
        name = f"blocks-{shop.read(count)}"
        shop.model(name, PRICES, kinds=["chat", "notes"])
        shop.write(withdraw, name)
        shop.add_channel(name, there.base_url, [name], dialect="blocks")
        return on_sale(shop, name), there

    yield speak
    for each in made:
        each.__exit__(None, None, None)


def count(tx):
    from farebox.catalog.models import Model

    return Model.objects.count()


def withdraw(tx, name):
    from farebox.upstreams import channels

    channels.withdraw(tx, channel="sandbox", model=name, actor="test")


def billed(me, answer):
    receipt = me.receipt(answer)
    return receipt["rule"], {name: n for name, n in receipt["usage"].items() if n}, receipt["charge_micro"]


@pytest.mark.rule("R04")
def test_the_same_form_passes_and_start_and_end_of_the_usage_are_one(shop, me, spoken):
    name, upstream = spoken(STREAM)
    answer = me.request("POST", "/v1/notes", {"model": name, "note": "What is it?", "stream": True})
    assert answer.status == 200
    assert b'event: begin\ndata: {"who": "-", "used": {"heard": 40, "known": 20}}\n\n' in answer.body
    # Two events of one: each is delivered with what it was counted for, so a call may end between them.
    assert frame("piece", {"1": "Hel"}) + frame("piece", {"2": '{"a":'}) in answer.body
    assert b"[DONE]" not in answer.body
    last = answer.body.rpartition(b"event: charged\ndata: ")[2]
    assert json.loads(last) == {"id": "note_" + answer.call.removeprefix("call_"), "units": 69}
    assert billed(me, answer) == ("R04", USAGE, CHARGE_MICRO)
    assert json.loads(upstream.body) == {"who": name, "streamed": True, "most": None, "note": "What is it?"}
    assert b"POST /v1/blocks HTTP/1.1" in upstream.head
    assert b"Blocks-Version: 1" in upstream.head


@pytest.mark.rule("R04")
@pytest.mark.parametrize("version", [1, 2])
def test_another_form_is_written_of_neutral_parts(shop, me, spoken, version):
    shop.rules(version)
    try:
        name, upstream = spoken(STREAM)
        answer = me.chat(name, "What is it?", stream=True, stream_options={"include_usage": True})
    finally:
        shop.rules(1)
    *chunks, usage, done = answer.events
    deltas = [each["choices"][0]["delta"] for each in chunks]
    assert deltas == [
        {"role": "assistant", "content": "", "reasoning_content": "Let me see. "},
        {"tool_calls": [{"index": 0, "id": "c7", "type": "function", "function": {"name": "find", "arguments": ""}}]},
        {"content": "Hel"},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"content": "lo"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert {(each["object"], each["model"], each["id"][:9]) for each in chunks} == {
        ("chat.completion.chunk", name, "chatcmpl-")
    }
    assert (usage["choices"], usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == ([], 60, 9)
    assert done == "[DONE]"
    assert billed(me, answer) == ("R04", USAGE, CHARGE_MICRO)
    assert json.loads(upstream.body)["note"] == "What is it?"


@pytest.mark.parametrize("path", ["/v1/notes", "/v1/chat/completions"])
def test_a_whole_answer_is_charged_alike(shop, me, spoken, path):
    name, _ = spoken(json.dumps(WHOLE).encode(), kind="application/json")
    body = {"model": name, "note": "What is it?"} if path == "/v1/notes" else chat(name, "What is it?")
    answer = me.request("POST", path, body)
    assert billed(me, answer)[1:] == (USAGE, CHARGE_MICRO)
    if path == "/v1/notes":
        assert answer.json == WHOLE | {"charged": 69}
    else:
        assert answer.text == "Hello"
        assert answer.json["usage"] | {"prompt_tokens": 60, "completion_tokens": 9} == answer.json["usage"]


@pytest.mark.rule("R11")
def test_of_a_stream_without_its_end_the_output_is_counted(shop, me, spoken):
    """The report at the start is no report of the output: it lies before what was delivered."""
    shop.rules(2)
    try:
        name, _ = spoken(BEGIN + frame("block", {"n": 0, "what": "text"}) + frame("piece", {"0": "Hello there. " * 20}))
        answer = me.chat(name, "What is it?", stream=True)
    finally:
        shop.rules(1)
    rule, usage, charge_micro = billed(me, answer)
    assert (usage["input"], usage["cached_read"]) == (40, 20)
    assert usage["output"] > 20
    assert charge_micro == 420 + 100 * usage["output"]
    assert rule == "R11"


def test_errors_are_in_the_words_of_the_kind(shop, spoken):
    name, _ = spoken(json.dumps({"trouble": "long"}).encode(), kind="application/json", status="400 Bad Request")
    rich, poor = shop.account("1"), shop.account("0")
    assert rich.request("POST", "/v1/notes", {"model": name, "note": "x"}).json == {"trouble": "long"}
    assert rich.request("POST", "/v1/notes", {"model": name}).json.keys() == {"trouble"}
    refused = poor.request("POST", "/v1/notes", {"model": name, "note": "x"})
    assert (refused.status, refused.json.keys()) == (402, {"trouble"})
    assert "error" in rich.request("POST", "/v1/chat/completions", chat(name, "x")).json


def test_a_failure_after_output_is_in_the_words_of_the_kind(shop, me, spoken):
    begun = BEGIN + frame("block", {"n": 0, "what": "text"}) + frame("piece", {"0": "Hello"})
    name, _ = spoken(begun + frame("trouble", {"why": "down"}))
    answer = me.request("POST", "/v1/notes", {"model": name, "note": "x", "stream": True})
    assert answer.body.rpartition(b"event: ")[2].startswith(b"trouble\n")
    assert me.receipt(answer)["rule"] == "R14"


def test_a_channel_that_does_not_speak_of_a_kind_is_not_asked(shop, me, spoken):
    name, _ = spoken(STREAM)
    shop.model("only-openai", PRICES, kinds=["chat", "notes"])
    answer = me.request("POST", "/v1/notes", {"model": on_sale(shop, "only-openai"), "note": "x"})
    assert answer.status == 503
    assert me.chat("only-openai", "x").status == 200
    assert me.request("POST", "/v1/embeddings", {"model": name, "input": "x"}).status == 404
