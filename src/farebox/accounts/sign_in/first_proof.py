"""What is void once somebody proves a mailbox for the first time, or becomes an operator.

The address belongs to the person who enters the first code that went to the mailbox; somebody else may have chosen
the password of the sign-up with this address. What a person has after that is theirs, and no code, no invitation and
no other person takes it away.
"""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.hashers import make_password

from farebox.accounts.models import Link, OfficeCode, Person
from farebox.accounts.people import mailboxes
from farebox.kit import audit
from farebox.kit.db import Tx

from . import sessions


@dataclass(frozen=True, slots=True)
class BrowserProof:
    """What the browser has proved in which a code is entered: the password, and services as (provider, subject)."""

    password: bool = False
    services: frozenset[tuple[str, str]] = frozenset()


NOTHING = BrowserProof()


def prove(tx: Tx, person: Person, *, shown: BrowserProof = NOTHING, actor: str) -> bool:
    """Note that a code was entered which went to the person's address; whether it was the first one ever.

    With the first one all ends that the person signs in with, but what `shown` names. CommandError where another person
    has proved the address.
    """
    if mailboxes.is_proved(person):
        return False
    void(tx, person, shown=shown, actor=actor)
    mailboxes.mark(tx, person)
    audit.record(tx, actor=actor, verb="person.confirm_email", object=person.id)
    return True


def void(tx: Tx, person: Person, *, shown: BrowserProof = NOTHING, actor: str) -> None:
    """End the password, second factors, services, links and sessions of a person, but for what `shown` names."""
    if not shown.password:
        if person.has_usable_password():
            person.password = make_password(None)
            person.save(update_fields=["password"])
        Authenticator.objects.filter(user=person).delete()
    for service in SocialAccount.objects.filter(user=person):
        if (service.provider, service.uid) not in shown.services:
            service.delete()
    OfficeCode.objects.filter(person=person).delete()
    Link.objects.filter(person=person).delete()
    sessions.end_others(tx, person.id, keep="", actor=actor)
    audit.record(tx, actor=actor, verb="person.void", object=person.id)
