"""The JSON of answers: whole, or as the events of a stream, in OpenAI's form or as the behaviours bend it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

import msgspec

from . import text
from .answers import Answer, Choice
from .behaviours import Behaviours
from .errors import policy_event, server_event

DONE: Final = b"[DONE]"
HUGE_BYTES: Final = 10 * 1024 * 1024
DEEP_LEVELS: Final = 10_000
EVENT_FAULTS: Final = (
    "garbage", "bad-utf8", "huge-line", "deep", "nan", "empty-choices", "error-event", "policy-event",
)  # fmt: skip

_encode = msgspec.json.encode
_Reported = dict[str, Any]


class Head(msgspec.Struct):
    """What every event of an answer repeats. `chat` is False for `/v1/completions`."""

    id: str
    created: int
    model: str
    chat: bool

    def fields(self, behaviours: Behaviours, *, chunk: bool) -> dict[str, Any]:
        """The fields before `choices`."""
        kind = "chat.completion.chunk" if chunk else "chat.completion"
        fields: dict[str, Any] = {"id": self.id, "object": kind if self.chat else "text_completion"}
        fields |= {"created": self.created, "model": named(self.model, behaviours)}
        if "no-created" in behaviours:
            del fields["id"], fields["created"]
        return fields


def named(model: str, behaviours: Behaviours) -> str:
    """The name of the model that an answer shows."""
    if "big-model" in behaviours:
        return "/models/sandbox-135m-instruct-q8_0.gguf"
    return behaviours.get("substitute", model)


def usage(behaviours: Behaviours, *, given: int, written: int | None, reasoning: int = 0) -> _Reported:
    """The usage object; `written` is None for an embedding, which has no output."""
    pair = behaviours.pair()
    if pair is not None:
        given, written = pair[0], None if written is None else pair[1]
    shown: list[Any] = [given, written or 0, given + (written or 0)]
    if "usage-zero" in behaviours:
        shown = [0, 0, 0]
    if "usage-negative" in behaviours:
        shown = [given, -max(1, shown[1]), given - max(1, shown[1])]
    if "usage-huge" in behaviours:
        shown = [given, 2**63, given + 2**63]
    if "usage-mismatch" in behaviours:
        shown[2] += 7
    if "usage-float" in behaviours:
        shown = [each + 0.5 for each in shown]
    if "usage-string" in behaviours:
        shown = [str(each) for each in shown]
    reported = {"prompt_tokens": shown[0], "completion_tokens": shown[1], "total_tokens": shown[2]}
    if written is None:
        del reported["completion_tokens"]
    cached = behaviours.number("cached")
    if cached is not None:
        reported["prompt_tokens_details"] = {"cached_tokens": cached, "audio_tokens": 0}
    if reasoning:
        reported["completion_tokens_details"] = {"reasoning_tokens": reasoning, "audio_tokens": 0}
    return reported


def of_answer(answer: Answer, behaviours: Behaviours) -> _Reported:
    """The usage object of a chat or a completion."""
    return usage(
        behaviours,
        given=answer.input_tokens,
        written=answer.output_tokens,
        reasoning=answer.reasoning_tokens,
    )


def attach(fields: dict[str, Any], reported: _Reported, behaviours: Behaviours) -> dict[str, Any]:
    """Put the usage into an answer that is not streamed, unless the behaviours keep it out."""
    if "no-usage" not in behaviours:
        fields["usage"] = None if "usage-null" in behaviours else reported
    return fields


def whole(head: Head, answer: Answer, behaviours: Behaviours) -> bytes:
    """An answer that is not streamed."""
    make = _message if head.chat else _completed
    choices = [make(choice, answer, behaviours) for choice in answer.choices]
    fields = head.fields(behaviours, chunk=False)
    fields["choices"] = choices
    return _encode(attach(fields, of_answer(answer, behaviours), behaviours))


def events(head: Head, answer: Answer, behaviours: Behaviours, *, asked: bool) -> Iterator[bytes]:
    """The events of a stream in order, each the text after `data: `; `asked`: include_usage was sent."""
    reported = of_answer(answer, behaviours)
    last = [] if "noterminal" in behaviours or "nodone" in behaviours else [DONE]
    yield from _parts(head, answer, behaviours, asked=asked)
    if not asked or {"no-usage", "usage-early", "noterminal"} & behaviours.keys():
        yield from last
        return
    fields = head.fields(behaviours, chunk=True) | {"choices": []}
    final = _encode(fields | {"usage": None if "usage-null" in behaviours else reported})
    if "usage-late" in behaviours:
        yield from [*last, final]
        return
    if "usage-twice" in behaviours:
        half = usage(behaviours, given=answer.input_tokens, written=answer.output_tokens // 2)
        yield _encode(fields | {"usage": half})
    yield from [final, *last]


def _parts(head: Head, answer: Answer, behaviours: Behaviours, *, asked: bool) -> Iterator[bytes]:
    """The events of all choices, one of each in turn, ended by their finish_reason."""
    front = _encode(head.fields(behaviours, chunk=True))[:-1] + b',"choices":['
    early = "usage-early" in behaviours
    nulls = "usage-null" in behaviours or (asked and "usage-openai" in behaviours)
    cumulative = "usage-cumulative" in behaviours
    back = b'],"usage":null}' if nulls else b"]}"
    written = answer.reasoning_tokens if not answer.choices[0].reasoning else 0
    lanes = [_lane(head, choice, answer, behaviours) for choice in answer.choices]
    for turn in zip_longest(*lanes):
        for made in turn:
            if made is None:
                continue
            tokens, piece = made
            written += tokens
            if cumulative or early:
                output = min(written, answer.output_tokens) if cumulative else 0
                so_far = usage(behaviours, given=answer.input_tokens, written=output)
                yield front + piece + b'],"usage":' + _encode(so_far) + b"}"
                early = False
            else:
                yield front + piece + back


def _lane(head: Head, choice: Choice, answer: Answer, behaviours: Behaviours) -> Iterator[tuple[int, bytes]]:
    """The entries of `choices` for one choice in order, each with the tokens that it adds."""
    opening = b'{"index":%d,' % choice.index
    tail = b',"logprobs":null,"finish_reason":null}'
    before = opening + (b'"delta":{"content":' if head.chat else b'"text":')
    after = b"}" + tail if head.chat else tail
    if head.chat:
        yield from _lane_head(choice, opening, tail, behaviours)
    if choice.refusal:
        before = opening + b'"delta":{"refusal":'
    offset = 0
    pieces = list("".join(choice.pieces)) if "chars" in behaviours else choice.pieces
    for position, piece in enumerate(pieces):
        tokens = 1 if position >= choice.echoed else 0
        if answer.logprobs is None or choice.refusal:
            yield tokens, before + _encode(piece) + after
            continue
        probable = _probable(head, [piece], answer.logprobs, offset)
        offset += len(piece)
        shown = before + _encode(piece) + (b"}" if head.chat else b"")
        yield tokens, shown + b',"logprobs":' + _encode(probable) + b',"finish_reason":null}'
    for position, call in enumerate(choice.calls):
        first: Any = {"index": position, "id": call.id, "type": "function"}
        first["function"] = {"name": call.name, "arguments": ""}
        yield text.count(call.name), _delta(opening, {"tool_calls": [first]}, tail)
        for piece in call.pieces:
            part = {"index": position, "function": {"arguments": piece}}
            yield 1, _delta(opening, {"tool_calls": [part]}, tail)
    if "noterminal" not in behaviours:
        ended = b'"delta":{}' if head.chat else b'"text":""'
        yield 0, opening + ended + b',"logprobs":null,"finish_reason":"' + choice.finish.encode() + b'"}'


def _lane_head(choice: Choice, opening: bytes, tail: bytes, behaviours: Behaviours) -> Iterator[tuple[int, bytes]]:
    """The role, then the reasoning where it is shown."""
    if "no-role" not in behaviours:
        content = None if choice.calls or choice.refusal else ""
        role: dict[str, Any] = {"role": "assistant", "content": content}
        if choice.refusal:
            role["refusal"] = ""
        yield 0, _delta(opening, role, tail)
    for piece in choice.reasoning:
        yield 1, _delta(opening, {"reasoning_content": piece}, tail)


def _delta(opening: bytes, delta: dict[str, Any], tail: bytes) -> bytes:
    return opening + b'"delta":' + _encode(delta) + tail


def _message(choice: Choice, answer: Answer, behaviours: Behaviours) -> dict[str, Any]:
    said = "".join(choice.pieces)
    message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
    if "no-role" in behaviours:
        del message["role"]
    if choice.refusal:
        message |= {"content": None, "refusal": said}
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.pieces)},
            }
            for call in choice.calls
        ]
    probable = None if answer.logprobs is None else _chat_probable(choice.pieces, answer.logprobs)
    finish = None if "noterminal" in behaviours else choice.finish
    return {"index": choice.index, "message": message, "logprobs": probable, "finish_reason": finish}


def _completed(choice: Choice, answer: Answer, behaviours: Behaviours) -> dict[str, Any]:
    probable = None if answer.logprobs is None else _text_probable(choice.pieces, answer.logprobs, 0)
    finish = None if "noterminal" in behaviours else choice.finish
    said = "".join(choice.pieces)
    return {"text": said, "index": choice.index, "logprobs": probable, "finish_reason": finish}


def _probable(head: Head, pieces: list[str], top: int, offset: int) -> dict[str, Any]:
    return _chat_probable(pieces, top) if head.chat else _text_probable(pieces, top, offset)


def _logprob(piece: str, rank: int) -> float:
    """A likelihood that only depends on the token and its rank."""
    return -(len(piece) + 10 * rank) / 10


def _chat_probable(pieces: list[str], top: int) -> dict[str, Any]:
    content = []
    for piece in pieces:
        ranked = [_chat_token(piece if rank == 0 else f"{piece}{rank}", rank) for rank in range(max(1, top))]
        content.append({**ranked[0], "top_logprobs": ranked[:top]})
    return {"content": content, "refusal": None}


def _chat_token(token: str, rank: int) -> dict[str, Any]:
    return {"token": token, "logprob": _logprob(token, rank), "bytes": list(token.encode())}


def _text_probable(pieces: list[str], top: int, offset: int) -> dict[str, Any]:
    offsets = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    ranks = [
        {piece if rank == 0 else f"{piece}{rank}": _logprob(piece, rank) for rank in range(top)} for piece in pieces
    ]
    likely = [_logprob(piece, 0) for piece in pieces]
    return {"tokens": pieces, "token_logprobs": likely, "top_logprobs": ranks, "text_offset": offsets}


def fault(name: str, head: Head, behaviours: Behaviours) -> bytes:
    """The text of an event that is broken in the way named; one of EVENT_FAULTS."""
    fields = head.fields(behaviours, chunk=True)
    if name == "error-event":
        return server_event()
    if name == "policy-event":
        return policy_event()
    if name == "garbage":
        return b'{"id":"garbage","choices":[{"index":0,"delta":{"content":'
    if name == "empty-choices":
        return _encode(fields | {"choices": []})
    if name == "deep":
        return _encode(fields)[:-1] + b',"choices":' + b"[" * DEEP_LEVELS + b"]" * DEEP_LEVELS + b"}"
    said = "x" * HUGE_BYTES if name == "huge-line" else "@"
    shown = {"delta": {"content": said}} if head.chat else {"text": said}
    made = _encode(fields | {"choices": [{"index": 0, **shown, "logprobs": None, "finish_reason": None}]})
    if name == "bad-utf8":
        return made.replace(b'"@"', b'"\xff\xfe\xc3"')
    if name == "nan":
        return made.replace(b'"logprobs":null', b'"logprobs":NaN')
    return made
