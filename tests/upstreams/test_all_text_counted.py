"""All text that a customer gets of an answer is counted: as a piece of output, or beside it (promises 4.2)."""

from __future__ import annotations

import json
import os
import random

import pytest

from farebox.protocol.dialect import Ask, BadAnswer, Event
from farebox.protocol.dialects.openai import DIALECT
from kit.rows import for_each
from upstreams.odd import HEAD, ROLE, chunk
from upstreams.test_reader import SHOWN, Picking, Slow, reader, slow

BASE64 = "iVBORw0KGgo" * 30
TOKEN = {
    "token": "yes",
    "logprob": -0.5,
    "bytes": [121],
    "top_logprobs": [{"token": "no", "logprob": -1, "bytes": None}],
}


def row(delta: dict, **more) -> dict:
    """A choice that says this; `more` stands beside its delta."""
    return {"index": 0, "delta": delta, "finish_reason": None} | more


def listed(*tokens: str, **more) -> dict:
    return {"content": [TOKEN | {"token": token} | more for token in tokens]}


def each_way(choice: dict, kind: str = "chat", **around) -> list[Event]:
    """What is made of it as the first event of a stream, as a later one, decoded whole, and in a whole answer."""
    first = chunk({"content": ""}) if kind == "chat" else HEAD | {"choices": [{"index": 0, "text": ""}]}
    payload = json.dumps(HEAD | {"choices": [choice]} | around).encode()
    picking = Picking(Ask(kind, True, {}, shown=SHOWN))
    begun, slowly, learned = reader(kind=kind), slow(kind=kind), reader(kind=kind)
    for own in (picking, begun, slowly):
        own.event(json.dumps(first).encode())
    for _ in range(2):  # what is around the choice is known, so that it may pass as it came
        learned.event(json.dumps(first).encode())
    whole = {"message" if name == "delta" else name: value for name, value in choice.items()} | {
        "finish_reason": "stop"
    }
    body = json.dumps(HEAD | {"choices": [whole]} | around).encode()
    readers = (reader(kind=kind), picking, begun, slowly, learned)
    return [*(own.event(payload) for own in readers), DIALECT.answer(body, Ask(kind, False, {}, shown=SHOWN))]


