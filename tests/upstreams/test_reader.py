"""The reader of a stream: whatever an upstream sends, what SDKs demand; and what fits already, byte for byte."""

from __future__ import annotations

import json
import os
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farebox.care.selftest import replay
from farebox.protocol.dialect import Ask, BadAnswer, Event, Shown
from farebox.protocol.dialects.openai import DIALECT
from farebox.protocol.openai_form import fitting, picked
from farebox.protocol.openai_form.reader import Reader
from farebox.protocol.stream import SseReader
from kit import openai_later as openai
from kit.rows import for_each
from upstreams import judges
from upstreams.odd import END, HEAD, ODD, ROLE, USED, call, chunk, half, payloads, tools

SHOWN = Shown("chatcmpl-0abcDEF", 1_790_000_000, "sold")


def reader(*, n: int = 1, kind: str = "chat") -> Reader:
    return DIALECT.reader(Ask(kind, True, {}, choices=n, shown=SHOWN))


def read(sent, *, n: int = 1, kind: str = "chat", own: Reader | None = None):
    """The events of these payloads, with what the end adds; up to the end mark."""
    source = own or reader(n=n, kind=kind)
    events = []
    for one in sent:
        payload = one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode()
        event = source.event(payload)
        if event.done:
            break
        events.append(event)
    return events + source.close()


def raws(events) -> list[bytes]:
    return [event.raw for event in events if event.choices]


def of(events) -> list[dict]:
    return [json.loads(raw) for raw in raws(events)]


class Slow(Reader):
    """A reader that decodes each event whole, and writes it anew."""

    def event(self, payload: bytes) -> Event:
        return Event(payload, done=True) if payload.startswith(b"[DONE]") else self._any(payload)


def slow(*, n: int = 1, kind: str = "chat") -> Reader:
    return Slow(Ask(kind, True, {}, choices=n, shown=SHOWN))


# --- the schema


@for_each("name", ODD)
def test_an_odd_stream_is_what_sdks_demand(name):
    odd = ODD[name]
    events = read(payloads(odd))
    assert not any(event.error for event in events)
    judges.node(raws(events))
    final = judges.python(raws(events))
    [choice] = final["choices"]
    message = choice["message"]
    assert (message["content"] or "", choice["finish_reason"]) == (odd.text, odd.finish)
    called = [(one["function"]["name"], one["function"]["arguments"]) for one in message["tool_calls"] or ()]
    assert called == odd.calls
    assert (final["id"], final["created"], final["model"]) == SHOWN
    # What is counted is what is delivered.
    counted = "".join(text for event in events for _, text in event.pieces)
    assert counted == (message["content"] or "") + "".join(name + arguments for name, arguments in called)
    assert sum(event.output_bytes for event in events) == len(counted.encode())
    assert {reason for event in events for _, reason in event.finishes} == {odd.finish}


def test_what_fits_passes_as_it_came():
    spaced = json.dumps(chunk({"content": "Hé\\u00e9"}) | {"usage": None}, ensure_ascii=False).encode()
    packed = json.dumps(chunk({"content": "x"}), separators=(",", ":")).encode()
    for one in (spaced, packed):
        events = read([json.dumps(ROLE), one, one, one, END])
        choice = one[one.index(b"[") + 1 : one.rindex(b"}]") + 1]
        assert all(b"[" + choice + b"]}" in raw for raw in raws(events)[2:4])
        assert judges.python(raws(events))["choices"][0]["finish_reason"] == "stop"


def test_padding_of_openai_stays():
    sent = [chunk({"content": "x"}) | {"usage": None, "obfuscation": pad} for pad in ("aB3", "", "Zz09", "q")]
    found = of(read([ROLE, *sent, END]))
    assert [one.get("obfuscation") for one in found[1:5]] == ["aB3", None, "Zz09", "q"]
    assert all("usage" not in one for one in found)


