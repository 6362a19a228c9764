"""The faults of one call (promises 3.2) in what an upstream answers: form, broken events, choices, models, usage."""

from __future__ import annotations

import json

import pytest

from kit.receipts import alone, broken_off, complete, ended, own_input, own_output, sandboxed
from kit.talk import canned, http, on_sale

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rules_1")]

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def chunk(content: str | None = None, *, index: int = 0, finish: str | None = None, **more) -> dict:
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


def sse(*payloads) -> bytes:
    lines = [payload if isinstance(payload, bytes) else json.dumps(payload).encode() for payload in payloads]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


def whole_stream(*payloads) -> bytes:
    return http(sse(*payloads), kind="text/event-stream")


def asked(shop, me, name: str, raw: bytes, **params):
    """The answer of an upstream that says exactly this, to a model that it alone answers."""
    with canned(shop, raw) as upstream:
        return me.chat(alone(shop, name, upstream.base_url), **params)


USED = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


# F19: however a stream is written and cut


@pytest.mark.fault("F19")
@pytest.mark.rule("R02")
def test_the_same_answer_however_it_is_cut(shop):
    text, seen = "zwölf Boxkämpfer 你好 🙂", set()
    cuts = [f"split={size}" for size in (1, 2, 3, 5, 7, 64, 1000)]
    forms = ["", "crlf", "nospace", "comments", "bom", "crlf+nospace+comments+bom"]
    for how in [*forms, *cuts, *(f"split=1+{form}" for form in forms[1:])]:
        me = shop.account("1")
        answer = me.chat(
            "gpt-4", f"sandbox: {how}+usage=9,5\n{text}", stream=True, stream_options={"include_usage": True}
        )
        complete(answer)
        assert answer.text == f"[sandbox] You said: {text}"
        for line in answer.body.decode().split("\n"):
            assert line == "" or line.startswith(("data: {", "data: [DONE]"))
        events = [{**event, "id": "", "created": 0} if event != "[DONE]" else event for event in answer.events]
        seen.add(json.dumps(events))
        ended(me, answer, "R02", 9 * 30 + 5 * 60)
    assert len(seen) == 1


