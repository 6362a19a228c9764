"""The HTTP contract that clients rely on (clients 1 to 5), for the routes that exist."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit import raw
from kit.rows import for_each

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMBED = "/v1/embeddings"
INSTRUCT = "gpt-3.5-turbo-instruct"
SMALL = "text-embedding-3-small"
QUIRKS = [
    "", "crlf", "nospace", "comments", "bom", "split=1", "split=3+crlf+comments+bom", "no-created", "big-model", "substitute=other/model\"x", "no-role",
    "usage-cumulative", "usage-null", "usage-twice", "usage-openai", "usage-late", "no-usage", "usage-early", "empty-choices=0", "empty-choices=2",
    "noterminal", "nodone", "gaps", "chars", "reasoning-text", "refusal",
]  # fmt: skip


@pytest.fixture(scope="module")
def me(shop):
    shop.model("seer", {"input": "1", "output": "2"}, modalities=["text", "image"], image_formula="openai_tile")
    shop.model("thinker", {"input": "1", "output": "2", "reasoning": "2"})
    return shop.account("50")


def model_for(quirk: str) -> str:
    """gpt-4, but for what would take it off the shelf: a usage class that has no price there."""
    return "thinker" if "reasoning" in quirk else "gpt-4"


def said(behaviours: str, text: str = "Say it") -> str:
    return f"sandbox: {behaviours}\n{text}" if behaviours else text


def check_lines(answer) -> list:
    """Every line is `data: ` + one JSON object, or empty; each event ends with its empty line; `[DONE]` is last."""
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in answer.headers["cache-control"] and answer.headers["x-accel-buffering"] == "no"
    text = answer.body.decode()
    assert "\r" not in text and text.endswith("data: [DONE]\n\n") and text.count("[DONE]") == 1
    events = []
    for line in text.split("\n"):
        assert line == "" or (line.startswith("data: ") and line[6] != " "), line
        if line.startswith("data: {"):
            events.append(json.loads(line[6:]))
    assert text.count("data: ") == text.count("\n\n")
    return events


# Streams


@pytest.mark.fault("F19")
@pytest.mark.fault("F23")
@for_each("quirk", QUIRKS)
@for_each("wanted", [False, True])
def test_a_chat_stream_has_one_form_whatever_the_upstream_sends(shop, me, quirk, wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    answer = me.chat(model_for(quirk), said(quirk), stream=True, **options)
    events = check_lines(answer)
    assert {(event["model"], event["object"]) for event in events} == {(model_for(quirk), "chat.completion.chunk")}
    assert len({(event["id"], event["created"]) for event in events}) == 1
    assert isinstance(events[0]["created"], int) and events[0]["created"] > 1_700_000_000
    assert isinstance(events[0]["id"], str) and events[0]["id"]
    usages = [event for event in events if event.get("usage")]
    if wanted:
        assert usages == [events[-1]] and events[-1]["choices"] == []
        used = events[-1]["usage"]
        assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"] > 0
    else:
        assert not usages and all(event["choices"] for event in events)
    told = [event for event in events if event["choices"]]
    assert b"content" in json.dumps(told[0]).encode()  # else a first line may be thrown away
    for event in told:
        for choice in event["choices"]:
            assert isinstance(choice["index"], int) and isinstance(choice["delta"], dict) and "finish_reason" in choice
    if quirk not in {"refusal", "reasoning-text"}:
        assert "Say it" in answer.text
    assert me.receipt(answer)["charge_micro"] > 0


@for_each("quirk", [quirk for quirk in QUIRKS if quirk not in {"no-role", "refusal", "reasoning-text"}])
def test_a_completion_stream_has_one_form(shop, me, quirk):
    body = {
        "model": INSTRUCT,
        "prompt": said(quirk),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
    }
    events = check_lines(me.request("POST", TEXT, body))
    assert {(event["model"], event["object"]) for event in events} == {(INSTRUCT, "text_completion")}
    assert len({(event["id"], event["created"]) for event in events}) == 1
    assert [event["usage"]["total_tokens"] > 0 for event in events if event.get("usage")] == [True]
    assert "Say it" in "".join(choice["text"] for event in events for choice in event["choices"])


@for_each("quirk", ["", "no-created", "big-model", "substitute=x", "no-role", "bom", "split=1", "gaps", "usage-null", "no-usage", "reasoning-text"])  # fmt: skip
def test_a_whole_answer_has_one_form(shop, me, quirk):
    answer = me.chat(model_for(quirk), said(quirk))
    whole = answer.json
    assert answer.headers["content-type"] == "application/json" and int(answer.headers["content-length"]) == len(
        answer.body
    )
    assert (whole["object"], whole["model"]) == ("chat.completion", model_for(quirk))
    assert isinstance(whole["id"], str) and whole["id"] and isinstance(whole["created"], int) and whole["created"] > 0
    choice = whole["choices"][0]
    assert (
        choice["message"]["role"] == "assistant"
        and "Say it" in choice["message"]["content"]
        and choice["finish_reason"] == "stop"
    )
    used = whole["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"] > 0


def test_an_alias_is_answered_under_the_name_that_was_asked(shop, me):
    from farebox.catalog import definitions

    shop.write(definitions.alias, "my-gpt", "gpt-4", actor="test")
    shop.refresh()
    assert me.chat("my-gpt").json["model"] == "my-gpt"
    assert {event["model"] for event in check_lines(me.chat("my-gpt", stream=True))} == {"my-gpt"}
    assert shop.sandbox.requests[-1].body["model"] == "gpt-4"
    assert me.get("/v1/models/my-gpt").json["id"] == "my-gpt"


def stream_bytes(shop, me, text, *headers, model="gpt-4", stream=True, version="1.1", until=b"", quiet_s=8.0):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    data = raw.post(CHAT, body, *headers, key=me.key).replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1)
    return raw.talk(shop, data, until=until, quiet_s=quiet_s)


@contextlib.contextmanager
def hasty(shop):
    """Silence is filled after a second already."""
    options = shop.options
    before = options.keepalive_stream_s, options.keepalive_every_s, options.keepalive_json_s
    options.keepalive_stream_s = options.keepalive_every_s = options.keepalive_json_s = 1
    try:
        yield
    finally:
        options.keepalive_stream_s, options.keepalive_every_s, options.keepalive_json_s = before


def at_once(shop, me, *asked):
    """Several requests on connections of their own at one time: (text, stream, header lines)."""
    with ThreadPoolExecutor(len(asked)) as pool:
        waits = [
            pool.submit(stream_bytes, shop, me, text, "Connection: close", *lines, stream=stream)
            for text, stream, *lines in asked
        ]
        return [wait.result() for wait in waits]


def after_silence(body: bytes) -> bytes:
    """What comes after the empty lines, of which there are some."""
    assert body.startswith(b"\n")
    return body.lstrip(b"\n")


@pytest.mark.fault("F16")
@pytest.mark.slow
def test_silence_is_filled_with_empty_lines(shop, me):
    with hasty(shop):
        late, failed, paced = at_once(
            shop, me, (said("slow=2.2"), True), (said("slow=2.1+status=500"), True), (said("pace=1700+tokens=1"), True)
        )
    assert (
        late.status == 200
        and after_silence(late.body).startswith(b"data: {")
        and late.body.endswith(b"data: [DONE]\n\n")
    )
    assert failed.status == 200  # the status had gone out: the error is in the stream, which ends properly
    assert failed.headers["content-type"].startswith("text/event-stream")
    error = after_silence(failed.body)
    assert json.loads(error.strip().removeprefix(b"data: "))["error"]["code"] == "upstream_error" and error.endswith(
        b"}}\n\n"
    )
    assert all(line == b"" or line.startswith(b"data: ") for line in paced.body.split(b"\n"))
    assert paced.body.count(b"\n\n\n") >= 2 and paced.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.fault("F16")
@pytest.mark.slow
def test_empty_lines_come_before_json_but_not_for_the_sdk(shop, me):
    slow = said("slow=2.1+status=500")
    with hasty(shop):
        plain, failed, *sdk = at_once(
            shop, me, (said("slow=2.2"), False), (slow, False),
            (slow, False, "User-Agent: OpenAI/Python 3.0"), (slow, False, "User-Agent: AsyncOpenAI/Python 1.9"),
        )  # fmt: skip
    assert plain.status == 200 and plain.headers["content-type"] == "application/json"
    assert json.loads(after_silence(plain.body))["choices"][0]["message"]["content"]
    assert failed.status == 200 and json.loads(after_silence(failed.body))["error"]["code"] == "upstream_error"
    assert {answer.status for answer in sdk} == {502} and all(answer.body.startswith(b"{") for answer in sdk)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_the_first_byte_keep_their_status(shop, me, stream):
    for text, status, code in (
        ("status=500", 502, "upstream_error"), ("status=503", 503, "upstream_error"), ("status=429", 503, "upstream_error"), ("quota", 502, "upstream_error"),
        ("status=401", 502, "upstream_error"), ("html", 502, "upstream_error"), ("empty-body", 502, "upstream_error"), ("error-200", 502, "upstream_error"),
        ("status=400", 400, None), ("context", 400, "context_length_exceeded"), ("status=422", 400, None), ("redirect", 502, "upstream_error"),
    ):  # fmt: skip
        shop.reset_health()
        answer = me.chat("gpt-4", said(text), stream=stream)
        error = answer.json["error"]
        assert (answer.status, set(error)) == (status, {"message", "type", "param", "code"}), (text, answer.body)
        assert code is None or error["code"] == code
        assert (
            answer.headers["content-type"] == "application/json"
            and answer.headers["access-control-allow-origin"] == "*"
        )
    shop.reset_health()
    poor = shop.account("0")
    answer = poor.chat("gpt-4", stream=stream)
    assert (answer.status, answer.json["error"]["code"], answer.headers["x-should-retry"]) == (
        429,
        "insufficient_quota",
        "false",
    )
    assert (
        "You exceeded your current quota, please check your plan and billing details."
        in answer.json["error"]["message"]
    )


@pytest.mark.rule("R14")
@pytest.mark.fault("F20")
@pytest.mark.parametrize("fault", ["cut=3", "error-event=3", "garbage=3", "bad-utf8=3", "reset=3"])
def test_a_stream_that_fails_in_the_middle_ends_properly(shop, me, fault):
    answer = me.chat("gpt-4", said(fault, "one two three four"), stream=True)
    shop.reset_health()
    assert answer.status == 200 and answer.body.endswith(b"}\n\n")  # read to the proper end of the chunked body
    events = answer.events
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"} and "choices" in events[0]
    assert me.receipt(answer)["charge_micro"] == 0


def test_an_http_1_0_client_reads_until_the_end(shop, me):
    answer = stream_bytes(shop, me, "Hi", version="1.0")
    assert answer.closed and "transfer-encoding" not in answer.headers and answer.headers["connection"] == "close"
    assert answer.rest.endswith(b"data: [DONE]\n\n")
    whole = stream_bytes(shop, me, "Hi", "Connection: keep-alive", version="1.0", stream=False)
    assert whole.closed and whole.json["object"] == "chat.completion"


def test_who_waits_for_it_is_asked_for_the_body(shop, me):
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    data = raw.post(CHAT, body, "Expect: 100-continue", "Connection: close", key=me.key)
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(data[: -len(body)])
        assert raw.listen(line, until=b"\r\n\r\n").data == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert raw.listen(line).status == 200
    # Whoever is refused by his head is not asked, and the connection ends: nobody knows what follows.
    refused = raw.talk(shop, raw.post(CHAT, body, "Expect: 100-continue")[: -len(body)])
    assert refused.status == 401 and refused.closed and b"100 Continue" not in refused.data


def test_requests_sent_at_once_are_answered_in_order(shop, me):
    texts = [said("slow=0.3", "first"), "second", "third"]
    parts = [
        json.dumps(
            {"model": "gpt-4", "messages": [{"role": "user", "content": text}], "stream": text == "second"}
        ).encode()
        for text in texts
    ]
    got = raw.talk(
        shop,
        b"".join(raw.post(CHAT, part, key=me.key) for part in parts[:-1])
        + raw.post(CHAT, parts[-1], "Connection: close", key=me.key),
    )
    places = [got.data.index(word) for word in (b"first", b"[DONE]", b"third")]
    assert places == sorted(places) and got.closed


# CORS and headers


def test_a_preflight_needs_no_key_and_names_authorization(shop):
    for path in (
        CHAT,
        "/dashboard/billing/subscription",
        "/dashboard/billing/usage",
        "/v1/models",
        "/v1/v1/chat/completions",
    ):
        lines = (
            "Origin: https://app.test",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization,content-type",
        )
        answer = raw.talk(shop, raw.get(path, *lines, "Connection: close").replace(b"GET", b"OPTIONS", 1))
        assert answer.status == 204 and answer.headers["access-control-allow-origin"] == "*"
        named = {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")}
        assert {"authorization", "content-type"} <= named
        assert {"GET", "POST"} <= {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
        assert "x-request-id" in answer.headers


def test_every_answer_may_be_read_by_a_page_and_has_its_id(shop, me):
    poor = shop.account("0")
    seen = set()
    for answer in (
        me.chat("gpt-4"), me.chat("gpt-4", stream=True), me.chat("none"), poor.chat("gpt-4"), me.get("/v1/models"), me.get("/v1/nothing"),
        me.request("DELETE", CHAT), me.request("POST", CHAT, b"{"), me.request("POST", CHAT, b"{}", headers={"Authorization": "Bearer sk-x"}),
    ):  # fmt: skip
        assert (
            answer.headers["access-control-allow-origin"] == "*"
            and "access-control-allow-credentials" not in answer.headers
        )
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
        assert "no-store" in answer.headers["cache-control"] and "content-encoding" not in answer.headers
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 9


# Paths


@pytest.mark.slow
def test_aliases_of_every_route_without_a_redirect(shop, me):
    bodies = {
        "/chat/completions": {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}]},
        "/completions": {"model": INSTRUCT, "prompt": "Hi"},
        "/embeddings": {"model": SMALL, "input": "Hi"},
    }
    call = me.chat("gpt-4").call
    for prefix in ("/v1", "/v1/v1", ""):
        for slash in ("", "/", "//"):
            for path, body in bodies.items():
                assert me.request("POST", prefix + path + slash, body).status == 200, (prefix, path, slash)
            for path in ("/models", "/models/gpt-4", "/balance", "/calls", f"/calls/{call}", "/dashboard/billing/usage", "/dashboard/billing/subscription"):  # fmt: skip
                assert me.get(prefix + path + slash).status == 200, (prefix, path, slash)
    answer = raw.talk(shop, raw.get("http://shop.test/v1/models/gpt-4?x=1", "Connection: close", key=me.key))
    assert answer.json["id"] == "gpt-4"  # the absolute form, as proxies send it


# Balance, bill, models, receipts


def test_the_bill_adds_up(shop):
    buyer = shop.account("2")
    empty = {
        "limit": buyer.get("/dashboard/billing/subscription").json,
        "usage": buyer.get("/dashboard/billing/usage").json,
    }
    assert (empty["limit"]["hard_limit_usd"], empty["usage"]["total_usage"]) == (2.0, 0.0)
    call = buyer.chat("gpt-4", said("tokens=100"))
    charge_micro = buyer.receipt(call)["charge_micro"]
    assert charge_micro > 5000
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for prefix in ("", "/v1"):
        limit = buyer.get(f"{prefix}/dashboard/billing/subscription").json
        assert limit["object"] == "billing_subscription" and limit["has_payment_method"] is True
        assert limit["hard_limit_usd"] == limit["soft_limit_usd"] == limit["system_hard_limit_usd"] == 2.0
        assert limit["access_until"] > time.time()
        for query in (
            "",
            f"?start_date={today}&end_date={today}",
            f"?start_date={today[:8]}01&end_date=2999-01-01",
            f"?start_date={today}",
        ):
            used = buyer.get(f"{prefix}/dashboard/billing/usage{query}").json
            assert used["object"] == "list" and used["total_usage"] == pytest.approx(charge_micro / 10_000)
    assert buyer.get("/dashboard/billing/usage?start_date=2020-01-01&end_date=2020-01-31").json["total_usage"] == 0
    balance = buyer.get("/v1/balance").json
    assert (
        balance["balance_micro"] == balance["available_micro"] == 2_000_000 - charge_micro
        and balance["held_micro"] == 0
    )
    assert balance["currency"] == "USD"


def test_an_empty_account_may_read_everything(shop):
    poor = shop.account("0")
    for path in ("/v1/models", "/v1/models/gpt-4", "/v1/balance", "/v1/calls", "/dashboard/billing/subscription", "/dashboard/billing/usage", "/v1/dashboard/billing/usage"):  # fmt: skip
        assert poor.get(path).status == 200, path
    assert poor.get("/dashboard/billing/subscription").json["hard_limit_usd"] == 0
    assert poor.get("/v1/calls").json == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_models_in_openais_form(shop, me):
    listed = me.get("/v1/models").json
    assert listed["object"] == "list" and {"gpt-4", INSTRUCT, SMALL, "gpt-4o-mini"} <= {
        row["id"] for row in listed["data"]
    }
    for row in listed["data"]:
        assert row["object"] == "model" and type(row["created"]) is int and isinstance(row["owned_by"], str)
        assert me.get(f"/v1/models/{row['id']}").json == row
    answer = me.get("/v1/models/none")
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["param"]) == (
        404,
        "model_not_found",
        "model",
    )
    assert "The model `none` does not exist" in answer.json["error"]["message"]


def test_a_key_may_be_for_some_models_only(shop):
    some = shop.account("1", models=("gpt-4", SMALL))
    assert {row["id"] for row in some.get("/v1/models").json["data"]} - {"my-gpt"} == {"gpt-4", SMALL}
    assert some.chat("gpt-4").status == 200
    assert some.chat("gpt-4-32k").json["error"]["code"] == "model_not_found"
    assert some.request("POST", TEXT, {"model": INSTRUCT, "prompt": "x"}).status == 404


def test_receipts_are_paged_and_only_ones_own(shop, me):
    mine, other = shop.account("1"), shop.account("1")
    made = [mine.chat("gpt-4", f"No {number}").call for number in range(5)]
    for call in made:
        mine.receipt(call)
    first = mine.get("/v1/calls?limit=2").json
    assert ([row["id"] for row in first["data"]], first["has_more"], first["last_id"]) == (made[:2:-1], True, made[3])
    assert first["first_id"] == made[4]
    second = mine.get(f"/v1/calls?limit=2&after={first['last_id']}").json
    last = mine.get(f"/v1/calls?limit=2&after={second['last_id']}").json
    assert [row["id"] for row in (*second["data"], *last["data"])] == [made[2], made[1], made[0]] and last[
        "has_more"
    ] is False
    assert [row["id"] for row in mine.get("/v1/calls").json["data"]] == made[::-1]
    foreign, absent = other.get(f"/v1/calls/{made[0]}"), other.get("/v1/calls/call_" + "0" * 25)
    assert foreign.status == absent.status == 404
    assert foreign.json["error"]["message"].replace(made[0], "X") == absent.json["error"]["message"].replace(
        "call_" + "0" * 25, "X"
    )
    assert other.get(f"/v1/calls?after={made[4]}").json["data"] == []
    receipt = mine.get(f"/v1/calls/{made[0]}").json
    assert (
        "account" not in receipt
        and "error" not in receipt
        and b"up-secret" not in mine.get(f"/v1/calls/{made[0]}").body
    )
    assert receipt["charge"]["currency"] == "USD" and receipt["lines"] and "upstream" not in receipt["attempts"][0]


# Chat


def test_tools_come_back_streamed_and_whole(shop, me):
    tools = [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "d",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
    ]
    asked = {
        "tools": tools,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    }
    whole = me.chat("gpt-4", **asked)
    call = whole.json["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["name"] == "weather" and whole.json["choices"][0]["finish_reason"] == "tool_calls"
    assert (
        shop.sandbox.requests[-1].body["tools"] == tools
        and shop.sandbox.requests[-1].body["parallel_tool_calls"] is False
    )
    events = check_lines(me.chat("gpt-4", stream=True, **asked))
    pieces = [
        piece for event in events for choice in event["choices"] for piece in choice["delta"].get("tool_calls") or ()
    ]
    assert [piece["id"] for piece in pieces if piece.get("id")] == [pieces[0]["id"]] and all(
        piece["index"] == 0 for piece in pieces
    )
    assert json.loads("".join(piece["function"].get("arguments") or "" for piece in pieces)) is not None
    answered = [
        {"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"},
    ]  # fmt: skip
    assert me.request("POST", CHAT, {"model": "gpt-4", "messages": answered, "tools": tools}).status == 200
    assert shop.sandbox.requests[-1].body["messages"][1:] == answered[1:]


def png(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0" + b"\0" * 64


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_pass_as_they_came(shop, me, stream):
    url = "data:image/png;base64," + base64.b64encode(png(512, 512)).decode()
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    body = {
        "model": "seer",
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": parts}],
        "max_tokens": 4000,
        "stream": stream,
    }
    answer = me.request("POST", CHAT, body)
    assert answer.status == 200 and shop.sandbox.requests[-1].body["messages"] == body["messages"]
    refused = me.request("POST", CHAT, body | {"model": "gpt-4"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "messages")


@pytest.mark.slow
def test_a_big_picture_passes(shop, me):
    url = "data:image/png;base64," + base64.b64encode(png(2048, 2048) + b"\0" * 6_000_000).decode()
    answer = me.request(
        "POST",
        CHAT,
        {
            "model": "seer",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        },
    )
    assert answer.status == 200


def test_parameters_pass_as_they_came(shop, me):
    given = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}}},
        "temperature": 0.7, "top_p": 1, "presence_penalty": -0.5, "frequency_penalty": 0, "seed": 7, "stop": ["END"], "user": "u", "logit_bias": {"50256": -100},
        "logprobs": True, "top_logprobs": 2, "n": 3, "reasoning_effort": "low",
    }  # fmt: skip
    answer = me.chat("gpt-4", **given)
    assert answer.status == 200 and [choice["index"] for choice in answer.json["choices"]] == [0, 1, 2]
    sent = shop.sandbox.requests[-1].body
    assert {name: sent.get(name) for name in given} == given
    assert all(choice["logprobs"]["content"] for choice in answer.json["choices"])
    events = check_lines(me.chat("gpt-4", stream=True, n=3, logprobs=True))
    assert {choice["index"] for event in events for choice in event["choices"]} == {0, 1, 2}
    ended = [choice["index"] for event in events for choice in event["choices"] if choice["finish_reason"]]
    assert sorted(ended) == [0, 1, 2]


def test_unknown_parameters_are_named_or_passed(shop, me):
    answer = me.chat("gpt-4", foo=1, top_k=5, **{"bä,r\r\n": 2})
    names = answer.headers["x-ignored-parameters"]
    assert answer.status == 200 and "foo" in names and "top_k" in names and "\n" not in names
    assert not {"foo", "top_k"} & set(shop.sandbox.requests[-1].body)
    shop.model("passing", {"input": "1", "output": "2"})
    shop.add_channel("passer", shop.sandbox.base_url, [], quirks={"pass": ["top_k"]})
    from farebox.upstreams import channels

    shop.write(channels.offer, channel="passer", model="passing", upstream_model="gpt-4", costs={}, actor="test")
    shop.write(channels.withdraw, channel="sandbox", model="passing", actor="test")
    shop.refresh()
    for stream in (False, True):
        answer = me.chat("passing", foo=1, top_k=5, stream=stream)
        assert answer.status == 200 and answer.headers["x-ignored-parameters"] == "foo"
        sent = shop.sandbox.requests[-1].body
        assert (sent["top_k"], sent["model"], "foo" in sent) == (5, "gpt-4", False)


def test_no_secret_of_ours_and_no_key_of_the_customer_goes_the_wrong_way(shop, me):
    me.chat("gpt-4", headers={"X-Custom": "mine", "OpenAI-Organization": "org", "Cookie": "a=b"})
    sent = shop.sandbox.requests[-1].headers
    assert not {"x-custom", "openai-organization", "cookie", "x-forwarded-for"} & set(sent)


# Completions


def test_prompt_lists_keep_their_indexes(shop, me):
    body = {
        "model": INSTRUCT,
        "prompt": ["one", "two", "three"],
        "n": 2,
        "max_tokens": 30,
        "seed": None,
        "logprobs": None,
    }
    whole = me.request("POST", TEXT, body).json
    assert sorted(choice["index"] for choice in whole["choices"]) == list(range(6))
    by_index = {choice["index"]: choice["text"] for choice in whole["choices"]}
    assert "one" in by_index[0] and "two" in by_index[2] and "three" in by_index[5]
    assert whole["object"] == "text_completion" and "seed" not in shop.sandbox.requests[-1].body
    events = check_lines(me.request("POST", TEXT, body | {"stream": True}))
    texts = dict.fromkeys(range(6), "")
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == by_index


def test_echo_suffix_and_logprobs(shop, me):
    body = {
        "model": INSTRUCT,
        "prompt": "Once",
        "suffix": "end",
        "echo": True,
        "logprobs": 2,
        "max_tokens": 20,
        "best_of": 2,
        "n": 1,
    }
    whole = me.request("POST", TEXT, body)
    assert (
        whole.status == 200
        and whole.json["choices"][0]["text"].startswith("Once")
        and whole.json["choices"][0]["logprobs"]
    )
    sent = shop.sandbox.requests[-1].body
    assert {name: sent[name] for name in ("suffix", "echo", "logprobs", "best_of", "max_tokens")} == {
        name: body[name] for name in ("suffix", "echo", "logprobs", "best_of", "max_tokens")
    }
    streamed = me.request("POST", TEXT, body | {"stream": True, "best_of": 1})
    assert "".join(choice["text"] for event in check_lines(streamed) for choice in event["choices"]).startswith("Once")


def test_completions_and_chat_are_not_each_other(shop, me):
    assert me.chat(INSTRUCT).json["error"]["code"] == "model_not_found"
    assert me.request("POST", TEXT, {"model": "gpt-4", "prompt": "x"}).json["error"]["param"] == "model"


# Embeddings


def floats(text):
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


@pytest.fixture(scope="module")
def plain(shop):
    """An embedding model whose channel knows neither token arrays nor base64."""
    from farebox.upstreams import channels

    shop.model("plain-embed", {"input": "1"}, kinds=["embeddings"], tokenizer="cl100k_base", output_tokens_max=0)
    shop.add_channel(
        "plain", shop.sandbox.base_url, ["plain-embed"], quirks={"token_arrays": False, "base64_embeddings": False}
    )
    shop.write(channels.withdraw, channel="sandbox", model="plain-embed", actor="test")
    shop.refresh()
    return "plain-embed"


@pytest.mark.slow
def test_embeddings_as_floats_and_base64(shop, me, plain):
    for model in (SMALL, plain):
        answers = {
            form: me.request(
                "POST", EMBED, {"model": model, "input": ["Hi", "Ho"], **({"encoding_format": form} if form else {})}
            )
            for form in (None, "float", "base64")
        }
        assert {answer.status for answer in answers.values()} == {200}
        rows = {form: answer.json["data"] for form, answer in answers.items()}
        assert rows[None] == rows["float"] and [row["index"] for row in rows["base64"]] == [0, 1]
        for one, other in zip(rows["float"], rows["base64"], strict=True):
            assert isinstance(one["embedding"], list) and isinstance(other["embedding"], str)
            assert floats(other["embedding"]) == pytest.approx(one["embedding"], rel=1e-6)
        whole = answers["base64"].json
        assert (whole["object"], whole["model"], whole["data"][0]["object"]) == ("list", model, "embedding")
        assert whole["usage"]["prompt_tokens"] == whole["usage"]["total_tokens"] > 0
    assert "encoding_format" not in shop.sandbox.requests[-1].body


def test_token_arrays_become_text_where_the_channel_knows_only_that(shop, me, plain):
    arrays = [[9906, 1917], [15339]]  # "Hello world", "hello"
    texts = me.request("POST", EMBED, {"model": plain, "input": ["Hello world", "hello"]})
    tokens = me.request("POST", EMBED, {"model": plain, "input": arrays})
    assert tokens.status == 200 and shop.sandbox.requests[-1].body["input"] == ["Hello world", "hello"]
    assert tokens.json["data"] == texts.json["data"]
    assert me.request("POST", EMBED, {"model": plain, "input": arrays[0]}).status == 200
    assert shop.sandbox.requests[-1].body["input"] == ["Hello world"]
    assert me.request("POST", EMBED, {"model": SMALL, "input": arrays}).status == 200
    assert shop.sandbox.requests[-1].body["input"] == arrays
    wrong = me.request("POST", EMBED, {"model": plain, "input": [[2_000_000_000]]})
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "input")


def test_dimensions_pass(shop, me):
    answer = me.request("POST", EMBED, {"model": SMALL, "input": "Hi", "dimensions": 5})
    assert len(answer.json["data"][0]["embedding"]) == 5


# The shapes of two programs


def test_the_request_of_gpt_academic(shop, me):
    """It cuts six characters off every line and ends at the exact line `data: [DONE]`."""
    body = {
        "model": "gpt-4",
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Hi"}],
        "temperature": 1.0,
        "top_p": 1.0,
        "n": 1,
        "stream": True,
    }
    answer = me.request("POST", CHAT, body, headers={"Accept": "*/*"})
    text = ""
    for line in answer.body.decode().split("\n"):
        if line and line != "data: [DONE]":
            choice = json.loads(line[6:])["choices"][0]
            text += choice["delta"].get("content") or ""
    assert text == "[sandbox] You said: Hi" and "data: [DONE]" in answer.body.decode().split("\n")


def test_the_request_of_nextchat(shop, me):
    body = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}], "stream": True, "model": "gpt-4o-mini", "temperature": 0.5, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1, "max_tokens": 4000}  # fmt: skip
    headers = {
        "Accept": "application/json, text/event-stream",
        "Cache-Control": "no-store",
        "Origin": "https://app.test",
    }
    assert me.request("POST", CHAT, body, headers=headers).status == 200