@pytest.mark.parametrize(
    ("n", "indexes"), [(1, [0]), (3, [2, 0, 1]), (3, [1, 3, 5]), (2, [1, 0]), (4, [3, 1]), (1, [7])]
)
def test_choices_are_numbered_from_zero_in_the_order_in_which_sdks_need_them(n, indexes):
    parts = [
        HEAD | {"choices": [{"index": i, "delta": {"content": f"<{i}>"}, "finish_reason": None}]} for i in indexes * 3
    ]
    events = read(parts, n=n)
    judges.node(raws(events))
    final = judges.python(raws(events))
    assert len(final["choices"]) == n
    said = sorted(choice["message"]["content"] for choice in final["choices"])
    assert said == sorted([f"<{i}>" * 3 for i in indexes] + [""] * (n - len(indexes)))
    for i in indexes:
        if i < n:
            assert final["choices"][i]["message"]["content"] == f"<{i}>" * 3


def test_more_choices_than_were_asked_for_are_neither_passed_nor_counted():
    parts = [
        HEAD | {"choices": [{"index": i, "delta": {"content": f"<{i}>"}, "finish_reason": None} for i in (0, 1)]},
        HEAD | {"choices": [{"index": 1, "delta": {"content": "more"}, "finish_reason": "stop"}]},
    ]
    events = read(parts)
    [choice] = judges.python(raws(events))["choices"]
    assert choice["message"]["content"] == "<0>"
    assert [event.pieces for event in events if event.pieces] == [[(0, "<0>")]]


def test_an_empty_stream_is_an_answer_without_words():
    for n in (1, 3):
        final = judges.python(raws(read([b"[DONE]"], n=n)))
        assert [(c["message"]["content"], c["finish_reason"]) for c in final["choices"]] == [("", "stop")] * n
    [event] = read([b"[DONE]"], kind="completions")
    assert json.loads(event.raw)["choices"] == [{"index": 0, "text": "", "finish_reason": "stop"}]


def test_ids_that_we_make_differ_and_are_short():
    events = read(tools(call("{}"), call("{}"), call("{}")))
    ids = [
        one["id"]
        for event in of(events)
        for choice in event["choices"]
        for one in choice["delta"].get("tool_calls", ())
    ]
    assert len(set(ids)) == 3
    assert all(len(one) <= 40 and one.replace("_", "").isalnum() for one in ids)


def test_completions():
    sent = [
        {"id": "c", "choices": [{"text": "Hel", "index": 0}]},
        {"choices": [{"text": "lo", "logprobs": None, "index": 0, "finish_reason": "eos"}]},
    ]
    found = of(read(sent, kind="completions"))
    assert [choice for one in found for choice in one["choices"]] == [
        {"index": 0, "text": "Hel", "finish_reason": None},
        {"index": 0, "text": "lo", "logprobs": None, "finish_reason": "stop"},
    ]
    assert {one["object"] for one in found} == {"text_completion"}
    chat = of(read([ROLE, chunk({"content": "Hi"}), END], kind="completions"))
    assert "".join(choice["text"] for one in chat for choice in one["choices"]) == "Hi"


