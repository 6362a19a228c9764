"""Signing up, and in by a one-time link; the account of who has none. The rest of the door is allauth's."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.account.views import SignupView
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from farebox.accounts.people import links
from farebox.accounts.sign_in import refused, signup
from farebox.accounts.team import teams
from farebox.console import principal
from farebox.kit import clock, db, options
from farebox.kit.errors import CommandError, NotFound

from . import puzzle

BACKEND = "django.contrib.auth.backends.ModelBackend"


class SignUpPage(SignupView):  # type: ignore[misc]  # allauth has no types
    """allauth's, with the puzzle where the shop asks for it."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the page shows."""
        facts: dict[str, Any] = super().get_context_data(**kwargs)
        facts["puzzle"] = puzzle.make() if options.current().sign_up_captcha else None
        return facts


sign_up = SignUpPage.as_view()


@require_http_methods(["GET", "POST"])
def link(request: HttpRequest, code: str) -> HttpResponse:
    """Sign in by a one-time link of the demo; opening it shows a button, for nothing changes by looking."""
    if request.method == "GET":
        return render(request, "console/link.html", {"code": code})
    address = str(request.META.get("REMOTE_ADDR", ""))
    try:
        person = db.write(links.use, code, "console", address=address, now_us=clock.now_us())
    except NotFound:
        refused.note("link.refused", object="link", address=address)
        raise Http404 from None
    login(request, person, backend=BACKEND)
    record_authentication(request, person, links.METHOD)
    return HttpResponseRedirect(reverse("home"))


@login_required
@require_http_methods(["GET", "POST"])
def open_account(request: HttpRequest) -> HttpResponse:
    """Where who has no place in an account learns what he can do, and may open one of his own.

    His last account was closed, he was removed from it, or the shop sold nothing when he signed up.
    """
    user: Any = request.user
    if user.operator_role or not user.emailaddress_set.filter(verified=True).exists():
        raise Http404
    if principal.find(request) is not None:
        return HttpResponseRedirect(reverse("home"))
    if request.method == "POST":
        address = str(request.META.get("REMOTE_ADDR", ""))
        try:
            db.write(signup.open_account, user.pk, address=address, now_us=clock.now_us())
        except CommandError:
            messages.error(request, _("Nothing is on sale here yet. Please come back later."), extra_tags="bad")
        return HttpResponseRedirect(reverse("home"))
    return render(request, "console/open_account.html", {"lost": teams.lost_places(user.pk)})
