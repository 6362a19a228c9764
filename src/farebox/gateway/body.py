"""From the bytes of a request to typed values, or a 400 that names the parameter."""

from __future__ import annotations

import re
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw

from farebox.kit import depth, places
from farebox.kit.errors import BadRequest, UnsupportedParameter

T = TypeVar("T")

NAME_BYTES_MAX = 256
TOKENS_MAX = 2**31  # numbers of tokens are below: what upstreams keep them in has 32 bits
_TokenNumber = Annotated[int, msgspec.Meta(ge=0, lt=TOKENS_MAX)]
_fields = msgspec.json.Decoder(dict[str, Raw])
_texts = msgspec.json.Decoder(str | list[str])
_numbers = msgspec.json.Decoder(list[_TokenNumber])
_arrays = msgspec.json.Decoder(list[list[_TokenNumber]])
_PATH = re.compile(r" - at `(?:key\(s\) in )?\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([A-Za-z0-9_]+)`")
_QUOTED = re.compile(r"('[^']{60})[^']+'", re.DOTALL)
_BYTE = re.compile(r"\(byte (\d+)\)")
_LONE = re.compile(rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F])")
_PARAM_CHARS_MAX = 120


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
    except UnicodeDecodeError as fault:
        place = places.find(body, offset=fault.start)
        bad(place, f"The request body is not UTF-8{_within(place)}.")
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, ValueError) as fault:
        at, lone = _BYTE.search(str(fault)), _LONE.search(body) if b"\\" in body else None
        place = places.find(body, offset=int(at[1]) if at else lone.start() if lone else len(body))
        bad(place, f"We could not parse the JSON body of your request{_within(place)}: {_words(fault)}")
    if depth.too_deep(body):
        place = places.find(body, deeper_than=depth.DEPTH_MAX)
        bad(place, f"The JSON body is nested deeper than {depth.DEPTH_MAX} levels{_within(place)}.")
    for name in found:
        if len(name) > NAME_BYTES_MAX or "\0" in name:
            shown = ascii(name[:32])[1:-1]
            bad(shown, f"The parameter '{shown}': a name is at most {NAME_BYTES_MAX} characters, without NUL.")
    _check_repeats(body, found)
    return found


def _check_repeats(body: bytes, found: dict[str, Raw]) -> None:
    """Refuse a name that comes twice in an object: we would read the last, an upstream perhaps the first."""
    if places.names_once(body):
        return
    if places.too_many(body):
        name = max(found, key=lambda each: bytes(found[each]).count(b"{"))
        bad(name, f"Invalid value for '{name}': the JSON body has more than {places.OBJECTS_MAX:,} objects.")
    given = {name: bytes(raw) for name, raw in found.items()}
    colons = sum(data.count(b":") + name.count(":") for name, data in given.items())
    if places.escapes_colons(body):
        repeated = _repeats("", body)
    else:
        repeated = colons + len(given) != body.count(b":") or any(_repeats(*each) for each in given.items())
    if repeated:
        place = places.find(body, repeated=True)
        bad(place, f"A name comes twice in the JSON body{_within(place)}: which of the two is meant can't be known.")


def _repeats(name: str, data: bytes) -> bool:
    try:
        return places.repeats(data)
    except (msgspec.MsgspecError, ValueError) as fault:  # a number out of range: what it stands in can't be looked at
        bad(name or None, f"Invalid value for '{name}': {_words(fault)}" if name else _words(fault))


def _within(place: str | None) -> str:
    return f" (in '{place}')" if place else ""


def typed(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; BadRequest names the parameter that does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        text = str(fault)
        found = _PATH.search(text)
        param = (found[1].partition("[...]")[0][:_PARAM_CHARS_MAX] or None) if found else None
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


def check_bias(bias: dict[str, float]) -> None:
    """The names of `logit_bias` are numbers of tokens."""
    for name in bias:
        if not (name.isascii() and name.isdigit() and len(name) <= 10 and int(name) < TOKENS_MAX):
            bad("logit_bias", "Invalid value for 'logit_bias': its names are token numbers from 0 to 2147483647.")


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
    return _QUOTED.sub(r"\1…'", str(fault).replace("[...]", "[]"))[:200]
