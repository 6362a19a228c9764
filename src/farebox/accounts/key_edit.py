"""Change everything of a key at once, as a form does it: only what differs is written and audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from farebox.kit.db import Tx

from . import key_line, keys, rates
from .caps import NO_CAPS, Caps
from .models import ApiKey


@dataclass(frozen=True, slots=True)
class Wanted:
    """The name and the limits that a key shall have; empty lists mean all, None is no limit."""

    name: str
    models: Sequence[str] = ()
    addresses: Sequence[str] = ()
    expires_us: int | None = None
    caps: Caps = NO_CAPS
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


def change(tx: Tx, key: str, wanted: Wanted, *, now_us: int, actor: str) -> ApiKey:
    """Give the key this name and these limits, all of them or none; CommandError."""
    found = keys.living(key)
    if found.name != wanted.name:
        keys.rename(tx, found.id, name=wanted.name, actor=actor)
    models = msgspec.json.decode(found.models, type=list[str])
    addresses = msgspec.json.decode(found.addresses, type=list[str])
    if (models, addresses) != (sorted(set(wanted.models)), list(wanted.addresses)):
        keys.set_limits(tx, found.id, models=wanted.models, addresses=wanted.addresses, now_us=now_us, actor=actor)
    if found.expires_us != wanted.expires_us:
        keys.set_expiry(tx, found.id, expires_us=wanted.expires_us, now_us=now_us, actor=actor)
    had = found.caps.view()
    other = {period: cap for period, cap in wanted.caps.view().items() if cap != had[period]}
    if other:
        key_line.set_caps(tx, found.id, other, now_us=now_us, actor=actor)
    if (found.rpm, found.tpm, found.concurrency) != (wanted.rpm, wanted.tpm, wanted.concurrency):
        rates.limit(tx, "key", found.id, rpm=wanted.rpm, tpm=wanted.tpm, concurrency=wanted.concurrency, actor=actor)
    return keys.living(found.id)
