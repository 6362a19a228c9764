"""Upstreams that answer in odd forms: what the customer gets, what he pays, and what becomes of the channel."""

from __future__ import annotations

import json

import pytest

from kit.receipts import alone, broken_off, complete, ended, own_input, own_output
from kit.talk import canned, http
from upstreams import judges
from upstreams.odd import END, HEAD, ODD, ROLE, USAGE, USED, chunk, sse

PRICE = 100 * 30 + 10 * 60


@pytest.fixture(scope="module")
def odd(shop):
    """A model and its one channel, for an upstream that says what a test wants."""
    with canned(shop, b"") as upstream:
        yield upstream, alone(shop, "odd", upstream.base_url)


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def said(me, odd, raw: bytes, **params):
    upstream, model = odd
    upstream.answer = raw
    # An upstream may report 100 tokens of input only for a text that can have so many.
    return me.chat(model, "x" * 200, **params)


def streamed(body: bytes, kind: str = "text/event-stream") -> bytes:
    return http(body, kind=kind)


def whole(message=None, **more):
    message = message or {"role": "assistant", "content": "Hello there"}
    made = HEAD | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USED}
    return made | {"object": "chat.completion"} | more


# The form that SDKs demand


@pytest.mark.slow
def test_every_odd_stream_is_read_by_the_sdks_and_paid(shop, me, odd):
    spent = 0
    for name, each in ODD.items():
        answer = said(me, odd, streamed(sse(each)), stream=True)
        assert answer.events[-1] == "[DONE]", name
        raws = [json.dumps(event).encode() for event in answer.events[:-1]]
        judges.node(raws)
        [choice] = judges.python(raws)["choices"]
        assert (choice["message"]["content"] or "", choice["finish_reason"]) == (each.text, each.finish), name
        calls = [
            (one["function"]["name"], one["function"]["arguments"]) for one in choice["message"]["tool_calls"] or ()
        ]
        assert calls == each.calls, name
        receipt = me.receipt(answer)
        assert receipt["finish_reason"] == each.finish, name
        reported = any(isinstance(event, dict) and event.get("usage") for event in each.sends)
        assert receipt["usage_source"] == ("reported" if reported else "counted"), name
        if reported:
            assert (receipt["rule"], receipt["charge_micro"]) in {("R02", PRICE), ("R07", PRICE)}, name
        assert answer.events[0]["id"] == f"chatcmpl-{answer.call[5:]}"
        spent += receipt["charge_micro"]
    assert me.balance == (1_000_000 - spent, 0)


def test_a_stream_that_never_says_its_end_is_ended(shop, me, odd):
    answer = said(me, odd, streamed(sse(ODD["no finish reason"], done=False)), stream=True)
    assert answer.events[-1] == "[DONE]"
    assert answer.events[-2]["choices"][0]["finish_reason"] == "stop"
    receipt = ended(me, answer, "R11", PRICE)
    assert "no_terminal" in receipt["flags"]
    assert receipt["finish_reason"] == "stop"


def test_an_answer_cut_by_us_before_its_first_word_has_a_role(shop, me, odd):
    """openai-node throws at a choice without one."""
    answer = said(me, odd, streamed(sse(ODD["no role"])), stream=True, n=2)
    judges.node([json.dumps(event).encode() for event in answer.events[:-1]])


