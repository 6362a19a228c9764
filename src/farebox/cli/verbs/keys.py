"""Write verbs on API keys. The text of a new key is in the result once and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from farebox.accounts import days, projects
from farebox.accounts.keys import key_line, keys, rates
from farebox.accounts.keys.key_terms import KeyTerms
from farebox.kit import clock
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError


def create(
    tx: Tx,
    *,
    actor: str,
    project: str,
    terms: Mapping[str, Any],
    caps_micro: Mapping[str, int | None] | None = None,
    last_day: str = "",
    member: str | None = None,
) -> dict[str, Any]:
    """A new key of a project; `plaintext` in the result is shown now or never.

    `terms` are those of `KeyTerms`, caps beside them by period; `last_day` is one of the account's own days.
    """
    key, plaintext = keys.issue(
        tx, _terms(project, terms, caps_micro, last_day), project=project, member=member, now_us=clock.now_us(),
        actor=actor,
    )  # fmt: skip
    return keys.view(key) | {"plaintext": plaintext}


def import_key(
    tx: Tx,
    *,
    actor: str,
    plaintext: str,
    project: str,
    terms: Mapping[str, Any],
    caps_micro: Mapping[str, int | None] | None = None,
    last_day: str = "",
    member: str | None = None,
) -> dict[str, Any]:
    """Take over a key that another system made."""
    chosen = _terms(project, terms, caps_micro, last_day)
    return keys.view(
        keys.import_key(
            tx, chosen, plaintext=plaintext, project=project, member=member, now_us=clock.now_us(), actor=actor
        )
    )


def _terms(
    project: str, terms: Mapping[str, Any], caps_micro: Mapping[str, int | None] | None, last_day: str
) -> KeyTerms:
    found = KeyTerms.given(terms, caps_micro)
    ends_us = days.chosen(last_day, found.expires_us, projects.find(project).account.time_zone)
    return msgspec.structs.replace(found, expires_us=ends_us)


def revoke(tx: Tx, *, actor: str, key: str) -> dict[str, Any]:
    """Switch a key off permanently."""
    return keys.view(keys.revoke(tx, key, now_us=clock.now_us(), actor=actor))


def rotate(tx: Tx, *, actor: str, key: str, grace_s: int = 86_400) -> dict[str, Any]:
    """A new key with the old one's settings; the old one continues for `grace_s`."""
    new, plaintext = key_line.rotate(tx, key, grace_s=grace_s, now_us=clock.now_us(), actor=actor)
    return keys.view(new) | {"plaintext": plaintext}


def cap(tx: Tx, *, actor: str, key: str, caps_micro: Mapping[str, int | None]) -> dict[str, Any]:
    """Limit what a key may spend per `day`, `month` or `ever`; None lifts that limit, others stay."""
    return keys.view(key_line.set_caps(tx, key, caps_micro, now_us=clock.now_us(), actor=actor))


def limits(
    tx: Tx,
    *,
    actor: str,
    key: str,
    models: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Other lists of models and addresses, empty for all; None leaves a list as it is."""
    limited = keys.set_limits(tx, key, models=models, addresses=addresses, now_us=clock.now_us(), actor=actor)
    return keys.view(limited)


def expire(tx: Tx, *, actor: str, key: str, expires_us: int | None = None, last_day: str = "") -> dict[str, Any]:
    """Another end of a key, or its last day in the account's time zone; neither for never."""
    ends_us = days.chosen(last_day, expires_us, keys.living(key).account.time_zone) if last_day else expires_us
    return keys.view(keys.set_expiry(tx, key, expires_us=ends_us, now_us=clock.now_us(), actor=actor))


def set_rates(tx: Tx, *, actor: str, kind: str, name: str, limits: Mapping[str, int | None]) -> dict[str, Any]:
    """Other limits a minute and at once of a key, project, member or account; those not in `limits` stay."""
    unknown = set(limits) - {"rpm", "tpm", "concurrency"}
    if unknown:
        raise CommandError(f"There is no limit {min(unknown)[:40]!r}, but rpm, tpm and concurrency.")
    row = rates.limit(tx, kind, name, **rates.now(kind, name) | dict(limits), actor=actor)
    return {"kind": kind, "id": row.id, **rates.shown(row)}


RUNS: dict[str, Callable[..., Any]] = {
    "key.create": create,
    "key.import": import_key,
    "key.revoke": revoke,
    "key.rotate": rotate,
    "key.cap": cap,
    "key.limits": limits,
    "key.expire": expire,
    "key.rates": set_rates,
}
