"""Lines of API keys: a key that was rotated, and those that replace it, are counted together for caps and limits."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Q, QuerySet

from farebox.accounts import caps
from farebox.accounts.models import ApiKey
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import keys
from .key_terms import KeyTerms

GRACE_S_MAX = 90 * 86_400


def set_caps(tx: Tx, key: str, caps_micro: Mapping[str, int | None], *, now_us: int, actor: str) -> ApiKey:
    """Limit what the key's calls may cost per `day`, `month` or `ever`, in micro-units; None lifts that limit.

    Periods left out stay as they are. Keys that are counted together have their caps together.
    """
    found = keys.living(key)
    list(_locked(found.cap_scope))
    mine = ApiKey.objects.select_related("account", "project", "member").filter(account=found.account_id)
    line = mine.filter(_line(found), state="active")
    rows = sorted(line, key=lambda row: row.id != found.id)
    if not rows or rows[0].id != found.id:
        raise CommandError("key.revoked", key=found.id)
    caps.change(tx, rows, caps_micro, now_us=now_us, verb="key.set_cap", actor=actor)
    return rows[0]


def rotate(tx: Tx, key: str, *, grace_s: int = 86_400, now_us: int, actor: str) -> tuple[ApiKey, str]:
    """A new key with the settings of the old one, and its text; the old one expires after `grace_s`.

    Caps and limits continue to count: what both keys use counts together. Raises CommandError if the old one is dead.
    """
    if not 0 <= grace_s <= GRACE_S_MAX:
        raise CommandError("key.grace")
    # Rotated twice, or rotated and revoked or capped, at one time: the second one waits here, and sees what the first
    # has done.
    named = keys.find(key)
    list(_locked(named.cap_scope, named.id))
    old = keys.living(key)
    if old.kind:
        raise CommandError("key.playground")
    if old.expires_us is not None and old.expires_us <= now_us:
        raise CommandError("key.expired", key=old.id)
    if old.replaced_by:
        raise CommandError("key.rotated", key=old.id, successor=old.replaced_by)
    new, plaintext = keys.insert(
        tx,
        None,
        KeyTerms.of(old),
        project=old.project,
        member=old.member,
        counts_as=old.cap_scope,
        now_us=now_us,
        actor=actor,
        verb="key.issue",
    )
    ends_us = now_us + grace_s * 1_000_000
    before, old.expires_us = old.expires_us, min(ends_us, old.expires_us or ends_us)
    old.replaced_by = new.id
    old.save(update_fields=["expires_us", "replaced_by"])
    after = {"expires_us": old.expires_us, "new_key": new.id}
    keys.changed(tx, old, "key.rotate", actor=actor, before={"expires_us": before}, after=after)
    return new, plaintext


def _line(key: ApiKey) -> Q:
    """The keys that are counted together with this one, itself included."""
    return Q(id=key.cap_scope) | Q(counts_as=key.cap_scope)


def _locked(*keys: str) -> QuerySet[ApiKey]:
    return ApiKey.objects.select_for_update(no_key=True).filter(id__in=keys).order_by("id")
