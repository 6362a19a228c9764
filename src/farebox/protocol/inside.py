"""Fields inside messages and their parts, as a channel's quirks change them: dropped, renamed, passed on, roles.

Only what the endpoint knows, and what costs nothing (`FREE`), is in the messages of an `Ask`; what a quirk passes on
comes from the messages as the customer gave them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from farebox.protocol.quirks import INSIDE, Quirks

# Fields that change no price, with where they are documented: context caching of Anthropic and its resellers,
# reasoning that goes back to its author (OpenRouter, LiteLLM), and answers that go on from a text (DeepSeek, Moonshot).
FREE: Final = ("cache_control", "reasoning", "reasoning_details", "thinking_blocks", "prefix", "partial")
# Values that are no use of a field, which SDKs send along when they give an answer back.
_NOTHING: Final = frozenset({b"null", b"[]", b"{}", b'""', b"false"})
_KNOWN: Final = frozenset(
    {"role", "content", "name", "tool_calls", "function_call", "tool_call_id", "refusal", "reasoning_content", *FREE}
)
_OF_PARTS: Final = frozenset({"type", "text", "refusal", "image_url", "cache_control"})
_OF_IMAGES: Final = frozenset({"url", "detail"})
_rows: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_row: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_text: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_SYSTEM: Final = Raw(b'"system"')

Row = dict[str, Raw]


def unknown(given: Raw, kept: bytes) -> frozenset[str]:
    """The names of fields in the messages `given` that have a value, and that `kept`, their known part, lacks.

    Both are JSON lists of the same messages; where the bytes are the same, nothing is looked at.
    """
    if bytes(given) == kept:
        return frozenset()
    found: set[str] = set()
    for row in _rows(given):
        found.update(_beyond(row, _KNOWN))
        for part in _parts(row):
            found.update(_beyond(part, _OF_PARTS))
            if "image_url" in part:
                found.update(f"image_url.{name}" for name in _beyond(_row(part["image_url"]), _OF_IMAGES))
    return frozenset(found)


def without(messages: Raw, name: str) -> Raw:
    """The messages without this field, in them and in their parts."""
    change = _Change(frozenset({name}), {}, frozenset(), as_system=False)
    return Raw(_encode([_edited(row, None, change) for row in _rows(messages)]))


def written(messages: Any, given: Raw | None, beyond: frozenset[str], quirks: Quirks) -> Any:
    """The messages as a channel wants them.

    `given` are those of the customer, which hold the fields `beyond` that `messages` lacks.
    """
    change = _change(beyond, quirks)
    if change is None:
        return messages
    rows = _rows(messages if isinstance(messages, Raw) else _encode(messages))
    theirs: list[Row | None] = [*_rows(given)] if change.passed and given is not None else [None] * len(rows)
    return [_edited(row, theirs[number], change) for number, row in enumerate(rows)]


class _Change(NamedTuple):
    dropped: frozenset[str]
    renamed: Mapping[str, str]
    passed: frozenset[str]
    as_system: bool


def _change(beyond: frozenset[str], quirks: Quirks) -> _Change | None:
    """What is to be done inside the messages; None for nothing, which is the rule."""
    passed = frozenset(name.removeprefix(INSIDE) for name in quirks.pass_) & beyond if beyond else beyond
    dropped = [name.removeprefix(INSIDE) for name in quirks.drop if name.startswith(INSIDE)]
    renamed = {name.removeprefix(INSIDE): to for name, to in quirks.rename.items() if name.startswith(INSIDE)}
    if quirks.developer_role and not passed and not dropped and not renamed:
        return None
    return _Change(frozenset(dropped), renamed, passed, as_system=not quirks.developer_role)


def _edited(row: Row, theirs: Row | None, change: _Change) -> Row:
    made = _fields(row, theirs, change)
    parts = list(_parts(row))
    if parts:
        other: list[Row | None] = [*_parts(theirs)] if theirs is not None else [None] * len(parts)
        made["content"] = Raw(_encode([_fields(part, other[n], change) for n, part in enumerate(parts)]))
    if change.as_system and "role" in made and _text(made["role"]) == "developer":
        made["role"] = _SYSTEM
    return made


def _fields(row: Row, theirs: Row | None, change: _Change) -> Row:
    whole = row if theirs is None else row | {name: theirs[name] for name in change.passed if name in theirs}
    return {change.renamed.get(name, name): value for name, value in whole.items() if name not in change.dropped}


def _beyond(row: Row, known: frozenset[str]) -> Iterator[str]:
    return (name for name in row.keys() - known if bytes(row[name]) not in _NOTHING)


def _parts(row: Row) -> list[Row]:
    content = row.get("content")
    return _rows(content) if content is not None and _begins(content, b"[") else []


def _begins(value: Raw, sign: bytes) -> bool:
    return bytes(memoryview(value)[:1]) == sign
