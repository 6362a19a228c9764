"""langchain-openai 0.3 and 1.x, unmodified: chat, completions, and its default embeddings, which are token arrays."""

from __future__ import annotations

import math

import pytest

from farebox.catalog import tokens

pytestmark = [
    pytest.mark.clients,
    pytest.mark.parametrize("client", ["openai1", "openai3"], indirect=True),
]

MODEL = "gpt-4o-mini"
COMPLETIONS = "gpt-3.5-turbo-instruct"
EMBED = "text-embedding-3-small"
TEXTS_ONLY = "texts-only"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


@pytest.fixture(scope="module", autouse=True)
def texts_only(shop):
    """An embedding model of an upstream that knows no token numbers."""
    from farebox.upstreams import channels

    shop.model(TEXTS_ONLY, {"input": "0.02"}, kinds=["embeddings"], tokenizer="cl100k_base", context_tokens=8191)
    shop.write(channels.withdraw, channel="sandbox", model=TEXTS_ONLY, actor="test")
    shop.add_channel(TEXTS_ONLY, shop.sandbox.base_url, [TEXTS_ONLY], quirks={"token_arrays": False})


def used(receipt):
    return receipt["usage"]["input"], receipt["usage"].get("output", 0)


def counted(usage):
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    return usage["input_tokens"], usage["output_tokens"]


def test_the_environment_holds_the_version_it_is_for(client, me):
    major = client("langchain_chat.version", me).split(".")[0]
    assert (client.name, major) in {("openai1", "0"), ("openai3", "1")}


def test_an_answer(client, me):
    shown = client("langchain_chat.invoke", me, model=MODEL, text="Hello", system="Be.", max_tokens=50)
    assert (shown["class"], shown["content"]) == ("AIMessage", "[sandbox] You said: Hello")
    assert (shown["meta"]["model_name"], shown["meta"]["finish_reason"]) == (MODEL, "stop")
    receipt = me.only
    assert receipt["id"] == shown["headers"]["x-request-id"]
    assert counted(shown["usage"]) == used(receipt)
    assert (receipt["rule"], receipt["limit_tokens"]) == ("R02", 50)
    assert [message["role"] for message in me.asked["messages"]] == ["system", "user"]


def test_a_stream_without_usage(client, me):
    shown = client("langchain_chat.stream", me, model=MODEL, text="Hello")
    assert "".join(shown["pieces"]) == "[sandbox] You said: Hello"
    assert len(shown["pieces"]) > 4
    assert set(map(str, shown["usages"])) == {"None"}
    assert shown["joined"]["meta"]["finish_reason"] == "stop"
    assert me.only["rule"] == "R02"


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_stream_with_usage_counts_it_once(client, me, way):
    shown = client(f"langchain_chat.{way}", me, model=MODEL, text="Hello", stream_usage=True)
    assert shown["joined"]["content"] == "[sandbox] You said: Hello"
    assert len([usage for usage in shown["usages"] if usage]) == 1
    assert counted(shown["joined"]["usage"]) == used(me.only)
    assert shown["joined"]["meta"]["model_name"] == MODEL


def test_an_awaited_stream(client, me):
    shown = client("langchain_chat.stream_async", me, model=MODEL, text="你好")
    assert "".join(shown["pieces"]) == "[sandbox] You said: 你好"
    assert me.only["stream"] is True


def test_the_usage_callback_counts_what_is_paid(client, me):
    shown = client("langchain_chat.counted", me, model=MODEL, text="Hello")
    assert set(shown) == {MODEL}
    calls = me.calls
    assert len(calls) == 2
    assert counted(shown[MODEL]) == tuple(map(sum, zip(*map(used, calls), strict=True)))


def test_several_at_once(client, me):
    texts = ["One", "Two", "Three", "Four"]
    shown = client("langchain_chat.batch_async", me, model=MODEL, texts=texts)
    assert shown == [f"[sandbox] You said: {text}" for text in texts]
    assert len(me.calls) == 4


def test_a_picture(client, me):
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    shown = client("langchain_chat.invoke_parts", me, model=MODEL, parts=parts)
    assert shown["content"] == "[sandbox] You sent 1 image and said: What?"
    assert counted(shown["usage"]) == used(me.only)


def test_tools_there_and_back(client, me):
    shown = client("langchain_chat.tool_trip", me, model=MODEL, text="Please call tools")
    assert [(call["name"], call["args"]) for call in shown["first"]["tool_calls"]] == [
        ("weather", {"city": "sandbox"}),
        ("tides", {"harbour": "sandbox"}),
    ]
    assert shown["second"]["content"] == "[sandbox] The tool said: High water in sandbox"
    first, second = me.calls
    assert counted(shown["first"]["usage"]) == used(first)
    assert counted(shown["second"]["usage"]) == used(second)


