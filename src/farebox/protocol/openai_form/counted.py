"""What a tidied choice adds to its event: the output that is counted, and whether a customer sees any of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from farebox.protocol import halves
from farebox.protocol.dialect import Event, Fault
from farebox.protocol.openai_form import aside, fields, likely, texts, tidy

_encode: Final = msgspec.json.Encoder().encode


def read_row(event: Event, row: dict[str, Any], lane: tidy.OpenChoice) -> None:
    """Add what a tidied row of a chunk or an answer holds to the event; `BROKEN` ends as a fault."""
    before_bytes = event.output_bytes + event.media_bytes
    beside: list[str] = []
    index, reason = row["index"], row["finish_reason"]
    if reason in fields.BROKEN:
        event.error = Fault("down", f"The upstream broke the answer off: {reason}.", 502)
    if reason is not None:
        event.finishes = [*event.finishes, (index, reason)]
    said = row["delta"] if "delta" in row else row.get("message", row)
    for text in (said.get("content"), said.get("text")):
        if text:
            words, media_bytes, written = texts.without_media(text, lane)
            beside += [written] if written else []
            event.media_bytes += media_bytes
            event.visible = True
            add(event, index, words)
    entries = [*said.get("reasoning_details", ()), *said.get("thinking_blocks", ())]
    thought = said.get("reasoning_content") or said.get("reasoning") or aside.detailed(entries)
    if thought:  # where several are there, they repeat one another
        event.reasoning = True
        add(event, index, thought, visible=False)
    if said.get("refusal"):
        event.refused = True
        add(event, index, said["refusal"])
    calls = [call.get("function") or call.get("custom") for call in said.get("tool_calls", ())]
    for function in (*calls, said.get("function_call")):
        if function is not None:
            event.visible = True
            for name in ("name", "arguments", "input"):
                if function.get(name):
                    add(event, index, function[name])
    _read_media(event, index, said)
    beside += aside.of_choice(said, lane, thought)
    add_listed(event, index, lane.listed, event.output_bytes + event.media_bytes - before_bytes)
    add_beside(event, index, beside)


def _read_media(event: Event, index: int, said: dict[str, Any]) -> None:
    if audio := said.get("audio"):
        event.visible = True
        event.media_bytes += len(audio["data"]) if isinstance(audio.get("data"), str) else 0
        if isinstance(audio.get("transcript"), str):
            add(event, index, audio["transcript"])
    if said.get("images"):
        event.visible = True
        event.media_bytes += len(_encode(halves.mended_tree(said["images"])))


def add(event: Event, index: int, text: str, *, visible: bool = True) -> None:
    """Add a piece of output to the event."""
    if text:
        event.pieces.append((index, text))
        event.output_bytes += len(text) if text.isascii() else len(text.encode())
        event.visible = event.visible or visible


def add_beside(event: Event, index: int, told: Sequence[str]) -> None:
    """Add texts that only version 2 of the charging rules counts."""
    if told:
        event.beside = [*event.beside, *((index, text) for text in told)]


def add_listed(event: Event, index: int, listed: bytes | None, said_bytes: int) -> None:
    """Add what the tokens say that `logprobs` lists, where the `said_bytes` of the choice in this event don't."""
    if listed is not None:
        event.logprobs = True
        if unsaid := likely.unsaid(listed, said_bytes):
            add_beside(event, index, [unsaid])


def add_likely(event: Event, index: int, found: likely.ChatTokens | likely.TextTokens) -> None:
    """As `add_listed`, where the event has one choice."""
    if event.output_bytes and likely.is_short(found):
        event.logprobs = True
    else:
        add_listed(event, index, likely.said(found), event.output_bytes)
