"""A person's word on the time, where nobody but the shop's own clock says what time it is (promises 4.7)."""

from __future__ import annotations

from farebox.kit import audit, clock, timing
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError


def verdict(tx: Tx) -> timing.Judgement:
    """How the process that trusts its time least judges it; where none serves, this one."""
    living = timing.living(tx)
    return living[0][1] if living else timing.inspect(tx, clock.now_us())


def confirm(tx: Tx, *, actor: str) -> int:
    """A person says that the shop's time is right; that time. CommandError where it is sure already."""
    found, now_us = verdict(tx), clock.now_us()
    if found.state == timing.SURE:
        raise CommandError("time.sure")
    timing.confirm(tx, now_us)
    said = {"at_us": now_us, "state": found.state, "ahead_us": found.ahead_us}
    audit.record(tx, actor=actor, verb="clock.confirm", object="installation", after=said)
    return now_us
