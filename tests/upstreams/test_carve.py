"""A long answer that is read in pieces is read as a short one is, however it is cut."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from farebox.protocol import carve
from farebox.protocol.dialect import Ask, BadAnswer, Shown
from farebox.protocol.dialects.openai import DIALECT
from farebox.protocol.kind import Call
from farebox.protocol.kinds.embeddings import Embeddings
from farebox.protocol.openai_form import splice
from farebox.protocol.openai_form.reader import Reader

SEEDS = 10_000 if os.environ.get("NIGHT") else 200
SHOWN = Shown("chatcmpl-0abcDEF", 1_790_000_000, "sold")
TEXTS = ("a", "sand", 'q"', "\\", '\\\\"', "中文", "😀", "\ud83d", "\udc00x", "]},{", "\n\t", "", '{"a":[', "x" * 40)

# Of embeddings what is skipped was not looked at.
STRICTER = (("The answer is nested too deeply.", True), ("The answer is not UTF-8.", True))


class Made:
    """Answers at random, as servers write them and as none should."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self) -> str:
        most = len(TEXTS) if self.rng.random() < 0.3 else 7  # most have no halves of signs
        return "".join(self.rng.choice(TEXTS[:most]) for _ in range(self.rng.randrange(5)))

    def anything(self, depth: int = 0) -> Any:
        kind = self.rng.randrange(8 if depth < 4 else 6)
        if kind < 6:
            return self.rng.choice([self.text(), 0, -1.5, 1e300, 2**70, True, None, 12])
        if kind == 6 and self.rng.random() < 0.02:
            levels = self.rng.choice([55, 58, 60, 62, 70])  # some of them too deep, where they stand
            return json.loads("[" * levels + "]" * levels)
        if kind == 6:
            return [self.anything(depth + 1) for _ in range(self.rng.randrange(5))]
        return {self.text(): self.anything(depth + 1) for _ in range(self.rng.randrange(4))}

    def likely(self) -> dict[str, Any]:
        return {"token": self.text(), "logprob": -self.rng.random(), "bytes": [1, 2], "top_logprobs": self.anything()}

    def logprobs(self) -> Any:
        rows = [self.likely() for _ in range(self.rng.randrange(6))]
        flat = {"tokens": [self.text() for _ in rows], "token_logprobs": [-self.rng.random() for _ in rows]}
        return self.rng.choice(
            [None, {"content": rows}, {"content": rows, "refusal": None}, {"content": rows, "x": 1}, flat, {}, rows,
             {"content": self.anything()}]
        )  # fmt: skip

    def choice(self, index: int) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": self.text()}
        if self.rng.random() < 0.3:
            message |= {"reasoning_content": self.text(), "refusal": None, "annotations": self.anything()}
        row: dict[str, Any] = {"index": index, "message": message, "finish_reason": self.rng.choice(["stop", "eos"])}
        if self.rng.random() < 0.6:
            row["logprobs"] = self.logprobs()
        if self.rng.random() < 0.2:
            row |= {"text": self.text(), "usage": self.anything(), "delta": message}
        return row

    def body(self) -> bytes:
        rng = self.rng
        found: Any = {"id": "x", "model": "m", "choices": [self.choice(at) for at in range(rng.randrange(4))]}
        if rng.random() < 0.4:
            numbers = [rng.random() for _ in range(rng.choice([3, 3, 40]))]
            vectors = [{"index": at, "embedding": rng.choice([numbers, "AACAPwAAgD8=", numbers])}
                       for at in range(rng.randrange(9))]  # fmt: skip
            found = {"object": "list", "data": vectors, "model": "m"}
        if rng.random() < 0.8:
            found["usage"] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        if rng.random() < 0.3:
            found |= {self.text(): self.anything(), "citations": self.anything()}
        if rng.random() < 0.1:
            found["error"] = self.anything()
        raw = json.dumps(found, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1])).encode(
            "utf-8", "surrogatepass"
        )
        if rng.random() < 0.5:
            raw = raw.replace(b", ", b",").replace(b": ", b":")
        if rng.random() < 0.1:
            at = rng.randrange(len(raw))
            raw = raw[:at] + rng.choice([b"", b"\xff", b"]", b"}", b",", b'"', b"\\"]) + raw[at + 1 :]
        return raw if rng.random() < 0.95 else raw[: rng.randrange(len(raw))]


def seen(raw: bytes) -> list[Any]:
    """All that is made of an answer, by whatever asks for it."""
    out: list[Any] = []

    def note(work: Any) -> Any:
        try:
            found = work()
        except BadAnswer as bad:
            out.append((bad.why, bad.own))
            return None
        out.append(found)
        return found

    for kind in ("chat", "completions"):
        ask = Ask(kind, False, {}, shown=SHOWN, choices=3)
        event = note(lambda ask=ask: DIALECT.answer(raw, ask))
        if event is not None and event.raw:
            note(lambda event=event: splice.with_usage(event.raw, usage={"total_tokens": 7}))
        note(lambda ask=ask: DIALECT.chunks(raw, ask))
        reader = Reader(ask)
        note(lambda reader=reader: reader.event(raw))
        note(lambda reader=reader: reader.event(raw))
    event = note(lambda: DIALECT.answer(raw, Ask("embeddings", False, {}, shown=SHOWN, choices=3)))
    if event is not None and event.raw:
        for encoding in ("float", "base64"):
            call = Call("embeddings", "m", False, {}, wanted_encoding=encoding)
            note(lambda call=call: Embeddings().answer(call, event, Shown()))
    return out


@pytest.mark.slow
def test_pieces_say_what_the_whole_says(monkeypatch):
    read = 0
    for seed in range(SEEDS):
        made = Made(seed)
        raw = made.body()
        expected = seen(raw)
        read += not isinstance(expected[0], tuple)
        with monkeypatch.context() as patch:
            patch.setattr(carve, "PIECE_BYTES", made.rng.choice([30, 50, 100, 1000]))  # no number is longer
            patch.setattr(carve, "_RUN_BYTES", made.rng.choice([1, 20, 64]))
            patch.setattr(carve, "_HALVES_BYTES", (carve.PIECE_BYTES,))
            found = seen(raw)
        if found[-1] in STRICTER:
            found, expected = found[:8], expected[:8]
        assert found == expected, (seed, raw)
    assert read > SEEDS // 3
