"""Change all terms of a key together, as a form does: only what differs is written and audited."""

from __future__ import annotations

from farebox.accounts.models import ApiKey
from farebox.kit.db import Tx

from . import key_line, keys, rates
from .key_terms import KeyTerms


def change(tx: Tx, key: str, wanted: KeyTerms, *, now_us: int, actor: str) -> ApiKey:
    """Give the key these terms, all of them or none; CommandError."""
    found = keys.living(key)
    had = KeyTerms.of(found)
    if had.name != wanted.name:
        keys.rename(tx, found.id, name=wanted.name, actor=actor)
    if had.note != wanted.note:
        keys.set_note(tx, found.id, note=wanted.note, actor=actor)
    if (had.models, had.addresses) != (sorted(set(wanted.models)), list(wanted.addresses)):
        keys.set_limits(tx, found.id, models=wanted.models, addresses=wanted.addresses, now_us=now_us, actor=actor)
    if had.expires_us != wanted.expires_us:
        keys.set_expiry(tx, found.id, expires_us=wanted.expires_us, now_us=now_us, actor=actor)
    before = had.caps.view()
    other = {period: cap for period, cap in wanted.caps.view().items() if cap != before[period]}
    if other:
        key_line.set_caps(tx, found.id, other, now_us=now_us, actor=actor)
    if had.paces != wanted.paces:
        rates.limit(tx, "key", found.id, **wanted.paces, actor=actor)
    return keys.living(found.id)