@for_each(
    ("choice", "beside", "shown"),
    [
        # The same thought twice is one; another is another.
        (row({"reasoning": "hm", "reasoning_content": "hm"}), [], "hm"),
        (row({"reasoning": "aha", "reasoning_content": "hm"}), ["aha"], "aha"),
        (row({"reasoning": "a b", "reasoning_details": [{"type": "t", "text": "a\n\nb"}]}), [], "a b"),
        (row({"reasoning": "a", "reasoning_details": [{"type": "t", "text": "all else"}]}), ["all else"], "all else"),
        (row({"content": "x", "reasoning_details": [{"type": "reasoning.encrypted", "data": BASE64}]}), [], BASE64),
        (row({"content": "x", "reasoning_details": [{"type": "t", "data": "read me"}]}), ["read me"], "read me"),
        (row({"thinking_blocks": [{"thinking": "t", "signature": "Eq8CkT+/=="}]}), [], "Eq8CkT"),
        (row({"thinking_blocks": [{"thinking": "t", "signature": "in words"}]}), ["in words"], "in words"),
        # Tokens count where nothing is said with them, alternatives never.
        (row({"content": "yes"}, logprobs=listed("yes")), [], '"no"'),
        (row({"content": ""}, logprobs=listed("yes")), ["yes"], '"no"'),
        (row({}, logprobs=listed("ye", "s!")), ["yes!"], "ye"),
        (row({}, logprobs={"refusal": [TOKEN]}), ["yes"], "yes"),
        (row({"content": "y"}, logprobs=listed(*["long "] * 20)), ["long " * 20], "long"),
        (row({}, logprobs=listed("bytes:\\xe4\\xbd", bytes=[0xE4, 0xBD]) | {"refusal": None}), ["\ufffd"], "bytes:"),
        (row({}, logprobs=listed("", bytes=list(b"as bytes"))), ["as bytes"], "97"),
        # Where no text belongs.
        (row({"tool_calls": [{"id": "an id of words", "function": {"name": "f"}}]}), ["an id of words"], "an id of"),
        (row({"tool_calls": [{"id": "call_1__thought__Eq8C", "function": {"name": "f"}}]}), [], "Eq8C"),
        (row({"content": "x", "extra_content": {"google": {"thought_signature": "Eq8C"}}}), [], "Eq8C"),
        (row({"content": "x", "extra_content": {"google": {"a note": "to read"}}}), ["a note", "to read"], "to read"),
        (row({"images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}}]}), [], BASE64),
        (row({"images": [{"image_url": {"url": "data:image/png;base64,no image"}}]}),
         ["data:image/png;base64,no image"], "no image"),
        (row({"audio": {"id": "audio_1", "data": BASE64, "transcript": "said"}}), [], "said"),
        (row({"audio": {"id": "a b", "data": "c d"}}), ["a b", "c d"], "c d"),
        (row({"content": "x", "annotations": [{"type": "url_citation", "url_citation": {"title": "A b"}}]}),
         ["url_citation", "A b"], "A b"),
        # Base64 that was written sign by sign.
        (row({"content": "data:text/plain;base64,SGVsbG8"}), ["SGVsbG8"], "SGVsbG8"),
        (row({"content": f"data:image/png;base64,{BASE64 * 40}"}), [], BASE64),
    ],
)  # fmt: skip
def test_what_counts_beside_the_output(choice, beside, shown):
    for event in each_way(choice):
        assert [text for _, text in event.beside] == beside
        assert shown.encode() in event.raw
        assert event.logprobs == ("logprobs" in choice)


def test_tokens_of_completions():
    likely = {
        "tokens": ["a", " b"],
        "token_logprobs": [None, -1.5],
        "top_logprobs": [None, {"x": -2.0}],
        "text_offset": [0, 1],
    }
    for text, beside in (("a b", []), ("", [(0, "a b")])):
        for event in each_way({"index": 0, "text": text, "logprobs": likely, "finish_reason": None}, "completions"):
            assert ([*event.beside], event.logprobs) == (beside, True)
            assert json.loads(event.raw)["choices"][0]["logprobs"] == likely


@for_each("empty", [None, {}, {"content": None}, {"content": []}, {"content": [], "refusal": []}])
def test_where_no_token_is_listed_no_logprobs_were_delivered(empty):
    assert not any(event.logprobs or event.beside for event in each_way(row({"content": "x"}, logprobs=empty)))


@for_each(
    ("given", "shown"),
    [
        ({"content": [TOKEN | {"id": 7, "text": "HIDDEN"}]}, {"content": [TOKEN | {"id": 7}]}),
        ({"content": [TOKEN | {"top_logprobs": [{"token": "t", "logprob": -1, "note": "HIDDEN"}]}]},
         {"content": [TOKEN | {"top_logprobs": [{"token": "t", "logprob": -1}]}]}),
        ({"content": [TOKEN | {"logprob": "HIDDEN"}]}, None),
        ({"content": [TOKEN, "HIDDEN"]}, None),
        ({"content": "HIDDEN"}, None),
        ("HIDDEN", None),
        ({"content": [TOKEN], "note": "HIDDEN"}, {"content": [TOKEN]}),
    ],
)  # fmt: skip
def test_only_the_known_fields_of_a_token_pass(given, shown):
    for event in each_way(row({"content": "yes"}, logprobs=given)):
        assert b"HIDDEN" not in event.raw
        assert json.loads(event.raw)["choices"][0]["logprobs"] == shown


def test_sources_count_once_however_often_they_are_told():
    sources = {
        "citations": ["https://a.example", "https://b.example"],
        "search_results": [{"title": "A b", "date": None}],
    }
    for own in (reader(), slow()):
        own.event(json.dumps(ROLE).encode())
        events = [own.event(json.dumps(chunk({"content": "x"}) | sources).encode()) for _ in range(3)]
        assert [text for _, text in events[0].beside] == ["https://a.example", "https://b.example", "A b"]
        assert [[*event.beside] for event in events[1:]] == [[], []]
        assert all(b"https://b.example" in event.raw for event in events)


@for_each("padding", ["x" * 129, "two words", ["x"], {"x": "y"}, 5])
def test_padding_is_no_text_and_not_long(padding):
    for event in each_way(row({"content": "x"}), obfuscation=padding):
        assert b"obfuscation" not in event.raw
        assert event.pieces == [(0, "x")]


# --- whatever an upstream writes wherever

NIGHT = bool(os.environ.get("NIGHT"))
AROUND = ("citations", "search_results", "obfuscation", "model", "object", "id", "system_fingerprint", "odd")


class Planter:
    """Answers in which each text is another one; some have what only looks like a text's place."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.planted = 0

    def text(self) -> str:
        self.planted += 1
        return f"<word {self.planted}>"

    def tree(self, depth: int = 0):
        kind = self.dice.randrange(6 if depth < 3 else 3)
        if kind < 3:
            return self.dice.choice([self.text(), self.text(), 1, None, "name"])
        if kind == 3:
            return [self.tree(depth + 1) for _ in range(self.dice.randrange(3))]
        return {self.dice.choice(["type", "text", "url", self.text()]): self.tree(depth + 1) for _ in range(2)}

    def some(self, names: tuple[str, ...], likely: float = 0.3) -> dict:
        return {
            name: self.tree() if self.dice.random() < 0.3 else self.text()
            for name in names
            if self.dice.random() < likely
        }

    def many(self, make, *names: str) -> dict:
        return {
            name: [make() for _ in range(self.dice.choice((1, 1, 2)))] for name in names if self.dice.random() < 0.2
        }

    def call(self) -> dict:
        function = self.some(("name", "arguments", "odd"), 0.8)
        return self.some(("id", "type", "extra_content", "odd")) | {"function": function} | (
            {"custom": self.some(("name", "input", "odd"), 0.8)} if self.dice.random() < 0.2 else {}
        )  # fmt: skip

    def entry(self) -> dict:
        return self.some(("type", "text", "summary", "thinking", "signature", "data", "id", "odd"))

    def token(self) -> dict:
        return {"token": self.text(), "logprob": -1, **self.some(("bytes", "odd"), 0.1)}

    def said(self) -> dict:
        dice = self.dice
        found = self.some(("content", "reasoning", "reasoning_content", "refusal", "role", "name", "odd"), 0.25)
        found |= self.many(self.call, "tool_calls") | self.many(self.entry, "reasoning_details", "thinking_blocks")
        found |= self.many(self.tree, "annotations", "images")
        if dice.random() < 0.1:
            found["audio"] = self.some(("id", "data", "transcript", "expires_at", "odd"), 0.6)
        if dice.random() < 0.1:
            found["function_call"] = self.some(("name", "arguments", "odd"), 0.8)
        if dice.random() < 0.1:
            found["extra_content"] = self.tree()
        return found

    def choice(self, kind: str, index: int) -> dict:
        dice = self.dice
        found = {"delta": self.said()} if kind == "chat" else {"text": self.text(), **self.some(("odd",))}
        found |= {"index": index, "finish_reason": dice.choice([None, None, None, "stop", self.text()])}
        if dice.random() < 0.2:
            flat = {"tokens": [self.text()], "token_logprobs": [-1], "odd": self.text()}
            found["logprobs"] = {**self.many(self.token, "content", "refusal"), **(flat if kind != "chat" else {})}
        return found

    def event(self, kind: str) -> dict:
        choices = [self.choice(kind, index) for index in range(self.dice.choice((1, 1, 1, 2)))]
        return {"choices": choices} | self.some(AROUND, 0.05)


def texts_in(value, *, tokens: bool) -> str:
    """All that can be read in a JSON value but alternatives; and listed tokens, where they are asked for."""
    if isinstance(value, dict):
        left = {"top_logprobs"} if tokens else {"top_logprobs", "logprobs"}
        return " ".join(f"{name} {texts_in(each, tokens=tokens)}" for name, each in value.items() if name not in left)
    if isinstance(value, list):
        return " ".join(texts_in(each, tokens=tokens) for each in value)
    return value if isinstance(value, str) else ""


def marks(text: str) -> set[str]:
    return {part.partition(">")[0] for part in text.split("<word ")[1:]}


def delivered_and_counted(events: list[Event]) -> tuple[set[str], set[str], set[str]]:
    """The marks that a customer can read, in all and without listed tokens; and those that are counted."""
    shown = [json.loads(event.raw) for event in events if event.raw]
    counted = "".join(text for event in events for _, text in (*event.pieces, *event.beside))
    return marks(texts_in(shown, tokens=True)), marks(texts_in(shown, tokens=False)), marks(counted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_what_is_delivered_is_counted_and_nothing_else_is(kind):
    read = 0
    for seed in range(4000 if NIGHT else 300):
        planter = Planter(seed)
        sent = [planter.event(kind) for _ in range(4)]
        for way in (reader, slow, "whole"):
            try:
                events = played(sent, way, kind)
            except BadAnswer:
                continue
            everything, said, counted = delivered_and_counted(events)
            assert said <= counted <= everything, (seed, way, said - counted, counted - everything)
            read += bool(said)
    assert read > 300


def played(sent: list[dict], way, kind: str) -> list[Event]:
    if way == "whole":
        body = json.dumps(sent[0]).replace('"delta"', '"message"').encode()
        return [DIALECT.answer(body, Ask(kind, False, {}, choices=2, shown=SHOWN))]
    own: Slow = way(n=2, kind=kind)
    return [*(own.event(json.dumps(one).encode()) for one in sent), *own.close()]


HALF = "\ud83d"


@for_each(
    "delta",
    [
        {"content": HALF},
        {"content": HALF + "a" + HALF},
        {"content": [{"type": "text", "text": HALF}]},
        {"reasoning": HALF},
        {"reasoning": HALF, "reasoning_content": "b"},
        {"refusal": HALF},
        {"audio": {"transcript": HALF}},
        {"audio": {"id": HALF, "data": HALF}},
        {"function_call": {"name": HALF, "arguments": HALF}},
        {"tool_calls": [{"id": HALF, "function": {"name": HALF, "arguments": HALF}}]},
        {"tool_calls": [{"id": "a", "custom": {"name": "f", "input": HALF}, "extra_content": {"x": HALF}}]},
        {"reasoning_details": [{"type": HALF, "text": HALF, "signature": HALF}]},
        {"thinking_blocks": [{"thinking": HALF, "odd": HALF}]},
        {"annotations": [{"title": HALF}]},
        {"images": [{"image_url": {"url": HALF}}]},
        {"extra_content": {HALF: 1}},
    ],
)
def test_half_a_sign_is_counted_where_it_is_delivered(delta):
    """An answer of nothing but half a sign is not empty: U+FFFD stands for it where the other half never comes."""
    end = HEAD | {"choices": [row({}, finish_reason="stop")]}
    streams = [
        [chunk(delta), end],
        [ROLE, chunk(delta), end],
        [chunk(delta)],
        [HEAD | {"choices": [row(delta, finish_reason="stop")]}],
    ]
    whole = [{"choices": [row(delta, finish_reason="stop")]}]
    for sent, way in [*((sent, reader) for sent in streams), *((sent, slow) for sent in streams), (whole, "whole")]:
        events = played(sent, way, "chat")
        shown = "".join(json.dumps(json.loads(event.raw), ensure_ascii=False) for event in events if event.raw)
        counted = "".join(text for event in events for _, text in (*event.pieces, *event.beside))
        assert shown.count("\ufffd") == counted.count("\ufffd") > 0
