"""Signing in by another service (GitHub, an OpenID Connect issuer, WeChat), where the options name one.

A person is known by issuer and subject, never by an address that a service tells: what it tells must be confirmed with
a mailed code like any other, and never leads into somebody's account (security 2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLResolver, reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from farebox.accounts.sign_in import signup
from farebox.kit import clock, db, options

from . import sign_forms

_LOGIN = {"github": "github_login", "weixin": "weixin_login"}


@dataclass(frozen=True, slots=True)
class Service:
    """A configured service: the key under which its persons are kept, its name, where signing in begins."""

    id: str
    name: str
    url: str


def begun_here(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Signing in by a service begins on a page of ours, never by a link of another site.

    Else a stranger could have a visitor signed in as somebody else, or tie their own person of the service to the
    visitor's account. Connecting needs a browser that says where it comes from.
    """

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        site = request.headers.get("sec-fetch-site", "")
        connects = request.GET.get("process", "login") != "login"
        if request.method == "GET" and site != "same-origin" and (connects or site not in {"", "none"}):
            signed_in = request.user.is_authenticated
            return HttpResponseRedirect(reverse("socialaccount_connections" if signed_in else "account_login"))
        return view(request, *args, **kwargs)

    checked.begins_here = True  # type: ignore[attr-defined]
    return checked


def begin_here(patterns: list[Any]) -> list[Any]:
    """The addresses of a service, with `begun_here` around those where signing in begins."""
    for each in patterns:
        if isinstance(each, URLResolver):
            begin_here(each.url_patterns)
        elif (each.name or "").endswith("_login") and not hasattr(each.callback, "begins_here"):
            each.callback = begun_here(each.callback)
    return patterns


def configured() -> list[Service]:
    """The services that visitors may use."""
    found = []
    for provider, facts in settings.SOCIALACCOUNT_PROVIDERS.items():
        for app in facts["APPS"]:
            key = app.get("provider_id", provider)
            url = reverse(_LOGIN[provider]) if provider in _LOGIN else reverse("openid_connect_login", args=[key])
            found.append(Service(key, app["name"], url))
    return found


class ServicesAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """What allauth asks of other services."""

    error_messages = DefaultSocialAccountAdapter.error_messages | {
        "no_password": _("Set a password first; otherwise you could no longer sign in."),
        "connected_other": _("This is already connected to another person."),
        "email_taken": _("This address can't be used."),
    }

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Whether nobody need be asked; the same limit as for other sign-ups, where no form will look at it.

        Known addresses count as well: whether there is a person, nobody learns by the limit.
        """
        if sociallogin.email_addresses:
            try:
                sign_forms.within_limit(options.current().sign_ups_per_h)
            except ValidationError as fault:
                messages.error(request, fault.messages[0], extra_tags="bad")
                raise ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login"))) from None
        return bool(super().is_auto_signup_allowed(request, sociallogin))

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        """A new person without a password; his address counts once he has confirmed it."""
        email = form.cleaned_data["email"] if form else sociallogin.user.email
        person = db.write(
            signup.register, email=email, password_hash=None, language=get_language() or "", now_us=clock.now_us()
        )
        sociallogin.user = person
        sociallogin.email_addresses = [EmailAddress(email=person.email, verified=False, primary=True)]
        return super().save_user(request, sociallogin)

    def get_requests_session(self) -> Any:
        """No proxy of the environment, no redirects."""
        session = super().get_requests_session()
        session.trust_env, session.max_redirects = False, 0
        return session

    def validate_disconnect(self, account: Any, accounts: Any) -> None:
        """Refused for the last way in."""
        del accounts
        others = SocialAccount.objects.filter(user=account.user).exclude(pk=account.pk)
        if not account.user.has_usable_password() and not others.exists():
            raise self.validation_error("no_password")
