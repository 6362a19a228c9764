"""The sandbox upstream over HTTP: the OpenAI SDK and raw sockets against a real port."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from farebox import sandbox as sandboxes
from farebox.sandbox import BEHAVIOURS, Sandbox
from farebox.sandbox import schema as schemas
from farebox.sandbox import text as texts
from farebox.sandbox.behaviours import UnknownBehaviour, parse
from kit import openai_later as openai

pytestmark = pytest.mark.slow  # a test of what other tests stand on


class LoopThread:
    """A loop in a thread of its own, so that tests may block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


@pytest.fixture(scope="module")
def box(loop_thread: LoopThread) -> Iterator[Sandbox]:
    made = loop_thread.do(sandboxes.start("127.0.0.1", 0))
    yield made
    loop_thread.do(made.stop())


@pytest.fixture
def sdk(box: Sandbox) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=box.base_url, api_key="sk-any", max_retries=0) as client:
        yield client


@dataclass
class Seen:
    """What came over the wire; `how` is end (proper end of the body), cut, reset or waiting."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    how: str = "cut"
    chunks: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        return [line for line in self.body.replace(b"\r\n", b"\n").split(b"\n") if line]

    @property
    def data(self) -> list[bytes]:
        return [line[5:].strip() for line in self.lines if line.startswith(b"data:")]

    @property
    def events(self) -> list[dict]:
        return [json.loads(each) for each in self.data if each != b"[DONE]"]

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or "" for event in self.events for choice in event.get("choices", ())
        )

    @property
    def usages(self) -> list[dict]:
        return [event["usage"] for event in self.events if event.get("usage")]


def message(path: str, body: dict | bytes | None, headers: dict[str, str] | None = None, method: str = "POST") -> bytes:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: sandbox", f"content-length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def receive(sock: socket.socket) -> Seen:
    """Read one answer, however it ends."""
    seen = Seen()
    buffer = b""
    try:
        while b"\r\n\r\n" not in buffer:
            more = sock.recv(65536)
            if not more:
                return seen
            buffer += more
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        seen.status = int(first.split()[1])
        seen.headers = dict(line.split(": ", 1) for line in rest)
        chunked = seen.headers.get("transfer-encoding") == "chunked"
        size = int(seen.headers.get("content-length", 0))
        while True:
            if chunked:
                while b"\r\n" in buffer:
                    length_line, _, after = buffer.partition(b"\r\n")
                    length = int(length_line, 16)
                    if len(after) < length + 2:
                        break
                    if length == 0:
                        seen.how = "end"
                        return seen
                    seen.chunks.append(after[:length])
                    seen.body += after[:length]
                    buffer = after[length + 2 :]
            else:
                seen.body += buffer
                buffer = b""
                if len(seen.body) >= size:
                    seen.how = "end"
                    return seen
            more = sock.recv(1 << 20)
            if not more:
                return seen
            buffer += more
    except ConnectionResetError:
        seen.how = "reset"
    except TimeoutError:
        seen.how = "waiting"
    return seen


def ask(
    box: Sandbox,
    body: dict | bytes | None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    wait_s: float = 10,
    **headers: str,
) -> Seen:
    with socket.create_connection(("127.0.0.1", box.port), timeout=wait_s) as sock:
        sock.sendall(message(path, body, {name.replace("_", "-"): value for name, value in headers.items()}, method))
        return receive(sock)


def chat(model: str = "echo", said: str = "Hello sandbox", **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": said}], **more}


def stream(model: str = "echo", said: str = "Hello sandbox", **more) -> dict:
    return chat(model, said, stream=True, stream_options={"include_usage": True}, **more)


SAID = "[sandbox] You said: Hello sandbox"
INPUT = texts.count("Hello sandbox")
OUTPUT = texts.count(SAID)
WHOLE = OUTPUT + 4  # role, pieces, finish, usage, [DONE]


def ended(box: Sandbox, loop_thread: LoopThread) -> str:
    loop_thread.do(box.idle())
    return box.requests[-1].ended


# --- the rule of counting


def test_counting_is_as_documented():
    assert texts.pieces("Hello world") == ["Hell", "o", " worl", "d"]
    assert texts.pieces("你好") == ["你", "好"]
    assert texts.pieces("") == []
    assert texts.pieces("a  \n") == ["a", "  \n"]


@pytest.mark.parametrize(
    "said", ["a", " ", "\n\n", "你好 world", "🎉🎉x\x00y", "a" * 1000, "  lead", "trail  ", "é\u2028ü"]
)
def test_tokens_join_to_the_text_and_are_never_more_than_its_bytes(said):
    pieces = texts.pieces(said)
    assert "".join(pieces) == said
    assert 1 <= len(pieces) <= len(said.encode())


def test_filler_counts_exactly():
    for n in (0, 1, 2, 13, 500):
        assert texts.count("".join(texts.filler(n))) == n
        assert len(texts.filler_bytes(n).encode()) == n


# --- plain answers


def test_chat_through_the_sdk(sdk, box):
    answer = sdk.chat.completions.create(**chat("any-name"))
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "any-name"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (INPUT, OUTPUT)
    assert answer.usage.total_tokens == INPUT + OUTPUT
    assert answer._request_id.startswith("req_sandbox")


def test_stream_through_the_sdk(sdk):
    chunks = list(sdk.chat.completions.create(**stream()))
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == OUTPUT


def test_the_wire_form_of_a_stream(box):
    seen = ask(box, chat(stream=True))
    assert (seen.status, seen.how) == (200, "end")
    assert seen.headers["content-type"] == "text/event-stream"
    assert seen.headers["x-farebox-sandbox"] == "1"
    assert seen.body.endswith(b"data: [DONE]\n\n")
    assert all(line.startswith(b"data: ") for line in seen.lines)
    assert seen.events[-1]["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert seen.usages == []
    assert b"usage" not in seen.body
    assert len(seen.chunks) == len(seen.data) == OUTPUT + 3


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts_exactly(sdk, limit):
    answer = sdk.chat.completions.create(**chat("echo", **{limit: 3}))
    assert answer.choices[0].message.content == "".join(texts.pieces(SAID)[:3])
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_an_echo_without_a_limit_ends(sdk):
    answer = sdk.chat.completions.create(**chat(said="word " * 6000))
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 4096)


def test_n_and_stop(sdk, box):
    answer = sdk.chat.completions.create(**chat(n=3, stop=["sandbox] You", "said"]))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"["}
    assert answer.usage.completion_tokens == 3
    streamed = ask(box, stream(n=2))
    order = [event["choices"][0]["index"] for event in streamed.events if event["choices"]]
    assert order == [0, 1] * (OUTPUT + 2)
    assert streamed.usages[0]["completion_tokens"] == 2 * OUTPUT


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"get_{what}",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"enum": ["C", "F"]},
                    "days": {"type": "integer", "minimum": 2},
                },
                "required": ["city", "unit", "days"],
            },
        },
    }
    for what in ("weather", "wind")
]
ARGUMENTS = {"city": "sandbox", "unit": "C", "days": 2}


def test_tools(sdk, box):
    def call(said="hello", **more):
        return sdk.chat.completions.create(**chat(said=said, tools=TOOLS, **more)).choices[0]

    assert call().message.tool_calls is None
    assert call("please call tool", tool_choice="none").message.tool_calls is None
    forced = call(tool_choice={"type": "function", "function": {"name": "get_wind"}})
    assert (forced.finish_reason, forced.message.content) == ("tool_calls", None)
    assert [each.function.name for each in forced.message.tool_calls] == ["get_wind"]
    assert json.loads(forced.message.tool_calls[0].function.arguments) == ARGUMENTS
    assert len(call(tool_choice="required").message.tool_calls) == 1
    assert len(call("call tools now").message.tool_calls) == 2
    assert len(call("call tools now", parallel_tool_calls=False).message.tool_calls) == 1

    after = [
        {"role": "user", "content": "call tool"},
        {"role": "assistant", "content": None, "tool_calls": [forced.message.tool_calls[0].model_dump()]},
        {"role": "tool", "tool_call_id": "x", "content": "12 degrees"},
    ]
    done = sdk.chat.completions.create(model="echo", messages=after, tools=TOOLS)
    assert done.choices[0].message.content == "[sandbox] The tool said: 12 degrees"


def test_tool_calls_in_a_stream_have_id_and_name_once(box):
    seen = ask(box, stream(said="call tools", tools=TOOLS))
    parts = [
        part for event in seen.events if event["choices"] for part in event["choices"][0]["delta"].get("tool_calls", ())
    ]
    for index in (0, 1):
        mine = [part for part in parts if part["index"] == index]
        assert [part["id"] for part in mine if "id" in part] == [f"call_sandbox{index}_0"]
        assert [part["function"].get("name") for part in mine if part["function"].get("name")] == [
            TOOLS[index]["function"]["name"]
        ]
        assert json.loads("".join(part["function"]["arguments"] for part in mine)) == ARGUMENTS
    assert seen.events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert seen.usages[0]["completion_tokens"] > 10


def test_response_formats(sdk):
    def content(form):
        return json.loads(sdk.chat.completions.create(**chat(response_format=form)).choices[0].message.content)

    assert content({"type": "json_object"}) == {"sandbox": "You said: Hello sandbox"}
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": TOOLS[0]["function"]["parameters"]},
    }
    assert content(form) == ARGUMENTS


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {
                "$defs": {"A": {"const": 7}},
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": ["a"],
            },
            {"a": 7},
        ),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": ["null", "string"]}, None),
        ({"anyOf": [{"type": "number", "exclusiveMinimum": 3}, {"type": "null"}]}, 4),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0.2, "maximum": 0.6}, 0.4),
        ({"type": "integer", "maximum": -3}, -4),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "minLength": 9}, "sandbox.."),
        ({"type": "string", "maxLength": 3}, "san"),
        (
            {"allOf": [{"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}]},
            {"b": None},
        ),
    ],
)
def test_smallest_values_of_schemas(schema, value):
    assert schemas.smallest(schema) == value


def test_a_schema_that_makes_no_sense_is_refused(sdk):
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "array", "minItems": "many"}},
    }
    with pytest.raises(openai.BadRequestError, match="Invalid schema"):
        sdk.chat.completions.create(**chat(response_format=form))


def test_a_schema_without_end_ends():
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    assert json.dumps(schemas.smallest(node)).endswith("null" + "}" * json.dumps(schemas.smallest(node)).count("{"))


def test_logprobs(sdk, box):
    choice = sdk.chat.completions.create(**chat(logprobs=True, top_logprobs=2)).choices[0]
    assert "".join(each.token for each in choice.logprobs.content) == SAID
    assert all(each.logprob < 0 and len(each.top_logprobs) == 2 for each in choice.logprobs.content)
    assert choice.logprobs.content[0].top_logprobs[0].token == choice.logprobs.content[0].token
    streamed = ask(box, chat(stream=True, logprobs=True))
    shown = [event["choices"][0]["logprobs"] for event in streamed.events]
    assert "".join(each["content"][0]["token"] for each in shown if each) == SAID


def test_pictures_count(sdk):
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}},
    ]
    answer = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "[sandbox] You sent 2 images and said: look"
    assert answer.usage.prompt_tokens == 2 * 85 + 1


# --- completions, embeddings, models


def test_completions(sdk):
    answer = sdk.completions.create(model="echo", prompt="Once upon")
    assert answer.choices[0].text == "".join(texts.pieces("[sandbox] You said: Once upon")[:16])
    assert answer.object == "text_completion"
    many = sdk.completions.create(
        model="echo", prompt=["a", "b"], n=2, best_of=3, max_tokens=2, suffix="end", logprobs=2
    )
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert {choice.finish_reason for choice in many.choices} == {"length"}
    assert (many.usage.prompt_tokens, many.usage.completion_tokens) == (3, 12)
    assert many.choices[0].logprobs.tokens == texts.pieces("[sandbox]")[:2]
    assert many.choices[0].logprobs.text_offset == [0, 4]
    echoed = sdk.completions.create(model="echo", prompt="Once", echo=True, max_tokens=0)
    assert (echoed.choices[0].text, echoed.usage.completion_tokens) == ("Once", 0)
    assert sdk.completions.create(model="echo", prompt=[1, 2, 3]).usage.prompt_tokens == 3
    lists = sdk.completions.create(model="echo", prompt=[[1, 2], [3]])
    assert (lists.usage.prompt_tokens, len(lists.choices)) == (3, 2)
    with pytest.raises(openai.BadRequestError, match="best_of"):
        sdk.completions.create(model="echo", prompt="a", best_of=2, stream=True)


def test_completions_stream(sdk):
    chunks = list(
        sdk.completions.create(
            model="echo",
            prompt=["a", "b"],
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    for index, said in enumerate("ab"):
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices and chunk.choices[0].index == index]
        assert "".join(choice.text for choice in mine) == f"[sandbox] You said: {said}"
        assert mine[-1].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == sum(texts.count(f"[sandbox] You said: {said}") for said in "ab")


def test_embeddings(sdk, box):
    made = sdk.embeddings.create(model="e", input=["Hello world", "你好", "Hello world"])
    vectors = [each.embedding for each in made.data]
    assert [len(vector) for vector in vectors] == [1536] * 3
    assert vectors[0] == vectors[2] != vectors[1]
    assert math.isclose(math.hypot(*vectors[0]), 1, rel_tol=1e-5)
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (10, 10)
    short = sdk.embeddings.create(model="e", input=[[1, 2], [3]], dimensions=8, encoding_format="float")
    assert (len(short.data[1].embedding), short.usage.prompt_tokens) == (8, 3)
    raw = ask(box, {"model": "e", "input": "Hello world", "encoding_format": "base64"}, path="/v1/embeddings").json
    packed = base64.b64decode(raw["data"][0]["embedding"])
    assert list(struct.unpack("<1536f", packed)) == pytest.approx(vectors[0])
    assert "completion_tokens" not in raw["usage"]
    for wrong in ("", [], [""], [[]], {"a": 1}):
        with pytest.raises(openai.BadRequestError):
            sdk.embeddings.create(model="e", input=wrong)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        sdk.embeddings.create(model="e", input="a", dimensions=0)
    with pytest.raises(openai.RateLimitError):
        sdk.embeddings.create(model="e", input="sandbox: status=429\nhello")
    assert sdk.embeddings.create(model="e+usage=7,0", input="a").usage.total_tokens == 7


def test_models(sdk):
    listed = sdk.models.list().data
    assert {"gpt-4", "gpt-4o-mini", "text-embedding-3-small"} <= {each.id for each in listed}
    assert {each.owned_by for each in listed} == {"farebox-sandbox"}
    assert sdk.models.retrieve("any/name").id == "any/name"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("x+status=404")


# --- requests that are refused


@pytest.mark.parametrize(
    ("body", "path", "method", "status", "words"),
    [
        (b"{", "/v1/chat/completions", "POST", 400, "parse the JSON"),
        (b"[1]", "/v1/chat/completions", "POST", 400, "parse the JSON"),
        ({"messages": []}, "/v1/chat/completions", "POST", 400, "model parameter"),
        ({"model": 3, "messages": []}, "/v1/chat/completions", "POST", 400, "model parameter"),
        ({"model": "m"}, "/v1/chat/completions", "POST", 400, "'messages'"),
        ({"model": "m", "messages": ["x"]}, "/v1/chat/completions", "POST", 400, "'messages'"),
        (chat(max_tokens=0), "/v1/chat/completions", "POST", 400, "max_tokens"),
        (chat(n="2"), "/v1/chat/completions", "POST", 400, "'n'"),
        (chat(stop=3), "/v1/chat/completions", "POST", 400, "stop"),
        (chat("m+nonsense"), "/v1/chat/completions", "POST", 400, "no behaviour 'nonsense'"),
        (chat("m+pace"), "/v1/chat/completions", "POST", 400, "does not take"),
        (
            chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "no"}}),
            "/v1/chat/completions",
            "POST",
            400,
            "tool_choice",
        ),
        ({"model": "m", "prompt": 3}, "/v1/completions", "POST", 400, "prompt"),
        (None, "/v1/chat/completions", "GET", 405, "Not allowed"),
        (None, "/v1/nowhere", "GET", 404, "Invalid URL"),
        (b"{}", "/v1/nowhere", "POST", 404, "Invalid URL"),
    ],
)
def test_refusals_are_in_openais_form(box, body, path, method, status, words):
    seen = ask(box, body, path=path, method=method)
    assert seen.status == status
    assert set(seen.json["error"]) == {"message", "type", "param", "code"}
    assert words in seen.json["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        "cut=x",
        "slow=-1",
        "usage=1",
        "usage=1,x",
        "status=42",
        "silent=1",
        "substitute",
        "cut=",
        "=3",
        "pace=1.2.3",
        "cut=999999999999",
    ],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(UnknownBehaviour):
        parse(wrong)


def test_what_is_not_http_is_refused(box):
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert receive(sock).status == 400


def test_the_key(loop_thread):
    locked = loop_thread.do(sandboxes.start("127.0.0.1", 0, key="sk-right"))
    try:
        for headers in (
            {"authorization": "Bearer sk-right"},
            {"api-key": "sk-right"},
            {"x-api-key": "sk-right"},
        ):
            assert ask(locked, chat(), **headers).status == 200
        for headers in ({}, {"authorization": "Bearer sk-wrong"}):
            seen = ask(locked, chat(), **headers)
            assert (seen.status, seen.json["error"]["code"]) == (401, "invalid_api_key")
            assert "Incorrect API key provided" in seen.json["error"]["message"]
    finally:
        loop_thread.do(locked.stop())


# --- the connection


def test_keep_alive_and_waiting_requests(box):
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as sock:
        for body in (chat(), chat(stream=True), chat("echo+status=500"), chat()):
            sock.sendall(message("/v1/chat/completions", body))
            assert receive(sock).how == "end"
        sock.sendall(
            message("/v1/models/a", None, method="GET") + message("/v1/models/b", None, {"connection": "close"}, "GET")
        )
        both = b""
        while more := sock.recv(65536):
            both += more
        assert both.count(b"HTTP/1.1 200 OK") == 2
        assert both.index(b'"id":"a"') < both.index(b'"id":"b"')


def test_http_1_0_streams_until_the_connection_ends(box):
    raw = json.dumps(chat(stream=True)).encode()
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw)
        got = b""
        while more := sock.recv(65536):
            got += more
    assert b"transfer-encoding" not in got
    assert got.endswith(b"data: [DONE]\n\n")


def test_expect_continue(box):
    raw = json.dumps(chat()).encode()
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(raw)
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(raw)
        assert receive(sock).status == 200


@pytest.mark.parametrize(
    ("model", "events"),
    [
        ("echo+pace=20+tokens=500", range(1, 30)),
        ("echo+silent", [0]),
        ("echo+slow=30", [0]),
        ("echo+stall=3", [3]),
    ],
)
def test_a_client_that_leaves_is_noticed(box, loop_thread, model, events):
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as sock:
        sock.sendall(message("/v1/chat/completions", stream(model)))
        time.sleep(0.1)
        assert box.requests[-1].ended == "open"
    assert ended(box, loop_thread) == "client-left"
    assert box.requests[-1].events in events


def test_a_client_that_does_not_read_holds_the_answer_back(box, loop_thread):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", box.port))
        sock.sendall(message("/v1/chat/completions", stream("echo+tokens=200000")))
        time.sleep(0.7)
        record = box.requests[-1]
        first = record.events
        time.sleep(0.2)
        assert record.events == first < 100_000
    assert ended(box, loop_thread) == "client-left"


def test_hundreds_of_streams_at_once(loop_thread):
    async def all_of_them() -> list[bytes]:
        busy = await sandboxes.start("127.0.0.1", 0, pace_ms=50)

        async def one() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", busy.port)
            writer.write(message("/v1/chat/completions", stream("echo+tokens=4"), {"connection": "close"}))
            got = await reader.read()
            writer.close()
            await writer.wait_closed()
            return got

        try:
            return await asyncio.gather(*(one() for _ in range(300)))
        finally:
            await busy.stop()

    assert all(got.endswith(b"0\r\n\r\n") and b"[DONE]" in got for got in loop_thread.do(all_of_them()))


# --- misbehaviour, each at least once

Check = Callable[[Seen], None]
CASES: list[tuple[str, dict, Check]] = []


def case(listed: str, **more) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        CASES.append((listed, more, check))
        return check

    return keep


def that(listed: str, holds: Callable[[Seen], object], **more) -> None:
    def check(seen: Seen) -> None:
        assert holds(seen)

    CASES.append((listed, more, check))


that("refuse", lambda s: (s.status, s.how) == (None, "cut"))
that("silent", lambda s: (s.status, s.how) == (None, "waiting"), wait_s=0.3)
that("slow=0.3", lambda s: s.text == SAID)
that("stall=3", lambda s: (len(s.data), s.how) == (3, "waiting"), wait_s=0.3)
that("cut=0", lambda s: (s.status, s.body, s.how) == (200, b"", "cut"))
that("cut=5", lambda s: (len(s.data), s.how) == (5, "cut"))
that(f"cut={WHOLE}", lambda s: (len(s.data), s.data[-1], s.how) == (WHOLE, b"[DONE]", "cut"))
that(f"cut={WHOLE + 1}", lambda s: s.how == "end")
that("cut=20", lambda s: (len(s.body), s.how) == (20, "cut"), stream=False)
that("reset=4", lambda s: (len(s.data), s.how) == (4, "reset"))
that("reset=4", lambda s: (len(s.body), s.how) == (4, "reset"), stream=False)
that("pace=2", lambda s: s.text == SAID)
that("split=3", lambda s: {len(c) for c in s.chunks[:50]} <= {1, 2, 3} and s.text == SAID)
that("split=5", lambda s: s.json["object"] == "chat.completion", stream=False)
for code, name in (
    (400, None),
    (401, "invalid_api_key"),
    (402, None),
    (403, None),
    (404, None),
    (413, None),
    (422, None),
    (429, "rate_limit_exceeded"),
    (500, None),
    (503, None),
    (529, None),
):
    that(
        f"status={code}",
        lambda s, code=code, name=name: (
            s.status == code and s.json["error"]["message"] and name in (None, s.json["error"]["code"])
        ),
    )
that("status=429+retry-after=7", lambda s: s.headers["retry-after"] == "7")
that(
    "quota",
    lambda s: (
        s.status == 429
        and s.json["error"]["code"] == "insufficient_quota"
        and "exceeded your current quota" in s.json["error"]["message"]
    ),
)
that(
    "context",
    lambda s: (
        s.status == 400
        and s.json["error"]["code"] == "context_length_exceeded"
        and "reduce the length" in s.json["error"]["message"]
    ),
)
that("redirect", lambda s: s.status == 307 and s.headers["location"].startswith("/"))
that("html", lambda s: s.status == 200 and s.body.startswith(b"<!doctype html>"))
that("empty-body", lambda s: (s.status, s.body, s.how) == (200, b"", "end"))
that("error-200", lambda s: s.status == 200 and "error" in s.json)
that(
    "error-event=2",
    lambda s: (len(s.data), s.how) == (3, "end") and s.events[-1]["error"]["type"] == "server_error",
)
that("policy-event=2", lambda s: s.events[-1]["error"]["code"] == "content_filter" and b"[DONE]" not in s.body)
that("error-event", lambda s: s.status == 200 and s.json["error"]["type"] == "server_error", stream=False)


def broken(seen: Seen, at: int) -> bytes:
    assert (seen.data[-1], seen.how) == (b"[DONE]", "end")
    bad = seen.data[at]
    assert len(seen.data) == WHOLE + 1
    return bad


@case("garbage=2")
def _garbage(seen: Seen) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken(seen, 2))


@case("bad-utf8=0")
def _bad_utf8(seen: Seen) -> None:
    with pytest.raises(UnicodeDecodeError):
        broken(seen, 0).decode()


@case("garbage", stream=False)
def _garbage_body(seen: Seen) -> None:
    with pytest.raises(json.JSONDecodeError):
        assert seen.json


that("huge-line=1", lambda s: len(broken(s, 1)) > 10 * 1024 * 1024)
that("deep=1", lambda s: broken(s, 1).count(b"[") == 10_000)
that("nan=1", lambda s: math.isnan(json.loads(broken(s, 1))["choices"][0]["logprobs"]))
that("empty-choices=0", lambda s: json.loads(broken(s, 0))["choices"] == [])
that(
    "noterminal",
    lambda s: s.text == SAID and s.how == "end" and b"[DONE]" not in s.body and b'finish_reason":"' not in s.body,
)
that("nodone", lambda s: b"[DONE]" not in s.body and s.how == "end" and s.usages)
that("no-usage", lambda s: b'"usage"' not in s.body and s.data[-1] == b"[DONE]")
that("no-usage", lambda s: "usage" not in s.json, stream=False)
that("usage-null", lambda s: all(event["usage"] is None for event in s.events))
that("usage-null", lambda s: s.json["usage"] is None, stream=False)
that("usage-zero", lambda s: s.usages == [{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}])
that("usage-twice", lambda s: [u["completion_tokens"] for u in s.usages] == [OUTPUT // 2, OUTPUT])
that(
    "usage-cumulative",
    lambda s: [u["completion_tokens"] for u in s.usages] == [0, *range(1, OUTPUT + 1), OUTPUT, OUTPUT],
)
that("usage-early", lambda s: s.events[0]["usage"]["completion_tokens"] == 0 and len(s.usages) == 1)
that(
    "usage-late",
    lambda s: s.data[-2] == b"[DONE]" and json.loads(s.data[-1])["usage"]["completion_tokens"] == OUTPUT,
)
that("usage-openai", lambda s: all("usage" in e for e in s.events) and len(s.usages) == 1)
that("usage-negative", lambda s: s.usages[0]["completion_tokens"] < 0)
that("usage-float", lambda s: s.usages[0]["completion_tokens"] == OUTPUT + 0.5)
that("usage-string", lambda s: s.usages[0]["completion_tokens"] == str(OUTPUT))
that("usage-huge", lambda s: s.usages[0]["completion_tokens"] == 2**63)
that("usage-mismatch", lambda s: s.usages[0]["total_tokens"] != INPUT + OUTPUT)
that(
    "usage=1000,500",
    lambda s: s.usages == [{"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}],
)
that("cached=3", lambda s: s.usages[0]["prompt_tokens_details"]["cached_tokens"] == 3)
that(
    "reasoning=5",
    lambda s: (
        s.usages[0]["completion_tokens"] == OUTPUT + 5
        and s.usages[0]["completion_tokens_details"]["reasoning_tokens"] == 5
        and s.text == SAID
    ),
)
that(
    "reasoning=5+reasoning-text",
    lambda s: sum("reasoning_content" in e["choices"][0]["delta"] for e in s.events if e["choices"]) == 5,
)
that(
    "reasoning-text",
    lambda s: texts.count(s.json["choices"][0]["message"]["reasoning_content"]) == 8,
    stream=False,
)
that("reasoning=5", lambda s: s.usages[0]["completion_tokens"] == 7 and texts.count(s.text) == 2, max_tokens=7)
that("reasoning=5", lambda s: s.usages[0]["completion_tokens"] == 3 and s.text == "", max_tokens=3)
that(
    "only-reasoning",
    lambda s: (
        s.text == ""
        and s.usages[0]["completion_tokens_details"]["reasoning_tokens"] == 9
        and s.events[-2]["choices"][0]["finish_reason"] == "length"
    ),
    max_tokens=9,
)
that("tokens=50", lambda s: texts.count(s.text) == s.usages[0]["completion_tokens"] == 50)
that(
    "tokens=50",
    lambda s: texts.count(s.text) == 20 and s.events[-2]["choices"][0]["finish_reason"] == "length",
    max_tokens=20,
)
that("bytes=77", lambda s: len(s.text) == 77)
that(
    "full",
    lambda s: s.usages[0]["completion_tokens"] == 16 and s.events[-2]["choices"][0]["finish_reason"] == "length",
)
that("full", lambda s: s.usages[0]["completion_tokens"] == 33, max_tokens=33)
that("over=9", lambda s: texts.count(s.text) == s.usages[0]["completion_tokens"] == 19, max_tokens=10)
that(
    "empty",
    lambda s: (
        s.text == "" and s.usages[0]["completion_tokens"] == 0 and s.events[-2]["choices"][0]["finish_reason"] == "stop"
    ),
)
that(
    "refusal",
    lambda s: (
        "cannot help" in "".join(e["choices"][0]["delta"].get("refusal", "") for e in s.events if e["choices"])
        and s.text == ""
    ),
)
that("refusal", lambda s: "cannot help" in s.json["choices"][0]["message"]["refusal"], stream=False)
that("content-filter", lambda s: s.events[-2]["choices"][0]["finish_reason"] == "content_filter")
that(
    "gzip",
    lambda s: s.headers["content-encoding"] == "gzip" and gzip.decompress(s.body).endswith(b"data: [DONE]\n\n"),
)
that("gzip", lambda s: json.loads(gzip.decompress(s.body))["object"] == "chat.completion", stream=False)
that("crlf", lambda s: s.body.count(b"\r\n") == s.body.count(b"\n") > 4 and s.text == SAID)
that("nospace", lambda s: all(line.startswith((b"data:{", b"data:[")) for line in s.lines) and s.text == SAID)
that("comments", lambda s: b": ping\n\nevent: message\ndata: {" in s.body and s.text == SAID)
that("bom", lambda s: s.body.startswith(b"\xef\xbb\xbfdata: "))
that("bom", lambda s: s.body.startswith(b"\xef\xbb\xbf{"), stream=False)
that("big-model", lambda s: all(e["model"].endswith(".gguf") for e in s.events))
that("substitute=gpt-2", lambda s: {e["model"] for e in s.events} == {"gpt-2"})
that("no-role", lambda s: b'"role"' not in s.body and s.text == SAID)
that("no-created", lambda s: not any("id" in e or "created" in e for e in s.events))
that("gaps", lambda s: {c["index"] for e in s.events for c in e["choices"]} == {1, 3}, n=2)
that("chars", lambda s: len(s.events) == len(SAID) + 3 and s.usages[0]["completion_tokens"] == OUTPUT)


@pytest.mark.parametrize(("listed", "more", "check"), CASES, ids=[f"{at}-{each[0]}" for at, each in enumerate(CASES)])
def test_behaviours(box, listed, more, check):
    more = dict(more)
    wait_s = more.pop("wait_s", 10)
    body = chat(f"echo+{listed}", **more) if more.get("stream") is False else stream(f"echo+{listed}", **more)
    check(ask(box, body, wait_s=wait_s))
    record = box.requests[-1]
    assert record.model == f"echo+{listed}"
    assert [part.partition("=")[0] for part in listed.split("+")] == list(record.behaviours)


def test_every_behaviour_is_in_the_table_above():
    tried = {part.partition("=")[0] for listed, _, _ in CASES for part in listed.split("+")} | {"fail-first"}
    assert tried == set(BEHAVIOURS)
    assert all(sentence.startswith(name) and sentence.endswith(".") for name, sentence in BEHAVIOURS.items())


@pytest.mark.parametrize(
    ("model", "code"), [("a+fail-first=2", 500), ("b+fail-first=2", 500), ("a+fail-first=2+status=503", 503)]
)
def test_fail_first_counts_by_model_and_behaviours(box, model, code):
    assert [ask(box, chat(model)).status for _ in range(4)] == [code, code, 200, 200]


def test_slow_and_pace_take_their_time(box):
    begun = time.monotonic()
    ask(box, stream("echo+slow=0.2"))
    assert time.monotonic() - begun >= 0.2
    begun = time.monotonic()
    ask(box, stream("echo+pace=20+tokens=10"))
    assert time.monotonic() - begun >= 0.2


def test_three_places_ask_for_behaviours(box, sdk):
    seen = ask(box, stream("gpt-4", "sandbox: usage=3,4\nHello sandbox"), x_sandbox="no-usage+tokens=5")
    assert seen.usages == []
    assert texts.count(seen.text) == 5
    assert ask(box, chat("echo+status=500", "sandbox: status=503"), x_sandbox="status=400").status == 503
    assert (
        sdk.chat.completions.create(**chat("gpt-4", "sandbox: usage=3,4\nHello sandbox")).choices[0].message.content
        == SAID
    )
    parts = [{"type": "text", "text": "sandbox: usage=3,4\nhi"}]
    told = sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": parts}, {"role": "assistant", "content": "x"}]
    )
    assert told.usage.total_tokens == 7
    assert sdk.completions.create(model="m", prompt=["sandbox: usage=3,4\nx", "y"]).usage.total_tokens == 7


def test_bent_completions(box):
    def done(listed, **more):
        return ask(
            box,
            {
                "model": f"m+{listed}",
                "prompt": "x",
                "stream": True,
                "stream_options": {"include_usage": True},
                **more,
            },
            path="/v1/completions",
        )

    assert done("huge-line=1").events[1]["choices"][0]["text"].startswith("xxx")
    assert done("cut=2").how == "cut"
    assert done("usage=5,6").usages[0]["total_tokens"] == 11
    assert done("full").events[-2]["choices"][0]["finish_reason"] == "length"


def test_the_sdk_raises_what_it_should(sdk):
    with pytest.raises(openai.AuthenticationError):
        sdk.chat.completions.create(**chat("m+status=401"))
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(**chat("m+quota"))
    assert caught.value.code == "insufficient_quota"
    with pytest.raises(openai.APIConnectionError):
        sdk.chat.completions.create(**chat("m+refuse"))
    with pytest.raises(openai.APIError, match="had an error"):
        list(sdk.chat.completions.create(**stream("m+error-event=3")))


# --- journal and command


def test_the_journal(loop_thread, tmp_path: Path):
    path = tmp_path / "journal"
    told = loop_thread.do(sandboxes.start("127.0.0.1", 0, journal=path))
    try:
        ask(told, stream("echo+usage=3,4"), authorization="Bearer sk-secret", x_trace="abc")
        ask(told, chat("echo+cut=5"))
        ask(told, chat("echo+status=500"))
        ask(told, chat("echo+refuse"))
        with socket.create_connection(("127.0.0.1", told.port), timeout=5) as left:
            left.sendall(message("/v1/chat/completions", stream("echo+stall=2")))
            time.sleep(0.1)
        loop_thread.do(told.idle())
        with socket.create_connection(("127.0.0.1", told.port), timeout=5) as open_one:
            open_one.sendall(message("/v1/chat/completions", chat("echo+silent")))
            time.sleep(0.1)
            loop_thread.do(told.stop())
    finally:
        loop_thread.do(told.stop())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["ended"] for line in lines] == [
        "complete",
        "cut",
        "complete",
        "refused",
        "client-left",
        "stopped",
    ]
    assert [line["status"] for line in lines] == [200, 200, 500, None, 200, None]
    first = lines[0]
    assert first["body"] == stream("echo+usage=3,4")
    assert (first["path"], first["method"], first["stream"], first["model"]) == (
        "/v1/chat/completions",
        "POST",
        True,
        "echo+usage=3,4",
    )
    assert first["behaviours"] == {"usage": "3,4"}
    assert (first["usage"]["total_tokens"], first["events"]) == (7, WHOLE)
    assert first["headers"]["x-trace"] == "abc"
    assert abs(first["time"] - time.time()) < 60
    assert "sk-secret" not in path.read_text()
    assert lines[4]["events"] == 2
    assert [record.ended for record in told.requests] == [line["ended"] for line in lines]


def test_the_deque_is_bounded(loop_thread):
    small = loop_thread.do(sandboxes.start("127.0.0.1", 0, keep=2))
    try:
        for said in "abc":
            ask(small, chat(said=said))
        assert [record.body["messages"][0]["content"] for record in small.requests] == ["b", "c"]
        ask(small, chat(said="x" * 1_100_000))
        assert small.requests[-1].body["body_bytes"] > 1_100_000
    finally:
        loop_thread.do(small.stop())


def test_a_port_that_is_taken(loop_thread, box):
    with pytest.raises(OSError, match="address already in use"):
        loop_thread.do(sandboxes.start("127.0.0.1", box.port))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_until_a_signal(number, tmp_path: Path):
    journal = tmp_path / "journal"
    program = (
        "import sys, pathlib; from farebox import sandbox; "
        "sandbox.run('127.0.0.1', 0, key='k', journal=pathlib.Path(sys.argv[1]), pace_ms=1)"
    )
    source = Path(sandboxes.__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(journal)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            base_url = process.stdout.readline().split()[-1]
            with openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
                chunks = list(client.chat.completions.create(**stream("m+tokens=5")))
                assert chunks[-1].usage.completion_tokens == 5
                for listed, kind in (("reset=2", openai.APIError), ("cut=2", openai.APIError)):
                    with pytest.raises(kind):
                        list(client.chat.completions.create(**stream(f"m+{listed}")))
        finally:
            process.send_signal(number)
        assert process.wait(10) == 0
    assert [json.loads(line)["ended"] for line in journal.read_text().splitlines()] == [
        "complete",
        "reset",
        "cut",
    ]