@for_each(
    ("delta", "pieces", "visible", "reasoning"),
    [
        ({"content": "Hé"}, ["Hé"], True, False),
        ({"content": None, "reasoning_content": "hm"}, ["hm"], False, True),
        ({"reasoning": "hm"}, ["hm"], False, True),
        ({"reasoning": "hm", "reasoning_content": "hm"}, ["hm"], False, True),
        ({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, ["hm"], False, True),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}, ["hm"], False, True),
        ({"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}, ["hm"], False, True),
        ({"reasoning_content": "", "content": "x"}, ["x"], True, False),
        ({"tool_calls": [{"function": {"name": "f", "arguments": '{"a"'}}]}, ["f", '{"a"'], True, False),
        ({"tool_calls": [{"custom": {"name": "f", "input": "i"}}]}, ["f", "i"], True, False),
        ({"function_call": {"name": "f", "arguments": {"a": 1}}}, ["f", '{"a":1}'], True, False),
        ({"refusal": "No."}, ["No."], True, False),
        ({"audio": {"transcript": "said", "data": "AAAA"}}, ["said"], True, False),
        ({"audio": {"data": "AAAA"}}, [], True, False),
        ({"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}, [], True, False),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]}, ["t"], False, True),
        ({"content": [{"type": "text", "text": "t"}, "u", {"type": "reference"}]}, ["tu"], True, False),
        ({"content": []}, [], False, False),
        ({"content": ""}, [], False, False),
    ],
)
def test_what_counts_as_output(delta, pieces, visible, reasoning):
    whole = HEAD | {"choices": [{"index": 0, "message": delta, "finish_reason": "stop"}]}
    for event in (
        reader().event(json.dumps(chunk(delta)).encode()),
        DIALECT.answer(json.dumps(whole).encode(), Ask("chat", False, {}, shown=SHOWN)),
    ):
        assert event.pieces == [(0, piece) for piece in pieces]
        assert event.output_bytes == sum(len(piece.encode()) for piece in pieces)
        assert (event.visible, event.reasoning, event.refused) == (visible, reasoning, "refusal" in delta)
        for piece in pieces:  # and all of it is passed on
            assert json.dumps(piece)[1:-1].encode() in json.dumps(json.loads(event.raw)).encode()


# --- what is not for customers

SECRET = "whom-we-pay"
NAMES = st.sampled_from(
    [
        "provider",
        "cost",
        "organization",
        "system_fingerprint",
        "service_tier",
        "x_groq",
        "api_key",
        "account",
        "balance",
        "native_finish_reason",
        "content_filter_results",
        "provider_specific_fields",
        "stop_reason",
    ]
)
VALUES = st.sampled_from([SECRET, {"x": SECRET}, [SECRET], {SECRET: 1}])


@pytest.mark.slow
@given(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.sampled_from(sorted(ODD)),
    st.integers(0, 6),
    st.booleans(),
)
def test_no_field_of_a_vendor_passes(more, name, where, slowly):
    sent = []
    for payload in payloads(ODD[name]):
        event = json.loads(payload)
        spots = [event]
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            spots += [choice, delta, *(one for one in delta.get("tool_calls") or () if isinstance(one, dict))]
            spots += [one["function"] for one in delta.get("tool_calls") or () if isinstance(one, dict)]
        spots += [event["usage"]] if isinstance(event.get("usage"), dict) else []
        spots[where % len(spots)].update(more)
        sent.append(json.dumps(event))
    events = read(sent, own=slow() if slowly else None)
    assert SECRET.encode() not in b"".join(raws(events))
    final = judges.python(raws(events))["choices"][0]
    assert (final["message"]["content"] or "") == ODD[name].text.replace("\U0001f600", "\U0001f600")


def test_texts_for_the_customer_stay():
    delta = {
        "content": "x", "reasoning_content": "r", "reasoning": "r", "refusal": "no",
        "annotations": [{"type": "url_citation", "index": 0}], "reasoning_details": [{"type": "t", "text": "r", "index": 0}],
        "audio": {"id": "a", "transcript": "t"}, "extra_content": {"google": {"thought_signature": "s"}},
    }  # fmt: skip
    likely = {"content": [{"token": "x", "logprob": -0.25, "bytes": [120], "top_logprobs": []}]}
    sent = chunk(delta) | {"citations": ["https://a"]}
    sent["choices"][0]["logprobs"] = likely
    [found] = of([read([ROLE, sent])[1]])
    assert found["choices"][0]["delta"] == delta
    assert found["choices"][0]["logprobs"] == likely
    assert found["citations"] == ["https://a"]
    signed = tools(call("{}", id="a", index=0, extra_content={"google": {"thought_signature": "s"}}))
    assert b"thought_signature" in b"".join(raws(read(signed)))


def test_usage_is_read_and_never_shown():
    usage = USED | {"cost": 0.5, "prompt_tokens_details": {"cached_tokens": 3, "cost": 1}}
    for sent in (chunk({"content": "x"}, usage=usage), HEAD | {"choices": [], "usage": usage}, {"usage": usage}):
        event = reader().event(json.dumps(sent).encode())
        assert event.usage == usage
        assert b"usage" not in event.raw
    moonshot = chunk({})
    moonshot["choices"][0]["usage"] = USED
    assert reader().event(json.dumps(moonshot).encode()).usage == USED
    assert reader().event(json.dumps(HEAD | {"choices": [], "x_groq": {"usage": USED}}).encode()).usage == USED
    assert reader().event(json.dumps(chunk(usage=0)).encode()).usage == 0  # to be refused with a reason


# --- what is fatal, and what is not

BAD = {
    "empty": b"",
    "text": b"hello",
    "page": b"<html></html>",
    "list": b"[]",
    "cut": json.dumps(chunk({"content": "x"})).encode()[:-1],
    "two": json.dumps(chunk()).encode() * 2,
    "utf8": json.dumps(chunk({"content": "é"}), ensure_ascii=False).encode().replace(b"\xc3\xa9", b"\xff"),
    "utf8 in a field that is skipped": json.dumps(chunk(odd="é"), ensure_ascii=False).encode().replace(b"\xc3\xa9", b"\xc3"),
    "nan": json.dumps(chunk(odd=float("nan"))).encode(),
    "deep": json.dumps(chunk(odd=None)).encode().replace(b"null}", b"[" * 10_000 + b"]" * 10_000 + b"}"),
    "65 deep": json.dumps(chunk(odd=None)).encode()[:-5] + b"[" * 64 + b"]" * 64 + b"}",
    "choices text": json.dumps(chunk(choices="x")).encode(),
    "choices of texts": json.dumps(chunk(choices=["x"])).encode(),
    "negative index": json.dumps(chunk(choices=[{"index": -1, "delta": {}}])).encode(),
    "content number": json.dumps(chunk({"content": 5})).encode(),
}  # fmt: skip


@for_each("name", BAD)
def test_broken_events(name):
    with pytest.raises(BadAnswer):
        reader().event(BAD[name])
    begun = reader()
    for one in (ROLE, chunk({"content": "x"})):
        begun.event(json.dumps(one).encode())
    with pytest.raises(BadAnswer):
        begun.event(BAD[name])


def test_depth_is_counted_outside_strings():
    braces = '{"[' * 500 + '\\" \\\\'
    assert reader().event(json.dumps(chunk({"content": braces})).encode()).pieces == [(0, braces)]
    deep = json.dumps(chunk(odd=None)).encode()[:-5] + b"[" * 63 + b"]" * 63 + b"}"
    assert reader().event(deep).choices == 1
    likely = chunk({"content": "x"})
    likely["choices"][0]["logprobs"] = {"content": json.loads("[" * 70 + "]" * 70)}
    begun = reader()
    begun.event(json.dumps(ROLE).encode())
    with pytest.raises(BadAnswer):
        begun.event(json.dumps(likely).encode())


def test_errors_inside_a_stream():
    for raw in (
        b'{"error":{"message":"boom","type":"server_error"}}',
        b'{"error":"boom"}',
        b'{"object":"error","message":"boom","code":500}',
    ):
        event = reader().event(raw)
        assert (event.error.message, event.error.kind, event.pieces) == ("boom", "down", [])
    lone = reader().event(b'{"error":{"message":"b\\ud83d","type":"server_error"}}')
    assert lone.error.message == "b\ufffd"
    with_choices = reader().event(json.dumps(chunk({"content": "x"}, error={"code": 429, "message": "slow"})).encode())
    assert (with_choices.error.kind, with_choices.pieces) == ("busy", [])
    assert reader().event(json.dumps(chunk({"content": "x"}, error=None)).encode()).error is None
    assert reader().event(json.dumps(chunk({}, "error")).encode()).error.kind == "down"


def test_a_line_end_between_tokens_never_reaches_a_customer():
    source = reader()
    source.event(json.dumps(ROLE).encode())
    plain = json.dumps(chunk({"content": "x"})).encode()
    source.event(plain)
    event = source.event(plain.replace(b'"delta": ', b'"delta":\n'))
    assert (event.pieces, b"\n" in event.raw) == ([(0, "x")], False)


# --- any stream, any cut


def without_nulls(chunk):
    return openai.ChatCompletionChunk.model_validate(chunk).model_dump(exclude_none=True)


def streams():
    """The recorded streams of chat, with the number of choices that was asked for."""
    for case in replay.cases():
        if case.stream and case.kind == "chat":
            yield case, (replay.RECORDINGS / case.file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("case", "data"), [pytest.param(*both, id=both[0].file) for both in streams()])
def test_a_recording_is_the_same_however_it_is_cut_and_fits_the_sdks(case, data):
    def played(pieces, own):
        source = SseReader()
        sent = [payload for piece in pieces for payload in source.feed(piece)] + source.end()
        events = []
        for payload in sent:
            event = own.event(payload)
            if event.done or event.error is not None:
                return events, event.error
            events.append(event)
        return events + own.close(), None

    whole, fault = played([data], reader(n=case.n))
    dice = random.Random(7)
    for _ in range(5):
        places = sorted(dice.sample(range(1, len(data)), min(9, len(data) - 1)))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        assert raws(played(pieces, reader(n=case.n))[0]) == raws(whole)
    # Nothing is decided by whether an event could pass as it came.
    slowly, _ = played([data], slow(n=case.n))
    assert [(e.pieces, e.finishes, e.usage, e.output_bytes, e.visible, e.reasoning) for e in slowly] == [
        (e.pieces, e.finishes, e.usage, e.output_bytes, e.visible, e.reasoning) for e in whole
    ]
    for fast, slower in zip(of(whole), of(slowly), strict=True):
        assert without_nulls(fast) == without_nulls(slower)
    if fault is None:
        judges.node(raws(whole))
        judges.python(raws(whole))


# --- halves of signs

SIGNS = st.text(st.sampled_from('ab\U0001f600\U0001f680é你\\"'), min_size=1, max_size=12)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["content", "reasoning_content"]), SIGNS, min_size=1), st.integers(0, 2**32))
@example({"content": "\U0001f600"}, 0)
def test_a_text_cut_by_its_utf_16_units_is_whole_again(fields, seed):
    dice = random.Random(seed)
    rows = []
    for name, text in fields.items():
        units = text.encode("utf-16-le")
        at = 0
        while at < len(units):
            size = 2 * dice.choice((1, 1, 2, 3))
            piece = units[at : at + size].decode("utf-16-le", "surrogatepass")
            rows.append((name, at, json.dumps(chunk({name: piece}))))  # lone halves as escapes
            at += size
    dice.shuffle(rows)  # the fields come mixed, each in its own order
    order = {name: sorted(at for other, at, _ in rows if other == name) for name in fields}
    by_place = {(name, at): payload for name, at, payload in rows}
    sent = [by_place[name, order[name].pop(0)] for name, _, _ in rows]
    found = of(read([ROLE, *sent, END]))
    for name, text in fields.items():
        assert "".join(one["choices"][0]["delta"].get(name) or "" for one in found) == text


