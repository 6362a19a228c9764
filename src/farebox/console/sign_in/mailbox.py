"""What follows when a code was entered that went to a person's mailbox: at a sign-in, a reset, a change of it."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.password_reset_by_code import PasswordResetVerificationProcess
from allauth.account.views import CompletePasswordResetView, ConfirmPasswordResetCodeView
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from farebox.accounts.models import Person
from farebox.accounts.sign_in import first_proof, signup
from farebox.accounts.sign_in.first_proof import BrowserProof
from farebox.console import refusals
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import second


def shown(request: HttpRequest, person: Person) -> BrowserProof:
    """What this session has proved of the person, who is about to come in."""
    records = get_authentication_records(request, person)
    return BrowserProof(
        any(each.get("method") == "password" for each in records),
        frozenset((each["provider"], each["uid"]) for each in records if each.get("method") == "socialaccount"),
    )


def open_account(tx: Tx, request: HttpRequest, person: str) -> None:
    """An account for a new person; while the shop sells nothing yet, he opens it later."""
    try:
        address = str(request.META.get("REMOTE_ADDR", ""))
        signup.open_account(tx, person, address=address, now_us=clock.now_us())
    except CommandError as fault:
        messages.warning(request, refusals.said(fault), extra_tags="warn")


class _Fresh:
    """A page of the forgotten password whose code still goes for the mailbox and the person that it was sent to."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Begin anew where the person has another address by now, or works in the office."""
        asked = PasswordResetVerificationProcess.resume(request)
        person: Any = asked and asked.user
        if asked and person and (person.operator_role or person.email != asked.state["email"].lower()):
            asked.abort()
            messages.error(request, _("This code has expired. Please start over."), extra_tags="bad")
            return HttpResponseRedirect(reverse("account_reset_password"))
        found: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        return found


class ForgottenCode(_Fresh, ConfirmPasswordResetCodeView):  # type: ignore[misc]  # allauth has no types
    """allauth's, which proves the mailbox: the first time all ends that somebody else may have set up."""

    def form_invalid(self, form: Any) -> HttpResponse:
        """The code is wrong: it is written down, and allauth counts it."""
        if form.data.get("code"):
            user = self._process.user
            second.refused_code(self._process.state["email"], str(user.pk) if user else "")
        response: HttpResponse = super().form_invalid(form)
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        """The code is right."""
        db.write(self._proved, self._process.user.pk)
        response: HttpResponse = super().form_valid(form)
        return response

    def _proved(self, tx: Tx, ident: str) -> None:
        if first_proof.prove(tx, Person.objects.get(pk=ident), actor=f"person:{ident}"):
            open_account(tx, self.request, ident)


class ForgottenPassword(_Fresh, CompletePasswordResetView):  # type: ignore[misc]
    """allauth's, for who has entered the code."""


forgotten_code = ForgottenCode.as_view()
forgotten_password = ForgottenPassword.as_view()
