"""The few changes that an event or answer in OpenAI's form may need on its way, and the chunks that we add.

What can pass as bytes does: the model's name is cut out and put in; everything else decodes only the outer
object and leaves each value as the bytes that came (`msgspec.Raw`), so that numbers, escapes and unknown
fields survive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

_encode: Final = msgspec.json.Encoder().encode
_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_rows: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_any: Final = msgspec.json.Decoder().decode

_KEY: Final = b'"model"'
_NULL: Final = Raw(b"null")
_OBJECTS: Final[dict[tuple[str, bool], str]] = {
    ("chat", True): "chat.completion.chunk",
    ("chat", False): "chat.completion",
    ("completions", True): "text_completion",
    ("completions", False): "text_completion",
    ("embeddings", False): "list",
}


def splice_model(raw: bytes, *, old: str, new: str) -> bytes:
    """The object `raw` with the value of its field `model`, now `old`, replaced by `new`.

    `old` is the decoded value. ValueError if `raw` is no JSON object.
    """
    # The bytes `"model"` can't come from inside a JSON string: a quote there is written \", so the quote
    # after `l` would have a backslash before it. Only the first quote could be such an escaped one (a key
    # spelled "\"model"), which the byte before it tells. If these bytes occur once and are followed by a
    # colon, they are the field.
    at = raw.find(_KEY)
    if at > 0 and raw.find(_KEY, at + 7) < 0 and raw[at - 1] != 0x5C:
        for before, after in _spellings(old, new):
            if raw.startswith(before, at):
                return raw[:at] + after + raw[at + len(before) :]
    return _rebuilt(raw, model=_raw(new))


@lru_cache(maxsize=4096)
def _spellings(old: str, new: str) -> tuple[tuple[bytes, bytes], ...]:
    """The ways in which a serialiser writes the field, each with what takes its place."""
    value = _encode(new)
    plain = _encode(old)
    # UTF-8, ASCII with \u escapes (Python), and slashes escaped (PHP, and some servers with paths for names).
    spelled = dict.fromkeys((plain, json.dumps(old).encode("ascii"), plain.replace(b"/", b"\\/")))
    return tuple((_KEY + colon + one, _KEY + colon + value) for colon in (b":", b": ") for one in spelled)


def with_usage(raw: bytes, *, usage: Any) -> bytes:
    """The object `raw` with `usage` (anything JSON-able, or `msgspec.Raw`) as its usage; on one line."""
    return _rebuilt(raw, usage=usage if isinstance(usage, Raw) else _raw(usage))


def without_usage(raw: bytes) -> bytes:
    """The object `raw` without a field `usage`; on one line."""
    fields = _object(_flat(raw))
    fields.pop("usage", None)
    return _encode(fields)


def finish_chunk(
    kind: str,
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    indexes: Iterable[int],
    reason: str = "length",
) -> bytes:
    """The chunk that ends these choices with `reason`; `kind` is chat or completions."""
    choices: list[dict[str, Any]]
    if kind == "chat":
        choices = [{"index": index, "delta": {}, "logprobs": None, "finish_reason": reason} for index in indexes]
    else:
        choices = [{"index": index, "text": "", "logprobs": None, "finish_reason": reason} for index in indexes]
    return _encode(_head(kind, id=id, created=created, model=model) | {"choices": choices})


def usage_chunk(
    kind: str,
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    usage: Mapping[str, Any] | Raw,
) -> bytes:
    """The chunk without choices that carries the usage of a stream, last before `[DONE]`."""
    return _encode(_head(kind, id=id, created=created, model=model) | {"choices": [], "usage": usage})


def tidy_event(
    raw: bytes,
    kind: str,
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    stream: bool = True,
) -> bytes:
    """`raw` with `model` as its model and with what the upstream left out; for events that are not `tidy`.

    `id`, `created` and `object` are set where they are missing, empty, zero or of another type; choices get
    `index`, `delta` (or `message`, or `text`) and `finish_reason`, embeddings `index` and `object`. Errors
    pass unchanged.
    """
    fields = _object(_flat(raw))
    if _said(fields.get("error")):
        return _encode(fields)
    filled: dict[str, Any] = {}
    if kind != "embeddings":
        filled["id"] = _kept(fields, "id", str) or id
        filled["object"] = _kept(fields, "object", str) or _OBJECTS[kind, stream]
        filled["created"] = _kept(fields, "created", int) or created
        fields["choices"] = _raw(_tidy_choices(fields.get("choices"), kind, stream=stream))
    else:
        filled["object"] = "list"
        fields["data"] = _raw(_tidy_vectors(fields.get("data")))
    filled["model"] = model
    return _encode({name: value for name, value in filled.items() if name not in fields} | fields | filled)


def _tidy_choices(raw: Raw | None, kind: str, *, stream: bool) -> list[dict[str, Any]]:
    said, other = ("delta", "message") if stream else ("message", "delta")
    rows: list[dict[str, Any]] = []
    for position, choice in enumerate(_rows(raw) if _said(raw) and raw is not None else ()):
        row: dict[str, Any] = {"index": position} | choice
        if not _said(choice.get("index")):
            row["index"] = position
        if kind == "chat":
            if not _said(choice.get(said)):
                row[said] = choice.get(other, Raw(b"{}" if stream else b'{"role":"assistant","content":null}'))
                row.pop(other, None)
        elif not isinstance(_any(choice.get("text", _NULL)), str):
            row["text"] = ""
        row.setdefault("finish_reason", None)
        rows.append(row)
    return rows


def _tidy_vectors(raw: Raw | None) -> list[dict[str, Any]]:
    return [
        {"object": "embedding"} | row | ({} if isinstance(_any(row.get("index", _NULL)), int) else {"index": position})
        for position, row in enumerate(_rows(raw) if raw is not None else ())
    ]


def _head(kind: str, *, id: str, created: int, model: str) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "object": _OBJECTS[kind, True], "created": created, "model": model}


def _kept(fields: Mapping[str, Raw], name: str, type_: type) -> Any:
    value = _any(fields.get(name, _NULL))
    return value if type(value) is type_ else None


def _said(raw: Raw | None) -> bool:
    """Whether a value is there and is not null."""
    return raw is not None and bytes(raw) != b"null"


def _raw(value: Any) -> Raw:
    return Raw(_encode(value))


def _rebuilt(raw: bytes, **changed: Raw) -> bytes:
    return _encode(_object(_flat(raw)) | changed)


def _flat(raw: bytes) -> bytes:
    """`raw` on one line: a line end in valid JSON stands between tokens, never inside a string."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in raw or b"\r" in raw else raw