def test_halves_of_different_choices_and_fields_are_not_joined():
    def row(index, name, escape):
        return half(HEAD | {"choices": [{"index": index, "delta": {name: "@"}, "finish_reason": None}]}, escape)

    found = of(read([row(0, "content", "\\ud83d"), row(1, "content", "\\ude00"), row(0, "reasoning", "\\ude00")], n=2))
    said = [
        (c["index"], c["delta"].get("content"), c["delta"].get("reasoning")) for one in found for c in one["choices"]
    ]
    assert ("0", "\U0001f600") not in {(str(index), text) for index, text, _ in said}
    assert (1, "\ufffd", None) in said
    assert any(thought == "\ufffd" for _, _, thought in said)
    assert said[-1][:2] == (0, "\ufffd") or (0, "\ufffd", None) in said


def test_bytes_that_are_halves_are_joined_too():
    """CESU-8: each half as three bytes, which is no UTF-8."""
    high, low = "\ud83d".encode("utf-8", "surrogatepass"), "\ude00".encode("utf-8", "surrogatepass")
    plain = json.dumps(chunk({"content": "@"})).encode()
    found = of(read([ROLE, plain.replace(b"@", high), plain.replace(b"@", low), plain.replace(b"@", high + low), END]))
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in found) == "\U0001f600\U0001f600"