@pytest.mark.fault("F19")
def test_a_stream_cut_at_each_of_its_bytes(shop):
    """Two packets, the cut between them at every place of the stream in turn."""
    import asyncio

    body = b"\xef\xbb\xbf: ping\r\n\r\nevent: message\r\ndata:" + json.dumps(chunk("Größe", usage=None)).encode()
    body += b"\r\n\r\n" + sse(chunk(None, finish="stop"), {"choices": [], "usage": USED}, b"[DONE]")
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        % len(body)
    )
    place = iter(range(1, len(body), 4))

    async def serve(reader, writer) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(asked.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        at = next(place)
        writer.write(head + body[:at])
        await asyncio.sleep(0.004)
        writer.write(body[at:])
        writer.close()

    async def start():
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = shop.loop.run(start())
    name = alone(shop, "f19-cut", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        for _ in range(1, len(body), 4):
            me = shop.account("1")
            answer = me.chat(name, stream=True)
            complete(answer)
            assert answer.text == "Größe"
            ended(me, answer, "R02", 7 * 30 + 2 * 60)
    finally:
        shop.loop.loop.call_soon_threadsafe(server.close)


# F20: events that are broken


def nested(levels: int) -> bytes:
    """A chunk with something nested so deep in it, the chunk itself being the first level."""
    return json.dumps(chunk("b"))[:-1].encode() + b', "more": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def long_line(size: int) -> bytes:
    """A chunk that makes a line of so many bytes with its `data: `, most of it in a field that nobody needs."""
    plain = json.dumps(chunk("b", more="")).encode()
    return plain[:-2] + b"x" * (size - len("data: ") - len(plain)) + b'"}'


BROKEN = {
    "json": b'{"choices":[{"index":0,"delta":{"content":',
    "no-json": b"hello",
    "nan": json.dumps(chunk("b")).replace("null", "NaN", 1).encode(),
    "infinity": json.dumps(chunk("b"))[:-1].encode() + b', "x": -Infinity}',
    "utf-8": json.dumps(chunk("@")).encode().replace(b"@", b"\xff\xfe"),
    "half-character": json.dumps(chunk("@")).encode().replace(b"@", b"\xe4\xbd"),
    "deep": nested(65),
    "deeper": nested(10_000),
    "line": long_line(8 * 1024 * 1024 + 1),
    "ten-megabytes": long_line(10 * 1024 * 1024),
    "list": b"[1, 2]",
    "choices": json.dumps(chunk("b") | {"choices": {"0": "b"}}).encode(),
    "index": json.dumps(chunk("b", index=-1)).encode(),
    "big-index": json.dumps(chunk("b", index=2**63)).encode(),
}


@pytest.mark.fault("F20")
@pytest.mark.rule("R14")
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_event_ends_the_stream_and_is_free(shop, me, how):
    raw = whole_stream(chunk("a"), BROKEN[how], chunk("c"), chunk(None, finish="stop", usage=USED), b"[DONE]")
    answer = asked(shop, me, f"f20-{how}", raw, stream=True)
    broken_off(answer)
    assert answer.text == "a"
    assert "Nothing was charged" in answer.events[-1]["error"]["message"]
    receipt = ended(me, answer, "R14", 0)
    assert [(a["outcome"], a["status"], a["charged"]) for a in receipt["attempts"]] == [("failed", 200, False)]


@pytest.mark.fault("F20")
@pytest.mark.rule("R13")
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_first_event_is_a_failure_before_output(shop, me, how):
    raw = whole_stream(BROKEN[how], chunk("c"), chunk(None, finish="stop", usage=USED), b"[DONE]")
    answer = asked(shop, me, f"f20-first-{how}", raw, stream=True)
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
    ended(me, answer, "R13", 0)


@pytest.mark.fault("F20")
@pytest.mark.parametrize("payload", [nested(64), long_line(8 * 1024 * 1024)], ids=["deep", "line"])
def test_what_is_just_within_the_limits_passes(shop, me, payload):
    raw = whole_stream(chunk("a"), payload, chunk(None, finish="stop", usage=USED), b"[DONE]")
    answer = asked(shop, me, f"f20-most-{len(payload)}", raw, stream=True)
    complete(answer)
    assert answer.text == "ab"
    ended(me, answer, "R02", 7 * 30 + 2 * 60)


# F23: choices


@pytest.mark.fault("F23")
@pytest.mark.parametrize("how", ["empty-choices=0", "empty-choices=4", "no-role", "no-role+empty-choices=1"])
def test_empty_choices_and_a_missing_role_change_nothing(shop, me, how):
    answer = me.chat("gpt-4", f"sandbox: tokens=6+{how}", stream=True)
    complete(answer)
    assert own_output(answer.text) == 6
    assert all(event["choices"] for event in answer.events[:-1])
    assert b"content" in answer.body.split(b"\n", 1)[0]  # a client may throw away a first line that does not say so
    ended(me, answer, "R02", sandboxed(shop).usage["prompt_tokens"] * 30 + 6 * 60)


@pytest.mark.fault("F23")
@pytest.mark.rule("R03")
@BOTH
def test_interleaved_answers_are_counted_each_by_itself(shop, me, stream):
    """Run together they would be fewer tokens: the parts of one word lie in different answers."""
    halves = [" inter", "national", " inter", "national"]
    assert own_output("".join(halves)) < sum(map(own_output, halves))
    if stream:
        parts = [chunk(half, index=index) for index, half in enumerate(halves)]
        ends = [chunk(None, index=index, finish="stop") for index in range(4)]
        raw = whole_stream(*parts, *reversed(parts), *ends, b"[DONE]")
        said = [half + half for half in halves]
    else:
        choices = [
            {"index": index, "message": {"role": "assistant", "content": half}, "finish_reason": "stop"}
            for index, half in enumerate(halves)
        ]
        raw = http({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices})
        said = halves
    answer = asked(shop, me, f"f23-{stream}".lower(), raw, text="Hi", stream=stream, n=4)
    assert answer.status == 200
    ended(me, answer, "R03", own_input("Hi") * 30 + sum(map(own_output, said)) * 60)


@pytest.mark.fault("F23")
@pytest.mark.rule("R03")
def test_gaps_between_the_indexes_of_choices(shop, me):
    text = "sandbox: tokens=5+gaps+no-usage"
    answer = me.chat("gpt-4", text, stream=True, n=3)
    assert answer.events[-1] == "[DONE]"
    said: dict[int, str] = {}
    for event in answer.events[:-1]:
        for choice in event["choices"]:
            said[choice["index"]] = said.get(choice["index"], "") + (choice["delta"].get("content") or "")
    assert [own_output(part) for part in said.values()] == [5, 5, 5]
    ended(me, answer, "R03", own_input(text) * 30 + 15 * 60)


# F24: another model than the one that was asked for


@pytest.mark.fault("F24")
@pytest.mark.rule("R02")
@BOTH
@pytest.mark.parametrize(
    ("answers", "flagged"),
    [
        ("gpt-4", False), ("gpt-4-0613", False), ("gpt-4-2024-08-06", False), ("gpt-4-1106-preview", False),
        ("GPT-4", False), ("gpt-4@20240229", False),
        ("gpt-3.5-turbo", True), ("gpt-4o", True), ("gpt-4-turbo", True), ("gpt", True), ("gpt-4-06133", True),
    ],
)  # fmt: skip
def test_another_model_is_flagged_and_billed_as_asked(shop, me, monkeypatch, answers, flagged, stream):
    from farebox.gateway import settlement

    said = []
    monkeypatch.setattr(settlement.log, "warning", lambda word, **facts: said.append((word, facts)), raising=False)
    answer = me.chat("gpt-4", f"sandbox: substitute={answers}+tokens=5", stream=stream)
    complete(answer)
    events = answer.events[:-1] if stream else [answer.json]
    assert {event["model"] for event in events} == {"gpt-4"}
    receipt = ended(me, answer, "R02", sandboxed(shop).usage["prompt_tokens"] * 30 + 5 * 60)
    assert ("substituted" in receipt["flags"]) == flagged
    facts = {"channel": "sandbox", "mapped": "gpt-4", "answered": answers, "call": answer.call}
    assert said == ([("meter.substituted", facts)] if flagged else [])


@pytest.mark.fault("F24")
def test_the_mapped_name_is_what_the_answer_is_compared_with(shop, me):
    name = on_sale(shop, shop.model("f24-mapped", {"input": "30", "output": "60"}))
    shop.offer("sandbox", name, "vendor/model-7")
    answer = me.chat(name)
    assert answer.json["model"] == name
    assert "substituted" not in me.receipt(answer)["flags"]
    assert "substituted" in me.receipt(me.chat(name, f"sandbox: substitute={name}"))["flags"]


# F25: usage


COUNTED = {
    "none": "no-usage", "null": "usage-null", "zero": "usage-zero", "strings": "usage-string", "floats": "usage-float",
    "negative": "usage-negative", "2**63": "usage-huge", "sum": "usage-mismatch", "input": "usage=100000,12",
    "output": "usage=9,100000", "no-output": "usage=9,0", "no-input": "usage=0,12",
}  # fmt: skip
RULES = {"sum": "R06", "input": "R06", "output": "R06"}
ONLY_STREAMS = {"after-done": "usage-late", "twice": "usage-twice", "cumulative": "usage-cumulative"}


@pytest.mark.fault("F25")
@BOTH
@pytest.mark.parametrize("how", COUNTED)
def test_a_report_that_is_none_is_replaced_by_our_count(shop, me, how, stream):
    text = f"sandbox: tokens=12+{COUNTED[how]}\nHi"
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = me.chat("gpt-4", text, stream=stream, max_tokens=100, **options)
    complete(answer)
    shown = answer.events[-2]["usage"] if stream else answer.json["usage"]
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (own_input(text), 12)
    receipt = ended(me, answer, RULES.get(how, "R03"), own_input(text) * 30 + 12 * 60)
    assert (receipt["usage_source"], "estimated" in receipt["flags"]) == ("counted", True)
    assert ("disputed" in receipt["flags"]) == (how in RULES)


@pytest.mark.fault("F25")
@pytest.mark.parametrize("how", ONLY_STREAMS)
def test_reports_in_the_wrong_place_or_number(shop, me, how):
    text = f"sandbox: tokens=12+{ONLY_STREAMS[how]}\nHi"
    answer = me.chat("gpt-4", text, stream=True, stream_options={"include_usage": True})
    assert sum(bool(event.get("usage")) for event in answer.events[:-1]) == 1
    late = how == "after-done"
    assert answer.events[-2]["usage"]["completion_tokens"] == 12
    reported = sandboxed(shop).usage["prompt_tokens"]
    charge_micro = (own_input(text) if late else reported) * 30 + 12 * 60
    ended(me, answer, "R03" if late else "R04", charge_micro)


@pytest.mark.fault("F25")
@pytest.mark.rule("R04")
@pytest.mark.parametrize(
    "bad", [{"prompt_tokens": -1}, {"prompt_tokens": "7"}, {"prompt_tokens": 2**63}, [], "x", 7, None]
)
def test_the_last_plausible_report_counts(shop, me, bad):
    first = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    raw = whole_stream(
        chunk("one", usage=first), chunk(" two", usage=USED), chunk(None, finish="stop", usage=bad), b"[DONE]"
    )
    answer = asked(shop, me, f"f25-last-{len(repr(bad))}", raw, stream=True)
    complete(answer)
    assert not any(event.get("usage") for event in answer.events[:-1])
    ended(me, answer, "R04", 7 * 30 + 2 * 60)


# F26: the input was reported, then it was cut


@pytest.mark.fault("F26")
@pytest.mark.rule("R14")
@pytest.mark.parametrize("how", ["cut=6", "reset=6", "garbage=6", "error-event=6"])
def test_an_early_report_and_then_a_cut_is_free(shop, me, how):
    answer = me.chat("gpt-4", f"sandbox: tokens=20+usage-early+{how}", stream=True)
    broken_off(answer)
    receipt = ended(me, answer, "R14", 0)
    assert receipt["usage"] == {}
    from farebox.calls import log

    [attempt] = shop.read(log.attempts, answer.call)
    record = sandboxed(shop)
    cost = record.usage["prompt_tokens"] * 100_000 + own_output(answer.text) * 200_000
    assert 0 < attempt["cost_micro"] <= -(-cost // 1_000_000) + 1


@pytest.mark.fault("F26")
@pytest.mark.rule("R03")
def test_an_early_report_of_the_input_alone_is_not_the_usage_of_an_answer(shop, me):
    text = "sandbox: tokens=20+usage-early"
    answer = me.chat("gpt-4", text, stream=True)
    complete(answer)
    ended(me, answer, "R03", own_input(text) * 30 + 20 * 60)
