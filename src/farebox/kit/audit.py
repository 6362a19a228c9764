"""The audit trail: who did what to which object, with opaque values before and after."""

from __future__ import annotations

from typing import Any

import msgspec

from . import clock, ids, statements
from .db import Tx

_encode = msgspec.json.Encoder().encode


def record(tx: Tx, *, actor: str, verb: str, object: str, before: Any = None, after: Any = None) -> None:  # noqa: A002
    """Add one event to the trail in the caller's transaction; `before` and `after` are JSON-able and hold no secret."""
    at_us = clock.now_us()
    tx.execute(
        statements.RECORD_AUDIT,
        (
            ids.new("aud", at_us),
            at_us,
            actor[:200],
            verb[:60],
            object[:200],
            "" if before is None else _encode(before).decode(),
            "" if after is None else _encode(after).decode(),
        ),
    )
