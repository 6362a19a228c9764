"""Settings: who I am, how I prove it, what I am told, where I am signed in, my data, and the end of the account."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import accounts
from farebox.accounts.models import Person
from farebox.accounts.people import notices, people
from farebox.accounts.sign_in import sessions
from farebox.console import refusals
from farebox.console.principal import Principal, needs, signed_in
from farebox.console.sign_in import services
from farebox.console.step_up import ask, step_up
from farebox.kit import clock, db, money
from farebox.kit.errors import CommandError
from farebox.ledger import holds
from farebox.look import kept
from farebox.look.agents import browser
from farebox.look.middleware import CHINESE, ENGLISH, LANGUAGE_COOKIE
from farebox.look.views import KEPT

from .profile_forms import Closing, Myself, Notices

_WEBHOOK = "webhook secret"
_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Everything at a glance."""
    return _page(request, me)


def _page(
    request: HttpRequest,
    me: Principal,
    *,
    myself: Myself | None = None,
    notes: Notices | None = None,
    status: int = 200,
) -> HttpResponse:
    user: Any = request.user
    request.page_of_form = reverse("settings")  # type: ignore[attr-defined]
    wanted = db.read(notices.read, person=me.person, account=me.account)
    facts = {"name": user.name, "language": user.language, "time_zone": user.time_zone}
    here = sessions.digest(request.session.session_key or "")
    rows = sessions.list_sessions(me.person, area="console", now_us=clock.now_us())
    context = {
        "myself": myself or Myself(initial=facts),
        "notices": notes or Notices(initial=_initial(wanted), owner=me.role == "owner"),
        "webhook": wanted.webhook_url,
        "secret": kept.get(request, _WEBHOOK) if "secret" in request.GET else "",
        "sessions": [row | {"here": row["id"] == here, "name": browser(row["agent"])} for row in rows],
        "factors": Authenticator.objects.filter(user=me.person, type__in=_FACTORS).count(),
        "services": services.configured(),
        "has_password": user.has_usable_password(),
    }
    return render(request, "console/settings.html", context, status=status)


@require_POST
@signed_in
def save_person(request: HttpRequest, me: Principal) -> HttpResponse:
    """Name, language, time zone; the page continues in the new language."""
    form = Myself(request.POST)
    if not form.is_valid():
        return _page(request, me, myself=form, status=400)
    given = form.cleaned_data
    try:
        db.write(people.set_profile, me.person, **given, actor=me.actor)
    except CommandError as fault:
        form.add_error("name", refusals.said(fault))
        return _page(request, me, myself=form, status=400)
    messages.success(request, _("Saved."), extra_tags="good")
    response = HttpResponseRedirect(reverse("settings"))
    if given["language"] in {ENGLISH, CHINESE}:
        path = reverse("settings").removeprefix(request.META.get("SCRIPT_NAME", ""))
        response = HttpResponseRedirect(("/zh" if given["language"] == CHINESE else "") + path)
        response.set_cookie(LANGUAGE_COOKIE, given["language"], **KEPT)
    return response


@require_POST
@signed_in
def save_notices(request: HttpRequest, me: Principal) -> HttpResponse:
    """What to be told; a new webhook's secret stands on the page of the settings for ten minutes."""
    form = Notices(request.POST, owner=me.role == "owner")
    if not form.is_valid():
        return _page(request, me, notes=form, status=400)
    known = db.read(notices.read, person=me.person, account=me.account)
    if form.wishes().webhook_url not in {"", known.webhook_url}:
        ask(request)  # what is told of the account would go to another place
    try:
        secret = db.write(notices.put, person=me.person, account=me.account, wanted=form.wishes(), actor=me.actor)
    except CommandError as fault:
        if fault.is_("notice.owners"):  # no owner any more since the form was read
            raise Http404 from None
        form.add_error("webhook_url", refusals.said(fault))
        return _page(request, me, notes=form, status=400)
    if secret:
        kept.put(request, _WEBHOOK, secret)
        return HttpResponseRedirect(reverse("settings") + "?secret=1#notices")
    messages.success(request, _("Saved."), extra_tags="good")
    return HttpResponseRedirect(reverse("settings") + "#notices")


@require_POST
@signed_in
def end_session(request: HttpRequest, me: Principal, session: str) -> HttpResponse:
    """End one of my sessions."""
    if not db.write(sessions.end, me.person, session=session, actor=me.actor):
        raise Http404
    messages.success(request, _("Session ended."), extra_tags="good")
    return HttpResponseRedirect(reverse("settings") + "#sessions")


@require_POST
@signed_in
def end_sessions(request: HttpRequest, me: Principal) -> HttpResponse:
    """End all of my sessions but this one."""
    db.write(sessions.end_others, me.person, keep=request.session.session_key or "", actor=me.actor)
    messages.success(request, _("All other sessions have ended."), extra_tags="good")
    return HttpResponseRedirect(reverse("settings") + "#sessions")


@require_http_methods(["GET", "POST"])
@needs("owner")
@step_up
def close(request: HttpRequest, me: Principal) -> HttpResponse:
    """Close the account permanently, after its name was typed."""
    form = Closing(request.POST if request.method == "POST" else None, wanted=me.account_name)
    posted_micro, held_micro, available_micro = db.read(holds.balance, me.account)
    if request.method == "POST" and not held_micro and form.is_valid():
        db.write(accounts.close, me.account, leave_money=True, now_us=clock.now_us(), actor=me.actor)
        messages.success(request, _("Account closed. Its keys no longer work."), extra_tags="good")
        if not Person.objects.filter(id=me.person, member__state="active", member__account__state="active").exists():
            logout(request)
            return HttpResponseRedirect(reverse("landing"))
        return HttpResponseRedirect(reverse("home"))
    context = {
        "form": form,
        "posted_micro": posted_micro,
        "held_micro": held_micro,
        "available_micro": available_micro,
    }
    return render(request, "console/close.html", context, status=400 if request.method == "POST" else 200)


def _initial(wanted: notices.Wishes) -> dict[str, Any]:
    low = "" if wanted.low_micro is None else money.text(wanted.low_micro)
    return {
        "low": low,
        "low_days": wanted.low_days,
        "expiry": wanted.expiry,
        "prices": wanted.prices,
        "keys": wanted.keys,
        "by_mail": wanted.by_mail,
        "webhook_url": wanted.webhook_url,
    }