def test_an_empty_stream_is_an_empty_answer_and_free(shop, me, odd):
    answer = said(me, odd, streamed(b"data: [DONE]\n\n"), stream=True)
    [choice] = judges.python([json.dumps(event).encode() for event in answer.events[:-1]])["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    ended(me, answer, "R09", 0)


# What we pay, and whom

OURS = {
    "provider": "Azure", "cost": 0.5, "organization": "org-4711abc", "system_fingerprint": "fp_azure", "service_tier": "flex",
    "x_groq": {"id": "req_1"}, "account_balance": "12.50", "api_key": "sk-upstream",
}  # fmt: skip
USAGE_OURS = USED | {"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.4}}
OPENAIS = {"id", "object", "created", "model", "choices", "usage"}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_we_pay_and_whom_is_not_in_an_answer(shop, me, odd, stream):
    head = b"X-Provider: Azure\r\nOpenai-Organization: org-4711abc\r\nX-Ratelimit-Remaining-Tokens: 77\r\n"
    choice = {"index": 0, "finish_reason": "stop", "native_finish_reason": "end_turn", "cost": 1}
    if stream:
        delta = {"role": "assistant", "content": "Hi", "cost": 1, "reasoning": "Hm"}
        first = HEAD | OURS | {"choices": [choice | {"delta": delta}]}
        raw = streamed(
            b"".join(
                b"data: " + json.dumps(each).encode() + b"\n\n"
                for each in (first, HEAD | {"choices": [], "usage": USAGE_OURS})
            )
        )
    else:
        message = {"role": "assistant", "content": "Hi", "cost": 1, "reasoning": "Hm", "provider_specific_fields": {}}
        raw = http(whole() | OURS | {"choices": [choice | {"message": message}], "usage": USAGE_OURS})
    raw = raw.replace(b"Connection: close\r\n", b"Connection: close\r\n" + head)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = said(me, odd, raw, stream=stream, **options)
    found = answer.events[:-1] if stream else [answer.json]
    assert all(event.keys() <= OPENAIS for event in found)
    assert found[0]["id"] == f"chatcmpl-{answer.call[5:]}"
    for event in found:
        for one in event["choices"]:
            assert one.keys() <= {"index", "delta", "message", "finish_reason"}
            told = one.get("delta", one.get("message"))
            assert not told or told == {"role": "assistant", "content": "Hi", "reasoning": "Hm"}
    assert found[-1]["usage"] == USED
    everything = json.dumps([found, answer.headers, me.receipt(answer)]).lower()
    for word in ("azure", "org-4711", "cost", "fp_", "flex", "byok", 'balance"', "gen-179", "sk-upstream"):
        assert word not in everything, word
    assert "x-ratelimit-remaining-tokens" not in answer.headers
    ended(me, answer, "R02", PRICE)


def test_embeddings_and_completions_too(shop, me, odd):
    upstream, _ = odd
    embed = alone(shop, "odd-embed", upstream.base_url, kinds=["embeddings"], classes=["input"])
    row = {"object": "embedding", "index": 0, "embedding": [0.5, 1.0], "cost": 1}
    upstream.answer = http({"object": "list", "data": [row], "model": "m", "usage": USAGE_OURS, "id": "gen-1", **OURS})
    answer = me.request("POST", "/v1/embeddings", {"model": embed, "input": "x" * 200})
    assert answer.json == {
        "object": "list", "model": embed, "usage": USED,
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}],
    }  # fmt: skip
    choice = {"index": 0, "text": "Hi", "finish_reason": "stop", "stop_reason": 7, "native_finish_reason": "x"}
    upstream.answer = http({"object": "text_completion", "choices": [choice], "usage": USAGE_OURS, **OURS})
    answer = me.request("POST", "/v1/completions", {"model": odd[1], "prompt": "x" * 200})
    assert answer.json["choices"] == [{"index": 0, "text": "Hi", "finish_reason": "stop"}]
    assert answer.json.keys() == OPENAIS
    assert answer.json["id"].startswith("cmpl-")


