"""The requests of GPT Academic and its two ways to read a stream, written anew from what it was seen to do.

It reads lines as they come through `requests`, cuts six characters off each, and knows errors by their words alone.
"""

from __future__ import annotations

import json
import re

import pytest
import requests

pytestmark = pytest.mark.clients

OFFICIAL = "https://api.openai.com/v1/chat/completions"
KEY = re.compile(r"sk-[A-Za-z0-9_-]{48}|sk-[A-Za-z0-9_-]{92}|sk-proj-[A-Za-z0-9_-]{48}|sess-[A-Za-z0-9]{40}")
NOT_OURS = (re.compile(r"[a-zA-Z0-9]{32}"), re.compile(r"[a-zA-Z0-9]{40}"))
PHRASES = (
    "Incorrect API key", "does not exist", "exceeded your current quota", "account is not active",
    "associated with a deactivated account", "API key has been deactivated", "reduce the length", "bad forward key",
    "Not enough point",
)  # fmt: skip
TIMEOUT_S = 30


class ShownError(Exception):
    """What its page shows instead of an answer: the phrase that it knew the error by, or all of the text."""

    def __init__(self, text):
        super().__init__(text)
        self.phrase = next((phrase for phrase in PHRASES if phrase in text), None)
        self.text = text


class Academic:
    """The client with its configuration: one whole address put in place of the official one."""

    def __init__(self, me, timeout_s=TIMEOUT_S):
        self.key = me.key
        self.redirect = {OFFICIAL: f"{me.shop.url}/v1/chat/completions"}
        self.timeout_s = timeout_s

    def body(self, text, model="gpt-4o-mini", system="", **params):
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        return {
            "model": model, "messages": messages, "temperature": 1.0, "top_p": 1.0, "n": 1, "stream": True, **params,
        }  # fmt: skip

    def post(self, body, path="chat/completions"):
        assert KEY.fullmatch(self.key), "a key of another form is refused before any request is made"
        assert "," not in self.key
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        address = self.redirect[OFFICIAL].replace("chat/completions", path)
        return requests.post(address, headers=headers, json=body, stream=True, timeout=self.timeout_s)

    def page(self, body):
        """The page: every text that it showed, growing."""
        first, shown, text = True, [], ""
        with self.post(body) as response:
            lines = response.iter_lines()
            for line in lines:
                words = line.decode()
                if first and "content" not in words and "error" not in words:
                    first = False
                    continue
                first = False
                if not words:
                    continue
                if not words.startswith("data:"):
                    raise ShownError(words + "".join(rest.decode() for rest in lines))
                if words[6:] == "[DONE]":
                    break
                chunk = json.loads(words[6:])
                if "error" in chunk:
                    raise ShownError(words)
                (choice,) = chunk["choices"]
                if not choice["delta"]:
                    break
                text += choice["delta"].get("content") or ""
                shown.append(text)
        return shown

    def plugin(self, body):
        """The way of its plugins, which wait for the whole text."""
        text, finished = "", False
        with self.post(body) as response:
            lines = response.iter_lines()
            for line in lines:
                words = line.decode()
                if not words:
                    continue
                if not words.startswith("data:"):
                    raise ShownError(words + "".join(rest.decode() for rest in lines))
                if words == "data: [DONE]":
                    break
                choice = json.loads(words[6:])["choices"][0]
                if not choice["delta"]:
                    finished = True
                    if choice["finish_reason"] in ("length", "content_filter"):
                        raise ShownError(choice["finish_reason"])
                    break
                text += choice["delta"].get("content") or ""
        assert finished, "a chunk with an empty delta ends the answer"
        return text


@pytest.fixture
def academic(me):
    return Academic(me)


@pytest.fixture
def quick(shop):
    """Silence is filled after one second."""
    options = shop.server.options
    names = ("keepalive_stream_s", "keepalive_every_s", "keepalive_json_s")
    before = {name: getattr(options, name) for name in names}
    for name in names:
        setattr(options, name, 1)
    yield
    for name, value in before.items():
        setattr(options, name, value)


def test_a_key_has_the_form_that_it_knows(academic):
    assert KEY.fullmatch(academic.key)
    assert not any(form.fullmatch(academic.key) for form in NOT_OURS)


def test_the_page(academic, me):
    shown = academic.page(academic.body("Hello, 世界"))
    assert shown[-1] == "[sandbox] You said: Hello, 世界"
    assert len(shown) > 5, "it grows as it comes"
    assert me.only["rule"] == "R02"
    assert me.asked["messages"][0] == {"role": "system", "content": ""}
    assert (me.asked["n"], me.asked["temperature"], me.asked["top_p"]) == (1, 1.0, 1.0)


