"""Events of which the fields that are passed are picked, and all others skipped unread: what most vendors' events need.

Only an event that continues one choice can be read so, and only what is in the lists of `fields.py` is in these
structures: what is decoded into them and encoded again has lost all else. Whatever these can't say is left to `tidy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from farebox.kit import depth
from farebox.protocol.dialect import Event
from farebox.protocol.openai_form import aside, fields, likely, tidy
from farebox.protocol.openai_form.counted import add, add_beside, add_likely

# Most of what details of reasoning are called, of those that say it (OpenRouter, "Reasoning tokens").
_KINDS: Final = frozenset({"reasoning.text", "reasoning.summary", "unknown", None, UNSET})
_encode: Final = msgspec.json.Encoder().encode


class _Function(Struct, gc=False, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct, gc=False, omit_defaults=True):
    index: int | None = None
    function: _Function | None = None
    id: str | None = None
    type: Any = None
    custom: Any = None
    extra_content: Any = None


class _Detail(Struct, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Reasoning that is shown; signatures and all else are left to `tidy`."""

    type: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    summary: str | UnsetType = UNSET
    format: str | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    signature: UnsetType | None = UNSET
    index: int | UnsetType = UNSET


class _Delta(Struct, gc=False, omit_defaults=True):
    content: str | UnsetType | None = UNSET
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    reasoning_details: list[_Detail] | None = None
    tool_calls: list[_Call] | None = None
    # Left to `tidy` where they say something.
    function_call: Any = None
    audio: Any = None
    extra_content: Any = None
    annotations: Any = None
    images: Any = None
    thinking_blocks: Any = None


class _Chat(Struct, gc=False, omit_defaults=True, kw_only=True):
    index: int | UnsetType = UNSET
    delta: _Delta
    logprobs: likely.ChatTokens | UnsetType | None = UNSET
    finish_reason: str | UnsetType | None = UNSET
    usage: Any = None


class _Text(Struct, gc=False, omit_defaults=True, kw_only=True):
    index: int | UnsetType = UNSET
    text: str
    logprobs: likely.TextTokens | UnsetType | None = UNSET
    finish_reason: str | UnsetType | None = UNSET
    usage: Any = None


class _Around(Struct, gc=False):
    """What stands around the choices; of what is skipped, `_sound` knows whether it may be."""

    model: Any = None
    usage: Any = None
    error: Any = None
    object: Any = None
    x_groq: Any = None
    citations: Any = None
    search_results: Any = None
    obfuscation: Any = None


class _ChatEvent(_Around, gc=False):
    choices: list[_Chat] = []


class _TextEvent(_Around, gc=False):
    choices: list[_Text] = []


_chat: Final = msgspec.json.Decoder(_ChatEvent).decode
_text: Final = msgspec.json.Decoder(_TextEvent).decode


def chat(payload: bytes, lanes: Mapping[int, tidy.OpenChoice], wanted: int) -> Event | None:
    """The event of a chunk of chat that continues with one choice; its `raw` is that choice and all behind it.

    `lanes` are the choices that have begun, `wanted` how many may be shown. None where more is to be done than to
    leave fields out; then nothing has changed.
    """
    try:
        found = _chat(payload)
    except (ValueError, RecursionError):
        return None
    if len(found.choices) != 1:
        return None
    [choice] = found.choices
    delta, lane = choice.delta, _lane(choice, lanes, wanted)
    if lane is None or not _sound(payload, found) or _is_rare(delta):
        return None
    event = Event(b"", found.model, [], usage=found.usage, choices=1)
    content = delta.content
    if content:
        if lane.in_media or "base64," in content:
            return None
        add(event, lane.index, content)
    thought = delta.reasoning_content or delta.reasoning
    if delta.reasoning_content and delta.reasoning and delta.reasoning_content != delta.reasoning:
        return None
    if details := delta.reasoning_details:
        detailed = _detailed(details)
        if detailed is None or (thought and detailed != thought):
            return None
        thought = detailed
    if thought:
        event.reasoning = True
        add(event, lane.index, thought, visible=False)
    if delta.tool_calls is not None and not _read_calls(event, delta, lane):
        return None
    if details is not None:
        delta.reasoning_details = _numbered(details, lane) if details else None
    return _written(event, choice, lane, found)


