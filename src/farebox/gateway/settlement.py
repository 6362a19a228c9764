"""The settling transaction of a call."""

from __future__ import annotations

import contextlib

from farebox.calls import log as records
from farebox.calls.log import Ended, Opened, Receipt
from farebox.catalog import shelf
from farebox.kit import errors
from farebox.kit.db import Tx


def end_call(tx: Tx, opened: Opened, ended: Ended, unlisted: str) -> Receipt:
    """End the call; a model that used a class without a price leaves the shelf with it (R05)."""
    receipt = records.end_call(tx, opened, ended)
    if unlisted:
        with contextlib.suppress(errors.CommandError):  # it is gone already; the settlement stands
            shelf.unlist(tx, unlisted, "a call used a usage class that has no price", actor="gateway")
    return receipt
