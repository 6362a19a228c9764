"""What people have seen of a channel before they let calls go there: its parts by digest, to say which changed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from farebox.kit.db import Tx

from . import channels
from .models import Channel

PARTS = ("address", "key", "quirks", "models", "costs", "order")
_encode = msgspec.json.Encoder(order="sorted").encode


def marks(tx: Tx, channel: str) -> dict[str, str]:
    """A digest of each of `PARTS` of the channel of this id, as it is now; of its key that of the sealed text."""
    row = next(each for each in channels.listed(tx) if each["id"] == channel)
    vendor = next(each for each in channels.upstreams(tx) if each["name"] == row["upstream"])
    parts: dict[str, Any] = {
        "address": [row["upstream"], row["base_url"], row["local"], row["dialect"]],
        "key": Channel.objects.values_list("secret", flat=True).get(id=channel),
        "quirks": row["quirks"],
        "models": {each["model"]: each["upstream_model"] for each in row["models"]},
        "costs": [vendor["cancel_billing"], vendor["cost_currency"], [each["costs"] for each in row["models"]]],
        "order": [row["tier"], row["weight"], row["concurrency_max"]],
    }
    return {name: digest(parts[name]) for name in PARTS}


def digest(fact: Any) -> str:
    """A short digest of a JSON value."""
    return hashlib.sha256(_encode(fact)).hexdigest()[:24]


def text(found: dict[str, str]) -> str:
    """Marks as a form carries them: `address:0f… key:1e…`."""
    return " ".join(f"{name}:{mark}" for name, mark in found.items())


def changed(found: dict[str, str], given: str) -> list[str]:
    """Which parts are no longer as `given` says; all of them where it says nothing."""
    had = dict(each.partition(":")[::2] for each in given.split())
    return [name for name, mark in found.items() if had.get(name) != mark]
