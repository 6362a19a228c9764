"""What is refused, as the pages of the console say it, in the language of the page."""

from __future__ import annotations

from django.utils.translation import get_language

from farebox.kit.errors import FareboxError
from farebox.look import refusals


def said(fault: FareboxError) -> str:
    """The sentence of a refusal with its next step on a page."""
    return refusals.of(fault, "console", get_language() or "en")
