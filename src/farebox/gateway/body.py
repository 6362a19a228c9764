"""From the bytes of a request to typed values, or a 400 that names the parameter."""

from __future__ import annotations

import re
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw

from farebox.kit import depth
from farebox.kit.errors import BadRequest, UnsupportedParameter

T = TypeVar("T")

NAME_BYTES_MAX = 256
_TokenNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_fields = msgspec.json.Decoder(dict[str, Raw])
_texts = msgspec.json.Decoder(str | list[str])
_numbers = msgspec.json.Decoder(list[_TokenNumber])
_arrays = msgspec.json.Decoder(list[list[_TokenNumber]])
_AT = re.compile(r" - at `\$\.?([A-Za-z_][A-Za-z0-9_]*)?")
_MISSING = re.compile(r"missing required field `([A-Za-z0-9_]+)`")
_QUOTED = re.compile(r"('[^']{60})[^']+'", re.DOTALL)
_INDEX = re.compile(r"\[\.\.\.\]|\[\d+\]")


def bad(param: str | None, message: str) -> NoReturn:
    """Refuse the request for one parameter."""
    raise BadRequest(message, param=param)


def fields(body: bytes) -> dict[str, Raw]:
    """The top-level object of a JSON body, values raw; BadRequest unless it is strict UTF-8 JSON, 64 deep at most."""
    if not body:
        bad(None, "The request body is empty. Send a JSON object.")
    try:
        if not body.isascii():
            body.decode("utf-8")
        found = _fields.decode(body)
    except UnicodeDecodeError:
        bad(None, "The request body is not UTF-8.")
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, ValueError) as fault:
        bad(None, f"We could not parse the JSON body of your request: {_words(fault)}")
    if depth.too_deep(body):
        bad(None, f"The JSON body is nested deeper than {depth.DEPTH_MAX} levels.")
    for name in found:
        if len(name) > NAME_BYTES_MAX or "\0" in name:
            bad(None, f"A parameter's name is at most {NAME_BYTES_MAX} characters, without NUL.")
    return found


def typed(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; BadRequest names the parameter that does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        text = str(fault)
        found = _AT.search(text)
        param = found.group(1) if found else None
        if param is None and (missing := _MISSING.search(text)):
            param = missing.group(1)
        bad(param, f"Invalid value for '{param}': {_words(fault)}" if param else _words(fault))
    except (msgspec.DecodeError, RecursionError, ValueError) as fault:
        bad(None, f"We could not parse the JSON body of your request: {_words(fault)}")


def limit(name: str, raw: Raw | None, *, least: int = 1) -> int | None:
    """A token limit: an integer of any size from `least`, or None where absent or null."""
    if raw is None:
        return None
    text = bytes(raw).strip()
    if text == b"null":
        return None
    if not text.isdigit() or len(text) > 30:
        bad(name, f"Invalid value for '{name}': expected an integer of {least} or more.")
    value = int(text)
    if value < least:
        bad(name, f"Invalid value for '{name}': expected an integer of {least} or more.")
    return value


def inputs(name: str, raw: Raw) -> tuple[list[str], list[list[int]] | None]:
    """Texts, or arrays of token numbers: a string, strings, one array, or arrays; BadRequest for anything else."""
    for decoder in (_texts, _numbers, _arrays):
        try:
            found: Any = decoder.decode(raw)
        except msgspec.MsgspecError:
            continue
        if isinstance(found, str):
            return [found], None
        if not found or found == [[]] or any(row == [] for row in found):
            break
        if decoder is _texts:
            return found, None
        return [], [found] if decoder is _numbers else found
    bad(name, f"Invalid value for '{name}': a string, a list of strings, or arrays of token numbers.")


def check_model(model: str) -> None:
    """A name without NUL; whether there is such a model is not known yet."""
    if "\0" in model:
        bad("model", "Invalid value for 'model': a name without NUL.")


def check_stop(stop: Any) -> None:
    """`stop` is a string, or up to 4 of them, 4 KiB each."""
    texts = [stop] if isinstance(stop, str) else stop or []
    if len(texts) > 4 or any(len(text.encode()) > 4096 for text in texts):
        bad("stop", "Invalid value for 'stop': at most 4 sequences of 4,096 bytes.")


def check_unpriced(given: dict[str, Raw], allowed: dict[str, frozenset[bytes]]) -> None:
    """Refuse options that would change the price and have none; null, false and defaults are no use of one."""
    for name, values in allowed.items():
        raw = given.get(name)
        if raw is None:
            continue
        text = bytes(raw).strip()
        if text in {b"null", b"false"} or b"".join(text.split()) in values:
            continue
        raise UnsupportedParameter(f"The parameter '{name}' is not offered here: it has no price.", param=name)


def _words(fault: Exception) -> str:
    text = _QUOTED.sub(r"\1…'", _INDEX.sub("[]", str(fault)))
    return text[:200]
