"""A customer's second factor at sign-in: tries are counted, wrong ones recorded, and the customer is told of many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.core import context
from django.core.exceptions import ValidationError
from django.utils import translation

from farebox.accounts.models import Person
from farebox.accounts.sign_in import attempts, refused, second

from .mailing import KNOWN_COOKIE


def judged(person: Person, prove: Callable[[], Any], *, letter: str = "mfa/email/second_failed") -> Any:
    """What `prove` gives, if this try counts; its ValidationError is passed on, and the person told of many."""
    request = context.request
    address = str(request.META.get("REMOTE_ADDR", ""))
    try:
        found = second.begin(person, known=request.COOKIES.get(KNOWN_COOKIE, ""), address=address)
    except attempts.TooMany:
        raise get_adapter().validation_error("too_many_login_attempts") from None
    try:
        proved = prove()
    except ValidationError:
        if second.wrong(person, found, address=address):
            with translation.override(person.language or translation.get_language()):
                get_adapter().send_mail(letter, person.email, {"ip": address})
        raise
    second.right(found)
    return proved


def refused_alone() -> None:
    """A passkey that signs nobody in; whose it was said to be counts for nothing."""
    _note(verb="sign_in.failed", about="passkey")


def refused_code(email: str, person: str) -> None:
    """A wrong code in the place of one that was mailed, to confirm a mailbox or for a forgotten password."""
    _note(verb="code.failed", about=refused.mailbox(email, person))


def refused_password(person: str) -> None:
    """A wrong present password, of somebody who is signed in."""
    _note(verb="step_up.failed", about=person)


def _note(*, verb: str, about: str) -> None:
    refused.note(verb, object=about, address=str(context.request.META.get("REMOTE_ADDR", "")))
