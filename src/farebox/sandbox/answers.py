"""What the sandbox answers to a chat or a completion: the text, how it ends, and what it counts."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from . import reading, schema, text
from .behaviours import Behaviours, divided
from .errors import Refusal

UNLIMITED_TOKENS: Final = 4096  # an echo without a limit ends here, as a model's own maximum would
_USUAL_LIMIT: Final = 16
_N_MAX: Final = 128


class ToolCall(msgspec.Struct):
    """A call of a tool; the pieces joined are its arguments in JSON."""

    id: str
    name: str
    pieces: list[str]


class Choice(msgspec.Struct):
    """One choice of an answer; a piece is one token, and joined they are its text.

    The first `echoed` pieces are the prompt's, and not output.
    """

    index: int
    pieces: list[str]
    finish: str
    echoed: int = 0
    refusal: bool = False
    reasoning: list[str] = []
    calls: list[ToolCall] = []


class Answer(msgspec.Struct):
    """All choices and the tokens they count.

    `logprobs` is None where they were not asked for, else how many alternatives were.
    """

    choices: list[Choice]
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    logprobs: int | None = None


def chat(body: dict[str, Any], behaviours: Behaviours) -> Answer:
    """The answer to a request of `/v1/chat/completions`. Raises Refusal where it is malformed."""
    messages = reading.messages_of(body)
    count, images = reading.chat_input(body, messages)
    limit = reading.number(body, "max_completion_tokens", least=1)
    if limit is None:
        limit = reading.number(body, "max_tokens", least=1)
    hidden = _reasoning(behaviours, limit)
    seen_limit = limit if limit is None else max(0, limit - len(hidden))
    calls = _tool_calls(body, messages, behaviours)
    said = "" if calls else _chat_text(body, messages, images)
    pieces, finish = _written(said, behaviours, limit=seen_limit, stops=reading.stops(body))
    if calls:
        pieces, finish = [], _cut_calls(calls, seen_limit)
    if limit is not None and len(hidden) > limit:
        hidden, pieces, calls, finish = hidden[:limit], [], [], "length"
    if "only-reasoning" in behaviours:
        pieces, calls, finish = [], [], "length"
    n = reading.number(body, "n", least=1, most=_N_MAX) or 1
    shown = hidden if "reasoning-text" in behaviours else []
    choices = [
        Choice(
            index=_index(position, behaviours),
            pieces=pieces,
            finish=finish,
            refusal="refusal" in behaviours,
            reasoning=shown,
            calls=[ToolCall(f"{call.id}_{position}", call.name, call.pieces) for call in calls],
        )
        for position in range(n)
    ]
    each = len(hidden) + len(pieces) + sum(text.count(call.name) + len(call.pieces) for call in calls)
    logprobs = reading.number(body, "top_logprobs", least=0, most=20) or 0
    return Answer(choices, count, each * n, len(hidden) * n, logprobs if body.get("logprobs") is True else None)


def completion(body: dict[str, Any], behaviours: Behaviours) -> Answer:
    """The answer to a request of `/v1/completions`. Raises Refusal where it is malformed."""
    limit = reading.number(body, "max_tokens", least=0)
    limit = _USUAL_LIMIT if limit is None else limit
    n = reading.number(body, "n", least=1, most=_N_MAX) or 1
    best_of = max(n, reading.number(body, "best_of", least=1, most=_N_MAX) or n)
    if best_of > n and body.get("stream"):
        raise Refusal(400, "You cannot stream when best_of is greater than n.", param="best_of")
    choices: list[Choice] = []
    output = 0
    given = 0
    for prompt in reading.prompts(body.get("prompt"), param="prompt"):
        words = prompt if isinstance(prompt, str) else f"{len(prompt)} token numbers"
        given += text.count(prompt) if isinstance(prompt, str) else len(prompt)
        said = f"[sandbox] You said: {divided(words)[1]}"
        pieces, finish = _written(said, behaviours, limit=limit, stops=reading.stops(body))
        output += len(pieces) * best_of
        echo = text.pieces(words) if body.get("echo") is True else []
        first = len(choices)
        choices.extend(
            Choice(_index(first + copy, behaviours), echo + pieces, finish, echoed=len(echo)) for copy in range(n)
        )
    suffix = body.get("suffix")
    given += text.count(suffix) if isinstance(suffix, str) else 0
    return Answer(choices, given, output, 0, reading.number(body, "logprobs", least=0, most=20))


def _index(position: int, behaviours: Behaviours) -> int:
    return 1 + 2 * position if "gaps" in behaviours else position


def _chat_text(body: dict[str, Any], messages: list[dict[str, Any]], images: int) -> str:
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if isinstance(form, dict) and kind == "json_schema":
        described = form.get("json_schema")
        wanted = described.get("schema") if isinstance(described, dict) else None
        return _smallest(wanted or {}, param="response_format")
    said = divided(reading.last_user(messages))[1]
    if kind == "json_object":
        return msgspec.json.encode({"sandbox": f"You said: {said}"}).decode()
    if messages[-1].get("role") == "tool":
        return f"[sandbox] The tool said: {reading.parts(messages[-1])[0]}"
    if images:
        return f"[sandbox] You sent {images} image{'s' if images > 1 else ''} and said: {said}"
    return f"[sandbox] You said: {said}"


def _reasoning(behaviours: Behaviours, limit: int | None) -> list[str]:
    """The hidden tokens that come before the answer."""
    given = behaviours.number("reasoning")
    if given is None and "only-reasoning" in behaviours:
        given = _USUAL_LIMIT if limit is None else limit
    if given is None and "reasoning-text" in behaviours:
        given = 8
    return text.filler(given or 0)


def _written(said: str, behaviours: Behaviours, *, limit: int | None, stops: list[str]) -> tuple[list[str], str]:
    """The pieces of a text as the behaviours, the stops and the limit leave it, and its finish_reason."""
    pieces, finish = _wanted(said, behaviours, limit)
    if stops:
        whole = "".join(pieces)
        cuts = [found for stop in stops if (found := whole.find(stop)) >= 0]
        if cuts:
            pieces, finish = text.pieces(whole[: min(cuts)]), "stop"
    if "over" not in behaviours:
        most = UNLIMITED_TOKENS if limit is None and _is_echo(behaviours) else limit
        if most is not None and len(pieces) > most:
            pieces, finish = pieces[:most], "length"
    if "content-filter" in behaviours:
        finish = "content_filter"
    return pieces, finish


def _wanted(said: str, behaviours: Behaviours, limit: int | None) -> tuple[list[str], str]:
    if "empty" in behaviours:
        return [], "stop"
    if "refusal" in behaviours:
        return text.pieces("[sandbox] I'm sorry, I cannot help with that."), "stop"
    base = _USUAL_LIMIT if limit is None else limit
    over = behaviours.number("over")
    if over is not None:
        return text.filler(base + over), "stop"
    if "full" in behaviours:
        return text.filler(base), "length"
    tokens = behaviours.number("tokens")
    if tokens is not None:
        return text.filler(tokens), "stop"
    size = behaviours.number("bytes")
    return text.pieces(said if size is None else text.filler_bytes(size)), "stop"


def _is_echo(behaviours: Behaviours) -> bool:
    return not behaviours or not {"tokens", "bytes", "full"} & behaviours.keys()


def _tool_calls(body: dict[str, Any], messages: list[dict[str, Any]], behaviours: Behaviours) -> list[ToolCall]:
    """The calls of tools: where they are forced, or the user's text says "call tool" ("call tools": each)."""
    tools = body.get("tools")
    choice = body.get("tool_choice")
    if not isinstance(tools, list) or not tools or choice == "none" or {"empty", "refusal"} & behaviours.keys():
        return []
    functions = [
        tool["function"] for tool in tools if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    asked = reading.last_user(messages).lower()
    if isinstance(choice, dict):
        named = choice.get("function")
        wanted = named.get("name") if isinstance(named, dict) else None
        functions = [function for function in functions if function.get("name") == wanted]
        if not functions:
            raise Refusal(400, "'tool_choice' names a function that 'tools' does not hold.", param="tool_choice")
    elif choice != "required" and (messages[-1].get("role") == "tool" or "call tool" not in asked):
        return []
    if "call tools" not in asked or body.get("parallel_tool_calls") is False:
        functions = functions[:1]
    return [
        ToolCall(f"call_sandbox{position}", str(function.get("name")), _arguments(function))
        for position, function in enumerate(functions)
    ]


def _arguments(function: dict[str, Any]) -> list[str]:
    parameters = function.get("parameters") or {"type": "object"}
    return text.pieces(_smallest(parameters, param="tools"))


def _smallest(wanted: Any, *, param: str) -> str:
    try:
        return msgspec.json.encode(schema.smallest(wanted)).decode()
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise Refusal(400, f"Invalid schema in '{param}'.", param=param, code="invalid_json_schema") from error


def _cut_calls(calls: list[ToolCall], limit: int | None) -> str:
    """Cut the arguments to the limit, in place; the finish_reason."""
    left = limit
    for call in calls:
        if left is None:
            break
        left -= text.count(call.name)
        if len(call.pieces) > max(0, left):
            call.pieces = call.pieces[: max(0, left)]
            return "length"
        left -= len(call.pieces)
    return "tool_calls"
