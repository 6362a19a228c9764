"""POST /v1/moderations (OpenAI API reference, "Create moderation")."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from farebox.protocol import body as bodies
from farebox.protocol import halves
from farebox.protocol.dialect import Ask, BadAnswer, Event
from farebox.protocol.kind import Billing, Call, gettext_noop
from farebox.protocol.openai_form import fields
from farebox.protocol.openai_form.endpoint import Endpoint
from farebox.protocol.openai_form.payload import BOM, decoded, error_of

_INPUTS_MAX = 256
_RESULT_BYTES = 4096  # a result names some thirteen categories, thrice


class Part(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """A piece of text, of several that are judged together."""

    text: str


class Body(Struct):
    """The parameters of the endpoint."""

    model: Annotated[str, Meta(min_length=1)]
    input: Raw


_decode = msgspec.json.Decoder(Body)
_texts = msgspec.json.Decoder(str | list[str | Part])
_parts = msgspec.json.Decoder(list[dict[str, Raw]])
_KNOWN = frozenset(Body.__struct_fields__)
_json = msgspec.json.Encoder().encode


class Moderations(Endpoint):
    """Whether texts are harmful: a result for each text, or one for the parts of a list together."""

    name = "moderations"
    title = gettext_noop("moderation")
    paths = ("/moderations",)
    upstream_path = "/moderations"
    billing = Billing.WHOLE
    id_prefix = "modr-"
    test_body = {"input": "Hello"}
    probe_body = {"input": "Hi"}

    def read(self, body: bytes) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""
        given = bodies.fields(body)
        asked = bodies.typed(body, _decode)
        bodies.check_model(asked.model)
        texts, results = _inputs(given["input"])
        return Call(
            kind=self.name,
            model=asked.model,
            stream=False,
            params={"input": given["input"]},
            extra={name: given[name] for name in given.keys() - _KNOWN},
            outputs=0,
            choices=results,
            text_bytes=sum(len(text.encode("utf-8", "replace")) for text in texts),
            texts=texts,
            messages=len(texts),
            prompts=results,
            has_output=False,
            token_bytes=_RESULT_BYTES,
            text_name="input",
        )

    def received(self, body: bytes, ask: Ask) -> Event:
        """Read a whole answer; BadAnswer if it has no results and is no error."""
        found = halves.mended_tree(decoded(body.removeprefix(BOM)))
        if not isinstance(found, dict):
            raise BadAnswer("The answer has not the form of a moderation.")
        if (fault := error_of(found)) is not None:
            return Event(b"", error=fault)
        rows = found.get("results")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise BadAnswer("The answer has no results.")
        shown: dict[str, Any] = {"id": ask.shown.id, "model": ask.shown.model, "results": rows}
        if isinstance(found.get("usage"), dict):
            shown["usage"] = fields.usage(found["usage"])
        model = found.get("model") if isinstance(found.get("model"), str) else None
        return Event(_json(shown), model, [], visible=True, usage=found.get("usage"), choices=len(rows), done=True)


def _inputs(raw: Raw) -> tuple[list[str], int]:
    """The texts, and how many results they have; BadRequest for anything else."""
    try:
        found = _texts.decode(raw)
    except msgspec.MsgspecError:
        if _has_images(raw):
            bodies.bad("input", "Invalid value for 'input': images are not offered here, only text.")
        bodies.bad("input", "Invalid value for 'input': a string, a list of strings, or a list of text parts.")
    if isinstance(found, str):
        found = [found]
    texts = [each if isinstance(each, str) else each.text for each in found]
    if any(not text for text in texts):
        bodies.bad("input", "Invalid value for 'input': it must not be an empty string.")
    if not texts or len(texts) > _INPUTS_MAX:
        bodies.bad("input", f"Invalid value for 'input': 1 to {_INPUTS_MAX} inputs.")
    together = sum(isinstance(each, Part) for each in found)
    if together not in {0, len(found)}:
        bodies.bad("input", "Invalid value for 'input': strings, or text parts, not both.")
    return texts, 1 if together else len(texts)


def _has_images(raw: Raw) -> bool:
    try:
        return any(bytes(part.get("type", b"")) == b'"image_url"' for part in _parts.decode(raw))
    except msgspec.MsgspecError:
        return False
