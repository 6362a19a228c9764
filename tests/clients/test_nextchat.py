"""The requests of NextChat from a browser: preflights, its reading of a stream, hidden calls, the balance. Written anew."""

from __future__ import annotations

import codecs
import json
import re
from urllib.parse import urlencode

import pytest

from clients.buyer import Buyer

pytestmark = pytest.mark.clients

ORIGIN = "https://nextchat.example"
SAFE = {"accept"}


class FailedToFetch(Exception):
    """All that a page learns of an answer that the browser keeps from it."""


class Browser:
    """Fetch, as far as the Fetch standard's rules for another origin go; every call of NextChat needs a preflight."""

    def __init__(self, me, endpoint=""):
        self.me = me
        self.root = endpoint  # of the path; NextChat puts its own paths behind it
        self.headers = {
            "Authorization": f"Bearer {me.key}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }

    def fetch(self, method, path, body=None):
        unsafe = sorted(name.lower() for name in self.headers if name.lower() not in SAFE)
        self._preflight(method, path, unsafe)
        answer = self.me.request(method, self.root + path, body, headers={**self.headers, "Origin": ORIGIN})
        if answer.headers.get("access-control-allow-origin") not in {"*", ORIGIN} or 300 <= answer.status < 400:
            raise FailedToFetch
        return answer

    def _preflight(self, method, path, unsafe):
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": method,
                 "Access-Control-Request-Headers": ",".join(unsafe)}  # fmt: skip
        nobody = type(self.me._customer)(self.me.shop, "", "", "")
        headers = {**asked, "Authorization": "", "Content-Type": ""}
        answer = nobody.request("OPTIONS", self.root + path, headers=headers)
        named = {name.strip().lower() for name in answer.headers.get("access-control-allow-headers", "").split(",")}
        methods = {name.strip() for name in answer.headers.get("access-control-allow-methods", "").split(",")}
        origin = answer.headers.get("access-control-allow-origin")
        covered = all(name in named or ("*" in named and name != "authorization") for name in unsafe)
        if not 200 <= answer.status < 300 or origin not in {"*", ORIGIN} or method not in methods or not covered:
            raise FailedToFetch

    def chat(self, text, **params):
        """What the message shows at last: the text, or the error as it is printed into the chat."""
        body = {
            "messages": [{"role": "user", "content": text}], "stream": True, "model": "gpt-4o-mini", "temperature": 0.5,
            "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1, **params,
        }  # fmt: skip
        answer = self.fetch("POST", "/v1/chat/completions", body)
        if answer.status == 200 and not body["stream"]:
            return answer.json["choices"][0]["message"]["content"]
        if not answer.headers.get("content-type", "").startswith("text/event-stream") or answer.status != 200:
            hint = "Unauthorized access\n\n" if answer.status == 401 else ""
            return f"{hint}```json\n{json.dumps(answer.json, indent=2)}\n```"
        return self._read(answer.body)

    def _read(self, body):
        text = thought = ""
        for event in events(body):
            if event == "[DONE]":
                break
            choices = json.loads(event).get("choices") or ()
            delta = choices[0]["delta"] if choices else {}
            thought += delta.get("reasoning_content") or ""
            text += delta.get("content") or ""
        return (f"> {thought}\n\n" if thought else "") + text

    def tool_calls(self, text, tools):
        """The calls of a plugin's tools: the first of each chunk alone, and whoever has an id begins a new one."""
        body = {"messages": [{"role": "user", "content": text}], "stream": True, "model": "gpt-4o-mini", "tools": tools}
        calls = []
        for event in events(self.fetch("POST", "/v1/chat/completions", body).body):
            if event == "[DONE]":
                break
            found = json.loads(event)["choices"][0]["delta"].get("tool_calls")
            if not found:
                continue
            part = found[0]
            if part.get("id"):
                calls.append({"id": part["id"], **part["function"]})
            else:
                calls[part["index"]]["arguments"] += part["function"]["arguments"]
        return calls

    def balance(self, dates):
        """The two lines that it shows: used this month, and the limit, in dollars."""
        query = "?" + urlencode({"start_date": "2026-11-01", "end_date": "2099-01-01"}) if dates else ""
        used = self.fetch("GET", f"/dashboard/billing/usage{query}")
        limit = self.fetch("GET", "/dashboard/billing/subscription")
        assert (used.status, limit.status) == (200, 200)
        return round(used.json["total_usage"]) / 100, round(limit.json["hard_limit_usd"] * 100) / 100


