"""Embeddings of the sandbox: unit vectors made from a hash, so that equal inputs have equal vectors."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from typing import Any, Final

import msgspec

from . import text
from .errors import Refusal
from .reading import prompts

_DIMENSIONS: Final = 1536
_DIMENSIONS_MAX: Final = 8192
_INPUTS_MAX: Final = 2048


def answer(body: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """The `data` of an answer and the tokens of input. Raises Refusal where the request is malformed.

    With `encoding_format` base64 a vector is little-endian float32, as in OpenAI's API reference.
    """
    inputs = prompts(body.get("input"), param="input")
    if any(not each for each in inputs) or len(inputs) > _INPUTS_MAX:
        raise Refusal(400, "'$.input' is invalid: it holds an empty input or too many.", param="input")
    dimensions = body.get("dimensions")
    size = _DIMENSIONS if dimensions is None else dimensions
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _DIMENSIONS_MAX:
        raise Refusal(400, f"'dimensions' must be from 1 to {_DIMENSIONS_MAX}.", param="dimensions")
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise Refusal(400, "'encoding_format' must be float or base64.", param="encoding_format")
    data = [
        {"object": "embedding", "index": index, "embedding": _written(_vector(each, size), form)}
        for index, each in enumerate(inputs)
    ]
    return data, sum(text.count(each) if isinstance(each, str) else len(each) for each in inputs)


def _vector(given: str | list[int], size: int) -> array[float]:
    seed = given.encode() if isinstance(given, str) else msgspec.json.encode(given)
    raw = array("h", hashlib.shake_256(seed).digest(2 * size))
    if sys.byteorder == "big":
        raw.byteswap()
    length = math.sqrt(sum(each * each for each in raw)) or 1.0
    return array("f", [each / length for each in raw])


def _written(vector: array[float], form: str) -> str | list[float]:
    if form == "float":
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