REFUSALS = {
    "Azure OpenAI's content management policy; see https://go.microsoft.com/fwlink/?linkid=1": "azure microsoft",
    "Provider returned error from DeepInfra (request id: 20261130abcdef)": "deepinfra 20261130abcdef",
    "Organization org-4711abcd may not use up-model-7 here": "org-4711 up-model",
    "Ask OpenRouter or Volcengine, or New API, for project proj_99abcd": "openrouter volcengine proj_99",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_passed_on_without_the_upstreams_name(shop, me, odd, text):
    upstream, _ = odd
    model = alone(shop, f"odd-{len(text)}", upstream.base_url)
    shop.offer(f"front-{model}", model, "up-model-7")
    upstream.answer = http(
        {"error": {"message": text, "type": "invalid_request_error", "code": "azure_error"}}, status="400 Bad Request"
    )
    answer = me.chat(model)
    assert answer.status == 400
    told = json.dumps([answer.json, me.receipt(answer)]).lower()
    for word in (*REFUSALS[text].split(), "azure_error"):
        assert word not in told, word
    if "up-model" in text:
        assert f"may not use {model} here" in answer.json["error"]["message"]
    from farebox.calls import log

    [attempt] = shop.read(log.attempts, answer.call)
    assert attempt["error"] == f"request: {text}" or attempt["error"] == f"policy: {text}"  # operators read all of it


def test_what_helps_the_customer_stays_in_a_refusal(shop, me, odd):
    text = "context_length_exceeded: This model's maximum context length is 9 tokens; see https://example.com/a.png and tool user_7"
    error = {"message": text, "type": "invalid_request_error", "code": "context_length_exceeded", "param": "messages"}
    answer = said(me, odd, http({"error": error}, status="400 Bad Request"))
    assert (answer.json["error"]["message"], answer.json["error"]["param"]) == (text, "messages")


# Halves, long events, events of other forms


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_half_an_emoji_does_not_end_an_answer(shop, me, odd, first):
    """Lone escapes, and in a whole answer as well."""
    parts = [json.dumps(chunk({"content": "@"})).replace("@", escape) for escape in ("\\ud83d", "\\ude00!")]
    sent = [*([] if first else [json.dumps(ROLE)]), *parts, json.dumps(END), json.dumps(USAGE)]
    answer = said(me, odd, streamed(b"".join(b"data: " + each.encode() + b"\n\n" for each in sent)), stream=True)
    complete(answer)
    assert answer.text == "\U0001f600!"
    ended(me, answer, "R02", PRICE)


def test_half_an_emoji_in_a_whole_answer(shop, me, odd):
    raw = json.dumps(whole({"role": "assistant", "content": "a@b"})).replace("@", "\\ud83d").encode()
    answer = said(me, odd, http(raw))
    assert answer.text == "a\ufffdb"
    ended(me, answer, "R02", PRICE)


def image(size: int) -> str:
    return "![image](data:image/png;base64," + "A" * size + ")"


@pytest.mark.slow
@pytest.mark.parametrize("size", [200_000, 1_500_000, 5_000_000])
def test_a_long_event_passes(shop, odd, size):
    me = shop.account("1")
    sent = [ROLE, chunk({"content": image(size)}), END, USAGE]
    raw = streamed(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in sent))
    answer = said(me, odd, raw, stream=True)
    complete(answer)
    assert answer.text == image(size)
    ended(me, answer, "R02", PRICE)


def test_an_image_in_pieces_passes_as_well(shop, odd):
    me = shop.account("1")
    text = image(600_000)
    parts = [text[at : at + 20_000] for at in range(0, len(text), 20_000)]
    sent = [ROLE, *(chunk({"content": part}) for part in parts), END]
    raw = streamed(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in sent))
    answer = said(me, odd, raw, stream=True)
    complete(answer)
    assert answer.text == text
    words = "![image](data:image/png;base64,)"  # without a report an image is not guessed at
    ended(me, answer, "R03", own_input("x" * 200) * 30 + own_output(words) * 60)


def test_the_limit_of_a_channel_is_its_own(shop, odd):
    upstream, _ = odd
    me = shop.account("1")
    model = alone(shop, "odd-short", upstream.base_url)
    from farebox.upstreams import channels

    shop.write(channels.set_quirks, channel="front-odd-short", quirks={"event_bytes_max": 2048}, actor="test")
    shop.refresh()
    long = streamed(
        b"".join(
            b"data: " + json.dumps(each).encode() + b"\n\n" for each in (ROLE, chunk({"content": "x" * 3000}), END)
        )
    )
    upstream.answer = long
    assert me.chat(model, stream=True).status == 502
    upstream.answer = streamed(sse(ODD["as it should be"]))
    complete(me.chat(model, "x" * 200, stream=True))


