"""The reader of one stream in OpenAI's form: payloads in, events in the form that SDKs demand out.

What fits already passes as bytes: servers write what surrounds the choice the same in each event, so it is compared
and exchanged as a whole, and only the choice itself is read (`fitting`). Where fields are only to be left out, those
that stay are picked (`picked`). Anything else is decoded and written again (`tidy`). All three read the same.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from farebox.protocol import carve, halves
from farebox.protocol.dialect import Ask, BadAnswer, Event
from farebox.protocol.openai_form import aside, counted, fields, fitting, picked, texts, tidy
from farebox.protocol.openai_form.payload import decoded, error_of, usage_of

_encode: Final = msgspec.json.Encoder().encode
_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[')
_PADDING: Final = re.compile(rb',\s?"obfuscation":\s?"' + fields.PADDING.encode() + rb'"\s?\}')
_NEVER: Final = b"\xff\n"
# So many events in a row may be compared in vain, or learned from, before a stream is one whose events never fit.
_TRIES: Final = 4


class Reader:
    """Reads one stream of chat or completions; an event's `raw` is what the customer gets, usage left out."""

    __slots__ = (
        "_after",
        "_ahead",
        "_before",
        "_chat",
        "_fitting",
        "_front",
        "_halves",
        "_ident",
        "_lanes",
        "_model",
        "_padded",
        "_pick",
        "_plain",
        "_tries",
        "_wanted",
    )

    several = False

    def __init__(self, ask: Ask) -> None:
        shown = ask.shown
        rows = fields.ROWS[ask.kind]
        self._chat = rows.delta
        self._fitting = fitting.chat if self._chat else fitting.text
        self._pick = picked.chat if self._chat else picked.text
        self._wanted = max(1, ask.choices)
        self._ident = shown.id.rpartition("-")[2][-26:]
        head = {
            "id": shown.id,
            "object": rows.chunk,
            "created": shown.created,
            "model": shown.model,
        }
        self._front = _encode(head)[:-1] + b',"choices":['
        self._lanes: dict[int, tidy.OpenChoice] = {}  # by the index that the upstream uses
        self._ahead: dict[int, tidy.OpenChoice] = {}  # begun by us, by the index that is shown
        self._plain: set[int] = set()  # own indexes of choices that have begun, under the index that is shown
        self._halves = halves.Halves()
        self._before = self._after = _NEVER  # what the upstream writes before and after the choice of each event
        self._padded = False
        self._tries = _TRIES
        self._model: str | None = None

    def event(self, payload: bytes) -> Event:
        """Read one event: a chunk, an error, or `[DONE]`; BadAnswer for anything else."""
        if payload.startswith(self._before) and not self._halves.held:
            padding = b"]}"
            core = payload
            if self._padded and (at := payload.rfind(b',"obfuscation"')) > 0 and _PADDING.fullmatch(payload, at):
                core, padding = payload[:at] + b"}", b"]" + payload[at:]
            if core.endswith(self._after):
                row = core[len(self._before) : -len(self._after)]
                fit = self._fitting(row, self._lanes, self._plain)
                if fit is not None:
                    fit.raw = self._front + row + padding
                    fit.model = self._model
                    self._tries = _TRIES
                    return fit
        if payload.startswith(b"[DONE]"):
            return Event(payload, done=True)
        event = None
        if self._lanes and not self._halves.held and len(payload) <= carve.PIECE_BYTES:
            event = self._pick(payload, self._lanes, self._wanted)
        left_out = event is not None
        if event is None:
            event = self._any(payload)
        else:
            event.raw = self._front + event.raw
            if isinstance(event.model, str) and event.model:
                self._model = event.model
            event.model = self._model
        if self._tries > 0 and event.raw:
            if not payload.startswith(self._before) or not payload.endswith(self._after):
                self._tries -= 1
                self._learn(payload)
            elif left_out:
                self._tries -= 1
                if self._tries == 0:
                    self._before = _NEVER
        return event

    def _any(self, payload: bytes) -> Event:
        """Any event: decoded, tidied and written again."""
        found = decoded(payload)
        if not isinstance(found, dict):
            raise BadAnswer("An event of the stream is not an object.")
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
            raise BadAnswer("The choices are not a list of objects.")
        if choices and (rows := self._rows(choices)):
            self._write(event, rows, found)
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
                    lane = self._ahead[index] = tidy.OpenChoice(index)
                    placed.append((lane, {}))
        # openai-node throws at more choices than were asked for.
        placed = [each for each in placed if each[0].index < self._wanted]
        placed.sort(key=lambda each: each[0].index)
        return [self._row(choice, lane) for lane, choice in placed]

    def _lane(self, own: int, index: int) -> tidy.OpenChoice:
        lane = self._lanes.get(own)
        if lane is None:
            lane = self._lanes[own] = self._ahead.pop(index) if index in self._ahead else tidy.OpenChoice(index)
            if own == index < self._wanted:
                self._plain.add(own)
        return lane

    def _row(self, choice: dict[str, Any], lane: tidy.OpenChoice) -> dict[str, Any]:
        return tidy.chat_row(choice, lane, self._ident) if self._chat else tidy.text_row(choice, lane)

    def _write(self, event: Event, rows: list[dict[str, Any]], found: dict[str, Any]) -> None:
        """Set the event's bytes and what they hold."""
        lanes = self._ahead | {lane.index: lane for lane in self._lanes.values()}
        for row in rows:
            lane = lanes[row["index"]]
            self._rejoin(row, lane)
            counted.read_row(event, row, lane)
        lane = lanes[rows[0]["index"]]
        more, told = aside.around({name: halves.mended_tree(found.get(name)) for name in fields.TOP}, lane)
        counted.add_beside(event, lane.index, told)
        tail = b"]}" if not more else b"]," + _encode(more)[1:]
        event.raw = self._front + b",".join([_encode(row) for row in rows]) + tail
        event.choices = len(rows)
        event.begins = [row["index"] for row in rows if "role" in row.get("delta", ())]

    def _rejoin(self, row: dict[str, Any], lane: tidy.OpenChoice) -> None:
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
                lanes[index] = self._ahead[index] = tidy.OpenChoice(index)
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
