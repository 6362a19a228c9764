"""The OpenAI SDK, three majors, unmodified: each error as the class that programs catch, and as often asked as it should be."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("client", ["openai1", "openai2", "openai3"], indirect=True),
]

MODEL = "gpt-4o-mini"


def say(text):
    return [{"role": "user", "content": text}]


def chat(client, me, text="Hello", step="plain", **given):
    return client.fails(f"sdk_chat.{step}", me, **{"model": MODEL, "messages": say(text), **given})


def attempts(me, since):
    """How often the sandbox was asked since."""
    return len(me.shop.sandbox.requests) - since


def test_a_bad_key(client, me):
    fault = chat(client, me, key="sk-" + "0" * 48)
    assert (fault["class"], fault["status"], fault["code"]) == ("AuthenticationError", 401, "invalid_api_key")
    assert "Incorrect API key provided" in fault["words"]
    assert fault["request_id"].startswith("call_")


@pytest.mark.parametrize("step", ["plain", "stream"])
def test_an_unknown_model(client, me, step):
    fault = chat(client, me, model="gpt-99", step=step)
    assert (fault["class"], fault["status"], fault["code"], fault["param"]) == (
        "NotFoundError",
        404,
        "model_not_found",
        "model",
    )
    assert "The model `gpt-99` does not exist" in fault["words"]
    assert fault["type"] == "invalid_request_error"
    assert me.calls == []


@pytest.mark.parametrize(
    ("given", "param"), [({"temperature": 9}, "temperature"), ({"n": 0}, "n"), ({"messages": []}, "messages")]
)
def test_a_malformed_request(client, me, given, param):
    fault = chat(client, me, **given)
    assert (fault["class"], fault["status"], fault["param"]) == ("BadRequestError", 400, param)
    assert param in fault["words"]
    assert me.calls == []


def test_an_option_without_a_price(client, me):
    fault = chat(client, me, service_tier="priority")
    assert (fault["class"], fault["code"], fault["param"]) == (
        "BadRequestError",
        "unsupported_parameter",
        "service_tier",
    )
    assert me.calls == []


@pytest.mark.parametrize("step", ["plain", "stream", "plain_async"])
def test_an_empty_account_is_asked_once(client, me, door, step):
    broke = me.shop.account("0")
    fault = client.fails(f"sdk_chat.{step}", broke, model=MODEL, messages=say("Hello"))
    assert (fault["class"], fault["status"], fault["code"], fault["type"]) == (
        "RateLimitError",
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert "You exceeded your current quota, please check your plan and billing details." in fault["words"]
    assert door.asked(broke) == 1


def test_held_money_is_waited_for(client, me, door):
    """While a stream holds what there is, a call is told to come back; the SDK does, and is served."""
    tight = tight_purse(me)
    shown = client(
        "sdk_chat.while_streaming", tight, model="gpt-4", long="sandbox: pace=40\n" + "x " * 16, short="Hi", retries=4
    )
    assert shown["choices"][0]["message"]["content"] == "[sandbox] You said: Hi"
    assert door.asked(tight) >= 3, "the stream, the call that was refused, and the call that was served"


def test_held_money_is_a_rate_limit(client, me):
    tight = tight_purse(me)
    fault = client.fails(
        "sdk_chat.while_streaming", tight, model="gpt-4", long="sandbox: pace=40\n" + "x " * 16, short="Hi", retries=0
    )
    assert (fault["class"], fault["code"], fault["type"]) == (
        "RateLimitError",
        "rate_limit_exceeded",
        "rate_limit_error",
    )


def tight_purse(me):
    """A customer whose money one stream of gpt-4 holds altogether, and who can pay for it and a short call."""
    return me.shop.account("0.02")


def test_an_upstream_that_fails_is_asked_again_and_free(client, me):
    fault = chat(client, me, "sandbox: status=500\nHello")
    assert fault["class"] == "InternalServerError"
    assert "InternalServerError" in fault["classes"]
    assert (fault["status"], fault["code"], fault["type"]) == (502, "upstream_error", "server_error")
    assert "Nothing was charged" in fault["words"]
    calls = me.calls
    assert [row["rule"] for row in calls] == ["R13"] * 3, "the SDK asks three times"
    assert {row["charge_micro"] for row in calls} == {0}
    assert fault["request_id"] == calls[-1]["id"]


def test_a_failure_before_the_stream_has_its_status(client, me):
    fault = chat(client, me, "sandbox: status=503\nHello", step="stream", retries=0)
    assert (fault["class"], fault["status"], fault["seen"]) == ("InternalServerError", 503, [])


def test_an_upstream_that_recovers_is_not_noticed(client, me):
    name = f"recovers-{client.name}"
    shown = client("sdk_chat.plain", me, model=MODEL, messages=say(f"sandbox: fail-first=1\n{name}"), user=name)
    assert shown["choices"][0]["message"]["content"] == f"[sandbox] You said: {name}"
    assert [row["rule"] for row in me.calls if row["charge_micro"]] in (["R02"], ["R22"])


@pytest.mark.parametrize("fault", ["cut=6", "error-event=6", "garbage=6", "reset=6"])
def test_a_stream_that_breaks_raises_with_words(client, me, fault):
    raised = chat(client, me, f"sandbox: {fault}+pace=10\nHello there", step="stream")
    assert raised["class"] == "APIError"
    assert "The upstream broke off in the middle of its answer. Nothing was charged." in raised["words"]
    assert raised["code"] == "upstream_error"
    seen = "".join(raised["seen"])
    assert seen
    assert "[sandbox] You said: Hello there".startswith(seen)
    assert (me.only["rule"], me.only["charge_micro"]) == ("R14", 0)


def test_a_context_that_is_too_long_for_the_model(client, me):
    since = len(me.shop.sandbox.requests)
    fault = chat(client, me, "word " * 9000, model="gpt-4")
    assert (fault["class"], fault["status"], fault["code"]) == ("BadRequestError", 400, "context_length_exceeded")
    assert "maximum context length is 8192 tokens" in fault["words"]
    assert "Please reduce the length of the messages." in fault["words"]
    assert (attempts(me, since), me.calls) == (0, [])


def test_a_context_that_the_upstream_finds_too_long(client, me):
    fault = chat(client, me, "sandbox: context\nHello")
    assert (fault["class"], fault["status"], fault["code"]) == ("BadRequestError", 400, "context_length_exceeded")
    assert "reduce the length" in fault["words"]
    assert (me.only["rule"], me.only["charge_micro"]) == ("R12", 0)


def test_our_upstream_key_is_no_news_to_the_customer(client, me):
    fault = chat(client, me, "sandbox: quota\nHello", retries=0)
    assert fault["class"] == "InternalServerError"
    assert "quota" not in fault["words"]


def test_what_is_not_sold_here_is_an_unknown_address(client, me):
    fault = client.fails("sdk_chat.image", me, model="dall-e-3", prompt="A cat")
    assert (fault["class"], fault["code"]) == ("NotFoundError", "unknown_url")
    assert "/v1/images/generations" in fault["words"]
    fault = client.fails("sdk_chat.response", me, model=MODEL, text="Hello")
    assert (fault["class"], fault["code"]) == ("NotFoundError", "unknown_url")


def test_a_silent_stream_is_kept_alive(client, me):
    options = me.shop.server.options
    before = options.keepalive_stream_s, options.keepalive_every_s
    options.keepalive_stream_s = options.keepalive_every_s = 1
    try:
        shown = client("sdk_chat.stream", me, model=MODEL, messages=say("sandbox: slow=2.2\nHello"))
    finally:
        options.keepalive_stream_s, options.keepalive_every_s = before
    text = "".join(choice["delta"].get("content") or "" for chunk in shown["chunks"] for choice in chunk["choices"])
    assert text == "[sandbox] You said: Hello"
    assert me.only["rule"] == "R02"
