"""Amounts as a till prints them: with all six places, so that columns can be added up by eye."""

from __future__ import annotations

from django import template

from farebox.kit import money

register = template.Library()


@register.filter
def exact(micro: int | str | None, plus: str = "") -> str:
    """Micro-units with six places: `0.060000`, `−1.500000`; with `plus` before what is added."""
    if not isinstance(micro, int):  # None, or a template's empty text for what is not there
        return "–"
    sign = "−" if micro < 0 else plus if micro > 0 else ""
    return sign + money.text(abs(micro), places_min=6)
