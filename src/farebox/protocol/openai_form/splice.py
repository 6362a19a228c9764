"""The chunks of OpenAI's form that we add to a stream, and our usage in an answer: the customer's side of a dialect."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from farebox.protocol import carve
from farebox.protocol.dialect import Shown
from farebox.protocol.openai_form.fields import Rows

_encode: Final = msgspec.json.Encoder().encode
_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def with_usage(raw: bytes, *, usage: Mapping[str, Any]) -> bytes:
    """The object `raw`, which our encoder wrote, with this as its usage."""
    if len(raw) > carve.PIECE_BYTES:
        return _in_pieces(raw, usage)
    return _encode(_object(raw) | {"usage": usage})


def _in_pieces(raw: bytes, usage: Mapping[str, Any]) -> bytes:
    parts = carve.Carved(raw).top.parts or []
    found = next((part for part in parts if part.name == "usage"), None)
    if found is None:
        return b"".join((memoryview(raw)[:-1], b',"usage":', _encode(usage), b"}"))
    return b"".join((memoryview(raw)[: found.start], _encode(usage), memoryview(raw)[found.end :]))


def finish_chunk(
    rows: Rows, shown: Shown, indexes: Iterable[int], *, reason: str = "length", begun: Collection[int] = ()
) -> bytes:
    """The chunk that ends these choices with `reason`.

    One that is not `begun` gets its role as well, which openai-node demands.
    """
    choices: list[dict[str, Any]] = []
    for index in indexes:
        delta = {} if index in begun else {"role": "assistant", "content": ""}
        said: dict[str, Any] = {"delta": delta} if rows.delta else {"text": ""}
        choices.append({"index": index, **said, "logprobs": None, "finish_reason": reason})
    return chunk(rows, shown, choices)


def chunk(rows: Rows, shown: Shown, choices: Sequence[Mapping[str, Any]]) -> bytes:
    """A chunk with these choices."""
    return _encode(_head(rows, shown) | {"choices": choices})


def usage_chunk(rows: Rows, shown: Shown, usage: Mapping[str, Any]) -> bytes:
    """The chunk without choices that carries the usage of a stream, last before `[DONE]`."""
    return _encode(_head(rows, shown) | {"choices": [], "usage": usage})


def _head(rows: Rows, shown: Shown) -> dict[str, Any]:
    return {
        "id": shown.id,
        "object": rows.chunk,
        "created": shown.created,
        "model": shown.model,
    }
