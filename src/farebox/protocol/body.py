"""From the bytes of a request to typed values, or a 400 that names the parameter."""

from __future__ import annotations

import re
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw

from farebox.kit import depth, outline, places
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
_SHORT_BYTES = 512


def bad(param: str | None, message: str) -> NoReturn:
    """Refuse the request for one parameter."""
    raise BadRequest(message, param=param)


def fields(body: bytes) -> dict[str, Raw]:
    """The top-level object of a JSON body, values raw; BadRequest unless it is strict UTF-8 JSON, 64 deep at most.

    A long body is looked at first, and refused where decoding it would keep the interpreter for too long.
    """
    if not body:
        bad(None, "The request body is empty. Send a JSON object.")
    if long := len(body) > outline.SMALL_BYTES:
        _look(body)
    try:
        if not long and not body.isascii():
            body.decode("utf-8")
        found = _fields.decode(body)
    except UnicodeDecodeError as fault:
        _not_utf8(body, fault.start)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, ValueError) as fault:
        at = _BYTE.search(str(fault))
        lone = _LONE.search(body, 0, places.BYTES_MAX) if b"\\" in body else None
        place = places.find(body, offset=int(at[1]) if at else lone.start() if lone else len(body))
        bad(place, f"We could not parse the JSON body of your request{_within(place)}: {_words(fault)}")
    if not long and depth.too_deep(body):
        _too_deep(body)
    for name in found:
        if len(name) > NAME_BYTES_MAX or "\0" in name:
            shown = ascii(name[:32])[1:-1]
            bad(shown, f"The parameter '{shown}': a name is at most {NAME_BYTES_MAX} characters, without NUL.")
    _check_repeats(body, found)
    return found


def _look(body: bytes) -> None:
    try:
        outline.check(body)
    except outline.NotUtf8 as fault:
        _not_utf8(body, fault.start)
    except outline.TooDeep:
        _too_deep(body)
    except outline.TooMuch as fault:
        place = places.largest(body)
        bad(place, f"Invalid value for '{place}': {fault}." if place else f"{fault}.")


def _not_utf8(body: bytes, start: int) -> NoReturn:
    place = places.find(body, offset=start)
    bad(place, f"The request body is not UTF-8{_within(place)}.")


def _too_deep(body: bytes) -> NoReturn:
    place = places.find(body, deeper_than=depth.DEPTH_MAX)
    bad(place, f"The JSON body is nested deeper than {depth.DEPTH_MAX} levels{_within(place)}.")


def _check_repeats(body: bytes, found: dict[str, Raw]) -> None:
    """Refuse a name that is repeated in an object: we would read the last, an upstream perhaps the first."""
    if places.names_once(body):
        return
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
        text = _short(fault)
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
    text = _begin(raw).strip()
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
        text = _begin(raw).strip()
        if text in {b"null", b"false"} or b"".join(text.split()) in values:
            continue
        raise UnsupportedParameter(f"The parameter '{name}' is not offered here: it has no price.", param=name)


def is_null(raw: Raw) -> bool:
    """Whether a value is null."""
    return len(raw) == 4 and bytes(raw) == b"null"


def _begin(raw: Raw) -> bytes:
    """A value, or the beginning of one that is too long to be what is looked for."""
    return bytes(memoryview(raw)[:_SHORT_BYTES])


def _short(fault: Exception) -> str:
    """What a decoder says; it repeats what it did not like, however long that is."""
    text = str(fault)
    if len(text) <= 2 * _SHORT_BYTES:
        return text
    place = text.rfind(" - at `")
    return f"{text[:_SHORT_BYTES]}'{text[place:] if len(text) - _SHORT_BYTES < place else ''}"


def _words(fault: Exception) -> str:
    return _QUOTED.sub(r"\1…'", _short(fault).replace("[...]", "[]"))[:200]
