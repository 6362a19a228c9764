"""Mailboxes: whether anybody has proved that he reads one.

Who signs up types an address, his own or another's: until a code that went there is entered, the person is a claim.
"""

from __future__ import annotations

from allauth.account.models import EmailAddress

from farebox.kit import audit
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from .models import Member, Person


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
        raise CommandError(f"The e-mail address {person.email} belongs to somebody else by now.")
    EmailAddress.objects.filter(user=person).exclude(email=person.email).delete()
    EmailAddress.objects.update_or_create(user=person, email=person.email, defaults={"verified": True, "primary": True})


def clear(tx: Tx, email: str, *, wanted_by: str) -> bool:
    """Make room at an address for the person `wanted_by`, who reads what goes there: an unconfirmed sign-up goes.

    Whether the address is free now; it is not where anybody else has more there than a claim.
    """
    other = Person.objects.filter(email=email.lower()).exclude(id=wanted_by).first()
    if other is None:
        return True
    if not is_claim(other) or other.operator_role or Member.objects.filter(person=other).exists():
        return False
    audit.record(tx, actor=f"person:{wanted_by}", verb="person.forget", object=other.id)
    other.delete()
    return True
