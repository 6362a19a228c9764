"""A real model, SmolLM2-135M behind llama.cpp's own server, sold as the demo sells it, through real clients."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request

import pytest

from farebox.demo import goods, smallmodel

pytestmark = pytest.mark.clients
sdk3 = pytest.mark.parametrize("client", ["openai3"], indirect=True)

NAME = smallmodel.NAME
MOST = 16
SHORT = "Say only the word yes."


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """The model as a child process."""
    log = tmp_path_factory.mktemp("smallmodel") / "log.txt"
    model = smallmodel.launch(log)
    assert smallmodel.ready(model), log.read_text()
    yield model
    model.stop()


@pytest.fixture(scope="module", autouse=True)
def sold(shop, running):
    """The demo's card, prices and channel of the model, on this shop's price list."""
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    now_us = clock.now_us()
    shop.write(goods.fill, goods.Sources(sandbox=shop.sandbox.base_url, small=running.base_url), {})
    rows = [sheets.row(NAME, usage_class, price) for usage_class, price in goods.SMALL_PRICES.items()]
    shop.write(price_lists.publish, "usd", rows, actor="test", now_us=now_us)
    shop.refresh()


def say(text):
    return [{"role": "user", "content": text}]


def believed(receipt, told, *, text):
    """The charge is the model's own report, and that report can be true."""
    used = receipt["usage"]
    given = used.get("input", 0) + used.get("cached_read", 0)
    assert (receipt["usage_source"], receipt["model"], receipt["flags"]) == ("reported", NAME, [])
    assert receipt["rule"] in {"R02", "R07"}
    assert (receipt["rule"] == "R07") == (receipt["finish_reason"] == "length")
    assert told is None or (given, used["output"]) == told
    assert 1 <= used["output"] <= MOST
    assert len(text) / 12 <= used["output"] <= len(text.encode()) + 2
    assert 4 <= given <= 80
    exact = given * 50_000 + used["output"] * 100_000 - used.get("cached_read", 0) * 40_000
    assert receipt["charge_micro"] == -(-exact // 1_000_000)


def told(usage):
    return usage["prompt_tokens"], usage["completion_tokens"]


def test_it_calls_itself_by_another_name(running):
    body = json.dumps({"messages": say("Hi"), "max_tokens": 1}).encode()
    asked = urllib.request.Request(f"{running.base_url}/chat/completions", body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=60) as answer:
        assert json.load(answer)["model"] != NAME, "then the tests of the shown name would prove nothing"


@sdk3
def test_a_chat(client, me):
    shown = client("small.plain", me, model=NAME, messages=say(SHORT), max_tokens=MOST, temperature=0)
    (choice,) = shown["choices"]
    assert choice["message"]["content"].strip()
    assert shown["model"] == NAME
    assert shown["request_id"] == me.only["id"]
    assert choice["finish_reason"] == me.only["finish_reason"]
    believed(me.only, told(shown["usage"]), text=choice["message"]["content"])


@sdk3
def test_an_answer_that_ends_by_itself(client, me):
    shown = client(
        "small.plain", me, model=NAME, messages=say("What is 1+1?"), max_tokens=MOST, temperature=0, stop=["."]
    )
    believed(me.only, told(shown["usage"]), text=shown["choices"][0]["message"]["content"])
    assert (me.only["rule"], me.only["finish_reason"]) == ("R02", "stop")


@sdk3
def test_a_streamed_chat(client, me):
    given = {"max_tokens": MOST, "temperature": 0, "stream_options": {"include_usage": True}}
    shown = client("small.stream", me, model=NAME, messages=say(SHORT), **given)
    *chunks, last = shown["chunks"]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.strip()
    assert {chunk["model"] for chunk in shown["chunks"]} == {NAME}
    assert all(chunk["choices"] and chunk.get("usage") is None for chunk in chunks)
    believed(me.only, told(last["usage"]), text=text)
    assert shown["request_id"] == me.only["id"]


@sdk3
def test_a_developer_message(client, me):
    messages = [{"role": "developer", "content": "Answer in one word."}, *say("Name a colour.")]
    shown = client("small.plain", me, model=NAME, messages=messages, max_tokens=MOST, temperature=0)
    believed(me.only, told(shown["usage"]), text=shown["choices"][0]["message"]["content"])


@sdk3
def test_a_completion(client, me):
    shown = client("small.completion", me, model=NAME, prompt="One, two, three,", max_tokens=MOST, temperature=0)
    (choice,) = shown["choices"]
    assert " four" in choice["text"]
    assert shown["model"] == NAME
    believed(me.only, told(shown["usage"]), text=choice["text"])
    assert me.only["endpoint"] == "completions"


@sdk3
def test_embeddings_are_not_sold_of_it(client, me):
    fault = client.fails("small.embeddings", me, model=NAME, input="Hello")
    assert (fault["class"], fault["code"]) == ("NotFoundError", "model_not_found")
    assert "chat, completions" in fault["words"]
    assert me.calls == []


@sdk3
def test_it_is_listed(client, me):
    assert NAME in {model["id"] for model in client("sdk_text.models", me)}


@sdk3
def test_langchain(client, me):
    shown = client("small.langchain", me, model=NAME, text=SHORT, max_tokens=MOST)
    assert shown["content"].strip()
    assert shown["meta"]["model_name"] == NAME
    believed(me.only, (shown["usage"]["input_tokens"], shown["usage"]["output_tokens"]), text=shown["content"])


@sdk3
def test_langchain_streamed(client, me):
    shown = client("small.langchain_stream", me, model=NAME, text=SHORT, max_tokens=MOST)
    assert shown["meta"]["model_name"] == NAME
    usage = shown["usage"]
    believed(me.only, (usage["input_tokens"], usage["output_tokens"]), text="".join(shown["pieces"]))


@sdk3
def test_langchain_completes(client, me):
    text = client("small.langchain_completion", me, model=NAME, prompt="One, two, three,", max_tokens=MOST)
    assert " four" in text
    believed(me.only, None, text=text)


@pytest.mark.parametrize("stream", [False, True])
def test_curl(me, stream):
    curl = shutil.which("curl")
    assert curl, "these tests need curl: apt-get install curl"
    body = {"model": NAME, "messages": say(SHORT), "max_tokens": MOST, "temperature": 0, "stream": stream}
    command = [curl, "--silent", "--no-buffer", "--fail", "--max-time", "60", "--noproxy", "*", "--data-binary", "@-"]
    command += ["--header", f"Authorization: Bearer {me.key}", "--header", "Content-Type: application/json"]
    done = subprocess.run(
        [*command, f"{me.shop.url}/v1/chat/completions"],
        input=json.dumps(body).encode(),
        capture_output=True,
        check=True,
    )
    if not stream:
        answer = json.loads(done.stdout)
        believed(me.only, told(answer["usage"]), text=answer["choices"][0]["message"]["content"])
        assert answer["model"] == NAME
        return
    lines = [line for line in done.stdout.decode().split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines]
    assert {chunk["model"] for chunk in chunks} == {NAME}
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    believed(me.only, None, text=text)
