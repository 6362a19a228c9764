"""Punctuation between words that code or a template puts together: Chinese has its own, without spaces."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import get_language


def _chinese() -> bool:
    return (get_language() or "").startswith("zh")


def comma() -> str:
    """What stands between the members of a list."""
    return "、" if _chinese() else ", "


def gap() -> str:
    """What stands between two sentences."""
    return "" if _chinese() else " "


def colon() -> str:
    """What stands between a word and what it names."""
    return "：" if _chinese() else ": "


def listed(texts: Iterable[object]) -> str:
    """A list in one line."""
    return comma().join(str(text) for text in texts)


def aside(text: object) -> str:
    """A remark in brackets, with the space before it."""
    return f"（{text}）" if _chinese() else f" ({text})"
