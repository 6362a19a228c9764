"""The OpenAI SDK, three majors, unmodified: completions, embeddings, models."""

from __future__ import annotations

import math

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("client", ["openai1", "openai2", "openai3"], indirect=True),
]

MODEL = "gpt-3.5-turbo-instruct"
EMBED = "text-embedding-3-small"


def told(receipt, shown):
    """The receipt is the one of this answer, and its usage is what the client was told."""
    assert receipt["id"] == shown["request_id"]
    assert receipt["usage"]["input"] == shown["usage"]["prompt_tokens"]
    assert receipt["usage"].get("output", 0) == shown["usage"].get("completion_tokens", 0)
    assert receipt["charge_micro"] > 0


def texts(shown):
    return [choice["text"] for choice in shown["choices"]]


def test_a_completion(client, me):
    shown = client("sdk_text.completion", me, model=MODEL, prompt="Hello there")
    assert (texts(shown), shown["model"], shown["object"]) == (
        ["[sandbox] You said: Hello there"],
        MODEL,
        "text_completion",
    )
    assert "max_tokens" in me.asked, "the default limit of 16 is sent, so that it is what was held for"
    told(me.only, shown)
    assert (me.only["rule"], me.only["endpoint"]) == ("R02", "completions")


def test_several_prompts(client, me):
    shown = client("sdk_text.completion", me, model=MODEL, prompt=["One", "Two"], n=2)
    assert [choice["index"] for choice in shown["choices"]] == [0, 1, 2, 3]
    assert texts(shown) == [f"[sandbox] You said: {word}" for word in ("One", "One", "Two", "Two")]
    told(me.only, shown)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
def test_a_streamed_completion(client, me, options):
    shown = client("sdk_text.completion_stream", me, model=MODEL, prompt=["One", "Two"], **options)
    chunks = shown["chunks"]
    if options:
        *chunks, last = chunks
        assert last["choices"] == []
        told(me.only, {"request_id": shown["request_id"], "usage": last["usage"]})
    for index, word in enumerate(("One", "Two")):
        made = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert "".join(choice["text"] for choice in made) == f"[sandbox] You said: {word}"
        assert [choice["finish_reason"] for choice in made if choice["finish_reason"]] == ["stop"]
    assert all(chunk["choices"] and chunk.get("usage") is None for chunk in chunks)
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert me.only["rule"] == "R02"


def test_an_echo_with_log_probabilities(client, me):
    shown = client("sdk_text.completion", me, model=MODEL, prompt="Hello there", echo=True, logprobs=2)
    (choice,) = shown["choices"]
    assert choice["text"] == "Hello there[sandbox] You said: Hello there"
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    told(me.only, shown)


def test_a_suffix_and_the_parameters(client, me):
    given = {"suffix": " End.", "best_of": 3, "n": 2, "temperature": 0.5, "max_tokens": 12, "seed": 3, "stop": ["###"]}
    shown = client("sdk_text.completion", me, model=MODEL, prompt="Hi", **given)
    assert {name: me.asked[name] for name in given} == given
    assert len(shown["choices"]) == 2
    told(me.only, shown)


def test_a_prompt_of_token_numbers(client, me):
    shown = client("sdk_text.completion", me, model=MODEL, prompt=[[9906], [9906, 1070]])
    assert texts(shown) == ["[sandbox] You said: 1 token numbers", "[sandbox] You said: 2 token numbers"]
    assert me.only["usage"]["input"] == 3
    told(me.only, shown)


def test_a_completions_model_does_not_chat(client, me):
    fault = client.fails("sdk_chat.plain", me, model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert (fault["class"], fault["code"], fault["param"]) == ("NotFoundError", "model_not_found", "model")
    assert me.calls == []


def test_embeddings_are_asked_for_as_base64_by_default(client, me):
    default = client("sdk_text.embeddings", me, model=EMBED, input=["One", "Two"])
    assert me.asked["encoding_format"] == "base64"
    floats = client("sdk_text.embeddings", me, model=EMBED, input=["One", "Two"], encoding_format="float")
    assert me.asked["encoding_format"] == "float"
    assert [row["index"] for row in default["rows"]] == [0, 1]
    assert default["model"] == EMBED
    for one, other in zip(default["rows"], floats["rows"], strict=True):
        assert len(one["vector"]) == 1536
        assert one["vector"] == pytest.approx(other["vector"])
        assert math.hypot(*one["vector"]) == pytest.approx(1, abs=1e-5)
    assert default["rows"][0]["vector"] != default["rows"][1]["vector"]
    first, second = me.calls
    told(first, default)
    told(second, floats)
    assert (first["endpoint"], first["charge_micro"]) == ("embeddings", second["charge_micro"])


def test_embeddings_awaited_in_fewer_dimensions(client, me):
    shown = client("sdk_text.embeddings_async", me, model=EMBED, input="One", dimensions=256)
    assert [len(vector) for vector in shown["vectors"]] == [256]
    assert me.asked["dimensions"] == 256
    assert me.only["usage"] == {"input": 1}


@pytest.mark.parametrize(("given", "rows"), [([9906, 1070], 1), ([[9906], [9906, 1070]], 2)])
def test_embeddings_of_token_numbers(client, me, given, rows):
    shown = client("sdk_text.embeddings", me, model=EMBED, input=given)
    assert me.asked["input"] == given
    assert len(shown["rows"]) == rows
    told(me.only, shown)


def test_models(client, me):
    listed = {model["id"]: model for model in client("sdk_text.models", me)}
    assert {"gpt-4", "gpt-4o-mini", MODEL, EMBED} <= set(listed)
    assert {model["object"] for model in listed.values()} == {"model"}
    assert all(isinstance(model["created"], int) and model["owned_by"] for model in listed.values())
    assert client("sdk_text.model", me, name="gpt-4") == listed["gpt-4"]
    assert me.calls == []


def test_an_empty_account_sees_the_models(client, me):
    broke = me.shop.account("0")
    assert client("sdk_text.models", broke) == client("sdk_text.models", me)


def test_an_unknown_model(client, me):
    fault = client.fails("sdk_text.model", me, name="no/such model")
    assert (fault["class"], fault["code"]) == ("NotFoundError", "model_not_found")
    assert "The model `no/such model` does not exist" in fault["words"]
