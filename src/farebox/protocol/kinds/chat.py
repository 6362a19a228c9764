"""POST /v1/chat/completions (OpenAI API reference, "Create chat completion")."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard
from farebox.kit.errors import UnsupportedParameter
from farebox.kit.fetch import addresses
from farebox.protocol import body as bodies
from farebox.protocol import inside, schema
from farebox.protocol.dialect import Ask
from farebox.protocol.kind import CHAT_LOGPROB_BYTES, Call, Image, gettext_noop
from farebox.protocol.openai_form import requests
from farebox.protocol.openai_form.endpoint import Endpoint
from farebox.protocol.quirks import Quirks

_PIXELS_MAX = 20_000
_HEAD_CHARS_MAX = 128  # of a data URL, before its data
_ADDRESS_CHARS_MAX = 16_384
_TOOL_KINDS = frozenset({"function", "custom"})
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_DATA = re.compile(r"data:image/[a-z0-9.+-]+;base64,\Z")

# Options that change the price and have none, with the values that are no use of them (promises 1.6).
UNPRICED: dict[str, frozenset[bytes]] = {
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "store": frozenset(),
    "modalities": frozenset({b'["text"]'}),
    "audio": frozenset(),
    "prediction": frozenset(),
    "web_search_options": frozenset(),
    "background": frozenset(),
}


class TextPart(Struct, tag_field="type", tag="text", omit_defaults=True):
    """A piece of text."""

    text: str
    cache_control: Raw | UnsetType = UNSET


class RefusalPart(Struct, tag_field="type", tag="refusal", omit_defaults=True):
    """A refusal of an earlier answer."""

    refusal: str


class ImageUrl(Struct, omit_defaults=True):
    """Where an image is: https, or base64 data."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Struct, tag_field="type", tag="image_url", omit_defaults=True):
    """An image."""

    image_url: ImageUrl
    cache_control: Raw | UnsetType = UNSET


Part = TextPart | RefusalPart | ImagePart


class Message(Struct, omit_defaults=True):
    """A message; what else it holds is sent on only by a quirk, and named otherwise (protocol/inside.py)."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | UnsetType | None = UNSET
    name: Annotated[str, Meta(max_length=256)] | None = None
    tool_calls: Annotated[list[dict[str, Raw]], Meta(max_length=512)] | UnsetType | None = UNSET
    function_call: dict[str, Raw] | UnsetType | None = UNSET
    tool_call_id: Annotated[str, Meta(max_length=256)] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    cache_control: Raw | UnsetType = UNSET
    reasoning: Raw | UnsetType = UNSET
    reasoning_details: Raw | UnsetType = UNSET
    thinking_blocks: Raw | UnsetType = UNSET
    prefix: bool | UnsetType | None = UNSET
    partial: bool | UnsetType | None = UNSET


class StreamOptions(Struct):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Number = Annotated[float, Meta(ge=-2, le=2)]


class Body(Struct):
    """The parameters that are checked by type; the others are passed as they came, or not at all."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: str | list[str] | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=1024)] | None = None
    prompt_cache_retention: Annotated[str, Meta(max_length=32)] | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    metadata: (
        Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
        | None
    ) = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Annotated[str, Meta(max_length=32)] | None = None
    verbosity: Annotated[str, Meta(max_length=32)] | None = None
    functions: Annotated[list[dict[str, Any]], Meta(max_length=128)] | None = None
    function_call: str | dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode
_SENT = tuple(
    name for name in Body.__struct_fields__ if name not in {"model", "messages", "stream", "stream_options", "metadata"}
)
_KNOWN = frozenset(Body.__struct_fields__) | UNPRICED.keys() | {"max_tokens", "max_completion_tokens"}
_CACHE_CONTROL = b'"cache_control"'  # inside a JSON text its quotes are escaped


