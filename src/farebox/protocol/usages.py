"""Reports of usage that come in pieces: the input at the start of an answer, the output at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Merged:
    """All that a stream has reported, field by field: a later count stands unless it says nothing (R04)."""

    __slots__ = ("report",)

    def __init__(self) -> None:
        self.report: dict[str, Any] = {}

    def add(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """What is known now; a report that was given out before does not change."""
        self.report = _joined(self.report, report)
        return self.report


def _joined(known: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(known)
    for name, value in more.items():
        before = found.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            found[name] = _joined(before, value)
        elif value or before is None:
            found[name] = value
    return found
