"""POST /v1/completions (OpenAI API reference, "Create completion", legacy)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from farebox.protocol import body as bodies
from farebox.protocol.dialect import Ask
from farebox.protocol.kind import TEXT_LOGPROB_BYTES, TOKEN_BYTES, Call, gettext_noop
from farebox.protocol.openai_form import requests
from farebox.protocol.openai_form.endpoint import Endpoint
from farebox.protocol.quirks import Quirks

DEFAULT_LIMIT_TOKENS = 16
_PROMPTS_MAX = 128


class StreamOptions(Struct):
    """Options of a stream."""

    include_usage: bool | None = None


Number = Annotated[float, Meta(ge=-2, le=2)]


class Body(Struct):
    """The parameters of the endpoint."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: Raw
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=8)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: str | list[str] | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_decode = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__) | {"max_tokens"}
_SENT = tuple(name for name in Body.__struct_fields__ if name not in {"model", "prompt", "stream", "stream_options"})


class Completions(Endpoint):
    """Text completions, streamed or not."""

    name = "completions"
    title = gettext_noop("text completion")
    paths = ("/completions",)
    upstream_path = "/completions"
    id_prefix = "cmpl-"
    writes = True
    program, example = "complete", gettext_noop("A completion")
    test_body = {"prompt": "Hello", "max_tokens": 16}
    probe_body = {"prompt": "Hi", "max_tokens": 1, "stream": True}

    def read(self, body: bytes) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""
        given = bodies.fields(body)
        asked = bodies.typed(body, _decode)
        bodies.check_model(asked.model)
        stream = bool(asked.stream)
        if asked.stream_options is not None and not stream:
            bodies.bad("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        if asked.stop is not None:
            bodies.check_stop(asked.stop)
        if asked.logit_bias:
            bodies.check_bias(asked.logit_bias)
        n = asked.n or 1
        best_of = asked.best_of or n
        if best_of < n:
            bodies.bad("best_of", "Invalid value for 'best_of': it must not be smaller than 'n'.")
        if stream and best_of > n:
            bodies.bad("best_of", "'best_of' can't be streamed.")
        texts, arrays = bodies.inputs("prompt", given["prompt"])
        prompts = len(texts) or len(arrays or ())
        if prompts > _PROMPTS_MAX:
            bodies.bad("prompt", f"Invalid value for 'prompt': at most {_PROMPTS_MAX} prompts.")
        params: dict[str, Any] = {"prompt": given["prompt"]}
        for name in _SENT:
            raw = given.get(name)
            if raw is not None and not bodies.is_null(raw):
                params[name] = raw
        text_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
        suffix_bytes = len((asked.suffix or "").encode("utf-8", "replace"))
        counted = sum(map(len, arrays or ()))
        return Call(
            kind=self.name,
            model=asked.model,
            stream=stream,
            params=params,
            extra={name: given[name] for name in given.keys() - _KNOWN},
            include_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
            outputs=best_of * prompts,
            choices=n * prompts,
            # With the prompt echoed, no output at all is an answer: its log probabilities score the prompt.
            limit_tokens=bodies.limit("max_tokens", given.get("max_tokens"), least=0 if asked.echo else 1),
            default_limit_tokens=DEFAULT_LIMIT_TOKENS,
            text_bytes=text_bytes + suffix_bytes,
            texts=[*texts, asked.suffix] if asked.suffix else texts,
            input_tokens=counted,
            messages=prompts,
            prompts=prompts,
            may_be_empty=bool(asked.stop or asked.logit_bias),
            echoed_bytes=(text_bytes + 16 * counted) * n if asked.echo else 0,
            token_arrays=arrays,
            text_name="prompt",
            token_bytes=TOKEN_BYTES + (0 if asked.logprobs is None else TEXT_LOGPROB_BYTES * (1 + asked.logprobs)),
            size_name="n" if asked.logprobs is None else "logprobs",
        )

    def sent(self, body: dict[str, Any], ask: Ask, quirks: Quirks) -> None:
        """The stream with its usage, and the limit, which has one name here."""
        requests.add_stream(body, ask, quirks)
        requests.add_limit(body, ask, "max_tokens")
