"""Channels as operators look at them: whether they can be used, and whether their secrets can be read."""

from __future__ import annotations

from collections.abc import Mapping

from farebox.kit import db, options, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import Refusal

from . import board
from .models import Channel


def unreadable(tx: Tx, master: Mapping[int, bytes]) -> list[str]:
    """The channels, by name, whose secret does not open with these master keys."""
    del tx  # the ORM reads in the same transaction
    unseal = board.unsealer(master)
    found = []
    for row in Channel.objects.exclude(secret="").order_by("name"):
        try:
            unseal(row.secret, row.id)
        except CommandError:
            found.append(row.name)
    return found


def broken() -> dict[str, Refusal]:
    """Why channels can't be used, by name."""
    try:
        unseal = board.unsealer(secrets.master_keys(options.current()))
    except CommandError:
        unseal = board.unsealer({})
    return dict(db.read(board.load, unseal).broken)
