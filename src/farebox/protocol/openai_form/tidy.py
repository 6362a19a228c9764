"""The steps that bring one choice of a chunk or an answer into the schema that OpenAI's SDKs demand.

openai-node throws at a choice without role or finish reason and at a tool call without id, type, name or arguments;
openai-python joins a role, id or name that is repeated, and lists by their `index`; LangChain loses a tool call
without `index`. All work on plain decoded JSON and on what is known of the choice so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from farebox.protocol.dialect import BadAnswer
from farebox.protocol.openai_form import fields, likely

INDEX_MAX: Final = 4095
_encode: Final = msgspec.json.Encoder().encode


class ToolCall:
    """A tool call that is under way: its place among those of its choice, and what was said of it."""

    __slots__ = ("id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""


class OpenChoice:
    """What is known of one choice of a stream; `index` is the one that the customer sees."""

    __slots__ = (
        "around",
        "by_id",
        "by_index",
        "calls",
        "finished",
        "function_name",
        "in_media",
        "index",
        "listed",
        "numbers",
        "opened",
        "sources",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.opened = False
        self.finished = False
        self.calls: list[ToolCall] = []
        self.by_index: dict[int, ToolCall] = {}
        self.by_id: dict[str, ToolCall] = {}
        self.function_name: str | None = None
        self.numbers: dict[str, int] = {}
        self.in_media = False
        self.listed: bytes | None = None  # what the tokens listed by `logprobs` of its last event say
        self.around: dict[str, Any] = {}  # what stood beside its last event
        self.sources: set[str] = set()  # texts of annotations and the like that were shown

    @property
    def seen(self) -> str:
        """The finish reason that what was seen stands for."""
        if self.calls:
            return "tool_calls"
        return "stop" if self.function_name is None else "function_call"


def place(choice: Mapping[str, Any], position: int, lanes: Mapping[int, OpenChoice], wanted: int) -> tuple[int, int]:
    """A choice's own index, its position where it has none, and the one to show: 0 to `wanted` - 1 where it can be.

    BadAnswer for an index that is not one.
    """
    own = choice.get("index")
    if isinstance(own, str) and own.isdecimal() and len(own) < len("10000"):
        own = int(own)
    if type(own) is not int:
        own = position
    if not 0 <= own <= INDEX_MAX:
        raise BadAnswer("The index of a choice is out of bounds.")
    if own in lanes:
        return own, lanes[own].index
    taken = {lane.index for lane in lanes.values()}
    if own < wanted and own not in taken:
        return own, own
    return own, next(index for index in range(len(taken) + 1) if index not in taken)


def chat_row(choice: Mapping[str, Any], lane: OpenChoice, ident: str) -> dict[str, Any]:
    """A choice of a chat chunk; `ident` begins the ids of tool calls that have none."""
    said = choice.get("delta")
    if not isinstance(said, dict):  # some send the whole message as the last chunk of a stream
        said = choice.get("message")
    row = {"index": lane.index, "delta": _delta(said if isinstance(said, dict) else {}, lane, ident)}
    return row | _rest(choice, lane, likely.ChatTokens)


def text_row(choice: Mapping[str, Any], lane: OpenChoice) -> dict[str, Any]:
    """A choice of a completions chunk or answer."""
    text = choice.get("text")
    if not isinstance(text, str):
        for name in ("delta", "message"):  # some answer this endpoint in the form of chat
            said = choice.get(name)
            text = text if isinstance(text, str) or not isinstance(said, dict) else said.get("content")
    lane.opened = True
    return {"index": lane.index, "text": text if isinstance(text, str) else ""} | _rest(choice, lane, likely.TextTokens)


def _rest(
    choice: Mapping[str, Any], lane: OpenChoice, kind: type[likely.ChatTokens | likely.TextTokens]
) -> dict[str, Any]:
    reason = fields.finish(choice.get("finish_reason"), lane.seen)
    rest: dict[str, Any] = {"finish_reason": reason}
    lane.listed = None
    if "logprobs" in choice:
        shown, lane.listed = likely.tidied(choice["logprobs"], kind)
        rest = {"logprobs": shown} | rest
    lane.finished = lane.finished or reason is not None
    return rest


def _delta(said: Mapping[str, Any], lane: OpenChoice, ident: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if not lane.opened:
        out["role"] = "assistant"
    content = said.get("content")
    if isinstance(content, str) or (content is None and "content" in said):
        out["content"] = content
    elif content is not None:
        _read_parts(content, out)
    for name in fields.TEXTS[1:]:
        value = said.get(name)
        if isinstance(value, str):
            out[name] = value
    for name in fields.LISTS:
        if said.get(name) and (entries := with_indexes(said[name], lane, name)):
            out[name] = [*out.get(name, ()), *entries]
    calls = said.get("tool_calls")
    calls = [calls] if isinstance(calls, dict) else calls
    if isinstance(calls, list) and (entries := [_call(each, lane, ident) for each in calls if isinstance(each, dict)]):
        out["tool_calls"] = entries
    if said.get("function_call"):
        out |= _function_call(said["function_call"], lane)
    if isinstance(said.get("audio"), dict) and (audio := _audio(said["audio"])):
        out["audio"] = audio
    if isinstance(said.get("extra_content"), dict):  # Gemini's signature of a thought, which must come back to it
        out["extra_content"] = said["extra_content"]
    if not lane.opened:
        lane.opened = True
        # GPT Academic throws a first line away that does not say `content`.
        out.setdefault("content", None if len(out) > 1 else "")
    return out


def _audio(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in given.items()
        if name in fields.AUDIO and (value is None or isinstance(value, int if name == "expires_at" else str))
    }


def _read_parts(content: Any, out: dict[str, Any]) -> None:
    """Content as a list of parts, which no SDK knows: `text`, `thinking` with parts of its own (Mistral), images."""
    if not isinstance(content, list):
        raise BadAnswer("The content of a choice is neither text nor a list.")
    texts, thoughts = [], []
    for part in content:
        if not isinstance(part, dict | str):
            raise BadAnswer("The content of a choice holds something that is not a part.")
        if isinstance(part, str):
            texts.append(part)
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        thinking = part.get("thinking")
        for thought in thinking if isinstance(thinking, list) else [thinking]:
            text = thought.get("text") if isinstance(thought, dict) else thought
            if isinstance(text, str):
                thoughts.append(text)
        if isinstance(part.get("image_url"), dict):
            out.setdefault("images", []).append(
                {"index": len(out.get("images", ())), "type": "image_url", "image_url": part["image_url"]}
            )
    if texts or not thoughts:
        out["content"] = "".join(texts)
    if thoughts:
        out["reasoning_content"] = "".join(thoughts)


def with_indexes(value: Any, lane: OpenChoice, name: str) -> list[dict[str, Any]]:
    """The objects of a list, each with an index: openai-python joins lists of a stream by it."""
    entries = []
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            number = lane.numbers.get(name, 0)
            numbered = type(entry.get("index")) is int
            index = entry["index"] if numbered else number
            lane.numbers[name] = max(number, index + 1)
            entries.append(entry if numbered else entry | {"index": index})
    return entries


def _call(entry: Mapping[str, Any], lane: OpenChoice, ident: str) -> dict[str, Any]:
    """A piece of a tool call: the first has id, type, name and arguments, the others only what is new."""
    custom = isinstance(entry.get("custom"), dict)
    body = entry.get("custom") if custom else entry.get("function")
    body = body if isinstance(body, dict) else {}
    known_as = str(entry["id"]) if entry.get("id") and isinstance(entry["id"], str | int) else ""
    name = body["name"] if isinstance(body.get("name"), str) else ""
    given = "input" if custom else "arguments"
    call = _under_way(entry.get("index"), known_as, name, lane)
    out: dict[str, Any] = {}
    told: dict[str, Any] = {}
    if call is None:
        call = ToolCall(len(lane.calls))
        lane.calls.append(call)
        call.id, call.name = known_as or f"call_{ident}_{lane.index}{call.index}", name
        lane.by_id[call.id] = call
        if type(entry.get("index")) is int:
            lane.by_index[entry["index"]] = call
        out = {"id": call.id, "type": "custom" if custom else "function"}
        told = {"name": name, given: _written(body.get(given))}
    else:
        if name and name != call.name:
            call.name += name
            told["name"] = name
        told[given] = _written(body.get(given))
    out = {"index": call.index} | out | {"custom" if custom else "function": told}
    if isinstance(entry.get("extra_content"), dict):
        out["extra_content"] = entry["extra_content"]
    return out


def _under_way(index: Any, known_as: str, name: str, lane: OpenChoice) -> ToolCall | None:
    """The call that a piece continues with; None for a new one."""
    if known_as in lane.by_id:
        return lane.by_id[known_as]
    if type(index) is int:
        call = lane.by_index.get(index)
        # Another id and a name under a used index: some number all calls 0.
        return None if call is None or (known_as and name) else call
    if not lane.calls or (name and (known_as or lane.calls[-1].name)):
        return None
    return lane.calls[-1]


def _function_call(given: Any, lane: OpenChoice) -> dict[str, Any]:
    if not isinstance(given, dict):
        return {}
    name = given["name"] if isinstance(given.get("name"), str) else ""
    told: dict[str, Any] = {}
    if lane.function_name is None or (name and name != lane.function_name):
        told["name"] = name
    lane.function_name = (lane.function_name or "") + told.get("name", "")
    return {"function_call": told | {"arguments": _written(given.get("arguments"))}}


def _written(given: Any) -> str:
    """Arguments as text: some send the object itself."""
    if isinstance(given, str):
        return given
    return "" if given is None else _encode(given).decode()