def test_a_plugin(academic, me):
    assert academic.plugin(academic.body("Hello")) == "[sandbox] You said: Hello"
    assert me.only["rule"] == "R02"


@pytest.mark.parametrize("upstream", ["comments", "nospace", "crlf", "usage-openai", "no-role", "split=3", "nodone"])
@pytest.mark.parametrize("way", ["page", "plugin"])
def test_whatever_form_the_upstream_streams_in(academic, me, upstream, way):
    shown = getattr(academic, way)(academic.body(f"sandbox: {upstream}\nHello"))
    assert (shown[-1] if way == "page" else shown) == "[sandbox] You said: Hello"
    # It leaves at the empty delta; a report of usage that comes later than that is no longer waited for (R20).
    receipt = me.only
    assert (receipt["rule"], receipt["usage"]["output"]) in {("R02", 8), ("R20", 8), ("R20", 7)}


def test_pictures_at_full_size(academic, me):
    picture = "data:image/jpeg;base64," + "/9j/4AAQSkZJRgAB" * 200_000
    body = academic.body("What?")
    body["messages"][1]["content"] = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    assert academic.plugin(body) == "[sandbox] You sent 1 image and said: What?"
    assert me.only["rule"] == "R02"


def test_a_model_that_is_not_streamed(academic, me, quick):
    """The way of o1 and o3: no temperature, one message, the JSON of an answer after empty lines, within the time-out."""
    academic.timeout_s = 2
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "sandbox: slow=3.5\nHello"}], "stream": False}
    with academic.post(body) as response:
        text = response.text
    assert text.startswith("\n")
    assert json.loads(text)["choices"][0]["message"]["content"] == "[sandbox] You said: Hello"
    assert me.only["rule"] == "R02"


@pytest.mark.parametrize("silence", ["slow=3.5", "pace=2500+tokens=1"])
def test_a_silent_upstream_does_not_run_into_its_time_out(academic, me, quick, silence):
    academic.timeout_s = 2
    text = academic.plugin(academic.body(f"sandbox: {silence}\nHello"))
    assert text == ("[sandbox] You said: Hello" if "slow" in silence else "sand")
    assert len(me.calls) == 1


def test_without_empty_lines_it_would(academic, me):
    academic.timeout_s = 1
    with pytest.raises(requests.exceptions.ReadTimeout):
        academic.plugin(academic.body("sandbox: slow=2.5\nHello"))
    assert me.only["rule"] in ("R16", "R17")


def test_its_embeddings(academic, me):
    with academic.post(
        {"model": "text-embedding-3-small", "input": "Hello", "encoding_format": "float"}, "embeddings"
    ) as got:
        assert len(got.json()["data"][0]["embedding"]) == 1536
    assert me.only["rule"] == "R27"


def test_the_end_by_a_limit_is_an_error_to_plugins(academic, me):
    with pytest.raises(ShownError, match="length"):
        academic.plugin(academic.body("sandbox: full\nHello", max_tokens=4))
    assert me.only["rule"] == "R07"


@pytest.mark.parametrize("way", ["page", "plugin"])
def test_errors_are_known_by_their_words(academic, me, way):
    from farebox.accounts import accounts
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    def phrase(client, text="Hello", **params):
        with pytest.raises(ShownError) as shown:
            getattr(client, way)(client.body(text, **params))
        return shown.value.phrase

    shop = me.shop
    wrong = Academic(me)
    wrong.key = "sk-" + "x" * 48
    assert phrase(wrong) == "Incorrect API key"
    assert phrase(academic, model="gpt-99") == "does not exist"
    assert phrase(academic, "word " * 9000, model="gpt-4") == "reduce the length"
    assert phrase(academic, "sandbox: context\nHello") == "reduce the length"
    assert phrase(Academic(shop.account("0"))) == "exceeded your current quota"
    revoked = shop.account("1")
    shop.write(keys.revoke, revoked.key_id, now_us=clock.now_us(), actor="test")
    shop.refresh()
    assert phrase(Academic(revoked)) == "API key has been deactivated"
    barred = shop.account("1")
    shop.write(accounts.bar, barred.account, actor="test")
    shop.refresh()
    assert phrase(Academic(barred)) == "account is not active"


def test_a_stream_that_breaks(academic, me):
    broken = academic.body("sandbox: cut=8+pace=10\nHello there")
    with pytest.raises(ShownError, match="The upstream broke off"):
        academic.page(broken)
    with pytest.raises(KeyError, match="choices"):
        academic.plugin(broken)
    assert [row["rule"] for row in me.calls] == ["R14", "R14"]
