"""One-time codes of the office: how the first administrator begins, and how others become operators or get in again.

There is no default account. A code has 128 bits, is kept as digest, works once and ends in time; the first
administrator's exists only while there is no operator at all. A person who is invited to a role gets it by entering
the code of this invitation, and in no other way: what they, or somebody in their name, had earlier opens nothing.
"""

from __future__ import annotations

import secrets as random_
from dataclasses import dataclass

from django.contrib.auth.hashers import make_password

from farebox.accounts.models import OfficeCode, Person
from farebox.accounts.people import mailboxes, people
from farebox.kit import audit, options, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import first_proof

FIRST_S = 3600
INVITED_S = 72 * 3600
_LABEL = "office"
_S_US = 1_000_000


@dataclass(frozen=True, slots=True)
class CodePurpose:
    """What a code is for: a `role` for `email`, or a way in for `person`; neither for the first administrator.

    `mailed` says that the code went to the address, so that who enters it reads it.
    """

    digest: str
    person: Person | None = None
    email: str = ""
    name: str = ""
    role: str = ""
    mailed: bool = False

    @property
    def first(self) -> bool:
        """Whether it makes the first administrator."""
        return not self.email


def has_operator(tx: Tx, *, now_us: int) -> bool:
    """Whether somebody works in the office, or was invited and may still come."""
    del tx  # the ORM reads in the same transaction
    awaited = OfficeCode.objects.exclude(role="").filter(used_us=None, expires_us__gt=now_us)
    return Person.objects.exclude(operator_role="").exists() or awaited.exists()


def first_code(tx: Tx, *, now_us: int, actor: str) -> str:
    """A new code for the first administrator, valid for an hour; earlier ones end. CommandError once there is one."""
    if has_operator(tx, now_us=now_us):
        raise CommandError("operator.set_up")
    OfficeCode.objects.filter(person=None, role="").delete()
    return _made(tx, CodePurpose(""), now_us=now_us, for_s=FIRST_S, actor=actor)


def invite(tx: Tx, what: CodePurpose, *, change: str, now_us: int, actor: str) -> str:
    """A new code for 72 hours that gives its address the role, or its operator a new password; earlier ones end."""
    withdraw(tx, what.email)
    return _made(tx, what, change=change, now_us=now_us, for_s=INVITED_S, actor=actor)


def withdraw(tx: Tx, email: str) -> None:
    """No code that was made for this address leads anywhere any more."""
    del tx
    OfficeCode.objects.filter(email=email, used_us=None).delete()
    OfficeCode.objects.filter(person__email=email, used_us=None).delete()


def find(tx: Tx, code: str, *, now_us: int) -> CodePurpose | None:
    """What this code is for; None if it is unknown, used, too old, or no longer needed."""
    digests = [_digest(pepper, code) for pepper in secrets.peppers(options.current()).values()]
    row = OfficeCode.objects.select_related("person").filter(id__in=digests, used_us=None, expires_us__gt=now_us)
    found = row.first()
    if found is None:
        return None
    if found.role:
        person = Person.objects.filter(email=found.email).first()
        if person is not None and (person.operator_role or not person.is_active):
            return None
        return CodePurpose(found.id, person, found.email, found.name, found.role, found.mailed)
    if found.person is None:
        return None if has_operator(tx, now_us=now_us) else CodePurpose(found.id)
    if not (found.person.operator_role and found.person.is_active):
        return None
    return CodePurpose(found.id, found.person, found.person.email, found.person.name, mailed=found.mailed)


def use(tx: Tx, code: str, *, email: str, name: str, password_hash: str, now_us: int) -> Person:
    """Make the first administrator or the operator of this code, or let them in again; CommandError if it is no good.

    `password_hash` comes from `people.hashed`; `email` matters for the first administrator alone.
    """
    offered = find(tx, code, now_us=now_us)
    if (
        offered is None
        or OfficeCode.objects.filter(id=offered.digest, used_us=None, expires_us__gt=now_us).update(used_us=now_us) != 1
    ):
        raise CommandError("operator.link_used")
    if offered.role or offered.first:
        return _appoint(tx, offered, email=email, name=name, password_hash=password_hash, now_us=now_us)
    assert offered.person is not None  # noqa: S101 - for the type
    actor = f"operator:{offered.person.id}"
    if not mailboxes.is_proved(offered.person):  # also what he could sign in with at the counter
        first_proof.void(tx, offered.person, actor=actor)
    people.set_password(tx, offered.person.id, password_hash=password_hash, actor=actor)
    return _settle(tx, offered.person.id, name=name, mailed=offered.mailed)


def _appoint(tx: Tx, offered: CodePurpose, *, email: str, name: str, password_hash: str, now_us: int) -> Person:
    """The role binds here: to a new person, or to the one of this address without any way in that he had."""
    address = (offered.email or email).strip().lower()
    actor, role = "office:set-up", offered.role or "admin"
    person = Person.objects.filter(email=address).first()
    if person is not None and offered.first and not mailboxes.is_claim(person):
        raise CommandError("person.exists", email=address)
    if person is None:
        person = people.create(
            tx, email=address, name=name, password_hash=password_hash, operator_role=role, now_us=now_us, actor=actor
        )
    else:
        first_proof.void(tx, person, actor=actor)
        people.set_password(tx, person.id, password_hash=password_hash, actor=actor)
        people.set_operator_role(tx, person.id, operator_role=role, actor=actor)
    if offered.role:
        audit.record(tx, actor=f"operator:{person.id}", verb="operator.accept", object=address, after=role)
    return _settle(tx, person.id, name=name, mailed=offered.mailed)


def _settle(tx: Tx, ident: str, *, name: str, mailed: bool) -> Person:
    """The person who has entered a code, as he is from now on: no claim any more."""
    person = people.find(ident)
    person.name, person.by_sign_up = name or person.name, False
    person.save(update_fields=["name", "by_sign_up"])
    if mailed:
        mailboxes.mark(tx, person)
    return person


def shut(tx: Tx, person: Person) -> None:
    """Nobody gets in as this person by an old password or code."""
    withdraw(tx, person.email)
    Person.objects.filter(id=person.id).update(password=make_password(None))


def _made(tx: Tx, what: CodePurpose, *, change: str = "", now_us: int, for_s: int, actor: str) -> str:
    code = random_.token_urlsafe(16)
    _, pepper = secrets.newest(secrets.peppers(options.current()))
    OfficeCode.objects.create(
        id=_digest(pepper, code), person=None if what.role else what.person, email=what.email if what.role else "",
        name=what.name if what.role else "", role=what.role, mailed=what.mailed, change=change, made_us=now_us,
        expires_us=now_us + for_s * _S_US,
    )  # fmt: skip
    whose = what.email if what.role else what.person.id if what.person else "first administrator"
    audit.record(tx, actor=actor, verb="office.code", object=whose)
    return code


def _digest(pepper: bytes, code: str) -> str:
    return secrets.digest_code(pepper, code, label=_LABEL)
