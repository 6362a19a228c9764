"""POST /v1/embeddings (OpenAI API reference, "Create embeddings")."""

from __future__ import annotations

import base64
import math
import struct
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from farebox.protocol import body as bodies
from farebox.protocol import carve
from farebox.protocol.dialect import Ask, BadAnswer, Event, Shown
from farebox.protocol.kind import Billing, Call, gettext_noop
from farebox.protocol.openai_form import vectors
from farebox.protocol.openai_form.endpoint import Endpoint
from farebox.protocol.quirks import Quirks

_INPUTS_MAX = 2048
# How long the vectors of the largest models are, and how much a number of one takes at most. Shorter ones can be asked
# for, and upstreams may not know that parameter.
_DIMENSIONS = 4096
_NUMBER_BYTES = {"float": 24, "base64": 6}


class Body(Struct):
    """The parameters of the endpoint."""

    model: Annotated[str, Meta(min_length=1)]
    input: Raw
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


_decode = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__)
_json = msgspec.json.Encoder().encode


_vector = msgspec.json.Decoder(list[float] | str).decode
_whole = msgspec.json.Decoder(dict[str, Raw]).decode
_data = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Embeddings(Endpoint):
    """Embeddings of texts or token arrays, as floats or base64."""

    name = "embeddings"
    title = gettext_noop("embeddings")
    paths = ("/embeddings",)
    upstream_path = "/embeddings"
    billing = Billing.WHOLE
    program, example = "embed", gettext_noop("An embedding")
    test_body = {"input": "Hello"}
    probe_body = {"input": "Hi"}

    def read(self, body: bytes) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""
        given = bodies.fields(body)
        asked = bodies.typed(body, _decode)
        bodies.check_model(asked.model)
        texts, arrays = bodies.inputs("input", given["input"])
        count = len(texts) or len(arrays or ())
        if count > _INPUTS_MAX:
            bodies.bad("input", f"Invalid value for 'input': at most {_INPUTS_MAX} inputs.")
        if any(not text for text in texts):
            bodies.bad("input", "Invalid value for 'input': it must not be an empty string.")
        params: dict[str, Any] = {"input": given["input"]}
        for name in ("encoding_format", "dimensions", "user"):
            raw = given.get(name)
            if raw is not None and not bodies.is_null(raw):
                params[name] = raw
        return Call(
            kind=self.name,
            model=asked.model,
            stream=False,
            params=params,
            extra={name: given[name] for name in given.keys() - _KNOWN},
            outputs=0,
            choices=count,
            text_bytes=sum(len(text.encode("utf-8", "replace")) for text in texts),
            texts=texts,
            input_tokens=sum(map(len, arrays or ())),
            messages=count,
            prompts=count,
            has_output=False,
            wanted_encoding=asked.encoding_format or "float",
            token_bytes=max(asked.dimensions or 0, _DIMENSIONS) * _NUMBER_BYTES[asked.encoding_format or "float"],
            token_arrays=arrays,
            text_name="input",
        )

    def sent(self, body: dict[str, Any], ask: Ask, quirks: Quirks) -> None:  # noqa: ARG002 - part of the socket
        """No encoding where the channel does not know it."""
        if not quirks.base64_embeddings:
            body.pop("encoding_format", None)

    def received(self, body: bytes, ask: Ask) -> Event:
        """Read a whole answer; BadAnswer if it has no vectors and is no error."""
        return vectors.read(body, ask)

    def answer(self, call: Call, event: Event, shown: Shown) -> bytes:  # noqa: ARG002 - the dialect has named it
        """The body, with the vectors in the encoding that was asked for (base64 is little-endian float32).

        BadAnswer where one is no vector of numbers.
        """
        as_text = call.wanted_encoding == "base64"
        try:
            before, lists, after = _lists(event.raw)
            for rows in lists:
                if not _fits(rows, as_text=as_text):
                    break
            else:
                return event.raw
            written = [_written(rows, as_text=as_text) for rows in lists]
        except (ValueError, OverflowError, struct.error):
            raise BadAnswer("An embedding is not a vector of numbers.") from None
        return b"".join((before, b"[", b",".join(written), b"]", after))


def _lists(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The rows of an answer, as lists of some of them where there are many, and what stands around them."""
    if len(raw) > carve.PIECE_BYTES:
        text = carve.Carved(raw)
        if (part := text.member("data")) is not None:
            return raw[: part.start], list(text.lists(part)), raw[part.end :]
    rows = bytes(_whole(raw)["data"])
    before, _, after = raw.partition(rows)
    return before, [rows], after


def _fits(rows: bytes, *, as_text: bool) -> bool:
    """Whether the vectors have the encoding that was asked for; ValueError where one is none."""
    for row in _data(rows):
        vector = _vector(row["embedding"])
        if isinstance(vector, str) != as_text:
            return False
        (_as_text if as_text else _as_floats)(vector)
    return True


def _written(rows: bytes, *, as_text: bool) -> bytes:
    """The rows with their vectors in this encoding, without brackets."""
    data: list[dict[str, Any]] = _data(rows)
    for row in data:
        row["embedding"] = (_as_text if as_text else _as_floats)(_vector(row["embedding"]))
    return _json(data)[1:-1]


def _as_text(vector: list[float] | str) -> str:
    if not isinstance(vector, str):
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    if len(base64.b64decode(vector, validate=True)) % 4:
        raise ValueError("not of float32")
    return vector


def _as_floats(vector: list[float] | str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    data = base64.b64decode(vector, validate=True)
    floats = list(struct.unpack(f"<{len(data) // 4}f", data))
    if not all(map(math.isfinite, floats)):  # JSON has no word for them
        raise ValueError("not finite")
    return floats
