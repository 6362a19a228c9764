"""Choices that fit already and pass as the bytes that came: these structures allow no other field."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from farebox.protocol.dialect import Event
from farebox.protocol.openai_form import fields, likely
from farebox.protocol.openai_form.counted import add, add_likely
from farebox.protocol.openai_form.tidy import OpenChoice


class _Function(Struct, gc=False, forbid_unknown_fields=True):
    arguments: str


class _ToolCall(Struct, gc=False, forbid_unknown_fields=True):
    index: int
    function: _Function
    id: Literal[""] | None = None
    type: Literal["function"] | UnsetType = UNSET


class _Delta(Struct, gc=False, forbid_unknown_fields=True):
    """A delta that may pass as it is, if its choice has begun."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    role: None = None
    refusal: None = None
    function_call: None = None
    audio: None = None
    annotations: None = None


class _Chat(Struct, gc=False, forbid_unknown_fields=True):
    index: int
    delta: _Delta
    finish_reason: str | None
    logprobs: likely.PlainChat | None = None


class _Text(Struct, gc=False, forbid_unknown_fields=True):
    index: int
    text: str
    finish_reason: str | None
    logprobs: likely.PlainText | None = None


_chat: Final = msgspec.json.Decoder(_Chat).decode
_text: Final = msgspec.json.Decoder(_Text).decode


def chat(row: bytes, lanes: Mapping[int, OpenChoice], plain: AbstractSet[int]) -> Event | None:
    """The event of a choice of chat, without its bytes; None if it does not fit.

    `plain` are the choices that have begun, under the index that is shown.
    """
    try:
        choice = _chat(row)
    except ValueError:
        return None
    index, delta, reason = choice.index, choice.delta, choice.finish_reason
    if index not in plain or b"\n" in row:
        return None
    content, calls = delta.content, delta.tool_calls
    event = Event(b"", None, [], choices=1)
    if content:
        if lanes[index].in_media or "base64," in content:
            return None
        event.pieces.append((index, content))
        event.output_bytes = len(content) if content.isascii() else len(content.encode())
        event.visible = True
    if thought := delta.reasoning_content or delta.reasoning:
        if delta.reasoning_content and delta.reasoning and delta.reasoning_content != delta.reasoning:
            return None
        add(event, index, thought, visible=False)
        event.reasoning = True
    if calls is not None:
        if not calls:
            return None
        by_index = lanes[index].by_index
        for call in calls:
            known = by_index.get(call.index)
            if known is None or known.index != call.index:
                return None
            if call.function.arguments:
                add(event, index, call.function.arguments)
        event.visible = True
    if choice.logprobs is not None and not _listed(event, index, choice.logprobs):
        return None
    return event if reason is None or _ended(event, index, reason, lanes) else None


def text(row: bytes, lanes: Mapping[int, OpenChoice], plain: AbstractSet[int]) -> Event | None:
    """The event of a choice of completions, as `chat` has it."""
    try:
        choice = _text(row)
    except ValueError:
        return None
    index, words, reason = choice.index, choice.text, choice.finish_reason
    if index not in plain or lanes[index].in_media or "base64," in words or b"\n" in row:
        return None
    event = Event(b"", None, [], choices=1)
    if words:
        add(event, index, words)
    if choice.logprobs is not None and not _listed(event, index, choice.logprobs):
        return None
    return event if reason is None or _ended(event, index, reason, lanes) else None


def _ended(event: Event, index: int, reason: str, lanes: Mapping[int, OpenChoice]) -> bool:
    """Whether the reason is one of OpenAI's; then the choice has finished."""
    if reason not in fields.FINISHES:
        return False
    event.finishes = [(index, reason)]
    lanes[index].finished = True
    return True


def _listed(event: Event, index: int, found: likely.ChatTokens | likely.TextTokens) -> bool:
    """Whether likelihoods say anything; then they are counted, and may pass as they came."""
    if likely.is_empty(found):
        return False
    add_likely(event, index, found)
    return True