class Chat(Endpoint):
    """Chat completions, streamed or not."""

    name = "chat"
    title = gettext_noop("chat")
    paths = ("/chat/completions",)
    upstream_path = "/chat/completions"
    id_prefix = "chatcmpl-"
    framed = chats = writes = True
    program, example = "chat", gettext_noop("A chat")
    test_body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    # A stream, as most calls are: an upstream may answer well but for these.
    probe_body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "stream": True}

    def read(self, body: bytes) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""
        given = bodies.fields(body)
        asked = bodies.typed(body, _decode)
        extra = {name: given[name] for name in given.keys() - _KNOWN}
        if not UNPRICED.keys().isdisjoint(given):
            bodies.check_unpriced(given, UNPRICED)
        bodies.check_model(asked.model)
        stream = bool(asked.stream)
        if asked.stream_options is not None and not stream:
            bodies.bad("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        if asked.stop is not None:
            bodies.check_stop(asked.stop)
        if asked.logit_bias:
            bodies.check_bias(asked.logit_bias)
        _check_tools(asked)
        if asked.tools and schema.may_repeat(bytes(given["tools"])):
            schema.check_tools(asked.tools)
        messages = _encode(asked.messages)
        beyond = inside.unknown(given["messages"], messages)
        params: dict[str, Any] = {"messages": Raw(messages)}
        for name in _SENT:
            raw = given.get(name)
            if raw is not None and not bodies.is_null(raw):
                params[name] = raw
        n = asked.n or 1
        call = Call(
            kind=self.name,
            model=asked.model,
            stream=stream,
            params=params,
            extra=extra,
            include_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
            outputs=n,
            choices=n,
            messages=len(asked.messages),
            beyond=beyond,
            given_messages=given["messages"] if beyond or _CACHE_CONTROL in messages else None,
            may_be_empty=bool(asked.stop or asked.logit_bias),
        )
        call.limit_name, call.limit_tokens = _limit(given)
        if asked.logprobs:
            call.token_bytes += CHAT_LOGPROB_BYTES * (1 + (asked.top_logprobs or 0))
            call.size_name = "top_logprobs"
        # What a quirk may pass on is covered too.
        _measure(call, asked, given, max(len(messages), len(given["messages"]) if beyond else 0))
        return call

    def fit(self, call: Call, card: ModelCard) -> None:
        """Refuse images where the model sees none."""
        if call.images and "image" not in card.modalities:
            bodies.bad("messages", f"The model `{call.model[:64]}` does not accept images.")
        if "cache_write" not in card.classes and _CACHE_CONTROL in bytes(call.params["messages"]):
            # It asks the upstream to write a cache, which this model has no price for.
            call.params["messages"] = inside.without(call.params["messages"], "cache_control")
            call.beyond |= {"cache_control"}

    def sent(self, body: dict[str, Any], ask: Ask, quirks: Quirks) -> None:
        """The stream with its usage, the limit under the name that the customer or the channel has for it, messages."""
        name = ask.limit_name or quirks.limit_name
        requests.add_stream(body, ask, quirks)
        requests.add_limit(body, ask, quirks.rename.get(name, name))
        if "messages" in body:
            body["messages"] = inside.written(body["messages"], ask.given_messages, ask.beyond, quirks)


def _limit(given: dict[str, Raw]) -> tuple[str, int | None]:
    """The limit and the customer's name for it; none where both names or neither came."""
    old = bodies.limit("max_tokens", given.get("max_tokens"))
    new = bodies.limit("max_completion_tokens", given.get("max_completion_tokens"))
    if old is not None and new is not None and old != new:
        bodies.bad("max_tokens", "'max_tokens' and 'max_completion_tokens' differ; send one of them.")
    if (old is None) == (new is None):
        return "", new
    return ("max_tokens", old) if new is None else ("max_completion_tokens", new)


def _measure(call: Call, asked: Body, given: dict[str, Raw], messages_bytes: int) -> None:
    texts: list[str] = []
    images: list[Image] = []
    base64_bytes = 0
    for at, message in enumerate(asked.messages):
        content = message.content
        if isinstance(content, str):
            texts.append(content)
        elif content is None or content is UNSET:
            _check_silent(message, at)
        else:
            base64_bytes += _read_parts(content, texts, images, call, at)
        if message.role == "tool" and message.tool_call_id is None:
            place = f"messages[{at}]"
            bodies.bad(place, f"Invalid value for '{place}': a message of the role tool needs a tool_call_id.")
        called = (message.tool_calls, message.function_call)
        texts.extend(_encode(each).decode() for each in called if each)
    call.texts = texts
    call.images = images
    call.text_bytes = messages_bytes - base64_bytes
    for name in ("tools", "functions", "response_format"):
        raw = given.get(name)
        if raw is not None and not bodies.is_null(raw):
            call.text_bytes += len(raw)
            texts.append(bytes(raw).decode())


def _check_silent(message: Message, at: int) -> None:
    spoken = bool(message.tool_calls) or bool(message.function_call) or message.refusal is not None
    if message.role != "assistant" or not spoken:
        place = f"messages[{at}].content"
        bodies.bad(place, f"Invalid value for '{place}': a message of the role {message.role} needs content.")


def _read_parts(parts: list[Part], texts: list[str], images: list[Image], call: Call, at: int) -> int:
    """Collect texts and images; the bytes of base64 data, which are no text."""
    base64_bytes = 0
    if not parts:
        place = f"messages[{at}].content"
        bodies.bad(place, f"Invalid value for '{place}': content must not be an empty list.")
    for number, part in enumerate(parts):
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, RefusalPart):
            texts.append(part.refusal)
        else:
            place = f"messages[{at}].content[{number}].image_url.url"
            data_bytes, size = _look_at(part.image_url.url, place)
            if not data_bytes and addresses.is_spelled_private(part.image_url.url):
                call.private = place
            base64_bytes += data_bytes
            images.append(Image(size, part.image_url.detail or "auto"))
    return base64_bytes


