"""What a payload in OpenAI's form is before its choices are looked at: JSON at all, an error, a report of usage."""

from __future__ import annotations

from typing import Any

from farebox.kit import depth
from farebox.upstreams import faults, halves
from farebox.upstreams.dialect import BadAnswer, Fault


def decoded(payload: bytes) -> Any:
    """The value of a payload; BadAnswer if it is no JSON, not UTF-8, or nested too deeply."""
    try:
        if depth.too_deep(payload):
            raise BadAnswer("The answer is nested too deeply.", own=True)
        return halves.loads(payload)
    except UnicodeError:
        raise BadAnswer("The answer is not UTF-8.", own=True) from None
    except (ValueError, RecursionError):
        raise BadAnswer("The answer is not JSON.") from None


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
