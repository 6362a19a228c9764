"""Mailboxes: whether anybody has proved that they read one.

A person who signs up types an address, their own or another's: until a code that went there is entered, they only
claim it.
"""

from __future__ import annotations

from allauth.account.models import EmailAddress

from farebox.accounts.models import Member, Person
from farebox.kit import audit
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError


def is_proved(person: Person) -> bool:
    """Whether a code that went to this person's present address was entered."""
    return bool(EmailAddress.objects.filter(user=person, email=person.email, verified=True).exists())


def is_claim(person: Person) -> bool:
    """Whether this is a sign-up that nobody has confirmed: what it signs in with may be anybody's."""
    return person.by_sign_up and not is_proved(person)


def mark(tx: Tx, person: Person) -> None:
    """Keep that this person's address is proved; CommandError where another person has proved it."""
    del tx  # the ORM writes in the same transaction
    if EmailAddress.objects.filter(email=person.email, verified=True).exclude(user=person).exists():
        raise CommandError("person.email_taken", email=person.email)
    EmailAddress.objects.filter(user=person).exclude(email=person.email).delete()
    EmailAddress.objects.update_or_create(user=person, email=person.email, defaults={"verified": True, "primary": True})


def is_free(email: str, *, wanted_by: str) -> bool:
    """Whether the person `wanted_by`, who reads its mail, may have this address: nobody else has more than a claim."""
    other = _other(email, wanted_by)
    if other is None:
        return True
    return is_claim(other) and not other.operator_role and not Member.objects.filter(person=other).exists()


def clear(tx: Tx, email: str, *, wanted_by: str) -> bool:
    """Make room at an address for the person `wanted_by`, as `is_free` says: an unconfirmed sign-up goes."""
    other = _other(email, wanted_by)
    if not is_free(email, wanted_by=wanted_by):
        return False
    if other is not None:
        audit.record(tx, actor=f"person:{wanted_by}", verb="person.forget", object=other.id)
        other.delete()
    return True


def _other(email: str, person: str) -> Person | None:
    return Person.objects.filter(email=email.lower()).exclude(id=person).first()
