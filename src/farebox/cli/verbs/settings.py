"""Write verb on the shop's settings: the administrator of the machine needs no second person, and the trail says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farebox.kit import clock, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office.setting_rules import wrong


def put(tx: Tx, *, actor: str, name: str, value: Any) -> dict[str, Any]:
    """Another value of a setting, in force at once on every node."""
    settings.check(name, value)
    before = dict(settings.values(tx))
    for fault in wrong(tx, {name: value}, now_us=clock.now_us()).values():
        raise CommandError(fault)
    changed = settings.put_all(tx, {name: value}, actor=actor)
    return {"name": name, "before": before[name], "after": value, "changed": bool(changed)}


RUNS: dict[str, Callable[..., Any]] = {"setting.set": put}
