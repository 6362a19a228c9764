"""Outgoing HTTP/1.1: one small client of our own, pooled, timed, bounded, and closed to private addresses.

Imports go down: pool > connection > wire > exchange > addresses > errors.
"""

from __future__ import annotations

from farebox.kit.fetch.addresses import Target, check_spelled
from farebox.kit.fetch.errors import (
    AddressRefused,
    BodyCut,
    BodyTooLarge,
    BrokenResponse,
    ConnectFailed,
    FetchError,
    FirstByteTimeout,
    IdleTimeout,
    Interrupted,
    TargetBusy,
)
from farebox.kit.fetch.exchange import Exchange, Outgoing, Response
from farebox.kit.fetch.pool import Fetch

__all__ = [
    "AddressRefused",
    "BodyCut",
    "BodyTooLarge",
    "BrokenResponse",
    "ConnectFailed",
    "Exchange",
    "Fetch",
    "FetchError",
    "FirstByteTimeout",
    "IdleTimeout",
    "Interrupted",
    "Outgoing",
    "Response",
    "Target",
    "TargetBusy",
    "check_spelled",
]
