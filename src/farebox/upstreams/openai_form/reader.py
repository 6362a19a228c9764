"""The reader of one stream in OpenAI's form: payloads in, events in the form that SDKs demand out.

What fits already passes as bytes: servers write what surrounds the choice the same in each event, so it is compared
and exchanged as a whole, and only the choice itself is read. Anything else is decoded and written anew.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from farebox.kit import depth
from farebox.upstreams import faults, halves
from farebox.upstreams.dialect import Ask, BadAnswer, Event, Fault
from farebox.upstreams.openai_form import fields, texts, tidy

_encode: Final = msgspec.json.Encoder().encode
_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[')
_PADDING: Final = re.compile(rb',\s?"obfuscation":\s?"[A-Za-z0-9+/=_-]*"\s?\}')
_NEVER: Final = b"\xff\n"


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
    logprobs: Any = None


class _Text(Struct, gc=False, forbid_unknown_fields=True):
    index: int
    text: str
    finish_reason: str | None
    logprobs: Any = None


_chat: Final = msgspec.json.Decoder(_Chat).decode
_text: Final = msgspec.json.Decoder(_Text).decode


class Reader:
    """Reads one stream of chat or completions; an event's `raw` is what the customer gets, usage left out."""

    __slots__ = (
        "_after",
        "_ahead",
        "_before",
        "_chat",
        "_front",
        "_halves",
        "_ident",
        "_lanes",
        "_model",
        "_padded",
        "_plain",
        "_wanted",
    )

    def __init__(self, ask: Ask) -> None:
        shown = ask.shown
        self._chat = ask.kind == "chat"
        self._wanted = max(1, ask.choices)
        self._ident = shown.id.rpartition("-")[2][-26:]
        head = {
            "id": shown.id,
            "object": fields.OBJECTS[ask.kind, True],
            "created": shown.created,
            "model": shown.model,
        }
        self._front = _encode(head)[:-1] + b',"choices":['
        self._lanes: dict[int, tidy.Lane] = {}  # by the index that the upstream uses
        self._ahead: dict[int, tidy.Lane] = {}  # begun by us, by the index that is shown
        self._plain: set[int] = set()  # own indexes of choices that have begun, under the index that is shown
        self._halves = halves.Halves()
        self._before = self._after = _NEVER  # what the upstream writes before and after the choice of each event
        self._padded = False
        self._model: str | None = None

    def event(self, payload: bytes) -> Event:
        """Read one event: a chunk, an error, or `[DONE]`; BadAnswer for anything else."""
        if payload.startswith(self._before):
            padding = b"]}"
            core = payload
            if self._padded and (at := payload.rfind(b',"obfuscation"')) > 0 and _PADDING.fullmatch(payload, at):
                core, padding = payload[:at] + b"}", b"]" + payload[at:]
            if core.endswith(self._after):
                row = core[len(self._before) : -len(self._after)]
                event = self._plain_chat(row, padding) if self._chat else self._plain_text(row, padding)
                if event is not None:
                    return event
        if payload.startswith(b"[DONE]"):
            return Event(payload, done=True)
        return self._any(payload)

    def _plain_chat(self, row: bytes, padding: bytes) -> Event | None:
        """The event of a choice that fits as it is; None if it does not."""
        try:
            choice = _chat(row)
        except ValueError:
            return None
        index, delta, reason = choice.index, choice.delta, choice.finish_reason
        if index not in self._plain or self._halves.held or b"\n" in row:
            return None
        content, calls = delta.content, delta.tool_calls
        event = Event(self._front + row + padding, self._model, [], choices=1)
        if content:
            if self._lanes[index].in_media or "base64," in content:
                return None
            event.pieces.append((index, content))
            event.output_bytes = len(content) if content.isascii() else len(content.encode())
            event.visible = True
        if thought := delta.reasoning_content or delta.reasoning:
            add(event, index, thought, visible=False)
            event.reasoning = True
        if calls:
            by_index = self._lanes[index].by_index
            for call in calls:
                known = by_index.get(call.index)
                if known is None or known.index != call.index:
                    return None
                if call.function.arguments:
                    add(event, index, call.function.arguments)
            event.visible = True
        if reason is not None:
            if reason not in fields.FINISHES:
                return None
            event.finishes = [(index, reason)]
            self._lanes[index].finished = True
        if choice.logprobs is not None and not _fits(choice.logprobs, "chat", row):
            return None
        return event

    def _plain_text(self, row: bytes, padding: bytes) -> Event | None:
        try:
            choice = _text(row)
        except ValueError:
            return None
        index, text, reason = choice.index, choice.text, choice.finish_reason
        if index not in self._plain or self._halves.held or self._lanes[index].in_media:
            return None
        if "base64," in text or b"\n" in row:
            return None
        event = Event(self._front + row + padding, self._model, [], choices=1)
        if text:
            add(event, index, text)
        if reason is not None:
            if reason not in fields.FINISHES:
                return None
            event.finishes = [(index, reason)]
            self._lanes[index].finished = True
        if choice.logprobs is not None and not _fits(choice.logprobs, "completions", row):
            return None
        return event

    def _any(self, payload: bytes) -> Event:
        """Any event: decoded, tidied and written anew."""
        found = decoded(payload)
        if not isinstance(found, dict):
            raise BadAnswer("An event of the stream is no object.")
        if (fault := error_of(found)) is not None:
            return Event(b"", error=fault)
        model = found.get("model")
        if isinstance(model, str) and model:
            self._model = halves.mended(model)
        choices = found.get("choices")
        event = Event(b"", self._model, [], usage=halves.mended_tree(usage_of(found)))
        if choices is None:
            return event
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise BadAnswer("The choices are no list of objects.")
        if choices and (rows := self._rows(choices)):
            self._write(event, rows, found)
            self._learn(payload)
        return event

    @property
    def begun(self) -> bool:
        """Whether something of an answer has come."""
        return bool(self._lanes)

    def _rows(self, choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows to show, by index; those of lower choices that have not begun stand before them."""
        placed = [
            (self._lane(*tidy.place(choice, position, self._lanes, self._wanted)), choice)
            for position, choice in enumerate(choices)
        ]
        if self._chat and len(self._lanes) < self._wanted:
            # openai-python finds a choice by its place in a list: the lower ones must have begun.
            there = {lane.index for lane in self._lanes.values()} | self._ahead.keys()
            for index in range(min(max(there), self._wanted)):
                if index not in there:
                    lane = self._ahead[index] = tidy.Lane(index)
                    placed.append((lane, {}))
        # openai-node throws at more choices than were asked for.
        placed = [each for each in placed if each[0].index < self._wanted]
        placed.sort(key=lambda each: each[0].index)
        return [self._row(choice, lane) for lane, choice in placed]

    def _lane(self, own: int, index: int) -> tidy.Lane:
        lane = self._lanes.get(own)
        if lane is None:
            lane = self._lanes[own] = self._ahead.pop(index) if index in self._ahead else tidy.Lane(index)
            if own == index < self._wanted:
                self._plain.add(own)
        return lane

    def _row(self, choice: dict[str, Any], lane: tidy.Lane) -> dict[str, Any]:
        return tidy.chat_row(choice, lane, self._ident) if self._chat else tidy.text_row(choice, lane)

    def _write(self, event: Event, rows: list[dict[str, Any]], found: dict[str, Any]) -> None:
        """Set the event's bytes and what they hold."""
        lanes = self._ahead | {lane.index: lane for lane in self._lanes.values()}
        for row in rows:
            lane = lanes[row["index"]]
            self._rejoin(row, lane)
            read_row(event, row, lane)
        more = {name: found[name] for name in fields.TOP if found.get(name)}
        tail = b"]}" if not more else b"]," + _encode(halves.mended_tree(more))[1:]
        event.raw = self._front + b",".join([_encode(row) for row in rows]) + tail
        event.choices = len(rows)
        event.begins = [row["index"] for row in rows if "role" in row.get("delta", ())]

    def _rejoin(self, row: dict[str, Any], lane: tidy.Lane) -> None:
        ends = row["finish_reason"] is not None
        if self._halves.held:
            texts.rejoin(row, lane, self._halves, ends=ends)
        try:
            _encode(row)
        except UnicodeEncodeError:
            texts.rejoin(row, lane, self._halves, ends=ends)
            row |= halves.mended_tree(row)

    def _learn(self, payload: bytes) -> None:
        """Note what stands around the choice of this event, where the next may be compared with it."""
        self._before = self._after = _NEVER
        if b"\n" in payload or b"\r" in payload:
            return
        padding = payload.rfind(b',"obfuscation"')
        self._padded = padding > 0 and _PADDING.fullmatch(payload, padding) is not None
        core = payload[:padding] + b"}" if self._padded else payload
        found, end = _CHOICES.search(core), core.rfind(b"}]")
        if found is None or end < found.end():
            return
        before, after = core[: found.end()], core[end + 1 :]
        try:
            around = decoded(before + after)
        except BadAnswer:
            return
        if around.get("choices") != [] or usage_of(around) is not None or not fields.TOP.isdisjoint(around):
            return
        self._before, self._after = before, after

    def close(self) -> list[Event]:
        """What the stream lacks at its clean end: choices that never came, and finish reasons (by what was seen)."""
        lanes = self._ahead | {lane.index: lane for lane in self._lanes.values()}
        for index in range(self._wanted):
            if index not in lanes:
                lanes[index] = self._ahead[index] = tidy.Lane(index)
        rows = [
            self._row({"finish_reason": lane.seen}, lane)
            for index, lane in sorted(lanes.items())
            if not lane.finished and index < self._wanted
        ]
        if not rows:
            return []
        event = Event(b"", self._model, [])
        self._write(event, rows, {})
        return [event]


def decoded(payload: bytes) -> Any:
    """The value of a payload; BadAnswer if it is no JSON, not UTF-8, or nested too deeply."""
    try:
        if depth.too_deep(payload):
            raise BadAnswer("The answer is nested too deeply.", own=True)
        return halves.loads(payload)
    except UnicodeError:
        raise BadAnswer("The answer is not UTF-8.", own=True) from None
    except (ValueError, RecursionError):
        raise BadAnswer("The answer is not JSON.") from None


def error_of(found: dict[str, Any]) -> Fault | None:
    """The fault that an event or answer names, or None."""
    if found.get("error"):
        return faults.of_object(halves.mended_tree(found["error"]))
    return faults.of_object(halves.mended_tree(found)) if found.get("object") == "error" else None


def usage_of(found: dict[str, Any]) -> Any:
    """The usage of an event or answer: at its top, in a choice (Moonshot), or in `x_groq` where nobody asked."""
    if found.get("usage") is not None:
        return found["usage"]
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("usage") is not None:
            return choice["usage"]
    groq = found.get("x_groq")
    return groq.get("usage") if isinstance(groq, dict) else None


def read_row(event: Event, row: dict[str, Any], lane: tidy.Lane) -> None:
    """Add what a tidied row of a chunk or an answer holds to the event; `BROKEN` ends as a fault."""
    index, reason = row["index"], row["finish_reason"]
    if reason in fields.BROKEN:
        event.error = Fault("down", f"The upstream broke the answer off: {reason}.", 502)
    if reason is not None:
        event.finishes = [*event.finishes, (index, reason)]
    said = row["delta"] if "delta" in row else row.get("message", row)
    for text in (said.get("content"), said.get("text")):
        if text:
            words, media_bytes = texts.without_media(text, lane)
            event.media_bytes += media_bytes
            event.visible = True
            add(event, index, words)
    thought = said.get("reasoning_content") or said.get("reasoning") or _detailed(said)
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


def _read_media(event: Event, index: int, said: dict[str, Any]) -> None:
    if audio := said.get("audio"):
        event.visible = True
        event.media_bytes += len(audio["data"]) if isinstance(audio.get("data"), str) else 0
        if isinstance(audio.get("transcript"), str):
            add(event, index, audio["transcript"])
    if said.get("images"):
        event.visible = True
        event.media_bytes += len(_encode(halves.mended_tree(said["images"])))


def _detailed(said: dict[str, Any]) -> str:
    """Reasoning that is shown in no other field than the lists of its details."""
    entries = [*said.get("reasoning_details", ()), *said.get("thinking_blocks", ())]
    found = [entry.get(name) for entry in entries for name in ("text", "summary", "thinking")]
    return "".join(text for text in found if isinstance(text, str))


def add(event: Event, index: int, text: str, *, visible: bool = True) -> None:
    """Add a piece of output to the event."""
    if text:
        event.pieces.append((index, text))
        event.output_bytes += len(text) if text.isascii() else len(text.encode())
        event.visible = event.visible or visible


def _fits(logprobs: Any, kind: str, row: bytes) -> bool:
    """Whether likelihoods may pass as they came: what is skipped of them was decoded, but not how deep it is."""
    return isinstance(logprobs, dict) and logprobs.keys() <= fields.LOGPROBS[kind] and not depth.too_deep(row)
