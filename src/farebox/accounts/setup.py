"""One-time codes of the office: how the first administrator begins, and how an operator gets a password.

There is no default account. A code has 128 bits, is kept as digest, works once and ends in time; the first
administrator's exists only while there is no operator at all.
"""

from __future__ import annotations

import secrets as random_
from dataclasses import dataclass

from django.contrib.auth.hashers import make_password

from farebox.kit import audit, options, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import people
from .models import OfficeCode, Person

FIRST_S = 3600
INVITED_S = 72 * 3600
_LABEL = "office"
_S_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Offered:
    """What a code is for: `person` is None for the first administrator."""

    digest: str
    person: Person | None


def has_operator(tx: Tx) -> bool:
    """Whether somebody works in the office."""
    del tx  # the ORM reads in the same transaction
    return Person.objects.exclude(operator_role="").exists()


def first_code(tx: Tx, *, now_us: int, actor: str) -> str:
    """A new code for the first administrator, valid for an hour; earlier ones end. CommandError once there is one."""
    if has_operator(tx):
        raise CommandError(
            "The office has operators already. `farebox operator reset EMAIL` lets one of them in again."
        )
    OfficeCode.objects.filter(person=None).delete()
    return _made(None, now_us=now_us, for_s=FIRST_S, tx=tx, actor=actor)


def code_for(tx: Tx, person: Person, *, now_us: int, actor: str) -> str:
    """A new code with which this operator chooses a password and second factor, for 72 hours; earlier ones end."""
    OfficeCode.objects.filter(person=person).delete()
    return _made(person, now_us=now_us, for_s=INVITED_S, tx=tx, actor=actor)


def find(tx: Tx, code: str, *, now_us: int) -> Offered | None:
    """What this code is for; None if it is unknown, used, too old, or no longer needed."""
    digests = [_digest(pepper, code) for pepper in secrets.peppers(options.current()).values()]
    row = OfficeCode.objects.select_related("person").filter(id__in=digests, used_us=None, expires_us__gt=now_us)
    found = row.first()
    if found is None or (found.person is None and has_operator(tx)):
        return None
    if found.person is not None and not (found.person.operator_role and found.person.is_active):
        return None
    return Offered(found.id, found.person)


def use(tx: Tx, code: str, *, email: str, name: str, password_hash: str, now_us: int) -> Person:
    """Make the first administrator, or give the operator of this code the password; CommandError if it is no good.

    `password_hash` comes from `people.hashed`; `email` matters for the first administrator alone.
    """
    offered = find(tx, code, now_us=now_us)
    if (
        offered is None
        or OfficeCode.objects.filter(id=offered.digest, used_us=None, expires_us__gt=now_us).update(used_us=now_us) != 1
    ):
        raise CommandError("This link was used before, or it is too old. Ask for a new one.")
    if offered.person is None:
        return people.create(
            tx,
            email=email,
            name=name,
            password_hash=password_hash,
            operator_role="admin",
            now_us=now_us,
            actor="office:set-up",
        )
    person = people.set_password(
        tx, offered.person.id, password_hash=password_hash, actor=f"operator:{offered.person.id}"
    )
    if name:
        person.name = name
        person.save(update_fields=["name"])
    return person


def shut(tx: Tx, person: Person) -> None:
    """Nobody gets in as this person by an old password or code."""
    del tx
    OfficeCode.objects.filter(person=person).delete()
    Person.objects.filter(id=person.id).update(password=make_password(None))


def _made(person: Person | None, *, now_us: int, for_s: int, tx: Tx, actor: str) -> str:
    code = random_.token_urlsafe(16)
    _, pepper = secrets.newest(secrets.peppers(options.current()))
    OfficeCode.objects.create(
        id=_digest(pepper, code), person=person, made_us=now_us, expires_us=now_us + for_s * _S_US
    )
    audit.record(tx, actor=actor, verb="office.code", object=person.id if person else "first administrator")
    return code


def _digest(pepper: bytes, code: str) -> str:
    return secrets.digest_code(pepper, code, label=_LABEL)
