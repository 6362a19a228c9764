"""An operator's own page: name, language, clock, password, second factors, sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from farebox.accounts.models import Person
from farebox.accounts.people import people
from farebox.accounts.sign_in import operator_factors, operators, sessions
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.look import kept, shop
from farebox.office import refusals
from farebox.office.principal import Operator, operator, step_up

from .entering import CODES, add_factor, enrolling, keep_codes, to_page
from .forms import done, refused
from .sign import Code, NewPassword

_both = require_http_methods(["GET", "HEAD", "POST"])


class About(forms.Form):
    """How a person is called, reads, and tells the time."""

    name = forms.CharField(label=pgettext_lazy("person", "Name"), max_length=100, required=False)
    language = forms.ChoiceField(
        label=gettext_lazy("E-mail language"),
        required=False,
        choices=[("", gettext_lazy("Browser default")), ("en", "English"), ("zh-hans", "简体中文")],
    )
    time_zone = forms.CharField(
        label=gettext_lazy("Time zone"),
        max_length=64,
        help_text=gettext_lazy("Such as UTC or Asia/Shanghai."),
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "none"}),
    )


@_both
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """What the operator may see and change of himself."""
    person = Person.objects.get(pk=me.person)
    now = {"name": person.name, "language": person.language, "time_zone": person.time_zone}
    form = About(request.POST or None, initial=now)
    if request.method == "POST" and form.is_valid():
        try:
            db.write(operators.change_profile, me.person, actor=me.actor, **form.cleaned_data)
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            return done(request, reverse("office:profile"), _("Profile updated."))
    here = {
        "form": form,
        "factors": operator_factors.listed(me.person),
        "codes_left": operator_factors.recovery_left(me.person),
        "sessions": [
            row | {"here": row["id"] == sessions.digest(request.session.session_key or "")}
            for row in sessions.list_sessions(me.person, area="office", now_us=clock.now_us())
        ],
    }
    return render(request, "office/profile.html", here)


@_both
@operator()
@step_up
def password(request: HttpRequest, me: Operator) -> HttpResponse:
    """Another password; all other sessions end."""
    form = NewPassword(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            hashed = people.hashed(form.cleaned_data["password"], own_words=(me.email, me.name, *shop.names()))
            person = db.write(people.set_password, me.person, password_hash=hashed, actor=me.actor)
        except CommandError as fault:
            form.add_error("password", refusals.said(fault))
        else:
            _alone(request, me)
            update_session_auth_hash(request, person)
            return done(request, reverse("office:profile"), _("Password changed. All other sessions have ended."))
    return render(request, "office/password.html", {"form": form})


@_both
@operator()
@step_up
def add(request: HttpRequest, me: Operator) -> HttpResponse:
    """A further second factor; an authenticator takes the place of the earlier one."""
    person = Person.objects.get(pk=me.person)
    form, fault, secret = Code(request.POST if "code" in request.POST else None), "", operator_factors.totp_secret()
    if request.method == "POST":
        how, fault = add_factor(request, person, secret)
        if how:
            _alone(request, me)
            return done(request, reverse("office:profile"), _("Second factor added. Other sessions have ended."))
        if form.is_bound and form.is_valid():
            form.add_error("code", fault)
    return render(request, "office/factor.html", enrolling(person, secret) | {"form": form, "fault": fault})


@_both
@operator()
@step_up
def factor(request: HttpRequest, me: Operator, number: int) -> HttpResponse:
    """Take a second factor away, after asking."""
    person = Person.objects.get(pk=me.person)
    found = next((each for each in operator_factors.listed(me.person) if each["id"] == number), None)
    if found is None:
        raise Http404
    if request.method != "POST":
        return render(request, "office/factor_remove.html", {"factor": found})
    to = reverse("office:profile")
    try:
        db.write(operator_factors.remove, person, number, actor=me.actor)
    except CommandError as fault:
        return refused(request, to, refusals.said(fault))
    _alone(request, me)
    return done(request, to, _("Second factor removed. Other sessions have ended."))


@_both
@operator()
@step_up
def recovery(request: HttpRequest, me: Operator) -> HttpResponse:
    """Ten new recovery codes; the page that shows them has an address of its own."""
    if request.method != "POST":
        return render(request, "office/recovery_new.html", {"left": operator_factors.recovery_left(me.person)})
    keep_codes(request, Person.objects.get(pk=me.person))
    return HttpResponseRedirect(f"{reverse('office:recovery_made')}?next={reverse('office:profile')}")


@_both
@operator()
def recovery_made(request: HttpRequest, me: Operator) -> HttpResponse:
    """Recovery codes that were made just now, for ten minutes or until they were closed; then on."""
    codes = kept.get(request, CODES)
    if not codes or request.method == "POST":
        kept.drop(request, CODES)
        return HttpResponseRedirect(to_page(request))
    return render(request, "office/recovery.html", {"codes": "\n".join(codes), "email": me.email})


@require_POST
@operator()
def end_session(request: HttpRequest, me: Operator, session: str) -> HttpResponse:
    """End one of one's own sessions; `others` ends all but this one."""
    end: Callable[..., Any] = sessions.end
    if session == "others":
        _alone(request, me)
    elif not db.write(end, me.person, session=session, actor=me.actor):
        raise Http404
    return done(request, reverse("office:profile"), _("Session ended."))


def _alone(request: HttpRequest, me: Operator) -> None:
    db.write(sessions.end_others, me.person, keep=request.session.session_key or "", actor=me.actor)