FAULTS = {
    "a long event": (streamed(b"data: " + b"x" * 9_000_000 + b"\n\n"), True),
    "a broken event after good ones": (streamed(sse(ODD["as it should be"]).replace(b'"Hello"', b'"Hel')), True),
    "bad UTF-8": (streamed(sse(ODD["as it should be"]).replace(b"Hello", b"\xff")), True),
    "nested too deep": (streamed(b'data: {"choices":' + b"[" * 200 + b"]" * 200 + b"}\n\n"), True),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_of_one_answer_never_rests_a_channel(shop, odd, name):
    me = shop.account("1")
    raw, stream = FAULTS[name]
    for _ in range(6):
        answer = said(me, odd, raw, stream=stream)
        if answer.status == 200:
            broken_off(answer) if answer.text else None
            assert "error" in answer.events[-1]
        else:
            assert answer.status == 502
    complete(said(me, odd, streamed(sse(ODD["as it should be"])), stream=True))
    assert me.balance == (1_000_000 - PRICE, 0)


def test_a_channel_that_answers_no_stream_at_all_rests(shop, odd):
    me = shop.account("1")
    for _ in range(5):
        assert said(me, odd, streamed(b"data: hello\n\n"), stream=True).status == 502
    shop.probe()
    assert said(me, odd, streamed(sse(ODD["as it should be"])), stream=True).status == 503


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain"])
def test_json_where_a_stream_was_asked_for_is_streamed(shop, me, odd, kind):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
    message = {"role": "assistant", "content": "Hello there", "reasoning_content": "Hm", "tool_calls": [call]}
    body = b"\n\n" + json.dumps(whole(message) | {"provider": "Azure"}).encode()
    options = {"stream_options": {"include_usage": True}}
    answer = said(me, odd, http(body, kind=kind), stream=True, **options)
    complete(answer)
    raws = [json.dumps(event).encode() for event in answer.events[:-1]]
    judges.node(raws)
    [choice] = judges.python(raws)["choices"]
    assert choice["message"]["content"] == "Hello there"
    assert [(one["id"], one["function"]["arguments"]) for one in choice["message"]["tool_calls"]] == [
        ("call_1", '{"city":"Oslo"}')
    ]
    assert b"Azure" not in answer.body
    assert answer.events[-2]["usage"] == USED
    ended(me, answer, "R02", PRICE)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    "name", ["as it should be", "tools in parts, no index", "no finish reason", "an emoji in two events"]
)
def test_a_stream_where_none_was_asked_for_is_made_whole(shop, me, odd, kind, name):
    each = ODD[name]
    answer = said(me, odd, http(b": ping\n\n" + sse(each), kind=kind))
    assert answer.headers["content-type"] == "application/json"
    [choice] = answer.json["choices"]
    assert (choice["message"]["content"] or "", choice["finish_reason"]) == (each.text, each.finish)
    calls = [(one["function"]["name"], one["function"]["arguments"]) for one in choice["message"].get("tool_calls", ())]
    assert calls == each.calls
    assert (answer.json["object"], answer.json["usage"]) == ("chat.completion", USED)
    ended(me, answer, "R02", PRICE)


def test_an_error_in_a_stream_that_nobody_asked_for_is_an_error(shop, me, odd):
    body = sse(ODD["as it should be"]).replace(b"data: [DONE]", b'data: {"error":{"message":"boom"}}')
    answer = said(
        me,
        odd,
        http(body.replace(json.dumps(USAGE).encode(), b'{"error":{"message":"boom"}}'), kind="text/event-stream"),
    )
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
    ended(me, answer, "R13", 0)


def test_a_stream_of_events_without_choices_is_no_answer(shop, me, odd):
    answer = said(me, odd, streamed(b'data: {"type":"ping"}\n\n' * 3), stream=True)
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
    ended(me, answer, "R13", 0)
