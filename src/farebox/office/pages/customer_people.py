"""From the account's page: inviting its owner, and making a key for a customer who can't; both in the trail."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.accounts import customers
from farebox.accounts.keys import keys
from farebox.accounts.keys.key_terms import KeyTerms
from farebox.accounts.team import invitations
from farebox.kit import clock, db, options
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import kept, owners
from farebox.office import letters, refusals
from farebox.office.principal import Operator, operator, step_up

from .customers import find
from .forms import done

_both = require_http_methods(["GET", "HEAD", "POST"])


class Owner(forms.Form):
    """Whom to invite as an owner."""

    email = forms.EmailField(label=gettext_lazy("E-mail address"), max_length=254)
    name = forms.CharField(label=pgettext_lazy("person", "Name"), max_length=100, required=False)


class Key(forms.Form):
    """A key's name and project."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    project = forms.ChoiceField(label=gettext_lazy("Project"), widget=forms.Select(attrs={"translate": "no"}))

    def __init__(self, *args: Any, projects: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].choices = projects  # type: ignore[attr-defined]


@_both
@operator("admin")
@step_up
def invite(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Send a person the link by which he becomes an owner of the account."""
    found = find(account)
    form = Owner(request.POST or None)
    if request.method == "POST" and form.is_valid():
        guest = invitations.Guest(form.cleaned_data["email"], form.cleaned_data["name"])
        try:
            sent = db.write(_invite, account, guest, now_us=clock.now_us(), actor=me.actor)
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            if sent.invited:
                words = _("Invitation sent to %(email)s.") % {"email": guest.email}
                return done(request, reverse("office:customer", args=[account]), words)
            form.add_error("email", _("This person is already a member or invited."))
    return render(request, "office/customer_invite.html", {"account": found, "form": form})


def _invite(tx: Tx, account: str, guest: invitations.Guest, *, now_us: int, actor: str) -> invitations.Sent:
    """The invitation, and word of it to the owners that the account has."""
    terms = invitations.InvitationTerms(role="owner")
    sent = invitations.invite(tx, account, [guest], terms, letters.owner, now_us=now_us, actor=actor)
    for row in sent.invited:
        owners.invited(tx, row, actor=actor)
    return sent


@_both
@operator("admin")
@step_up
def key(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Make a key of the account; its text is shown on a page of its own, for ten minutes."""
    found = find(account)
    projects = [
        (each["id"], each["name"]) for each in db.read(customers.projects_of, account) if each["state"] == "active"
    ]
    form = Key(request.POST or None, projects=projects)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made, text = db.write(
                keys.issue,
                KeyTerms(name=given["name"]),
                project=given["project"],
                now_us=clock.now_us(),
                actor=me.actor,
            )
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            kept.put(request, f"key {made.id}", text)
            return HttpResponseRedirect(reverse("office:customer_key_made", args=[account, made.id]))
    return render(request, "office/customer_key.html", {"account": found, "form": form})


@_both
@operator("admin")
def key_made(request: HttpRequest, me: Operator, account: str, key: str) -> HttpResponse:  # noqa: ARG001 - the session knows whose it is
    """The text of a key that this administrator made just now, until it was closed; then the account's page."""
    found, named = find(account), db.read(customers.key, account, key)
    if named is None:
        raise Http404
    text = kept.get(request, f"key {key}")
    if not text or request.method == "POST":
        kept.drop(request, f"key {key}")
        return HttpResponseRedirect(reverse("office:customer", args=[account]))
    context = {"account": found, "key": named, "text": text, "base_url": options.current().origin + "/v1"}
    return render(request, "office/customer_key_made.html", context)
