"""How many mails visitors may have sent to a mailbox by signing up, forgetting a password or changing an address.

allauth counts only by mailbox, so five strangers' requests would keep its owner from their own reset for an hour.
"""

from __future__ import annotations

import contextlib
from typing import Any

from allauth.account.internal.flows import email_verification
from allauth.core.exceptions import ImmediateHttpResponse, RateLimited
from allauth.core.ratelimit import respond_429
from django.http import HttpRequest

from farebox.accounts import trial
from farebox.accounts.models import Person
from farebox.accounts.sign_in import attempts, browsers
from farebox.kit import clock, db

KNOWN_COOKIE = "__Host-known"


def allowed(request: HttpRequest, kind: str, email: str, *, only_ask: bool = False) -> bool:
    """Whether one more mail of this kind may go to this address, and count it (`attempts.take_mail`).

    The answer is the same for known and unknown addresses; but in a browser in which its person has signed in before,
    nothing is counted.
    """
    typed = email.strip().lower()
    known = Person.objects.filter(email=typed).values_list("pk", flat=True).first()
    if browsers.knows(request.COOKIES.get(KNOWN_COOKIE, ""), known or ""):
        return True
    place = attempts.place(str(request.META.get("REMOTE_ADDR", "")))
    facts: dict[str, Any] = {"address": place, "mailbox": trial.mailbox(typed), "only_ask": only_ask}
    with contextlib.suppress(attempts.TooMany):
        db.write_or_join(attempts.take_mail, kind, now_us=clock.now_us(), **facts)
        return True
    return False


def demand(request: HttpRequest, kind: str, email: str, *, only_ask: bool = False) -> None:
    """`allowed`, or the page that says so (429)."""
    if not allowed(request, kind, email, only_ask=only_ask):
        raise ImmediateHttpResponse(respond_429(request))


def _confirmation(request: HttpRequest, email: str, dry_run: bool = False, raise_exception: bool = False) -> bool:
    may = allowed(request, "confirm", email, only_ask=dry_run)
    if not may and raise_exception:
        raise RateLimited
    return may


# allauth's own mails of confirmation: of sign-ups, changes of address, and those that are sent again.
email_verification.consume_email_verification_rate_limit = _confirmation
