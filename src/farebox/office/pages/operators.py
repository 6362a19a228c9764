"""Who works here: the list, and changes of it by administrators, which a second one approves (security 1)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.accounts.sign_in import operators
from farebox.kit import clock, db, options
from farebox.kit.errors import CommandError
from farebox.office import letters, refusals, retyped
from farebox.office.principal import Operator, operator, step_up

from .forms import done, refused, single_person

ROLES = {
    "support": gettext_lazy("Support"),
    "finance": gettext_lazy("Finance"),
    "admin": gettext_lazy("Administrator"),
    "auditor": gettext_lazy("Auditor"),
}
ABOUT = {
    "support": gettext_lazy("views customers and their calls, freezes accounts, proposes credit"),
    "finance": gettext_lazy("views costs, proposes adjustments and approves those of others"),
    "admin": gettext_lazy("manages upstreams, prices, operators and settings; can't approve adjustments"),
    "auditor": gettext_lazy("read-only access to everything"),
}
_both = require_http_methods(["GET", "HEAD", "POST"])


class NewOperatorForm(forms.Form):
    """A new operator."""

    email = forms.EmailField(label=gettext_lazy("E-mail address"), max_length=254)
    name = forms.CharField(label=pgettext_lazy("person", "Name"), max_length=100, required=False)
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=list(ROLES.items()))
    why = forms.CharField(label=gettext_lazy("Reason"), max_length=200, required=False)


class RoleForm(forms.Form):
    """Another role, or none any more."""

    role = forms.ChoiceField(label=gettext_lazy("Role"), required=False)
    why = forms.CharField(label=gettext_lazy("Reason"), max_length=200)

    def __init__(self, *args: Any, now: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = [(role, words) for role, words in ROLES.items() if role != now]
        self.fields["role"].choices = [*others, ("", _("none"))]  # type: ignore[attr-defined]


class Reset(forms.Form):
    """Why somebody needs a new password and second factor."""

    why = forms.CharField(label=gettext_lazy("Reason"), max_length=200)


@require_http_methods(["GET", "HEAD"])
@operator("admin", "auditor")
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """The operators, and the changes that wait."""
    return render(
        request,
        "office/operators.html",
        {
            "operators": [row | {"role": ROLES[row["operator_role"]]} for row in db.read(operators.listed)],
            "waiting": [_shown(row) for row in db.read(operators.waiting, now_us=clock.now_us())],
            "invited": [
                row | {"role": ROLES[row["role"]]} for row in db.read(operators.invited, now_us=clock.now_us())
            ],
            "may": me.role == "admin",
            "alone": single_person(),
            "roles": [(ROLES[role], about) for role, about in ABOUT.items()],
        },
    )


@_both
@operator("admin")
@step_up
def new(request: HttpRequest, me: Operator) -> HttpResponse:
    """Propose a new operator; alone, he is sent his link at once. The role is his when he has entered its code."""
    form = NewOperatorForm(request.POST or None, initial={"role": "support"} | retyped.again(request))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        return _proposed(request, me, form, "office/operator_new.html", {}, kind="role", **given)
    return render(request, "office/operator_new.html", {"form": form, "alone": single_person()})


@_both
@operator("admin")
@step_up
def one(request: HttpRequest, me: Operator, person: str) -> HttpResponse:
    """Another role for an operator, or a fresh start with password and second factors."""
    found = db.read(operators.find, person)
    if found is None:
        raise Http404
    resets = request.POST.get("do") == "reset"
    change = RoleForm(
        None if resets else request.POST or None, now=found.operator_role, initial={"role": found.operator_role}
    )
    reset = Reset(request.POST if resets else None, prefix="reset")
    here = {
        "operator": found,
        "role": ROLES[found.operator_role],
        "change": change,
        "reset": reset,
        "alone": single_person(),
        "myself": found.pk == me.person,
    }
    form = reset if resets else change
    if request.method == "POST" and form.is_valid():
        kind = "reset" if resets else "role"
        facts = {"kind": kind, "email": found.email, "name": found.name, **form.cleaned_data}
        return _proposed(request, me, form, "office/operator.html", here, **facts)
    return render(request, "office/operator.html", here)


@_both
@operator("admin")
@step_up
def decide(request: HttpRequest, me: Operator, change: str) -> HttpResponse:
    """Approve what another administrator proposed, or refuse it; take a role back that nobody has taken yet."""
    found = db.read(operators.waiting_one, change, now_us=clock.now_us())
    if found is None:
        return _invited(request, me, change)
    if request.method != "POST":
        own = found["requester"] == me.actor
        return render(request, "office/operator_change.html", {"change": _shown(found), "own": own})
    to = reverse("office:operators")
    try:
        if request.POST.get("do") != "approve":
            db.write(operators.refuse, change, now_us=clock.now_us(), actor=me.actor)
            return done(request, to, _("Change refused."))
        row, code_made = db.write(operators.approve, change, send=letters.way_in, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        return refused(request, to, refusals.said(fault))
    return _after(request, row.email, code_made=code_made)


def _invited(request: HttpRequest, me: Operator, change: str) -> HttpResponse:
    """A role that waits for the code of its mailbox; one administrator alone may take it back."""
    found = db.read(operators.invited_one, change, now_us=clock.now_us())
    if found is None:
        raise Http404
    if request.method != "POST":
        return render(request, "office/operator_invited.html", {"invited": found | {"role": ROLES[found["role"]]}})
    if request.POST.get("do") != "withdraw":  # approved by somebody else in the meantime
        raise Http404
    to = reverse("office:operators")
    try:
        db.write(operators.withdraw, change, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        return refused(request, to, refusals.said(fault))
    return done(request, to, _("Role withdrawn. The link sent to %(email)s no longer works.") % found)


def _proposed(
    request: HttpRequest, me: Operator, form: forms.Form, template: str, here: dict[str, Any], **facts: Any
) -> HttpResponse:
    try:
        row, code_made = db.write(
            operators.propose, send=letters.way_in, now_us=clock.now_us(), actor=me.actor, **facts
        )
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return render(request, template, {"form": form, "alone": single_person()} | here)
    if row.state == "proposed":
        words = _("Submitted for approval. Another administrator must approve it within 72 hours.")
        return done(request, reverse("office:operators"), words)
    return _after(request, row.email, code_made=code_made)


def _after(request: HttpRequest, email: str, *, code_made: bool) -> HttpResponse:
    """The change is made; where it made a code, that has gone to the operator alone."""
    words = _("Change applied.")
    if code_made:
        words = _("Change applied. A link was sent to %(email)s; it works once, within 72 hours.") % {"email": email}
        if not options.current().mail_url:
            words += " " + _("No mail server is configured: the message is a file in the mail folder on the server.")
    return done(request, reverse("office:operators"), words)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A change with its roles in words."""
    none = _("none")
    return row | {
        "before": ROLES.get(row["role_before"], none),
        "after": ROLES.get(row["role_after"], none),
    }
