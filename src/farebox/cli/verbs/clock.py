"""Write verb on the time: a person says that it is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farebox.accounts import timekeeping
from farebox.kit.db import Tx


def confirm(tx: Tx, *, actor: str) -> dict[str, Any]:
    """Say that the shop's time is right, so that what waits for that continues; CommandError where it is sure."""
    return {"at_us": timekeeping.confirm(tx, actor=actor)}


RUNS: dict[str, Callable[..., Any]] = {"clock.confirm": confirm}