def text(payload: bytes, lanes: Mapping[int, tidy.OpenChoice], wanted: int) -> Event | None:
    """The event of a chunk of completions, as `chat` has it."""
    try:
        found = _text(payload)
    except (ValueError, RecursionError):
        return None
    if len(found.choices) != 1:
        return None
    [choice] = found.choices
    lane = _lane(choice, lanes, wanted)
    if lane is None or not _sound(payload, found) or lane.in_media or "base64," in choice.text:
        return None
    event = Event(b"", found.model, [], usage=found.usage, choices=1)
    add(event, lane.index, choice.text)
    return _written(event, choice, lane, found)


def _lane(choice: _Chat | _Text, lanes: Mapping[int, tidy.OpenChoice], wanted: int) -> tidy.OpenChoice | None:
    """What is known of the choice; None if it has not begun, is not shown, or holds what is not read here."""
    lane = lanes.get(0 if choice.index is UNSET else choice.index)
    if lane is None or not lane.opened or lane.index >= wanted or choice.usage is not None:
        return None
    if choice.logprobs and likely.is_empty(choice.logprobs):
        return None
    reason = choice.finish_reason
    return lane if reason is UNSET or not reason or reason in fields.FINISHES else None


def _sound(payload: bytes, found: _Around) -> bool:
    """Whether the event is a chunk and no error, and what is skipped of it is text and not nested too deeply."""
    if found.error or found.x_groq is not None or found.object == "error" or depth.too_deep(payload):
        return False
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return False
    return True


def _is_rare(delta: _Delta) -> bool:
    """Whether it has what only `tidy` reads; where such fields say nothing, they are left out."""
    if delta.refusal or delta.extra_content is not None or delta.function_call or delta.audio:
        return True
    if delta.annotations or delta.images or delta.thinking_blocks:
        return True
    delta.function_call = delta.audio = delta.annotations = delta.images = delta.thinking_blocks = None
    return False


def _detailed(details: list[_Detail]) -> str | None:
    """The reasoning that is shown; None where a name in it could be text."""
    found = ""
    for each in details:
        if each.id or each.type not in _KINDS or each.format not in _KINDS:
            for name in (each.type, each.format, each.id):
                if name and not aside.is_opaque(name):
                    return None
        if each.text:
            found += each.text
        if each.summary:
            found += each.summary
    return found


def _numbered(details: list[_Detail], lane: tidy.OpenChoice) -> list[_Detail]:
    """The details as `tidy.with_indexes` has them."""
    number = lane.numbers.get("reasoning_details", 0)
    for each in details:
        if each.index is UNSET:
            each.index = number
        number = max(number, each.index + 1)
    lane.numbers["reasoning_details"] = number
    return details


def _read_calls(event: Event, delta: _Delta, lane: tidy.OpenChoice) -> bool:
    """Whether all pieces continue with tool calls that are under way; of each, what is new stays."""
    for call in delta.tool_calls or ():
        function = call.function
        known = lane.by_id.get(call.id) if call.id else None
        if known is None and call.index is not None:
            known = lane.by_index.get(call.index)
            if call.id and function is not None and function.name:
                return False
        if known is None or function is None or call.custom is not None or call.extra_content is not None:
            return False
        if function.name and function.name != known.name:
            return False
        call.index, call.id, call.type = known.index, None, None
        function.name, function.arguments = None, function.arguments or ""
        add(event, lane.index, function.arguments)
        event.visible = True
    if not delta.tool_calls:
        delta.tool_calls = None
    return True


def _written(event: Event, choice: _Chat | _Text, lane: tidy.OpenChoice, found: _Around) -> Event:
    choice.index = lane.index
    reason = choice.finish_reason
    if reason:
        event.finishes = [(lane.index, reason)]
        lane.finished = True
    else:
        choice.finish_reason = None
    event.raw = _encode(choice) + b"]}"
    if choice.logprobs:
        add_likely(event, lane.index, choice.logprobs)
    if found.citations or found.search_results or found.obfuscation:
        more, told = aside.around({name: getattr(found, name) for name in fields.TOP}, lane)
        add_beside(event, lane.index, told)
        if more:
            event.raw = event.raw[:-1] + b"," + _encode(more)[1:]
    return event
