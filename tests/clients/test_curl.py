"""`curl`, on every route that is sold or free."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.clients

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
CURL = shutil.which("curl")


class Said:
    """What curl printed: the last head, and the body."""

    def __init__(self, text: bytes):
        head, self.body = text.split(b"\r\n\r\n", 1)
        while head.startswith(b"HTTP/1.1 100"):
            head, self.body = self.body.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        lines = [line for line in self.body.decode().split("\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line[6:]) for line in lines[:-1]]


@pytest.fixture
def curl(me):
    """Run curl against the shop, with the key unless `key` is another or None."""
    assert CURL, "these tests need curl: apt-get install curl"

    def run(path, body=None, *options, key=me.key):
        command = [CURL, "--silent", "--show-error", "--no-buffer", "--include", "--max-time", "20", "--noproxy", "*"]
        if key is not None:
            command += ["--header", f"Authorization: Bearer {key}"]
        if body is not None:
            command += ["--header", "Content-Type: application/json", "--data-binary", "@-"]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        done = subprocess.run([*command, *options, me.shop.url + path], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return Said(done.stdout)

    return run


@pytest.mark.parametrize("prefix", ["/v1", "/v1/v1", ""])
def test_a_chat(curl, me, prefix):
    said = curl(f"{prefix}/chat/completions", CHAT)
    assert (said.status, said.headers["content-type"]) == (200, "application/json")
    assert said.json["choices"][0]["message"]["content"] == "[sandbox] You said: Hello"
    assert said.headers["x-request-id"] == me.only["id"]
    assert said.json["usage"]["total_tokens"] == sum(me.only["usage"].values())


@pytest.mark.parametrize("options", [(), ("--compressed",), ("--http1.0",)])
def test_a_streamed_chat(curl, me, options):
    said = curl("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}, *options)
    assert said.status == 200
    assert said.headers["content-type"].startswith("text/event-stream")
    assert said.headers["cache-control"].startswith("no-cache")
    assert "content-encoding" not in said.headers
    *chunks, last = said.events
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "[sandbox] You said: Hello"
    assert last["usage"]["total_tokens"] == sum(me.only["usage"].values())
    assert said.headers["x-request-id"] == me.only["id"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion(curl, me, stream):
    said = curl("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": ["Hello"], "stream": stream})
    parts = said.events if stream else [said.json]
    assert "".join(choice["text"] for part in parts for choice in part["choices"]) == "[sandbox] You said: Hello"
    assert me.only["endpoint"] == "completions"


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings(curl, me, form):
    body = {"model": "text-embedding-3-small", "input": "Hello", "dimensions": 8, "encoding_format": form}
    said = curl("/v1/embeddings", body)
    (row,) = said.json["data"]
    assert len(row["embedding"]) == {"float": 8, "base64": 44}[form]
    assert me.only["rule"] == "R27"


def test_what_is_free(curl, me):
    listed = curl("/v1/models").json["data"]
    assert curl("/v1/models/gpt-4").json in listed
    call = curl("/v1/chat/completions", CHAT).headers["x-request-id"]
    receipt = curl(f"/v1/calls/{call}").json
    assert curl("/v1/calls?limit=1").json["data"][0]["id"] == call
    balance = curl("/v1/balance").json
    assert (balance["currency"], balance["held_micro"]) == ("USD", 0)
    assert balance["balance_micro"] == 1_000_000 - receipt["charge_micro"]
    spent_usd = receipt["charge_micro"] / 1_000_000
    for prefix in ("", "/v1", "/v1/v1"):
        subscription = curl(f"{prefix}/dashboard/billing/subscription").json
        assert subscription["hard_limit_usd"] == pytest.approx(1)
        usage = curl(f"{prefix}/dashboard/billing/usage?start_date=2026-01-01&end_date=2099-12-31").json
        assert usage["total_usage"] == pytest.approx(spent_usd * 100)


def test_a_last_slash_is_no_redirect(curl, me):
    assert curl("/v1/chat/completions/", CHAT).status == 200
    assert curl("/v1/models/").status == 200
    assert len(me.calls) == 1


def test_a_large_body_is_sent_after_an_invitation(curl, me):
    picture = "data:image/png;base64," + "iVBORw0KGgoA" * 250_000
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": picture}}]
    said = curl(
        "/v1/chat/completions",
        {**CHAT, "messages": [{"role": "user", "content": parts}]},
        "--header",
        "Expect: 100-continue",
    )
    assert said.json["choices"][0]["message"]["content"] == "[sandbox] You sent 1 image and said: What?"
    assert me.only["rule"] == "R02"


REFUSALS = [
    ("/v1/chat/completions", CHAT, {"key": None}, 401, "invalid_api_key"),
    ("/v1/models", None, {"key": "sk-wrong"}, 401, "invalid_api_key"),
    ("/v1/chat/completions", {**CHAT, "model": "nope"}, {}, 404, "model_not_found"),
    ("/v1/chat/completions", b"{", {}, 400, None),
    ("/v1/chat/completions", b"", {}, 400, None),
    ("/v1/nothing", None, {}, 404, "unknown_url"),
    ("/v1/chat/completions", None, {}, 405, "method_not_allowed"),
    ("/v1/models", {}, {}, 405, "method_not_allowed"),
    ("/v1/calls/call_nothing", None, {}, 404, "call_not_found"),
]


@pytest.mark.parametrize(("path", "body", "given", "status", "code"), REFUSALS)
def test_every_refusal_is_in_the_form_of_the_api(curl, me, path, body, given, status, code):
    said = curl(path, body, **given)
    assert (said.status, said.headers["content-type"]) == (status, "application/json")
    error = said.json["error"]
    assert set(said.json) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert b"\n" not in said.body.strip()
    assert said.headers["access-control-allow-origin"] == "*"
    assert said.headers["x-request-id"].startswith("call_")
    assert me.calls == []


def test_a_form_is_no_json(curl, me):
    said = curl("/v1/chat/completions", None, "--data", json.dumps(CHAT))
    assert (said.status, said.json["error"]["code"]) == (415, "unsupported_media_type")
    assert me.calls == []


def test_an_upgrade_is_refused_with_its_reason(curl, me):
    said = curl("/v1/chat/completions", CHAT, "--http2")
    assert (said.status, said.json["error"]["type"]) == (426, "invalid_request_error")
    assert "Upgrade" in said.json["error"]["message"]
    assert me.calls == []
