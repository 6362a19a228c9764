"""F21: an upstream that sends more than was asked for is stopped at the limit and 16 tokens, an honest one never."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.catalog import tokens
from farebox.gateway.overrun import BYTES_PER_TOKEN_MAX, Overrun
from kit.receipts import alone, ended, own_input, own_output, sandboxed
from kit.talk import canned, http, on_sale

pytestmark = [pytest.mark.fault("F21")]

WORDS = [
    "sand",
    " box",
    " the",
    "x",
    "\n",
    "  ",
    "你",
    "好吗",
    "7",
    "123",
    "🙂",
    "é",
    " international",
    "isation",
    "'s",
    ")(",
]
PIECES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WORDS)), max_size=400)


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def stopped(pieces, tokens_max: int) -> tuple[dict[int, list[str]], bool, int]:
    """What an upstream of these (choice, text) pieces has delivered by the end or the stop, and how often was looked."""

    async def run():
        watch = Overrun("cl100k_base", tokens_max, tokens_max * BYTES_PER_TOKEN_MAX, tokens_max)
        texts: dict[int, list[str]] = {}
        size = looks = 0
        for count, piece in enumerate(pieces):
            size += len(piece[1].encode())
            if size > watch.look_bytes and (count >= tokens_max or size > watch.bytes_max):
                looks += 1
                if await watch.over(texts, [piece], size):
                    return texts, True, looks
            texts.setdefault(piece[0], []).append(piece[1])
        return texts, False, looks

    return asyncio.run(run())


def counted(texts) -> int:
    return sum(tokens.estimate("cl100k_base", ["".join(pieces)]) for pieces in texts.values())


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(PIECES, st.integers(1, 60))
def test_stopped_at_the_limit_and_never_before(pieces, tokens_max):
    texts, cut, _ = stopped(pieces, tokens_max)
    size = sum(len(text.encode()) for parts in texts.values() for text in parts)
    if cut:  # with the event that was kept back it was too much
        came = {index: [*parts] for index, parts in texts.items()}
        index, text = pieces[sum(map(len, texts.values()))]
        came.setdefault(index, []).append(text)
        assert counted(came) > tokens_max
        assert sum(map(len, came.values())) > tokens_max
    elif sum(map(len, texts.values())) > tokens_max:
        # What may still lie above it is less than what a look waits for.
        assert counted(texts) <= tokens_max + max(64, size // 16)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 400))
def test_one_token_an_event_is_stopped_to_the_token(tokens_max, more):
    words = ["sand", " box", " the", " cat"]  # each a token, whatever stands beside it
    pieces = [(0, words[number % 4]) for number in range(tokens_max + more)]
    texts, cut, looks = stopped(pieces, tokens_max)
    assert cut
    assert counted(texts) == tokens_max
    assert looks == 1


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=300))
def test_an_upstream_within_its_limit_is_not_even_looked_at(words):
    """Whatever its tokenizer: no more events with output than its limit has tokens."""
    assert stopped([(0, word) for word in words], max(1, len(words)))[1:] == (False, 0)


def test_a_long_answer_is_counted_once(monkeypatch):
    size = [0]
    estimate = tokens.estimate

    def measured(name, texts):
        texts = list(texts)
        size[0] += sum(map(len, texts))
        return estimate(name, texts)

    monkeypatch.setattr("farebox.gateway.overrun.tokens.estimate", measured)
    letters = [(0, letter) for letter in " the cat sat on the mat" * 2000]  # a letter an event: many looks
    texts, cut, looks = stopped(letters, 14_000)
    assert not cut
    assert 0 < looks < 200
    assert size[0] <= sum(map(len, texts[0]))


# over HTTP


@pytest.mark.rule("R07")
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.usefixtures("rules_1")
def test_a_stream_is_stopped_to_the_token(shop, me, outputs):
    text = "sandbox: over=900+pace=0.1"
    answer = me.chat("gpt-4", text, stream=True, max_tokens=20, n=outputs)
    said = {}
    for event in answer.events[:-1]:
        for choice in event["choices"]:
            said[choice["index"]] = said.get(choice["index"], "") + (choice["delta"].get("content") or "")
    assert sum(map(own_output, said.values())) == (20 + 16) * outputs
    assert answer.events[-1] == "[DONE]"
    reasons = {c["index"]: c["finish_reason"] for e in answer.events[:-1] for c in e["choices"] if c["finish_reason"]}
    assert reasons == dict.fromkeys(range(outputs), "length")
    receipt = ended(me, answer, "R07", own_input(text) * 30 + 20 * outputs * 60)
    assert {"over_limit", "estimated"} <= set(receipt["flags"])
    assert receipt["finish_reason"] == "length"
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.parametrize("more", [1, 16])
def test_a_little_above_the_limit_is_not_stopped(shop, me, more):
    answer = me.chat("gpt-4", f"sandbox: over={more}", stream=True, max_tokens=20)
    assert own_output(answer.text) == 20 + more
    assert answer.events[-1] == "[DONE]"
    receipt = ended(me, answer, "R02")
    assert receipt["charge_micro"] == sandboxed(shop).usage["prompt_tokens"] * 30 + (20 + more) * 60


@pytest.mark.usefixtures("rules_1")
def test_the_limit_that_the_model_has_is_one_as_well(shop, me):
    prices = {"input": "30", "output": "60"}
    name = on_sale(shop, shop.model("f21-own", prices, tokenizer="cl100k_base", output_tokens_max=40))
    answer = me.chat(name, "sandbox: over=500+pace=0.1", stream=True)
    assert own_output(answer.text) == 40 + 16
    ended(me, answer, "R07", own_input("sandbox: over=500+pace=0.1") * 30 + 40 * 60)


@pytest.mark.usefixtures("rules_1")
def test_shown_reasoning_counts_against_the_limit(shop, me):
    prices = {"input": "30", "output": "60", "reasoning": "60"}
    name = on_sale(shop, shop.model("f21-thinks", prices, tokenizer="cl100k_base"))
    text = "sandbox: reasoning=8+reasoning-text+over=500+pace=0.1"
    answer = me.chat(name, text, stream=True, max_tokens=20)
    thought = "".join(
        choice["delta"].get("reasoning_content") or "" for event in answer.events[:-1] for choice in event["choices"]
    )
    assert own_output(thought) + own_output(answer.text) == 20 + 16
    ended(me, answer, "R07")


@pytest.mark.usefixtures("rules_1")
def test_an_echo_is_no_output(shop, me):
    prompt = "sandbox: over=500+pace=0.1\nOnce upon a time there was a cat"
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": prompt, "echo": True, "max_tokens": 16, "stream": True}
    answer = me.request("POST", "/v1/completions", body)
    said = "".join(choice["text"] for event in answer.events[:-1] for choice in event["choices"])
    assert said.startswith(prompt)
    # The sandbox packs the prompt into fewer events than it has tokens; so much later is it suspected.
    assert 16 + 16 <= own_output(said) - own_output(prompt) <= 16 + 16 + 8
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["usage"]["output"]) == ("R07", 16)


@pytest.mark.parametrize("tokenizer", ["", "cl100k_base"])
def test_many_tokens_in_each_event_are_stopped_by_their_bytes(shop, me, tokenizer):
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": {"content": " many words" * 20}, "finish_reason": None}]}  # fmt: skip
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for _ in range(30))
    with canned(shop, http(body, kind="text/event-stream")) as upstream:
        name = alone(shop, f"f21-packed-{tokenizer or 'none'}", upstream.base_url, tokenizer=tokenizer)
        answer = me.chat(name, stream=True, max_tokens=20)
    assert 1000 < len(answer.text) <= (20 + 16) * BYTES_PER_TOKEN_MAX
    receipt = ended(me, answer, "R07")
    assert receipt["usage"]["output"] == 20
    assert "over_limit" in receipt["flags"]
