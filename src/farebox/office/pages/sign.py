"""Signing in to the office: password, then second factor; without one, nothing comes before enrolling it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from farebox.accounts.models import Person
from farebox.accounts.people import links, people
from farebox.accounts.sign_in import attempts, desk, operator_factors, refused, second, setup
from farebox.kit import clock, db
from farebox.kit.errors import CommandError, NotFound
from farebox.look import shop
from farebox.office import letters, refusals
from farebox.office.principal import Operator, find, operator

from .entering import (
    KNOWN,
    METHODS,
    add_factor,
    address_of,
    as_json,
    begin,
    begun,
    enrolling,
    enter,
    keep_codes,
    known,
    let_in,
    now_s,
    prove,
    to_page,
    too_many,
    with_next,
)

_both = require_http_methods(["GET", "HEAD", "POST"])


class SignIn(forms.Form):
    """E-mail address and password."""

    email = forms.CharField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class Code(forms.Form):
    """A code of the authenticator, or a recovery code."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}),
    )


class NewPassword(forms.Form):
    """Another password, twice."""

    password = forms.CharField(
        label=gettext_lazy("New password"),
        max_length=256,
        strip=False,
        help_text=gettext_lazy("At least 8 characters; a sentence works well."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=gettext_lazy("Confirm password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        """Both passwords are the same."""
        found = super().clean() or {}
        if found.get("password") != found.get("again"):
            self.add_error("again", _("The passwords do not match."))
        return found


class Begin(NewPassword):
    """The first administrator, or an operator who was invited."""

    email = forms.CharField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username"}),
    )
    name = forms.CharField(label=pgettext_lazy("person", "Name"), max_length=100, required=False)
    field_order = ("email", "name", "password", "again")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].label = _("Password")


@_both
def sign_in(request: HttpRequest) -> HttpResponse:
    """The first page of the office for who is outside: e-mail address and password."""
    if find(request) is not None:
        return HttpResponseRedirect(to_page(request))
    form = SignIn(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            person = desk.by_password(
                given["email"], given["password"], address=address_of(request), known=request.COOKIES.get(KNOWN, "")
            )
        except attempts.TooMany as wait:
            form.add_error(None, too_many(wait))
        else:
            if person is not None:
                return begin(request, person)
            form.add_error(None, _("Wrong e-mail address or password."))
    return render(request, "office/sign_in.html", {"form": form})


@_both
def second_factor(request: HttpRequest) -> HttpResponse:
    """The second proof: code, passkey or recovery code."""
    person = begun(request)
    if person is None:
        return HttpResponseRedirect(with_next(request, "office:sign_in"))
    if not operator_factors.listed(person.pk):
        return HttpResponseRedirect(with_next(request, "office:enrol"))
    form = Code(request.POST if "code" in request.POST else None)
    failed = False
    try:
        how = _proved(request, person) if request.method == "POST" else ""
    except attempts.TooMany as wait:
        _say(request, form, too_many(wait))
        how = ""
    else:
        failed = request.method == "POST" and not how
    if how:
        return enter(request, person, how)
    if failed and form.is_bound and form.is_valid():
        form.add_error("code", _("The code is wrong or was already used."))
    question = operator_factors.passkey_question(person)
    here = {"form": form, "person": person, "failed": failed and not form.is_bound, "question": as_json(question)}
    return render(request, "office/second.html", here)


@_both
def enrol(request: HttpRequest) -> HttpResponse:
    """A first second factor, before anything else."""
    person = begun(request)
    if person is None:
        return HttpResponseRedirect(with_next(request, "office:sign_in"))
    if operator_factors.listed(person.pk):
        return HttpResponseRedirect(with_next(request, "office:second"))
    form, fault, how = Code(request.POST if "code" in request.POST else None), "", ""
    secret = operator_factors.totp_secret()
    if request.method == "POST":
        how, fault = add_factor(request, person, secret)
        if fault and form.is_bound and form.is_valid():
            form.add_error("code", fault)
    if how:
        let_in(request, person, how)
        keep_codes(request, person)
        return known(HttpResponseRedirect(with_next(request, "office:recovery_made")), person)
    return render(request, "office/enrol.html", enrolling(person, secret) | {"form": form, "fault": fault})


@_both
def set_up(request: HttpRequest) -> HttpResponse:
    """With the code of the server's own console: the first administrator; with another's: an invited operator."""
    code = request.GET.get("code", "")[:64]
    try:
        db.write(attempts.take_address, f"set-up {attempts.place(address_of(request))}", now_us=clock.now_us())
    except attempts.TooMany:
        return render(request, "office/set_up.html", {"form": None}, status=429)
    offered = db.read(setup.find, code, now_us=clock.now_us()) if code else None
    if offered is None:
        refused.note("link.refused", object="office:set_up", address=address_of(request))
        return render(request, "office/set_up.html", {"form": None}, status=404)
    form = Begin(
        request.POST or None, initial={"name": offered.name or (offered.person.name if offered.person else "")}
    )
    if not offered.first:
        form.fields.pop("email")
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        email = offered.email or given["email"]
        try:
            hashed = people.hashed(given["password"], own_words=(email, given["name"], *shop.names()))
            person = db.write(
                setup.use, code, email=email, name=given["name"], password_hash=hashed, now_us=clock.now_us()
            )
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            return begin(request, person)
    return render(request, "office/set_up.html", {"form": form, "offered": offered})


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """The session ends here."""
    logout(request)
    return HttpResponseRedirect(reverse("office:sign_in"))


@operator()
def step_up(request: HttpRequest, me: Operator) -> HttpResponse:
    """Password or passkey again, before what matters most."""
    person = Person.objects.get(pk=me.person)
    form = Again(request.POST if "password" in request.POST else None)
    how = ""
    if request.method == "POST":
        try:
            how = _proved_again(request, person)
            if not how and form.is_bound and form.is_valid():
                form.add_error("password", _("The password is wrong."))
        except attempts.TooMany as wait:
            _say(request, form, too_many(wait))
    if how:
        prove(request, how)
        return HttpResponseRedirect(to_page(request))
    question = operator_factors.passkey_question(person)
    here = {"form": form, "has_password": person.has_usable_password(), "question": as_json(question)}
    return render(request, "office/step_up.html", here)


class Again(forms.Form):
    """The password, once more."""

    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


@_both
def link(request: HttpRequest, code: str) -> HttpResponse:
    """A one-time link of the demo, from this machine alone: it counts as both factors. It asks first, then signs in."""
    if request.method != "POST":
        return render(request, "office/link.html")
    try:
        person = db.write(links.use, code[:64], "office", address=address_of(request), now_us=clock.now_us())
    except NotFound as absent:
        refused.note("link.refused", object="office:link", address=address_of(request))
        raise Http404 from absent
    login(request, person, backend="django.contrib.auth.backends.ModelBackend")
    request.session[METHODS] = [{"method": links.METHOD, "at": now_s()}]
    return HttpResponseRedirect(reverse("office:home"))


def _say(request: HttpRequest, form: forms.Form, fault: str) -> None:
    """Say what was wrong in the form, or above it where another one of the page was sent."""
    if form.is_bound:
        form.add_error(None, fault)
    else:
        messages.error(request, fault, extra_tags="bad")


def _proved(request: HttpRequest, person: Person) -> str:
    """Which second factor was proved, empty if none; raises attempts.TooMany. The person is told of many wrong ones."""
    given, address = request.POST, address_of(request)
    found = second.begin(person, known=request.COOKIES.get(KNOWN, ""), address=address)
    if "answer" in given:
        how = "webauthn" if db.write(operator_factors.check_passkey, person, given["answer"]) else ""
    else:
        how = db.write(operator_factors.check_code, person, given.get("code", ""))
    if how:
        second.right(found)
    elif second.wrong(person, found, address=address):
        db.write(letters.second_failed, person, address)
    return how


def _proved_again(request: HttpRequest, person: Person) -> str:
    given = request.POST
    if "answer" in given:
        return "mfa" if _proved(request, person) else ""
    return "password" if desk.again(person, given.get("password", ""), address=address_of(request)) else ""
