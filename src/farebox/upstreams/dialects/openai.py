"""OpenAI's wire format, as OpenAI and compatible servers speak it (API reference of the three endpoints).

What is read here is only what the gateway must know; the bytes of an answer pass on as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from farebox.kit import depth
from farebox.upstreams import faults, inside, reports
from farebox.upstreams.dialect import Ask, BadAnswer, ChannelSpec, Encoded, Event, Fault, Reading
from farebox.upstreams.quirks import Quirks

_JSON_HEAD: Final = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
_STREAM_OPTIONS: Final = Raw(b'{"include_usage":true}')
_BOM: Final = b"\xef\xbb\xbf"
# Finish reasons beyond OpenAI's own. Zhipu's word for a content policy:
_SAME_AS: Final = {"sensitive": "content_filter"}
# And words for an answer that broke off: OpenRouter, Zhipu, DeepSeek ("Create chat completion" of each).
_BROKEN: Final = frozenset({"error", "network_error", "insufficient_system_resource"})

_Index = Annotated[int, msgspec.Meta(ge=0, le=4095)]
_encode: Final = msgspec.json.Encoder().encode


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Any = None
    input: Any = None


class _ToolCall(Struct, gc=False):
    function: _Function | None = None
    custom: _Function | None = None


class _Delta(Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: Any = None
    images: Any = None


class _Choice(Struct, gc=False):
    index: _Index | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: Any = None  # Moonshot reports it here


class _Frame(Struct, gc=False):
    """A chunk or a whole answer of chat or completions; the rest is skipped, but checked to be JSON."""

    choices: list[_Choice] | UnsetType | None = UNSET
    model: str | None = None
    usage: Any = None
    error: Any = None
    id: str | None = None
    created: Any = None
    object: str | None = None
    x_groq: Any = None  # Groq reports usage in it where it was not asked for


class _Vector(Struct, gc=False):
    embedding: Raw
    index: _Index | None = None
    object: str | None = None


class _Vectors(Struct, gc=False):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None


_frame: Final = msgspec.json.Decoder(_Frame).decode
_vectors: Final = msgspec.json.Decoder(_Vectors).decode
_anything: Final = msgspec.json.Decoder().decode


class OpenAI:
    """The dialect `openai`; it has no state."""

    __slots__ = ()
    name = "openai"

    def encode(self, ask: Ask, channel: ChannelSpec, upstream_model: str) -> Encoded:
        """One POST, with usage asked for, since we bill from it; ValueError if the channel lacks the kind."""
        quirks = channel.quirks
        body: dict[str, Any] = {"model": upstream_model} if quirks.model_in_body else {}
        if quirks.drop or quirks.rename:
            body |= {
                quirks.rename.get(name, name): value for name, value in ask.params.items() if name not in quirks.drop
            }
        else:
            body |= ask.params
        if ask.extra and quirks.pass_:
            for name in quirks.pass_:
                if name in ask.extra:
                    body.setdefault(name, ask.extra[name])
        if ask.kind == "embeddings":
            if not quirks.base64_embeddings:
                body.pop("encoding_format", None)
        else:
            if ask.stream:
                body["stream"] = True
                if quirks.stream_options:
                    body["stream_options"] = _STREAM_OPTIONS
            if ask.limit_tokens is not None:
                body[_limit_name(ask, quirks)] = ask.limit_tokens
            if "messages" in body:
                body["messages"] = inside.written(body["messages"], ask.given_messages, ask.beyond, quirks)
        path = _path(channel.path_prefix, quirks.path(ask.kind), quirks.query, upstream_model)
        return Encoded(path, _JSON_HEAD + channel.auth_headers, _encode(body))

    def event(self, payload: bytes, kind: str) -> Event:
        """Read one event of a stream: a chunk, an error, or `[DONE]`; BadAnswer for anything else."""
        if payload.startswith(b"[DONE]"):
            return Event(payload, done=True)
        if b"\n" in payload or b"\r" in payload:
            # In valid JSON they can only stand between tokens; inside a string they would be malformed.
            payload = payload.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            frame = _frame(payload)
        except (ValueError, RecursionError) as fault:
            raise _bad(fault) from None
        _check(payload)
        if frame.error or frame.choices is UNSET:
            return _without_choices(payload, frame)
        choices = frame.choices or ()
        event = Event(
            payload,
            frame.model,
            [],
            0,
            False,
            False,
            [],
            frame.usage,
            None,
            False,
            len(choices),
            frame.id,
            frame.created if type(frame.created) is int else None,
            bool(
                frame.id and frame.model and frame.object and type(frame.created) is int and frame.choices is not None
            ),
        )
        for position, choice in enumerate(choices):
            _read(event, position, choice, chat=kind == "chat", whole=False)
        if event.usage is None and type(frame.x_groq) is dict:
            event.usage = frame.x_groq.get("usage")
        return event

    def answer(self, body: bytes, kind: str) -> Event:
        """Read a whole answer; BadAnswer if it has no choices, or no vectors, and is no error."""
        if body.startswith(_BOM):
            body = body[3:]
        if kind == "embeddings":
            return _embeddings(body)
        try:
            frame = _frame(body)
        except (ValueError, RecursionError) as fault:
            raise _bad(fault) from None
        _check(body)
        if frame.error or not frame.choices:
            event = _without_choices(body, frame)
            if event.error is None:
                raise BadAnswer("The answer has no choices.")
            return event
        created = frame.created if type(frame.created) is int else None
        event = Event(
            body,
            frame.model,
            [],
            finishes=[],
            usage=frame.usage,
            choices=len(frame.choices),
            id=frame.id,
            created=created,
            tidy=bool(frame.id and frame.model and frame.object and created is not None),
        )
        for position, choice in enumerate(frame.choices):
            _read(event, position, choice, chat=kind == "chat", whole=True)
        return event

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """Classify an answer that is not a 200; never raises."""
        return faults.of_response(status, headers, body)

    def usage(self, reported: Any, quirks: Quirks) -> Reading:
        """Disjoint classes of a usage object in any of the spellings of `counters.ROWS`; BadUsage with the reason."""
        return reports.read(reported, cached_in_prompt=quirks.cached_in_prompt, hidden_thinking=quirks.hidden_thinking)


DIALECT: Final = OpenAI()


@lru_cache(maxsize=1024)
def _path(prefix: bytes, template: str, query: str, model: str) -> bytes:
    if not template:
        raise ValueError("this channel does not answer this kind of call")
    path = prefix + template.replace("{model}", quote(model, safe="")).encode("ascii")
    return path + b"?" + query.encode("ascii") if query else path


def _limit_name(ask: Ask, quirks: Quirks) -> str:
    """What the output limit is called: as the customer called it, or as the channel wants one that we add."""
    if ask.kind != "chat":
        return "max_tokens"
    name = ask.limit_name or quirks.limit_name
    return quirks.rename.get(name, name)


def _bad(fault: Exception) -> BadAnswer:
    if isinstance(fault, RecursionError):
        return BadAnswer("The answer is nested too deeply.")
    if isinstance(fault, UnicodeError):
        return BadAnswer("The answer is not UTF-8.")
    if isinstance(fault, msgspec.ValidationError):
        return BadAnswer(f"The answer has not OpenAI's form: {fault}."[:200])
    return BadAnswer("The answer is not JSON.")


def _check(raw: bytes) -> None:
    """What the decoder lets through in the fields that it skips: bad UTF-8, and depth above 64."""
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise BadAnswer("The answer is not UTF-8.") from None
    if depth.too_deep(raw):
        raise BadAnswer("The answer is nested too deeply.")


def _without_choices(raw: bytes, frame: _Frame) -> Event:
    if frame.error:
        fault = faults.of_object(frame.error)
    elif frame.object == "error":
        fault = faults.of_object(_anything(raw))
    elif frame.usage is not None:
        return Event(raw, frame.model, [], finishes=[], usage=frame.usage, id=frame.id, tidy=False)
    else:
        raise BadAnswer("The answer has no choices.")
    return Event(raw, frame.model, [], finishes=[], usage=frame.usage, error=fault, id=frame.id)


def _read(event: Event, position: int, choice: _Choice, *, chat: bool, whole: bool) -> None:
    """Add what one choice holds to the event."""
    index = choice.index
    if index is None:
        event.tidy = False
        index = position
    if choice.usage is not None and event.usage is None:
        event.usage = choice.usage
    reason = choice.finish_reason
    if reason:
        if reason in _BROKEN:
            event.error = Fault("down", f"The upstream broke the answer off: {reason}.", 502)
        event.finishes.append((index, _SAME_AS.get(reason, reason)))
    if not chat:
        if choice.text is None:
            event.tidy = False
        elif choice.text:
            _add(event, index, choice.text)
        return
    said = choice.message if whole else choice.delta
    if said is None:
        event.tidy = False
        # Some servers send the whole message as the last chunk of a stream; it is output that came.
        said = choice.delta if whole else choice.message
        if said is None:
            return
    content = said.content
    if type(content) is str:
        if content:
            _add(event, index, content)
    elif content:
        _read_parts(event, index, content)
    reasoning = said.reasoning_content or said.reasoning
    if reasoning:
        # Where both are there, one repeats the other.
        event.reasoning = True
        if type(reasoning) is str:
            _add(event, index, reasoning, visible=False)
    if said.tool_calls or said.function_call or said.refusal or said.audio or said.images:
        _read_rest(event, index, said)


def _add(event: Event, index: int, text: str, *, visible: bool = True) -> None:
    event.pieces.append((index, text))
    event.output_bytes += len(text) if text.isascii() else len(text.encode())
    if visible:
        event.visible = True


def _read_parts(event: Event, index: int, content: Any) -> None:
    """Content as a list of parts: `text`, or `thinking` that holds parts of its own (Mistral)."""
    if not isinstance(content, list):
        raise BadAnswer("The content of a choice is neither text nor a list.")
    for part in content:
        if not isinstance(part, dict):
            raise BadAnswer("The content of a choice holds something that is no part.")
        if isinstance(part.get("text"), str) and part["text"]:
            _add(event, index, part["text"])
        thinking = part.get("thinking")
        if thinking:
            event.reasoning = True
            for thought in thinking if isinstance(thinking, list) else [{"text": thinking}]:
                if isinstance(thought, dict) and isinstance(thought.get("text"), str):
                    _add(event, index, thought["text"], visible=False)


def _read_rest(event: Event, index: int, said: _Delta) -> None:
    """Tool calls, refusal, audio and images of a choice."""
    if said.refusal:
        _add(event, index, said.refusal)
    called = [(call.function or call.custom) for call in said.tool_calls or ()]
    for function in (*called, said.function_call):
        if function is None:
            continue
        event.visible = True
        for piece in (function.name, function.arguments, function.input):
            if piece:
                _add(event, index, piece if isinstance(piece, str) else _encode(piece).decode())
    if said.audio:
        transcript = said.audio.get("transcript") if isinstance(said.audio, dict) else None
        if isinstance(transcript, str) and transcript:
            _add(event, index, transcript)
        event.visible = True
    if said.images:
        event.visible = True


def _embeddings(body: bytes) -> Event:
    try:
        frame = _vectors(body)
    except (ValueError, RecursionError) as fault:
        raise _bad(fault) from None
    _check(body)
    if frame.error:
        return Event(body, frame.model, [], finishes=[], error=faults.of_object(frame.error))
    if frame.object == "error":
        return Event(body, frame.model, [], finishes=[], error=faults.of_object(_anything(body)))
    if not frame.data:
        raise BadAnswer("The answer has no embeddings.")
    tidy = bool(frame.model and frame.object)
    for vector in frame.data:
        raw = bytes(vector.embedding)
        if raw[:1] not in (b"[", b'"') or len(raw) <= 2:
            raise BadAnswer("An embedding is neither a list of numbers nor base64.")
        tidy = tidy and vector.index is not None and bool(vector.object)
    return Event(
        body,
        frame.model,
        [],
        finishes=[],
        visible=True,
        usage=frame.usage,
        choices=len(frame.data),
        tidy=tidy,
    )
