"""What is refused, as the pages of the office say it, in the language of the page."""

from __future__ import annotations

from django.utils.translation import get_language

from farebox.kit.errors import FareboxError
from farebox.kit.refusal import Refusal
from farebox.look import refusals


def said(fault: FareboxError | Refusal) -> str:
    """The sentence of a refusal with its next step on a page."""
    if isinstance(fault, Refusal):
        return refusals.said(fault, "office", get_language() or "en")
    return refusals.of(fault, "office", get_language() or "en")
