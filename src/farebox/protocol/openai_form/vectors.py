"""Answers of embeddings in OpenAI's form (API reference, "Create embeddings")."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from farebox.protocol import carve, faults
from farebox.protocol.dialect import Ask, BadAnswer, Event
from farebox.protocol.openai_form import fields
from farebox.protocol.openai_form.payload import BOM, decoded, error_of

_encode: Final = msgspec.json.Encoder().encode


class _Vector(Struct, gc=False):
    embedding: Raw
    index: Any = None


class _Vectors(Struct, gc=False):
    data: list[_Vector] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None
    object: Any = None


_vectors: Final = msgspec.json.Decoder(_Vectors).decode
_vector_list: Final = msgspec.json.Decoder(list[_Vector]).decode


def read(body: bytes, ask: Ask) -> Event:
    """Read an answer of embeddings; BadAnswer if it has none."""
    body = body.removeprefix(BOM)
    try:
        found = _read_vectors(body)
    except (ValueError, RecursionError):
        found_any = decoded(body)  # says what is wrong with it
        if isinstance(found_any, dict) and (fault := error_of(found_any)) is not None:
            return Event(b"", error=fault)
        raise BadAnswer("The answer has not the form of embeddings.") from None
    if found.error:
        return Event(b"", error=faults.of_object(found.error))
    if found.object == "error":
        return Event(b"", error=error_of(decoded(body)))
    if not found.data:
        raise BadAnswer("The answer has no embeddings.")
    rows = []
    for position, vector in enumerate(found.data):
        begin = bytes(memoryview(vector.embedding)[:3])
        if begin[:1] not in (b"[", b'"') or len(begin) <= 2:
            raise BadAnswer("An embedding is neither a list of numbers nor base64.", own=True)
        index = vector.index if type(vector.index) is int else position
        rows.append(_encode({"object": "embedding", "index": index, "embedding": vector.embedding}))
    rest: dict[str, Any] = {"model": ask.shown.model}
    if isinstance(found.usage, dict):
        rest["usage"] = fields.usage(found.usage)
    model = found.model if isinstance(found.model, str) and found.model else None
    raw = b"".join((b'{"object":"list","data":[', b",".join(rows), b"],", _encode(rest)[1:]))
    return Event(raw, model, [], visible=True, usage=found.usage, choices=len(rows), done=True)


def _read_vectors(body: bytes) -> _Vectors:
    if len(body) > carve.PIECE_BYTES:
        text = carve.Carved(body)
        part = text.member("data")
        if part is not None:
            found = _vectors(text.without(part))
            found.data = [row for each in text.lists(part) for row in _vector_list(each)]
            return found
    return _vectors(body)
