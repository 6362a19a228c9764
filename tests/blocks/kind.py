"""The kind `notes`: `POST /v1/notes` with {model, note, stream, most}."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from farebox.catalog.usage import Usage
from farebox.kit.errors import FareboxError
from farebox.protocol import body as bodies
from farebox.protocol.dialect import Event, Shown
from farebox.protocol.kind import Call, ErrorAnswer, Kind


class Body(msgspec.Struct):
    model: str
    note: str
    stream: bool = False
    most: int | None = None


_decode = msgspec.json.Decoder(Body)


def frame(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Notes(Kind):
    name = "notes"
    title = "notes"
    paths = ("/notes",)
    form = "blocks"
    upstream_path = "/blocks"
    id_prefix = "note_"
    writes = True
    test_body = {"note": "Hello", "most": 16}
    probe_body = {"note": "Hi", "most": 1}

    def read(self, body: bytes) -> Call:
        bodies.fields(body)
        asked = bodies.typed(body, _decode)
        return Call(
            kind=self.name, model=asked.model, stream=asked.stream, params={"note": asked.note},
            limit_tokens=asked.most, text_bytes=len(asked.note.encode()), texts=[asked.note], messages=1,
        )  # fmt: skip

    def answer(self, call: Call, event: Event, shown: Shown) -> bytes:
        return event.raw

    def writer(self, call: Call, shown: Shown) -> Writer:
        return Writer(shown)

    def counted(self, call: Call, body: bytes, usage: Usage, reported: Any) -> bytes:
        return json.dumps(json.loads(body) | {"charged": usage.total}).encode()

    def tells(self, reported: Any) -> bool:
        return False

    def error_answer(self, error: FareboxError) -> ErrorAnswer:
        status = 402 if error.code == "insufficient_quota" else error.status
        return ErrorAnswer(status, json.dumps({"trouble": error.message}).encode(), error.headers())

    def broken(self, error: FareboxError) -> bytes:
        return frame("trouble", {"why": error.message})


class Writer:
    """Passes on what came; an end with what was charged is its own."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown

    def write(self, events: Sequence[Event]) -> bytes:
        return b"".join(event.raw for event in events)

    def cut(self, indexes: Sequence[int]) -> bytes:
        return frame("end", {"why": "full"})

    def last(self, usage: Usage | None, reported: Any) -> bytes:
        return frame("charged", {"id": self.shown.id, "units": usage.total if usage else 0})
