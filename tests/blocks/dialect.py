"""The dialect `blocks`; its events are known by their names alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from farebox.catalog.usage import Usage
from farebox.protocol import kinds
from farebox.protocol.dialect import Ask, BadAnswer, BadUsage, Channel, Encoded, Event, Fault, Part, Reading
from farebox.protocol.quirks import Quirks
from farebox.protocol.stream import Named
from farebox.protocol.usages import Merged

from .kind import frame

REASONS = {"full": "length", "tools": "tool_calls"}


class Blocks:
    name = "blocks"
    title = "Blocks"
    named = True

    def path(self, kind: str) -> str:
        return "/blocks" if kind == "chat" or kinds.KINDS[kind].form == self.name else ""

    def encode(self, ask: Ask, channel: Channel, upstream_model: str) -> Encoded:
        """A kind of the same form as it came; a chat from the parameters of OpenAI's, which are the neutral ones."""
        body: dict[str, Any] = {"who": upstream_model, "streamed": ask.stream, "most": ask.limit_tokens}
        if "messages" in ask.params:
            body["note"] = "\n".join(each["content"] for each in msgspec.json.decode(ask.params["messages"]))
        else:
            body |= ask.params
        path = channel.path_prefix + channel.path(ask.kind).encode()
        head = b"Content-Type: application/json\r\nBlocks-Version: 1\r\n" + channel.auth_headers
        return Encoded(path, head, json.dumps(body).encode())

    def reader(self, ask: Ask) -> Reader:
        return Reader(passed=kinds.KINDS[ask.kind].form == self.name)

    def answer(self, body: bytes, ask: Ask) -> Event:
        found = json.loads(body)
        if "trouble" in found:
            return Event(b"", error=fault(found["trouble"]))
        texts = [(0, text) for text in found["texts"]]
        parts = [Part(0, number, "text", text) for number, (_, text) in enumerate(texts)]
        return Event(
            body if kinds.KINDS[ask.kind].form == self.name else b"", found["who"], texts,
            output_bytes=sum(len(text.encode()) for _, text in texts), visible=bool(texts),
            finishes=[(0, REASONS.get(found["why"], "stop"))], usage=found["used"], done=True, parts=parts,
        )  # fmt: skip

    def chunks(self, body: bytes, ask: Ask) -> list[bytes]:
        raise BadAnswer("A whole answer came instead of a stream.")

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        return fault(json.loads(body)["trouble"], status)

    def usage(self, reported: Any, quirks: Quirks) -> Reading:
        if not isinstance(reported, dict) or type(reported.get("heard")) is not int:
            raise BadUsage("The report says nothing of the input.")
        return Reading(
            Usage(input=reported["heard"], cached_read=reported.get("known", 0), output=reported.get("said", 0))
        )


class Reader:
    """Knows what each block is, how many there are, and what was reported; one event may make several, or none."""

    several = True

    def __init__(self, *, passed: bool) -> None:
        self._passed = passed
        self._blocks: dict[int, str] = {}
        self._used = Merged()
        self._model: str | None = None

    @property
    def begun(self) -> bool:
        return bool(self._blocks)

    def event(self, payload: bytes) -> list[Event]:
        name = payload.name.decode() if isinstance(payload, Named) else ""
        found = json.loads(payload)
        events = getattr(self, f"_{name}", self._unknown)(found)
        if events and self._passed and name != "piece":
            events[0].raw = frame(name, found | ({"who": "-"} if "who" in found else {}))
        return events

    def close(self) -> list[Event]:
        return []

    def _unknown(self, found: Any) -> list[Event]:
        raise BadAnswer("An event has no name.")

    def _still(self, found: Any) -> list[Event]:
        return []

    def _begin(self, found: Any) -> list[Event]:
        self._model = found["who"]
        return [Event(b"", self._model, usage=self._used.add(found["used"]))]

    def _block(self, found: Any) -> list[Event]:
        self._blocks[found["n"]] = found["what"]
        if found["what"] != "call":
            return []
        return [self._said(Part(0, found["n"], "call", found["tool"], found["id"]))]

    def _piece(self, found: Any) -> list[Event]:
        """Texts of several blocks, each an event of its own: `{"0": "Hel", "1": "lo"}`."""
        what, events = {"call": "arguments"}, []
        for number, text in found.items():
            block = self._blocks[int(number)]
            event = self._said(Part(0, int(number), what.get(block, block), text))
            if self._passed:  # what is delivered with an event is what it was counted for
                event.raw = frame("piece", {number: text})
            events.append(event)
        return events

    def _end(self, found: Any) -> list[Event]:
        usage = self._used.add(found["used"])
        return [Event(b"", self._model, finishes=[(0, REASONS.get(found["why"], "stop"))], usage=usage)]

    def _trouble(self, found: Any) -> list[Event]:
        return [Event(b"", error=fault(found["why"]))]

    def _said(self, part: Part) -> Event:
        return Event(
            b"", self._model, [(0, part.text)], output_bytes=len(part.text.encode()), visible=part.what != "thought",
            parts=[part],
        )  # fmt: skip


def fault(why: str, status: int = 200) -> Fault:
    return Fault({"long": "context", "busy": "busy"}.get(why, "down"), why, status)