@pytest.mark.parametrize("params", [{}, {"tool_choice": "tides"}, {"parallel_tool_calls": False}])
def test_streamed_tools(client, me, params):
    shown = client("langchain_chat.stream_tools", me, model=MODEL, text="Please call tools", **params)
    calls = [(call["name"], call["args"]) for call in shown["joined"]["tool_calls"]]
    everything = [("weather", {"city": "sandbox"}), ("tides", {"harbour": "sandbox"})]
    wanted = everything[1:] if "tool_choice" in params else everything[: 1 if params else 2]
    assert calls == wanted
    assert counted(shown["joined"]["usage"]) == used(me.only)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(client, me, method):
    shown = client("langchain_chat.structured", me, model=MODEL, text="Weather?", method=method)
    assert shown == {"class": "Weather", "fields": {"city": "sandbox", "degrees": 0, "windy": False}}
    assert me.only["rule"] == "R02"


def test_an_empty_account(client, me, door):
    broke = me.shop.account("0")
    fault = client.fails("langchain_chat.invoke", broke, model=MODEL, text="Hello")
    assert "RateLimitError" in fault["classes"]
    assert "You exceeded your current quota" in fault["words"]
    assert door.asked(broke) == 1


def test_a_context_that_is_too_long(client, me):
    fault = client.fails("langchain_chat.invoke", me, model="gpt-4", text="word " * 9000)
    assert "BadRequestError" in fault["classes"]
    assert "context_length_exceeded" in fault["words"]
    if client.name == "openai3":
        assert "ContextOverflowError" in fault["classes"]
    assert me.calls == []


def test_a_stream_that_breaks(client, me):
    fault = client.fails("langchain_chat.stream", me, model=MODEL, text="sandbox: cut=6+pace=10\nHello there")
    assert "APIError" in fault["classes"]
    assert "The upstream broke off in the middle of its answer" in fault["words"]
    assert "[sandbox] You said: Hello there".startswith("".join(fault["seen"]))
    assert me.only["rule"] == "R14"


def test_completions_with_a_list_of_prompts_and_nulls(client, me):
    shown = client("langchain_text.generate", me, model=COMPLETIONS, prompts=["One", "Two"])
    assert shown["texts"] == [["[sandbox] You said: One"], ["[sandbox] You said: Two"]]
    assert me.asked["prompt"] == ["One", "Two"]
    assert me.asked["max_tokens"] == 256
    assert {"seed", "logprobs"}.isdisjoint(me.asked)
    told = shown["told"]["token_usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == used(me.only)


def test_several_completions_of_each_prompt(client, me):
    shown = client("langchain_text.generate", me, model=COMPLETIONS, prompts=["One", "Two"], n=2)
    assert shown["texts"] == [["[sandbox] You said: One"] * 2, ["[sandbox] You said: Two"] * 2]
    assert me.only["rule"] == "R02"


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_streamed_completions(client, me, way):
    shown = client(f"langchain_text.{way}", me, model=COMPLETIONS, prompt="Hello")
    assert "".join(shown) == "[sandbox] You said: Hello"
    assert me.only["stream"] is True


@pytest.mark.parametrize("way", ["embed", "embed_async"])
def test_default_embeddings_are_token_arrays(client, me, way):
    texts = ["Hello world", "你好"]
    vectors = client(f"langchain_text.{way}", me, model=EMBED, texts=texts)
    arrays = me.asked["input"]
    assert [tokens.decode("cl100k_base", row) for row in arrays] == texts
    assert [len(vector) for vector in vectors] == [1536, 1536]
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-5) for vector in vectors)
    assert me.only["usage"] == {"input": sum(map(len, arrays))}


def test_a_query_is_embedded_as_its_document(client, me):
    (document,) = client("langchain_text.embed", me, model=EMBED, texts=["Hello"])
    assert client("langchain_text.embed_query", me, model=EMBED, text="Hello") == pytest.approx(document)
    assert len(me.calls) == 2


def test_embeddings_of_texts(client, me):
    client("langchain_text.embed", me, model=EMBED, texts=["Hello world"], check_embedding_ctx_length=False)
    assert me.asked["input"] == ["Hello world"]
    assert me.only["rule"] == "R27"


def test_token_arrays_become_texts_for_an_upstream_that_knows_only_those(client, me):
    (arrays,) = client("langchain_text.embed", me, model=TEXTS_ONLY, texts=["Hello world"])
    assert me.asked["input"] == ["Hello world"]
    (texts,) = client(
        "langchain_text.embed", me, model=TEXTS_ONLY, texts=["Hello world"], check_embedding_ctx_length=False
    )
    assert arrays == pytest.approx(texts)
    assert [row["model"] for row in me.calls] == [TEXTS_ONLY] * 2
