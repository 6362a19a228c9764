"""Scoring a prompt: completions that echo it and put out nothing (max_tokens 0)."""

from __future__ import annotations

import json

import pytest

from kit.receipts import alone
from kit.talk import canned, http

pytestmark = pytest.mark.store

PROMPT = "The sky is blue"


def report(prompt, completion):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def answered(text, usage):
    choice = {"index": 0, "text": text, "logprobs": {"tokens": ["The"]}, "finish_reason": "length"}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def score(me, model, **params):
    body = {"model": model, "prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 1, **params}
    return me.request("POST", "/v1/completions", body)


@pytest.mark.slow
@pytest.mark.usefixtures("rules_1")
def test_a_prompt_is_scored_and_only_its_input_is_charged(shop, me):
    with canned(shop, b"") as upstream:
        model = alone(shop, "scored", upstream.base_url)
        spent = 0
        # As reported; not reported: counted, and still no output; streamed.
        for usage, how, most, due in (
            (report(4, 0), "reported", 0, 4 * 30), (None, "counted", 0, 4 * 30), (report(4, 1), "reported", 1, 180),
        ):  # fmt: skip
            upstream.answer = http(answered(PROMPT, usage))
            answer = score(me, model, max_tokens=most)
            assert (answer.status, answer.json["choices"][0]["text"]) == (200, PROMPT)
            receipt = me.receipt(answer)
            assert (receipt["rule"], receipt["usage_source"], receipt["charge_micro"]) == ("R07", how, due)
            assert receipt["limit_tokens"] == most
            spent += due
        events = [answered(PROMPT, None) | {"usage": None}, answered("", report(4, 0)) | {"choices": []}]
        raw = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        upstream.answer = http(raw.encode(), kind="text/event-stream")
        answer = score(me, model, stream=True)
        assert me.receipt(answer)["charge_micro"] == 4 * 30
        assert me.balance == (1_000_000 - spent - 120, 0)


@pytest.mark.parametrize("params", [{"echo": False}, {"echo": None}, {"max_tokens": -1}, {"max_tokens": "0"}])
def test_nothing_else_may_ask_for_no_output(me, params):
    answer = score(me, "gpt-3.5-turbo-instruct", **params)
    assert (answer.status, answer.json["error"]["param"]) == (400, "max_tokens")


def test_a_chat_may_not_ask_for_no_output(me):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = me.chat("gpt-4", **{name: 0})
        assert (answer.status, answer.json["error"]["param"]) == (400, name)
