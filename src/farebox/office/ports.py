"""What the pages ask of the serving process that they live in: the health of channels, and a real call on one.

The process puts its desk here when it begins to serve; a process that only draws pages has none.
"""

from __future__ import annotations

from typing import Any, Protocol


class Desk(Protocol):
    """The serving process, as a page sees it; threads may share it."""

    def health(self) -> dict[str, dict[str, Any]]:
        """What each breaker reports (`upstreams.breaker`), by channel id."""

    def test(self, *, actor: str, channel: str, model: str) -> dict[str, Any]:
        """One call of a model on this channel: ok, call, error, answer, attempts, usage. CommandError."""


_desks: list[Desk] = []


def put(desk: Desk) -> None:
    """The process of this desk serves from now on."""
    _desks.append(desk)


def take(desk: Desk) -> None:
    """It no longer does; twice is once."""
    if desk in _desks:
        _desks.remove(desk)


def desk() -> Desk | None:
    """The serving process, if this is one."""
    return _desks[-1] if _desks else None


def health() -> dict[str, dict[str, Any]]:
    """Health by channel id; empty where nothing serves here."""
    found = desk()
    return {} if found is None else found.health()