def _look_at(url: str, place: str) -> tuple[int, tuple[int, int] | None]:
    if url[:5].lower() == "data:":
        comma = url.find(",", 0, _HEAD_CHARS_MAX)
        head, data = url[:comma], url[comma + 1 :]
        if comma < 0 or not _DATA.match(f"{head.lower()},"):
            bodies.bad(place, f"Invalid image in '{place}': a data URL must hold a base64 image.")
        try:
            size = tokens.image_size(base64.b64decode(data[:87_384], validate=True))
        except (binascii.Error, ValueError):
            bodies.bad(place, f"Invalid image in '{place}': the data is not base64.")
        if size is not None and max(size) > _PIXELS_MAX:
            bodies.bad(place, f"Invalid image in '{place}': more than {_PIXELS_MAX} pixels on a side.")
        return len(data), size
    try:
        parts = urlsplit(url) if len(url) <= _ADDRESS_CHARS_MAX else None
    except ValueError:
        parts = None
    odd = "\\" in url or not url.isprintable() or " " in url  # read as another host by some
    if parts is None or odd or parts.scheme not in {"http", "https"} or not parts.hostname:
        bodies.bad(place, f"Invalid image in '{place}': give an https address or a base64 data URL.")
    return 0, None


def _check_tools(asked: Body) -> None:
    names = {_tool_name(tool) for tool in asked.tools or ()}
    for function in asked.functions or ():
        _check_name("functions", function)
    choice = asked.tool_choice
    if isinstance(choice, str):
        if choice not in {"none", "auto", "required"}:
            bodies.bad("tool_choice", "Invalid value for 'tool_choice': none, auto, required, or a tool.")
        if choice == "required" and not names:
            bodies.bad("tool_choice", "'tool_choice' is only allowed when 'tools' are given.")
    elif choice is not None:
        _check_choice(choice, names)
    if asked.response_format is not None:
        schema.check(asked.response_format)


def _tool_name(tool: dict[str, Any]) -> str:
    kind = tool.get("type")
    if not isinstance(kind, str) or kind not in _TOOL_KINDS:
        raise UnsupportedParameter(
            "Only tools of the type function are offered here: tools that the server runs have no price.",
            param="tools",
        )
    return _check_name("tools", tool.get(kind))


def _check_name(param: str, named: Any) -> str:
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str) or not _TOOL_NAME.match(name):
        bodies.bad(param, f"Invalid value for '{param}': a name is 1 to 64 letters, digits, _ and -.")
    return name


def _check_choice(choice: dict[str, Any], names: set[str]) -> None:
    kind = choice.get("type")
    if kind == "allowed_tools" and names:
        return
    inner = choice.get(kind) if isinstance(kind, str) and kind in _TOOL_KINDS else None
    if not isinstance(inner, dict) or inner.get("name") not in list(names):
        bodies.bad("tool_choice", "Invalid value for 'tool_choice': it names a tool that 'tools' lacks.")