def events(body):
    """The data of each event: bytes to lines by CR, LF or CRLF; one space after the colon goes; no empty line, no event."""
    text = codecs.decode(body, "utf-8")
    data = []
    lines = re.split(r"\r\n|\r|\n", text)
    for line in lines:
        if not line:
            if data:
                yield "\n".join(data)
            data = []
            continue
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))


@pytest.fixture
def browser(me):
    return Browser(me)


@pytest.mark.parametrize("endpoint", ["", "/v1"])
def test_a_message(me, endpoint):
    assert Browser(me, endpoint).chat("Hello, 世界") == "[sandbox] You said: Hello, 世界"
    assert me.only["rule"] == "R02"
    assert (me.asked["temperature"], me.asked["presence_penalty"], me.asked["top_p"]) == (0.5, 0, 1)


def test_a_model_that_looks_like_vision(browser, me):
    picture = "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0V"
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": picture}}]
    shown = browser.chat("", max_tokens=4000, messages=[{"role": "user", "content": parts}])
    assert shown == "[sandbox] You sent 1 image and said: What?"
    assert me.only["limit_tokens"] == 4000


def test_a_model_that_looks_like_reasoning(browser, me):
    messages = [{"role": "developer", "content": "Formatting re-enabled"}, {"role": "user", "content": "Hello"}]
    shown = browser.chat("", messages=messages, max_completion_tokens=100, temperature=1)
    assert shown == "[sandbox] You said: Hello"
    assert me.asked["messages"][0]["role"] == "developer"
    assert me.only["limit_tokens"] == 100


def test_reasoning_is_shown_as_a_quotation(browser, me):
    name = me.shop.model("thinks", {"input": "1", "output": "2", "reasoning": "3"}, hidden_output=True)
    shown = browser.chat("sandbox: reasoning-text\nHello", model=name)
    assert shown.startswith("> sand box the cat")
    assert shown.endswith("\n\n[sandbox] You said: Hello")
    assert me.only["usage"]["reasoning"] == 8


def test_the_hidden_calls_for_title_and_summary(browser, me):
    assert browser.chat("Give a title", stream=False) == "[sandbox] You said: Give a title"
    assert browser.chat("Sum up", stream=True) == "[sandbox] You said: Sum up"
    assert [row["stream"] for row in me.calls] == [False, True]
    assert {row["model"] for row in me.calls} == {"gpt-4o-mini"}


@pytest.mark.parametrize("upstream", ["comments", "nospace", "crlf", "bom", "nodone", "chars"])
def test_whatever_form_the_upstream_streams_in(browser, me, upstream):
    assert browser.chat(f"sandbox: {upstream}\nHello") == "[sandbox] You said: Hello"
    assert me.only["charge_micro"] > 0


def test_plugins(browser, me):
    tools = [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ]
    (call,) = browser.tool_calls("Please call tool", tools)
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "sandbox"})
    assert me.only["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("dates", [True, False])
def test_the_balance(browser, me, dates):
    assert browser.balance(dates) == (0, 1)
    big = me.chat("gpt-4", "sandbox: tokens=2000\n")
    assert big.status == 200
    used, limit = browser.balance(dates)
    assert (used, limit) == (0.12, 1)
    assert me.balance[0] == pytest.approx((limit - used) * 1_000_000, abs=5_000)


def test_the_balance_of_an_empty_account(me):
    assert Browser(Buyer(me.shop.account("0"))).balance(dates=False) == (0, 0)


def test_errors_are_printed_into_the_chat(browser, me):
    broke = Browser(Buyer(me.shop.account("0")))
    assert "You exceeded your current quota, please check your plan" in broke.chat("Hello")
    assert "The model `gpt-99` does not exist" in browser.chat("Hello", model="gpt-99")
    assert "Nothing was charged" in browser.chat("sandbox: status=500\nHello")
    browser.headers["Authorization"] = "Bearer sk-wrong"
    assert re.match(r"Unauthorized access\n\n```json\n.*Incorrect API key provided", browser.chat("Hello"), re.DOTALL)


def test_a_stream_that_breaks_keeps_what_came(browser, me):
    shown = browser.chat("sandbox: cut=8+pace=10\nHello there")
    assert shown
    assert "[sandbox] You said: Hello there".startswith(shown)
    assert (me.only["rule"], me.only["charge_micro"]) == ("R14", 0)


def test_without_the_header_a_page_would_see_nothing(browser, me):
    """The browser of these tests keeps an answer back as a real one does."""
    browser.headers["X-Unheard-Of"] = "1"
    browser.chat("Hello")
    browser._preflight("POST", "/v1/chat/completions", ["authorization", "content-type"])
    with pytest.raises(FailedToFetch):
        browser._preflight("DELETE", "/v1/chat/completions", ["authorization"])
    assert len(me.calls) == 1
