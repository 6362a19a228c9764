"""Joining an account by an invitation: signed in with the address that was invited, or as somebody new.

Somebody new gets no account of their own. A person who is signed in with another address can't take the place.
"""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from farebox.accounts.models import ApiKey, Invitation, Person
from farebox.accounts.people import people
from farebox.accounts.sign_in import refused
from farebox.accounts.team import invitations
from farebox.accounts.team.invitations import Joined
from farebox.console import refusals
from farebox.console.keys import key_stub
from farebox.console.limit_forms import PERIODS
from farebox.console.principal import CHOSEN, Principal, signed_in
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.look import kept, owners, shop

from .team_forms import ROLES, Join

_BACKEND = "django.contrib.auth.backends.ModelBackend"


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, code: str) -> HttpResponse:
    """What the link of an invitation opens; used, revoked, ended and unknown ones are not there."""
    row = invitations.by_code(code, now_us=clock.now_us())
    if row is None:
        refused.note("link.refused", object="join", address=str(request.META.get("REMOTE_ADDR", "")))
        raise Http404
    person = _signed_in(request, row)
    if request.method != "POST":
        return _form(request, row, code, Join(initial={"name": row.name}))
    if person is not None:
        return _take(request, row, code, person)
    if invitations.is_known(row):
        return _form(request, row, code, Join(), status=400)
    form = Join(request.POST)
    if not form.is_valid():
        return _form(request, row, code, form, status=400)
    name, password = form.cleaned_data["name"], form.cleaned_data["password"]
    try:
        hashed = people.hashed(password, own_words=(name, row.email, *shop.names()))
    except CommandError as fault:
        form.add_error("password", refusals.said(fault))
        return _form(request, row, code, form, status=400)
    try:
        facts = {"name": name, "password_hash": hashed, "language": get_language() or ""}
        made, joined = db.write(_sign_up, code, **facts, now_us=clock.now_us())
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _form(request, row, code, form, status=400)
    login(request, made, backend=_BACKEND)
    request.session["account_authentication_methods"] = [{"method": "password", "at": time.time(), "email": made.email}]
    return _joined(request, row, joined)


def _accept(tx: db.Tx, code: str, *, person: str, now_us: int) -> Joined:
    joined = invitations.accept(tx, code, person=person, now_us=now_us)
    _tell(tx, joined)
    return joined


def _sign_up(tx: db.Tx, /, code: str, **facts: Any) -> tuple[Person, Joined]:
    made, joined = invitations.sign_up(tx, code, **facts)
    _tell(tx, joined)
    return made, joined


def _tell(tx: db.Tx, joined: Joined) -> None:
    """The owners hear of one more."""
    if joined.member.role == "owner":
        owners.joined(tx, joined.member, actor=f"person:{joined.member.person_id}")


def _signed_in(request: HttpRequest, row: Invitation) -> Person | None:
    """Who is here, if he signs in with a mailbox that is proved: whom the invited one belongs to, the code shows."""
    person: Any = request.user
    if not person.is_authenticated or (person.email == row.email and not invitations.is_known(row)):
        return None
    return Person.objects.get(pk=person.pk)


def _take(request: HttpRequest, row: Invitation, code: str, person: Person) -> HttpResponse:
    if person.operator_role:
        raise Http404
    if not invitations.is_for(row, person):
        return _form(request, row, code, Join(), status=400)
    try:
        joined = db.write(_accept, code, person=person.pk, now_us=clock.now_us())
    except CommandError as fault:
        here = fault.is_("member.exists")  # without the id that the domain names
        said = _("You are already a member.") if here else refusals.said(fault)
        return _form(request, row, code, Join(), status=400, refused=said)
    return _joined(request, row, joined)


def _form(
    request: HttpRequest, row: Invitation, code: str, form: Join, *, status: int = 200, refused: str = ""
) -> HttpResponse:
    person = _signed_in(request, row)
    context = {
        "invitation": row,
        "caps": [(PERIODS[period], cap_micro) for period, cap_micro in row.caps],
        "form": form,
        "code": code,
        "role": ROLES[row.role],
        "known": invitations.is_known(row),
        "as_person": person,
        "for_another": person is not None and not invitations.is_for(row, person),
        "refused": refused,
    }
    return render(request, "console/join.html", context, status=status)


def _joined(request: HttpRequest, row: Invitation, joined: Joined) -> HttpResponse:
    """The place is taken; the page that says so has an address of its own, for the link of an invitation works once."""
    request.session[CHOSEN] = row.account_id
    if joined.plaintext:
        key = ApiKey.objects.get(id=joined.key)
        kept.put(request, f"joined {row.id}", key.id)
        key_stub.keep(request, key, joined.plaintext)
    return HttpResponseRedirect(reverse("joined", args=[row.id]))


@require_safe
@signed_in
def joined(request: HttpRequest, me: Principal, invitation: str) -> HttpResponse:
    """The place that this person took; with the key that came with it, for ten minutes."""
    mine = Invitation.objects.filter(account=me.account, member__person=me.person, state="used")
    row = mine.filter(id=invitation).first()
    if row is None:
        raise Http404
    key = ApiKey.objects.select_related("account").filter(id=kept.get(request, f"joined {row.id}") or "").first()
    text = key_stub.text(request, key) if key is not None else ""
    context: dict[str, Any] = {"invitation": row}
    if key is not None and text:
        context |= {"key": key, **key_stub.facts(key, text)}
    return render(request, "console/joined.html", context)
