"""The settling transaction of a call."""

from __future__ import annotations

import contextlib

from farebox.calls import log as records
from farebox.calls.log import CallEnd, CallStart, Receipt
from farebox.catalog import shelf
from farebox.kit import errors
from farebox.kit.clock import Clock
from farebox.kit.db import Tx

from .ports import StorePort

_WITHIN_S = 1


def end_call(tx: Tx, start: CallStart, end: CallEnd, unlisted: str, clock: Clock | None = None) -> Receipt:
    """End the call; a model that used a class without a price leaves the shelf with it (R05).

    With `clock` the end is as late as this write: a process that was paused before it has not delivered the answer
    since, and what it leaves behind is looked for by that time (R25).
    """
    if clock is not None:
        end.ended_us = max(end.ended_us, clock.now_us())
    receipt = records.end_call(tx, start, end)
    if unlisted:
        with contextlib.suppress(errors.CommandError):  # it is gone already; the settlement stands
            shelf.unlist(tx, unlisted, shelf.UNPRICED, actor="gateway")
    return receipt


async def note_late(store: StorePort, start: CallStart, end: CallEnd | None) -> None:
    """Write on the receipt that the settlement came too late (R24); the books know all that matters without it."""
    attempts = end.attempts if end is not None else []
    with contextlib.suppress(errors.FareboxError):
        await store.write(records.note_late, start.id, attempts, patient=True, within_s=_WITHIN_S)
