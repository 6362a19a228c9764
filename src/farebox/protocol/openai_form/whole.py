"""Whole answers in OpenAI's form, and what came streamed where it was not asked for, or not streamed where it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from farebox.protocol import carve, halves, plain_usage
from farebox.protocol.dialect import Ask, BadAnswer, Event
from farebox.protocol.openai_form import aside, fields, texts, tidy
from farebox.protocol.openai_form.counted import add, add_beside, read_row
from farebox.protocol.openai_form.payload import BOM, decoded, error_of, usage_of
from farebox.protocol.openai_form.reader import Reader
from farebox.protocol.stream import SseReader, StreamBroken, is_stream

_encode: Final = msgspec.json.Encoder().encode


class _Message(Struct, gc=False, forbid_unknown_fields=True):
    """A message that may pass as it is."""

    role: Literal["assistant"]
    content: str
    reasoning_content: str | None = None
    refusal: None = None
    annotations: Annotated[list[None], Meta(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


class _Choice(Struct, gc=False, forbid_unknown_fields=True):
    index: int
    message: _Message
    finish_reason: str
    logprobs: None = None


class _Plain(Struct, gc=False):
    """A whole answer of which the choices and the usage may pass as they are; the rest is written again or left out."""

    choices: Raw
    model: str
    usage: Raw
    error: None = None
    object: str = ""
    citations: None = None
    search_results: None = None
    obfuscation: None = None


_plain: Final = msgspec.json.Decoder(_Plain).decode
_choices: Final = msgspec.json.Decoder(list[_Choice]).decode
_counters: Final = msgspec.json.Decoder(dict[str, Any]).decode


def answer(body: bytes, ask: Ask) -> Event:
    """Read a whole answer of chat or completions; BadAnswer if it has no choices and is no error."""
    if fields.ROWS[ask.kind].delta and (event := _as_it_is(body, ask)) is not None:
        return event
    body = body.removeprefix(BOM)
    if is_stream(body):
        return _of_stream(body, ask)
    found = decoded(body)
    if not isinstance(found, dict):
        raise BadAnswer("The answer is not an object.")
    return _read(found, ask)


def _as_it_is(body: bytes, ask: Ask) -> Event | None:
    """The event of an answer whose choices and usage fit as they came, as most do; None for any other."""
    try:
        found, rows, choices = _parts(body)
    except (ValueError, RecursionError):
        return None
    if not found.model or found.object == "error" or not 0 < len(rows) <= max(1, ask.choices):
        return None
    usage = bytes(found.usage)
    if b"\n" in choices or b"\n" in usage or not plain_usage.is_plain(usage):
        return None
    event = Event(b"", found.model, [], choices=len(rows), finishes=[], usage=_counters(usage), done=True)
    for number, row in enumerate(rows):
        said = row.message
        if row.index != number or row.finish_reason not in fields.FINISHES or "base64," in said.content:
            return None
        event.finishes.append((number, row.finish_reason))
        if said.content:
            event.visible = True
            add(event, number, said.content)
        if said.reasoning_content:
            event.reasoning = True
            add(event, number, said.reasoning_content, visible=False)
    shown = ask.shown
    head = {"id": shown.id, "object": fields.CHAT.whole, "created": shown.created, "model": shown.model}
    event.raw = b"".join((_encode(head)[:-1], b',"choices":', choices, b',"usage":', usage, b"}"))
    return event


def _parts(body: bytes) -> tuple[_Plain, list[_Choice], bytes]:
    """What surrounds the choices of an answer, the choices, and their bytes; ValueError if any of it does not fit."""
    if len(body) > carve.PIECE_BYTES:
        text = carve.Carved(body)
        part = text.member("choices")
        if part is not None:
            rows = [row for each in text.lists(part) for row in _choices(each)]
            return _plain(text.without(part)), rows, body[part.start : part.end]
    found = _plain(body)
    return found, _choices(found.choices), bytes(found.choices)


def _read(found: dict[str, Any], ask: Ask, *, done: bool = True) -> Event:
    if (fault := error_of(found)) is not None:
        return Event(b"", error=fault)
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadAnswer("The answer has no choices.")
    model = found.get("model")
    event = Event(b"", halves.mended(model) if isinstance(model, str) and model else None, [], done=done)
    event.usage = halves.mended_tree(usage_of(found))
    rows: list[dict[str, Any]] = []
    first = None
    for index, choice in _placed(choices, max(1, ask.choices)):
        lane = tidy.OpenChoice(index)
        first = first or lane
        rows.append(_row(choice, lane, ask))
        read_row(event, rows[-1], lane)
    shown = ask.shown
    head = {"id": shown.id, "object": fields.ROWS[ask.kind].whole, "created": shown.created, "model": shown.model}
    lane = first or tidy.OpenChoice(0)
    more, told = aside.around({name: halves.mended_tree(found.get(name)) for name in fields.TOP}, lane)
    add_beside(event, lane.index, told)
    if isinstance(event.usage, dict):
        more["usage"] = fields.usage(event.usage)
    event.raw = _encode(head | {"choices": rows} | more)
    event.choices = len(rows)
    return event


def _placed(choices: list[Any], wanted: int) -> list[tuple[int, dict[str, Any]]]:
    """The choices by index; by their places where the indexes are not those of the choices that were asked for."""
    if not all(isinstance(choice, dict) for choice in choices):
        raise BadAnswer("The choices are not a list of objects.")
    own = [choice.get("index") for choice in choices]
    told = all(type(index) is int and 0 <= index < wanted for index in own) and len(set(own)) == len(own)
    rows = zip(own if told else range(wanted), choices, strict=False)
    return sorted(rows, key=lambda row: row[0])


def _row(choice: dict[str, Any], lane: tidy.OpenChoice, ask: Ask) -> dict[str, Any]:
    """A choice of a whole answer: tidied as a chunk that holds all of it, without a chunk's numbers of lists."""
    if fields.ROWS[ask.kind].delta:
        said = choice.get("message")
        row = tidy.chat_row(
            choice | {"delta": said if isinstance(said, dict) else choice.get("delta")}, lane, _ident(ask)
        )
    else:
        row = tidy.text_row(choice, lane)
    row["finish_reason"] = row["finish_reason"] or lane.seen
    try:
        _encode(row)
    except UnicodeEncodeError:
        texts.rejoin(row, lane, halves.Halves(), ends=True)
        row = halves.mended_tree(row)
    if "delta" not in row:
        return row
    message = row.pop("delta")
    for call in message.get("tool_calls", ()):
        call.pop("index")
    return {"index": row["index"], "message": message} | row


