"""What the customer reads of an answer: the events of a stream in the form that clients rely on, and its usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from farebox.catalog.usage import Usage
from farebox.protocol.dialect import Event, Shown
from farebox.protocol.openai_form import fields, neutral, splice
from farebox.protocol.openai_form.fields import Rows

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class StreamWriter:
    """Writes the events of one stream: `data: ` + one JSON object + empty line (clients 1.2).

    `shown` is what the answer is called; the dialect has written the events under that name.
    """

    rows: Rows
    shown: Shown
    reports: bool = False  # whether the customer has asked for the usage
    begun: set[int] = field(default_factory=set)  # choices of which something was written
    numbers: neutral.Numbers = field(default_factory=dict)  # of calls of tools, where the upstream speaks otherwise

    def write(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events; events without choices are kept back (clients 1.8)."""
        out: list[bytes] = []
        for event in events:
            if event.choices:
                out += (b"data: ", event.raw, b"\n\n")
                if event.begins:
                    self.begun.update(event.begins)
            elif (event.parts or event.finishes) and (
                rows := neutral.rows_of(event, self.rows, self.begun, self.numbers)
            ):
                out += (b"data: ", splice.chunk(self.rows, self.shown, rows), b"\n\n")
        return b"".join(out)

    def cut(self, indexes: Sequence[int]) -> bytes:
        """The chunk that ends these choices with `length`."""
        return b"data: " + splice.finish_chunk(self.rows, self.shown, indexes, begun=self.begun) + b"\n\n"

    def last(self, usage: Usage | None, reported: Any) -> bytes:
        """The last bytes: the usage chunk if one was asked for, and `[DONE]`."""
        if not self.reports:
            return DONE
        told = shown_usage(usage, reported)
        return b"data: " + splice.usage_chunk(self.rows, self.shown, told) + b"\n\n" + DONE


def shown_usage(usage: Usage | None, reported: Any, *, output: bool = True) -> dict[str, Any]:
    """The usage object that the customer sees: counters of the believed report, else its classes in OpenAI's words.

    Those stand for our own count too, and for a report in the words of another vendor.
    """
    if in_our_words(reported):
        return fields.usage(reported)
    used = usage or Usage()
    shown: dict[str, Any] = {"prompt_tokens": used.input_tokens}
    if output:
        shown["completion_tokens"] = used.output_tokens
    shown["total_tokens"] = used.total
    if reported is not None:
        shown["prompt_tokens_details"] = {"cached_tokens": used.cached_read, "cache_write_tokens": used.cache_write}
        if output:
            shown["completion_tokens_details"] = {"reasoning_tokens": used.reasoning}
    return shown


def in_our_words(reported: Any) -> bool:
    """Whether a report has the names that OpenAI's clients look for."""
    return isinstance(reported, dict) and reported.get("prompt_tokens") is not None
