"""What this room keeps under the master key: webhooks' secrets, second factors; sessions are signed by it."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.core import signing
from django.utils.crypto import constant_time_compare

from farebox.accounts.models import Notice, Session
from farebox.kit import rewrapping, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.rewrapping import Batch, Walk
from farebox.kit.secrets import Keys

from . import sealed_factors, sealed_sessions
from .sessions import SessionStore

_SALT = SessionStore().key_salt


def factors(tx: Tx, master: Keys, after: str | int | None, move: bool) -> Batch:
    """Seeds and fresh recovery codes, sealed inside JSON for their person."""
    del tx  # the ORM works in the same transaction
    rows = rewrapping.batch(Authenticator.objects.all(), after, move=move)
    step = Batch(rows[-1].pk if len(rows) == rewrapping.AT_ONCE else None)
    for row in rows:
        data = dict(row.data)
        for name in ("secret", "fresh"):
            if data.get(name):
                step.seen += 1
                data[name] = _moved(data[name], master, step, move=move, person=row.user_id)
        if data != row.data:
            Authenticator.objects.filter(pk=row.pk).update(data=data)
    return step


def sessions(tx: Tx, master: Keys, after: str | int | None, move: bool) -> Batch:
    """Sessions of an earlier version, signed anew under the key of now; those of today hang on no key but their own."""
    del tx  # the ORM works in the same transaction
    signed = Session.objects.select_related(None).exclude(data="").exclude(data__startswith=sealed_sessions.MARK)
    rows = rewrapping.batch(signed, after, move=move)
    step = Batch(rows[-1].pk if len(rows) == rewrapping.AT_ONCE else None, seen=len(rows))
    for row in rows:
        store = SessionStore(area=row.area)
        before = store.decode(row.data)
        data = _resealed(before, master, row.person_id or "")
        if data == before and _signed_now(row.data):
            continue
        if not data:
            step.lost += 1
        elif not move:
            step.left += 1
        else:
            step.moved += 1
            _hashed_anew(row, data)
            Session.objects.filter(pk=row.pk, data=row.data).update(data=store.encode(data))
    return step


PLACES: dict[str, Walk] = {
    "webhooks' secrets": rewrapping.column(Notice, "webhook_secret"),
    "second factors": factors,
    "sessions": sessions,
}


def _moved(sealed: str, master: Keys, step: Batch, *, move: bool, person: str) -> str:
    table, column = sealed_factors.PLACE
    return rewrapping.moved(sealed, master, step, move=move, table=table, column=column, row=person)


def _signed_now(text: str) -> bool:
    try:
        signing.loads(text, salt=_SALT, serializer=SessionStore().serializer, key=settings.SECRET_KEY, fallback_keys=[])
    except signing.BadSignature:
        return False
    return True


def _hashed_anew(row: Session, data: dict[str, Any]) -> None:
    """The hash by which Django ends sessions after a change of the password is made with the same secret."""
    found = data.get(HASH_SESSION_KEY)
    if row.person is None or not found:
        return
    if any(constant_time_compare(found, each) for each in row.person.get_session_auth_fallback_hash()):
        data[HASH_SESSION_KEY] = row.person.get_session_auth_hash()


def _resealed(value: Any, master: Keys, person: str) -> Any:
    if isinstance(value, dict):
        return {name: _resealed(each, master, person) for name, each in value.items()}
    if isinstance(value, list):
        return [_resealed(each, master, person) for each in value]
    if not isinstance(value, str):
        return value
    table, column = sealed_factors.PLACE
    for owner in (person, ""):
        try:
            return secrets.rewrap(master, value, table=table, column=column, row=owner)
        except CommandError:
            continue  # no sealed text, or another person's
    return value
