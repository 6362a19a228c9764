"""Tokens of the management API in the office: make one (shown once), see them, revoke them."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts.sign_in import tokens
from farebox.kit import clock, db, options
from farebox.kit.errors import CommandError
from farebox.look import kept
from farebox.office import refusals
from farebox.office.principal import Operator, operator, step_up

from . import words
from .forms import carry_out, count, text


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """One's own tokens; administrators and auditors see everybody's."""
    rows = db.read(tokens.listed, person=_whose(me), now_us=clock.now_us())
    context = {
        "rows": [
            row
            | {
                "said": words.said(words.STATES, row["state"]),
                "role_said": words.said(words.ROLES, row["role"]),
                "badge": words.BADGES.get(row["state"], ""),
                "may_revoke": row["state"] == "active" and (me.role == "admin" or row["person"] == me.person),
            }
            for row in rows
        ],
        "base_url": options.current().origin + reverse("office:api"),
    }
    return render(request, "office/tokens.html", context)


@require_http_methods(["GET", "POST"])
@operator()
@step_up
def new(request: HttpRequest, me: Operator) -> HttpResponse:
    """Make a token for one's scripts; the page with its text has an address of its own."""
    values = {name: text(request, name, 2000) for name in ("name", "role", "addresses", "days")}
    error = ""
    if request.method == "POST":
        try:
            row, plaintext = db.write(
                tokens.make,
                person=me.person,
                name=values["name"],
                role=values["role"],
                addresses=values["addresses"].replace(",", " ").split(),
                days=count(values["days"] or "90", _("Days")),
                now_us=clock.now_us(),
                actor=me.actor,
            )
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            kept.put(request, f"token {row.id}", plaintext)
            return HttpResponseRedirect(reverse("office:token_made", args=[row.id]))
    roles = tokens.roles(me.role)
    context = {
        "values": values,
        "error": error,
        "roles": [(each, words.said(words.ROLES, each), each == values["role"]) for each in roles],
    }
    return render(request, "office/token_new.html", context, status=400 if error else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@operator()
def made(request: HttpRequest, me: Operator, token: str) -> HttpResponse:
    """The text of a token that was made just now, for ten minutes or until it was closed; then the list."""
    rows = db.read(tokens.listed, person=me.person, now_us=clock.now_us())
    row = next((each for each in rows if each["id"] == token), None)
    if row is None:
        raise Http404
    plaintext = kept.get(request, f"token {token}")
    if not plaintext or request.method == "POST":
        kept.drop(request, f"token {token}")
        return HttpResponseRedirect(reverse("office:tokens"))
    context = {"row": row, "plaintext": plaintext, "base_url": options.current().origin + reverse("office:api")}
    return render(request, "office/token_made.html", context)


@require_POST
@operator()
def revoke(request: HttpRequest, me: Operator, token: str) -> HttpResponse:
    """Switch a token off: one's own, or anybody's as an administrator."""
    person = None if me.role == "admin" else me.person
    if not any(row["id"] == token for row in db.read(tokens.listed, person=person, now_us=clock.now_us())):
        raise Http404
    return carry_out(
        request,
        reverse("office:tokens"),
        _("Token revoked."),
        tokens.revoke,
        token,
        person=person,
        now_us=clock.now_us(),
        actor=me.actor,
    )


def _whose(me: Operator) -> str | None:
    return None if me.role in {"admin", "auditor"} else me.person
