"""Proving one's identity without a password and a second factor: a code that goes to the person's proved mailbox.

People who sign in only by another service would otherwise prove nothing. A person who has more is asked for that:
whoever got at an open browser and the mailbox in it must not pass for its owner.
"""

from __future__ import annotations

import time
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows, resume_request
from allauth.account.utils import get_next_redirect_url
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from farebox.accounts import trial
from farebox.accounts.models import Person
from farebox.accounts.people import links, mailboxes
from farebox.accounts.sign_in import attempts
from farebox.kit import clock, db

from . import second
from .sign_forms import Worded, mailed_code

GOOD_S = 600
_NAME = "again_code"


class Code(Worded):
    """The code that was mailed to prove once more who somebody is."""

    words = mailed_code
    code = forms.CharField(max_length=64, widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}))

    def __init__(self, *args: Any, request: HttpRequest, person: Person, **kwargs: Any) -> None:
        self._request, self._person = request, person
        super().__init__(*args, **kwargs)

    def clean_code(self) -> str:
        """The code, if it is the one; tries are counted."""
        given = self.cleaned_data["code"]
        second.judged(self._person, lambda: self._prove(given), letter="account/email/again_failed")
        return str(given)

    def _prove(self, given: str) -> None:
        digest = (pending(self._request, self._person) or {}).get("digest", "")
        if not constant_time_compare(_digest(self._person, given), digest):
            raise get_adapter().validation_error("incorrect_code")


@login_required
@require_http_methods(["GET", "POST"])
def by_mail(request: HttpRequest) -> HttpResponse:
    """Send a code, and take it; then what was to be done continues."""
    person = Person.objects.get(pk=request.user.pk)
    if get_reauthentication_flows(person):
        raise PermissionDenied
    form = Code(request=request, person=person)
    if request.method == "POST":
        if request.POST.get("do") == "send":
            return _send(request, person)
        if pending(request, person) is None:
            messages.error(request, _("This code has expired. Please start over."), extra_tags="bad")
            return _back(request)
        form = Code(request.POST, request=request, person=person)
        if form.is_valid():
            del request.session[_NAME]
            record_authentication(request, person, method="code", email=person.email, reauthenticated=True)
            return resume_request(request) or HttpResponseRedirect(reverse("home"))
    methods = {each.get("method") for each in get_authentication_records(request, person)}
    here = {
        "form": form,
        "email": person.email,
        "sent": pending(request, person) is not None,
        "proved": mailboxes.is_proved(person),
        "by_link": links.METHOD in methods,
        "next": get_next_redirect_url(request) or "",
    }
    return render(request, "account/again_code.html", here)


def pending(request: HttpRequest, person: Person) -> dict[str, Any] | None:
    """The code that this session waits for, good for ten minutes, for the person and the mailbox it was sent to."""
    found: dict[str, Any] | None = request.session.get(_NAME)
    fits = found is not None and found["to"] == [person.pk, person.email] and found["until"] > time.time()
    return found if fits and mailboxes.is_proved(person) else None


def _send(request: HttpRequest, person: Person) -> HttpResponse:
    """Mail another code; the one before it ends."""
    door = get_adapter(request)
    if not mailboxes.is_proved(person):
        raise PermissionDenied
    facts = {"address": door.get_client_ip(request), "mailbox": trial.mailbox(person.email)}
    try:
        db.write(attempts.take_mail, "again", now_us=clock.now_us(), **facts)
    except attempts.TooMany:
        messages.error(request, door.error_messages["rate_limited"], extra_tags="bad")
        return _back(request)
    code = door.generate_login_code()
    request.session[_NAME] = {
        "digest": _digest(person, code),
        "to": [person.pk, person.email],
        "until": time.time() + GOOD_S,
    }
    door.send_mail("account/email/again_code", person.email, {"code": code})
    return _back(request)


def _digest(person: Person, code: str) -> str:
    """What is kept of a code; as people type it, with or without its dash, in capitals or not."""
    plain = "".join(each for each in code.upper() if each.isalnum())
    return salted_hmac("farebox.console.sign_in.again", f"{person.pk} {plain}", algorithm="sha256").hexdigest()


def _back(request: HttpRequest) -> HttpResponse:
    to = get_next_redirect_url(request)
    return HttpResponseRedirect(reverse("account_again_code") + (f"?{urlencode({'next': to})}" if to else ""))
