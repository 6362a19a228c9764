"""The settling transaction of a call."""

from __future__ import annotations

import contextlib

from farebox.calls import log as records
from farebox.calls.log import Ended, Opened, Receipt
from farebox.catalog import shelf
from farebox.kit import errors
from farebox.kit.clock import Clock
from farebox.kit.db import Tx

from .ports import StorePort

_WITHIN_S = 1


def end_call(tx: Tx, opened: Opened, ended: Ended, unlisted: str, clock: Clock | None = None) -> Receipt:
    """End the call; a model that used a class without a price leaves the shelf with it (R05).

    With `clock` the end is as late as this write: a process that was paused before it has not delivered the answer
    since, and what it leaves behind is looked for by that time (R25).
    """
    if clock is not None:
        ended.ended_us = max(ended.ended_us, clock.now_us())
    receipt = records.end_call(tx, opened, ended)
    if unlisted:
        with contextlib.suppress(errors.CommandError):  # it is gone already; the settlement stands
            shelf.unlist(tx, unlisted, shelf.UNPRICED, actor="gateway")
    return receipt


async def note_late(store: StorePort, opened: Opened, ended: Ended | None) -> None:
    """Write on the receipt that the settlement came too late (R24); the books know all that matters without it."""
    attempts = ended.attempts if ended is not None else []
    with contextlib.suppress(errors.FareboxError):
        await store.write(records.note_late, opened.id, attempts, patient=True, within_s=_WITHIN_S)