def test_a_half_in_a_field_that_nobody_joins_is_replaced():
    likely = chunk({"content": "x"})
    likely["choices"][0]["logprobs"] = {"content": [{"token": "@", "logprob": -1, "bytes": None, "top_logprobs": []}]}
    [found] = of(read([ROLE, half(likely, "\\ud83d")])[1:2])
    assert found["choices"][0]["logprobs"]["content"][0]["token"] == "\ufffd"


# --- images in a text

IMAGE = "data:image/png;base64," + "iVBORw0KGgo" * 100


@pytest.mark.parametrize("cut", [0, 22, 40, 1000])
def test_an_image_in_a_text_is_no_words(cut):
    text = f"Look: ![x]({IMAGE}) and {IMAGE} end"
    parts = [text[:cut], text[cut:]] if cut else [text]
    events = read([ROLE, *(chunk({"content": part}) for part in parts), END])
    words = "".join(piece for event in events for _, piece in event.pieces)
    shown = "".join(one["choices"][0]["delta"].get("content") or "" for one in of(events))
    assert shown == text
    if cut != 22:  # the mark itself is cut
        assert words == "Look: ![x](data:image/png;base64,) and data:image/png;base64, end"
    assert len(words) + sum(event.media_bytes for event in events) == len(text)


# --- three ways to read an event, one meaning


