"""What is still digested under an older pepper, and the end of it once that pepper goes (security 4).

A digest moves to the pepper of now when its secret is used: nobody has the text otherwise. What was not used for as
long as old peppers are kept is void without its pepper, so it is switched off, and its owners are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.models import Authenticator

from farebox.accounts import trial
from farebox.accounts.models import ApiKey, OfficeToken, Person
from farebox.accounts.names import HOUSE_KEY
from farebox.kit import audit, db
from farebox.kit.db import Tx

AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Keys and tokens that were switched off, and persons whose recovery codes are gone."""

    keys: list[ApiKey] = field(default_factory=list)
    tokens: list[OfficeToken] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)


def counts(tx: Tx, newest: int) -> Mapping[str, int]:
    """How many keys, tokens and sets of recovery codes that work need a pepper before this one."""
    del tx  # the ORM reads in the same transaction
    return {
        "keys": _keys(newest).count(),
        "tokens": OfficeToken.objects.filter(revoked_us=None, pepper_n__lt=newest).count(),
        "recovery codes": sum(1 for row in _codes() if int(row.data.get("pepper_n", 1)) < newest),
    }


def move_trials(tx: Tx, after: str | None) -> tuple[str | None, int]:
    """Put what stands for mailboxes that had trial credit under the pepper of now, a batch of persons at a time.

    Where the next batch begins, None after the last; how many moved. The mailbox of somebody who is gone stays behind.
    """
    rows = list(Person.objects.filter(pk__gt=after or "").order_by("pk").values_list("pk", "email")[:AT_ONCE])
    moved = trial.rehash(tx, [email for _, email in rows])
    return (rows[-1][0] if len(rows) == AT_ONCE else None), moved


def end(tx: Tx, newest: int, *, now_us: int, actor: str) -> SwitchedOff:
    """Switch off what needs a pepper before this one; what that was, for those to be told whose it is."""
    ended = SwitchedOff()
    ApiKey.objects.filter(id=HOUSE_KEY).update(pepper_n=newest)
    for key in _keys(newest).select_related("account", "member__person"):
        ApiKey.objects.filter(id=key.id).update(state="revoked", revoked_us=now_us)
        audit.record(tx, actor=actor, verb="key.revoke", object=key.id, after="its pepper is gone")
        ended.keys.append(key)
    db.bump(tx, "keys")
    for token in OfficeToken.objects.filter(revoked_us=None, pepper_n__lt=newest).select_related("person"):
        OfficeToken.objects.filter(id=token.id).update(revoked_us=now_us)
        audit.record(tx, actor=actor, verb="token.revoke", object=token.id, after="its pepper is gone")
        ended.tokens.append(token)
    for row in _codes():
        if int(row.data.get("pepper_n", 1)) < newest:
            row.delete()
            audit.record(tx, actor=actor, verb="person.recovery_codes_end", object=row.user_id)
            ended.people.append(row.user)
    return ended


def _keys(newest: int) -> Any:
    """The house account's key has no text, and needs no pepper."""
    return ApiKey.objects.filter(state="active", pepper_n__lt=newest).exclude(id=HOUSE_KEY)


def _codes() -> Any:
    return Authenticator.objects.filter(type=Authenticator.Type.RECOVERY_CODES).select_related("user")
