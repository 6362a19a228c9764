"""What the endpoints of OpenAI's own API have in common: requests, streams, usage and errors."""

from __future__ import annotations

from typing import Any

import msgspec

from farebox.catalog.usage import Usage
from farebox.kit.errors import FareboxError
from farebox.protocol.dialect import Ask, Event, Shown
from farebox.protocol.kind import Call, ErrorAnswer, Kind, Writer
from farebox.protocol.openai_form import fields, neutral, splice, whole, writing
from farebox.protocol.quirks import Quirks

FORM = "openai"
_json = msgspec.json.Encoder().encode


class Endpoint(Kind):
    """A kind in OpenAI's form. What goes to an upstream of that form, and comes from it, is its own business too."""

    form = FORM

    def sent(self, body: dict[str, Any], ask: Ask, quirks: Quirks) -> None:
        """Write into `body`, which holds the model and the parameters, what this kind needs beside them."""

    def received(self, body: bytes, ask: Ask) -> Event:
        """Read a whole answer; BadAnswer if it has no choices and is no error."""
        return whole.answer(body, ask)

    def answer(self, call: Call, event: Event, shown: Shown) -> bytes:  # noqa: ARG002 - part of the socket
        """The body as the dialect has tidied it, or written of the parts where the upstream speaks another form."""
        if event.raw:
            return event.raw
        body = neutral.answer(event, fields.ROWS[self.name], shown)
        if writing.in_our_words(event.usage):
            body["usage"] = fields.usage(event.usage)
        return _json(body)

    def writer(self, call: Call, shown: Shown) -> Writer:
        """The writer of a stream of chunks."""
        rows = fields.ROWS.get(self.name, fields.TEXT)  # one that is never streamed has a writer as well
        return writing.StreamWriter(rows, shown, call.include_usage)

    def counted(self, call: Call, body: bytes, usage: Usage, reported: Any) -> bytes:
        """The answer with its usage in OpenAI's words: where it is missing, not believed, or in other words."""
        return splice.with_usage(body, usage=writing.shown_usage(usage, reported, output=call.has_output))

    def tells(self, reported: Any) -> bool:
        """Whether a report has the names that OpenAI's clients look for."""
        return writing.in_our_words(reported)

    def error_answer(self, error: FareboxError) -> ErrorAnswer:
        """`{"error": {message, type, param, code}}` with the error's own status."""
        return ErrorAnswer(error.status, _json(error.body()), error.headers())

    def broken(self, error: FareboxError) -> bytes:
        """The same object as an event."""
        return b"data: " + _json(error.body()) + b"\n\n"