class Picking(Reader):
    """A reader that takes no event as it came."""

    def _learn(self, payload: bytes) -> None:
        pass


NOTHING = [None, "", [], {}]
WORDS = ["", "x", " é", "你", "a\n", '"\\', "data:image/png;base64,AA", "A" * 9, "\U0001f600", "\ud83d", "\ude00!"]
TEXTS = ["", "x", " é", "你", "a\n", '"\\'] * 6 + WORDS
USUAL = {
    "around": {"usage": [None, None, None, USED]},
    "choice": {"index": [0, 0, 0, 1], "finish_reason": [None] * 9 + ["stop"], "logprobs": [None, {"content": [{"token": "x"}]}]},
    "delta": {"content": TEXTS, "role": [None, None, "assistant"], "reasoning": TEXTS, "reasoning_content": TEXTS},
    "call": {"index": [0, 0, 1], "id": [None, "", "a"], "type": ["function"]},
    "function": {"arguments": ["", "{}"], "name": [None, "", "f"]},
    "detail": {"type": ["reasoning.text"], "text": TEXTS, "index": [0, 1, 3]},
}  # fmt: skip
SELDOM = {
    "around": {"id": ["other", 7], "model": ["", "up2", 5, None], "provider": [SECRET], "citations": [*NOTHING, ["https://a"]],
        "obfuscation": ["aB3", ""], "x_groq": [*NOTHING, {"usage": USED}], "error": [*NOTHING, {"message": "boom"}],
        "object": [None, "error"], "odd": [SECRET, [[{}] * 40]]},
    "choice": {"index": [None, "1", 2, 5, 1.0], "finish_reason": ["", "length", "end_turn", "eos_found", "error", 1],
        "native_finish_reason": [SECRET], "stop_reason": NOTHING, "usage": [*NOTHING, USED],
        "logprobs": [*NOTHING, {"content": [], "price": SECRET}]},
    "delta": {"content": [None, [], [{"type": "text", "text": "t"}], 5], "reasoning": NOTHING, "reasoning_content": NOTHING,
        "refusal": [*NOTHING, "No."], "annotations": [*NOTHING, [{"url": "u"}]], "images": NOTHING, "audio": NOTHING,
        "thinking_blocks": [*NOTHING, [{"thinking": "t"}]], "function_call": [*NOTHING, {"name": "f", "arguments": "{}"}],
        "tool_calls": NOTHING, "reasoning_details": NOTHING, "extra_content": [*NOTHING, {"s": "t"}], "provider": [SECRET]},
    "call": {"index": [None, "0"], "id": ["b", 5], "custom": [None, {"input": "i"}], "extra_content": [None, {"s": "t"}],
        "function": NOTHING, "cost": [SECRET]},
    "function": {"arguments": [None, {"a": 1}], "name": ["g"], "cost": [SECRET]},
    "detail": {"index": [None, "0"], "summary": ["s"]},
}  # fmt: skip