def _ident(ask: Ask) -> str:
    return ask.shown.id.rpartition("-")[2][-26:]


def _of_stream(body: bytes, ask: Ask) -> Event:
    """The whole answer that a stream makes, where none was asked for."""
    reader = Reader(ask)
    source = SseReader(len(body) + 1)
    whole: dict[int, dict[str, Any]] = {}
    last = Event(b"")
    reports = []
    more: dict[str, Any] = {}
    try:
        payloads = [*source.feed(body), *source.end()]
    except StreamBroken as broken:
        raise BadAnswer(broken.reason, own=True) from None
    events = (reader.event(payload) for payload in payloads)
    for event in (*_until_done(events), *reader.close()):
        if event.error is not None:
            return event
        last.model = last.model or event.model
        last.done = last.done or event.done
        if event.usage is not None:
            reports.append(event.usage)
        if event.raw and not event.done:
            found = msgspec.json.decode(event.raw)
            more |= {name: found[name] for name in fields.TOP if name in found and name != "obfuscation"}
            for row in found["choices"]:
                _join(whole.setdefault(row["index"], {"index": row["index"]}), row)
    if not reader.begun:
        raise BadAnswer("The stream has no answer in it.")
    found = more | {"choices": [whole[index] for index in sorted(whole)], "model": last.model}
    if reports:
        found["usage"] = reports[-1]
    return _read(found, ask, done=last.done)


def _until_done(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        yield event
        if event.done:
            return


def _join(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Add a piece of a choice, a message or a tool call to what came before, by the rules of OpenAI's SDKs."""
    for name, value in part.items():
        before = whole.get(name)
        if before is None or name in {"index", "type", "role", "finish_reason", "id", "expires_at"}:
            whole[name] = _numbered({}, value) if _has_index(value) else (value if value is not None else before)
        elif isinstance(before, str) and isinstance(value, str):
            whole[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            _join(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            whole[name] = (
                _numbered({each["index"]: each for each in before}, value) if _has_index(value) else before + value
            )


def _has_index(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "index" in value[0]


def _numbered(known: dict[int, dict[str, Any]], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for entry in entries:
        _join(known.setdefault(entry["index"], {"index": entry["index"]}), entry)
    return list(known.values())


def chunks(body: bytes, ask: Ask) -> list[bytes]:
    """The payloads of a stream that say what this whole answer says; BadAnswer if it is not one."""
    event = answer(body, replace(ask, stream=False))
    if event.error is not None:
        return [body.removeprefix(BOM)]
    found = decoded(event.raw)
    thought, begun, ended = [], [], []
    for row in found["choices"]:
        said = row.pop("message", {})
        thoughts = {name: said.pop(name) for name in fields.THOUGHTS if name in said}
        thought.append({"index": row["index"], "delta": thoughts, "finish_reason": None})
        begun.append(row | {"delta": said, "finish_reason": None})
        ended.append({"index": row["index"], "delta": {}, "text": "", "finish_reason": row["finish_reason"]})
    head: dict[str, Any] = {"model": event.model, "object": fields.ROWS[ask.kind].chunk}
    more = {name: found[name] for name in fields.TOP if name in found}
    told = [{"choices": begun} | more, {"choices": ended, "usage": event.usage}]
    if any(row["delta"] for row in thought):
        told.insert(0, {"choices": thought})
    return [_encode(head | each) for each in told]
