"""Where allauth asks us: who may in, what is said and mailed, what happens in our books when a mailbox is proved."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.account.internal.stagekit import clear_login
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib import messages
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from farebox.accounts.models import Person
from farebox.accounts.people import mailboxes, people
from farebox.accounts.sign_in import attempts, browsers, first_proof, refused, sealed_factors, sessions, signup
from farebox.console import refusals
from farebox.kit import audit, clock, db, options, outbox
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import shop

from . import mailbox
from .mailing import KNOWN_COOKIE

STEP_UP_S = 300
RECORDS = "account_authentication_methods"
_NEW_FACTORS = "mfa/email/"
_PROOFS = ("account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn")
_SAID = {
    "account/messages/email_confirmed.txt": _("E-mail address confirmed."),
    "account/messages/email_confirmation_failed.txt": _("This address is already in use."),
    "account/messages/logged_out.txt": _("You are signed out."),
    "account/messages/password_changed.txt": _("Password changed. All other sessions have ended."),
    "account/messages/password_set.txt": _("Password set. All other sessions have ended."),
    "mfa/messages/totp_activated.txt": _("Authenticator app added. Sign-in now requires its codes."),
    "mfa/messages/totp_deactivated.txt": _("Authenticator app removed. Sign-in no longer requires its codes."),
    "mfa/messages/webauthn_added.txt": _("Passkey added."),
    "mfa/messages/webauthn_removed.txt": _("Passkey removed."),
    "mfa/messages/recovery_codes_generated.txt": _("New recovery codes created. Earlier ones no longer work."),
    "socialaccount/messages/account_connected.txt": _("Sign-in service connected."),
    "socialaccount/messages/account_disconnected.txt": _("Sign-in service disconnected."),
}


class Door(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """The customers' door. Operators have their own; here they are strangers."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": _("This account has been deactivated. Please contact us."),
        "duplicate_email": _("This is already your address."),
        "email_password_mismatch": _("Wrong e-mail address or password."),
        "email_taken": _("This address can't be used."),
        "enter_current_password": _("The current password is wrong."),
        "incorrect_code": _("The code is wrong or was already used."),
        "incorrect_password": _("The password is wrong."),
        "too_many_login_attempts": _("Too many failed attempts. Please try again in a few minutes."),
        "rate_limited": _("Too many attempts. Please try again in a moment."),
        "same_as_current": _("This is already your address."),
    }

    # who comes in

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Whether visitors may sign up by themselves."""
        del request
        return bool(options.current().sign_up)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """The customer with this password, or None; wrong ones are counted before they are looked at."""
        email = str(credentials.get("email", "")).strip().lower()
        known = Person.objects.filter(email=email).values_list("pk", flat=True).first()
        counted = browsers.counted(request.COOKIES.get(KNOWN_COOKIE, ""), person=known or "", email=email)
        facts = {"object": refused.mailbox(email, known or ""), "address": str(request.META.get("REMOTE_ADDR", ""))}
        verb = "step_up.failed" if request.user.is_authenticated else "sign_in.failed"
        try:
            db.write(attempts.take, counted, now_us=clock.now_us())
        except attempts.TooMany:
            refused.note(verb, **facts)
            raise self.validation_error("too_many_login_attempts") from None
        person: Any = authenticate(request, email=email, password=credentials.get("password"))
        if person is None or person.operator_role:
            refused.note(verb, **facts)
            return None
        db.write(attempts.forget, counted)
        return person

    def reauthenticate(self, user: Any, password: str) -> bool:
        """Whether it is this person's password."""
        found = self.authenticate(self.request, email=user.email, password=password)
        return found is not None and found.pk == user.pk

    def is_reauthentication_required(self, *, app: str, **_kwargs: Any) -> bool:
        """Whether the last proof of who this is is more than five minutes back (security 2)."""
        del app
        proofs = [float(each.get("at", 0)) for each in self.request.session.get(RECORDS, [])]
        return max(proofs, default=0.0) < time.time() - STEP_UP_S

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """By what this person may prove who he is once more; who has nothing of his own gets a code by mail.

        The pages that take a password or a second factor are not for him (403).
        """
        found: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        here = self.request.resolver_match
        if found or (here and here.url_name in _PROOFS):
            return found
        return [{"id": "mail_code", "description": "", "url": reverse("account_again_code")}]

    def pre_login(self, request: HttpRequest, user: Any, **facts: Any) -> HttpResponse | None:
        """None to let him in; an operator is sent away whatever he has proved."""
        if user.operator_role:
            clear_login(request)
            messages.error(request, self.error_messages["email_password_mismatch"])
            return HttpResponseRedirect(reverse("account_login"))
        refused: HttpResponse | None = super().pre_login(request, user, **facts)
        return refused

    def login(self, request: HttpRequest, user: Any) -> None:
        """Sign him in, unless he has become an operator since he began to."""
        if Person.objects.filter(pk=user.pk).exclude(operator_role="").exists():
            clear_login(request)
            messages.error(request, self.error_messages["email_password_mismatch"])
            raise ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login")))
        super().login(request, user)

    def post_login(self, request: HttpRequest, user: Any, **facts: Any) -> HttpResponse:
        """Where he wanted to go; this browser is known from now on.

        Who signed up has typed his password in this session, and the code of his mailbox just now: a fresh proof.
        """
        if facts.get("signup") and _typed_password(request, user):
            record_authentication(request, user, "password", email=user.email)
        response: HttpResponse = super().post_login(request, user, **facts)
        response.set_cookie(
            KNOWN_COOKIE,
            browsers.mark(user.pk),
            max_age=browsers.KNOWN_AGE_S,
            secure=True,
            httponly=True,
            samesite="Lax",
        )
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """What tries are counted by: the address that the front door has found, of IPv6 its /64."""
        return attempts.place(str(request.META.get("REMOTE_ADDR", "")))

    # what changes in our books

    def clean_password(self, password: str, user: Any = None) -> str:
        """The password itself, if it will do."""
        own = (*shop.names(), getattr(user, "name", ""), getattr(user, "email", "") or "")
        try:
            people.check_password(password, own_words=own)
        except CommandError as fault:
            raise ValidationError(refusals.said(fault)) from None
        return password

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> Any:
        """A new person; their account comes with the confirmed mailbox. This session knows who typed their password."""
        del user, commit
        password = form.cleaned_data.get("password1")
        facts = {
            "email": form.cleaned_data["email"],
            "password_hash": people.hashed(password) if password else None,
            "language": get_language() or "",
            "time_zone": request.POST.get("time_zone", "")[:64],
        }
        person = db.write(signup.register, **facts, now_us=clock.now_us())
        if password:
            record_authentication(request, person, "password", email=person.email)
        return person

    def confirm_email(self, request: HttpRequest, email_address: Any) -> bool:
        """Confirm an address, and open the account of a person who has none yet, both or neither.

        With the first address of a person ends what this browser has not shown that he signs in with; with another one
        of a person who is signed in, nothing does.
        """
        sure, who = super().confirm_email, email_address.user

        def confirm(tx: Tx) -> bool:
            first = not request.user.is_authenticated and not mailboxes.is_proved(who)
            if not mailboxes.clear(tx, email_address.email, wanted_by=who.pk):
                self.add_message(request, messages.ERROR, "account/messages/email_confirmation_failed.txt")
                return False
            if not sure(request, email_address):
                return False
            audit.record(tx, actor=f"person:{who.pk}", verb="person.confirm_email", object=who.pk)
            if first:
                first_proof.void(tx, who, shown=mailbox.shown(request, who), actor=f"person:{who.pk}")
            mailbox.open_account(tx, request, who.pk)
            return True

        return db.write(confirm)

    def set_password(self, user: Any, password: str) -> None:
        """Another password; every other session of this person ends."""
        made = people.hashed(password)
        keep = self.request.session.session_key or "" if self.request.user.is_authenticated else ""

        def change(tx: Tx) -> None:
            actor = f"person:{user.pk}"
            people.set_password(tx, user.pk, password_hash=made, actor=actor)
            sessions.end_others(tx, user.pk, keep=keep, actor=actor)

        db.write(change)
        user.password = made

    # what is said

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Our own words, or those of `error_messages`; nothing where silence says enough."""
        del message_context
        words = message or _SAID.get(message_template or "")
        if words:
            tag = "bad" if level >= messages.ERROR else "good"
            messages.add_message(request, level, words, extra_tags=extra_tags or tag)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Put a mail into the outbox; its links are of the shop's own address, whatever the request says."""
        facts = {**context, "email": email, "origin": options.current().origin, "request": self.request}
        facts["prefix"] = self.request.META.get("SCRIPT_NAME", "")
        subject = " ".join(render_to_string(f"{template_prefix}_subject.txt", facts, self.request).split())
        text = render_to_string(f"{template_prefix}_message.txt", facts, self.request).strip() + "\n"
        db.write_or_join(outbox.mail, to=email, subject=subject, text=text)

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Tell a person what was changed; with another second factor their other sessions end."""
        if template_prefix.startswith(_NEW_FACTORS):
            keep = self.request.session.session_key or ""
            db.write_or_join(sessions.end_others, user.pk, keep=keep, actor=f"person:{user.pk}")
        self.send_mail(
            template_prefix, email or user.email, {"ip": self.request.META.get("REMOTE_ADDR", ""), **(context or {})}
        )


class Second(sealed_factors.FactorsAdapter):
    """What second factors are called."""

    error_messages = sealed_factors.FactorsAdapter.error_messages | {
        "incorrect_code": _("The code is wrong or was already used."),
        "unverified_email": _("Confirm your e-mail address first."),
        "passkey_refused": _("This passkey was not accepted. Please try again, or sign in another way."),
        "cannot_delete_authenticator": _("This second factor can't be removed."),
        "cannot_generate_recovery_codes": _("Add an authenticator app or a passkey first."),
    }

    def get_totp_issuer(self) -> str:
        """The shop's name."""
        return str(options.current().shop_name)

    def generate_authenticator_name(self, user: Any, type: Any) -> str:  # noqa: A002 - allauth's name
        """What a new passkey is called until he says so."""
        del user, type
        return str(_("Passkey"))

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Passkeys belong to the shop's own host, whatever the request says."""
        chosen = options.current()
        return {"id": urlsplit(chosen.origin).hostname or "", "name": str(chosen.shop_name)}


def _typed_password(request: HttpRequest, user: Any) -> bool:
    """Whether it was in this session that this person typed their password."""
    return any(each.get("method") == "password" for each in get_authentication_records(request, user))


__all__ = ["Door", "Second"]