def made(dice: random.Random, what: str) -> dict:
    """An object with most of what is usual in it, and sometimes something odd."""
    found = {name: dice.choice(values) for name, values in USUAL[what].items() if dice.random() < 0.8}
    if dice.random() < 0.15:
        name = dice.choice(sorted(SELDOM[what]))
        found[name] = dice.choice(SELDOM[what][name])
    return found


def made_choice(dice: random.Random, kind: str) -> dict:
    if kind == "completions":
        return {"text": dice.choice(TEXTS)} | made(dice, "choice")
    delta = {}
    if dice.random() < 0.3:
        calls = [{"function": made(dice, "function")} | made(dice, "call") for _ in range(dice.choice((1, 1, 2)))]
        delta["tool_calls"] = calls
    if dice.random() < 0.2:
        delta["reasoning_details"] = [made(dice, "detail") for _ in range(dice.choice((1, 2)))]
    return {"finish_reason": None, "delta": delta | made(dice, "delta")} | made(dice, "choice")


def made_stream(dice: random.Random, kind: str) -> list[bytes]:
    sent = []
    around = made(dice, "around")
    for _ in range(8):
        around = around if dice.random() < 0.7 else made(dice, "around")
        choices = [made_choice(dice, kind) for _ in range(dice.choice((1,) * 12 + (0, 2)))]
        text = json.dumps(HEAD | {"choices": choices} | around, ensure_ascii=dice.random() < 0.5)
        sent.append(text.encode("utf-8", "surrogatepass"))
    return sent


def test_each_way_of_reading_an_event_says_the_same(monkeypatch):
    taken = dict.fromkeys(("picked", "fitting"), 0)
    for module in (picked, fitting):
        for name in ("chat", "text"):
            monkeypatch.setattr(
                module, name, counting(getattr(module, name), module.__name__.rpartition(".")[2], taken)
            )
    dice = random.Random(12)
    streams = 2000 if os.environ.get("NIGHT") else 120
    for _ in range(streams):
        kind = dice.choice(("chat", "chat", "chat", "completions"))
        sent, ask = made_stream(dice, kind), Ask(kind, True, {}, choices=dice.choice((1, 1, 2)), shown=SHOWN)
        slowest, picking, usual = (meanings(one(ask), sent) for one in (Slow, Picking, Reader))
        assert slowest == picking == usual
        assert SECRET not in json.dumps(usual)
    assert min(taken.values()) > streams // 3, taken


def counting(read, name: str, taken: dict[str, int]):
    def counted(*given):
        event = read(*given)
        taken[name] += event is not None
        return event

    return counted


def meanings(own: Reader, sent: list[bytes]) -> list:
    """What the gateway and the customer make of each event, and of the end."""
    found: list = []
    for payload in sent:
        try:
            found.append(meaning(own.event(payload)))
        except BadAnswer as bad:
            return [*found, bad.why]
    return found + [meaning(event) for event in own.close()]


def meaning(event: Event) -> dict:
    said = {name: getattr(event, name) for name in Event.__struct_fields__ if name not in {"raw", "error"}}
    fault = event.error and (event.error.kind, event.error.message)
    return said | {"error": fault, "shown": shown_by(json.loads(event.raw)) if event.raw else None}


def shown_by(value):
    """A JSON value without nulls, and without the type and empty id of a tool call that goes on: they say nothing."""
    if isinstance(value, dict):
        if "function" in value and "name" not in value["function"]:
            value = value | {"type": None, "id": value.get("id") or None}
        return {name: shown_by(each) for name, each in value.items() if each is not None}
    return [shown_by(each) for each in value] if isinstance(value, list) else value
