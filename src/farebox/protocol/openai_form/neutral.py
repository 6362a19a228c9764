"""What an upstream of another form says, in OpenAI's words: chunks of a stream, and whole answers."""

from __future__ import annotations

from typing import Any, Final

from farebox.protocol.dialect import Event, Part, Shown
from farebox.protocol.openai_form.fields import Rows

_FIELD: Final = {"text": "content", "thought": "reasoning_content", "refusal": "refusal"}

Numbers = dict[tuple[int, int], int]  # of calls of tools in their answer, by choice and block


def rows_of(event: Event, rows: Rows, begun: set[int], numbers: Numbers) -> list[dict[str, Any]]:
    """The choices of one chunk; `begun` and `numbers` are what the stream has seen, and learn."""
    said: dict[int, dict[str, Any]] = {}
    for part in event.parts:
        row = said.setdefault(part.choice, _row(part.choice, rows, begun))
        _say(row, part, rows, numbers)
    for index, reason in event.finishes:
        said.setdefault(index, _row(index, rows, begun))["finish_reason"] = reason
    return [said[index] for index in sorted(said)]


def answer(event: Event, rows: Rows, shown: Shown) -> dict[str, Any]:
    """A whole answer without its usage."""
    choices = rows_of(event, rows, set(), {})
    for row in choices:
        if rows.delta:
            message = row.pop("delta")
            for call in message.get("tool_calls", ()):
                del call["index"]
            row["message"] = message
    return {
        "id": shown.id, "object": rows.whole, "created": shown.created, "model": shown.model, "choices": choices
    }  # fmt: skip


def _row(index: int, rows: Rows, begun: set[int]) -> dict[str, Any]:
    row: dict[str, Any] = {"index": index}
    if rows.delta:
        row["delta"] = {} if index in begun else {"role": "assistant", "content": ""}
    else:
        row["text"] = ""
    begun.add(index)
    return row | {"logprobs": None, "finish_reason": None}


def _say(row: dict[str, Any], part: Part, rows: Rows, numbers: Numbers) -> None:
    if not rows.delta:
        row["text"] += part.text if part.what == "text" else ""
        return
    delta = row["delta"]
    if part.what in _FIELD:
        name = _FIELD[part.what]
        delta[name] = (delta.get(name) or "") + part.text
        return
    place = (part.choice, part.block)
    if place not in numbers:
        numbers[place] = sum(choice == part.choice for choice, _block in numbers)
    calls = delta.setdefault("tool_calls", [])
    call = _numbered(calls, numbers[place])
    if part.what == "call":
        call |= {"id": part.ident, "type": "function"}
        call["function"]["name"] = part.text
    else:
        call["function"]["arguments"] += part.text


def _numbered(calls: list[dict[str, Any]], number: int) -> dict[str, Any]:
    for call in calls:
        if call["index"] == number:
            return call
    calls.append({"index": number, "function": {"arguments": ""}})
    return calls[-1]
