"""Second factors of an operator: codes by time (TOTP), passkeys, recovery codes. The proofs are allauth's own.

What is secret in them is sealed by the adapter that the settings name. Functions that need the request read it from
allauth's context, which its middleware sets.
"""

from __future__ import annotations

from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import auth as recovery
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn.internal import auth as webauthn
from django.core.exceptions import ValidationError

from farebox.accounts.models import Person
from farebox.kit import audit
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import passkeys

NAME_CHARS_MAX = 60
_TYPES = Authenticator.Type


def listed(person: str) -> list[dict[str, Any]]:
    """The second factors of a person, oldest first: id, kind (`totp`, `webauthn`), name, when added and last used."""
    rows = Authenticator.objects.filter(user=person, type__in=(_TYPES.TOTP, _TYPES.WEBAUTHN)).order_by("id")
    return [
        {
            "id": row.pk,
            "kind": str(row.type),
            "name": row.wrap().name if row.type == _TYPES.WEBAUTHN else "",
            "made_us": int(row.created_at.timestamp() * 1_000_000),
            "used_us": int(row.last_used_at.timestamp() * 1_000_000) if row.last_used_at else None,
        }
        for row in rows
    ]


def recovery_left(person: str) -> int:
    """How many recovery codes are unused."""
    row = Authenticator.objects.filter(user=person, type=_TYPES.RECOVERY_CODES).first()
    return len(row.wrap().get_unused_codes()) if row else 0


def check_code(tx: Tx, person: Person, code: str) -> str:
    """Which proof this code is, `totp` or `recovery_codes`, used up by it; empty if it is not one."""
    typed = "".join(code.split())
    for kind in (_TYPES.TOTP, _TYPES.RECOVERY_CODES):
        row = Authenticator.objects.filter(user=person, type=kind).first()
        if row is not None and typed and row.wrap().validate_code(typed):
            row.record_usage()
            if kind == _TYPES.RECOVERY_CODES:
                audit.record(tx, actor=f"operator:{person.pk}", verb="second.recovery_used", object=str(person.pk))
            return str(kind)
    return ""


def totp_secret() -> str:
    """The seed that this session offers for a new authenticator."""
    return str(totp.get_totp_secret())


def totp_address(person: Person, secret: str) -> str:
    """What the authenticator's camera reads."""
    return str(get_adapter().build_totp_url(person, secret))


def add_totp(tx: Tx, person: Person, *, secret: str, code: str) -> bool:
    """Take the authenticator of this seed, in place of an earlier one, if the code is right; whether it is."""
    typed = "".join(code.split())
    if not typed or not totp.validate_totp_code(secret, typed):
        return False
    Authenticator.objects.filter(user=person, type=_TYPES.TOTP).delete()
    totp.TOTP.activate(person, secret).validate_code(typed)  # the code is used up by it
    audit.record(tx, actor=f"operator:{person.pk}", verb="second.add", object=str(person.pk), after="totp")
    return True


def passkey_offer(person: Person) -> dict[str, Any]:
    """What the browser needs to make a passkey; the challenge waits in the session."""
    return dict(webauthn.begin_registration(person, False))


def add_passkey(tx: Tx, person: Person, *, name: str, answer: str) -> None:
    """Take the passkey that the browser has made; CommandError if its answer is no good."""
    given = passkeys.marked(passkeys.made(answer), alone=False)
    try:
        webauthn.parse_registration_response(given)
        webauthn.complete_registration(given)
        webauthn.WebAuthn.add(person, (name.strip() or "Passkey")[:NAME_CHARS_MAX], given)
    except ValidationError:
        raise CommandError("passkey.unreadable") from None
    audit.record(tx, actor=f"operator:{person.pk}", verb="second.add", object=str(person.pk), after="passkey")


def passkey_question(person: Person) -> dict[str, Any] | None:
    """What the browser needs to prove a passkey; None if the person has none."""
    if not Authenticator.objects.filter(user=person, type=_TYPES.WEBAUTHN).exists():
        return None
    return dict(webauthn.begin_authentication(person))


def check_passkey(tx: Tx, person: Person, answer: str) -> bool:
    """Whether the browser has proved one of the person's passkeys."""
    del tx  # the ORM writes in the same transaction
    try:
        given = passkeys.proved(answer)
        webauthn.parse_authentication_response(given)
        webauthn.complete_authentication(person, given).record_usage()
    except (ValidationError, CommandError):
        return False
    return True


def remove(tx: Tx, person: Person, factor: int, *, actor: str) -> bool:
    """Take a second factor away; False if there is none such. CommandError for the last one."""
    rows = Authenticator.objects.filter(user=person, type__in=(_TYPES.TOTP, _TYPES.WEBAUTHN))
    row = rows.filter(pk=factor).first()
    if row is None:
        return False
    if rows.count() == 1:
        raise CommandError("operator.only_factor")
    kind = str(row.type)
    row.delete()
    audit.record(tx, actor=actor, verb="second.remove", object=str(person.pk), before=kind)
    return True


def recovery_codes(tx: Tx, person: Person, *, actor: str) -> list[str]:
    """Ten new recovery codes; earlier ones are void."""
    Authenticator.objects.filter(user=person, type=_TYPES.RECOVERY_CODES).delete()
    made = recovery.RecoveryCodes.activate(person)
    codes = [str(code) for code in made.get_unused_codes()]
    made.mark_as_viewed()
    audit.record(tx, actor=actor, verb="second.recovery_made", object=str(person.pk), after=len(codes))
    return codes
