"""What a payload in OpenAI's form is before its choices are looked at: JSON at all, an error, a report of usage."""

from __future__ import annotations

import codecs
from typing import Any, Final

from farebox.kit import depth
from farebox.protocol import carve, faults, halves
from farebox.protocol.dialect import BadAnswer, Fault

BOM: Final = b"\xef\xbb\xbf"


def decoded(payload: bytes) -> Any:
    """The value of a payload; BadAnswer if it is no JSON, not UTF-8, or nested too deeply.

    A long one is read in pieces: then long lists of log probabilities stay raw.
    """
    if len(payload) > carve.PIECE_BYTES:
        return _in_pieces(payload)
    try:
        if depth.too_deep(payload):
            raise BadAnswer("The answer is nested too deeply.", own=True)
        return halves.loads(payload)
    except UnicodeError:
        raise BadAnswer("The answer is not UTF-8.", own=True) from None
    except (ValueError, RecursionError):
        raise BadAnswer("The answer is not JSON.") from None


def _in_pieces(payload: bytes) -> Any:
    try:
        return carve.Carved(payload).value()
    except carve.TooDeep:
        raise BadAnswer("The answer is nested too deeply.", own=True) from None
    except carve.StringTooLong:
        raise BadAnswer("A text of the answer is too long.", own=True) from None
    except (ValueError, RecursionError):
        if not _is_utf8(payload):
            raise BadAnswer("The answer is not UTF-8.", own=True) from None
        raise BadAnswer("The answer is not JSON.") from None


def _is_utf8(payload: bytes) -> bool:
    reader = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    try:
        for at in range(0, len(payload), carve.PIECE_BYTES):
            reader.decode(payload[at : at + carve.PIECE_BYTES])
        reader.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def error_of(found: dict[str, Any]) -> Fault | None:
    """The fault that an event or answer names, or None."""
    if found.get("error"):
        return faults.of_object(halves.mended_tree(found["error"]))
    return faults.of_object(halves.mended_tree(found)) if found.get("object") == "error" else None


def usage_of(found: dict[str, Any]) -> Any:
    """The usage of an event or answer: at its top, in a choice (Moonshot), or in `x_groq` where nobody asked."""
    if found.get("usage") is not None:
        return found["usage"]
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("usage") is not None:
            return choice["usage"]
    groq = found.get("x_groq")
    return groq.get("usage") if isinstance(groq, dict) else None
