"""One person in the office: the sessions, and the ways to end them all, or everything, in one step (security 1)."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from farebox.accounts.sign_in import switching
from farebox.kit import clock, db
from farebox.office.principal import Operator, operator, step_up

from .forms import carry_out, text


@require_safe
@operator("support", "admin", "auditor")
def page(request: HttpRequest, me: Operator, person: str) -> HttpResponse:
    """A person with the sessions that live; support sees customers alone."""
    found = find(me, person)
    context = {"found": found, "may": me.role in {"support", "admin"} and found["id"] != me.person}
    return render(request, "office/person.html", context)


@require_POST
@operator("support", "admin")
def sign_out(request: HttpRequest, me: Operator, person: str) -> HttpResponse:
    """End all sessions, or the one that is named."""
    found = find(me, person)
    said = _("Signed out.")
    return carry_out(
        request, _here(person), said, switching.sign_out, found["id"], session=text(request, "session", 64),
        now_us=clock.now_us(), actor=me.actor,
    )  # fmt: skip


@require_POST
@operator("support", "admin")
def off(request: HttpRequest, me: Operator, person: str) -> HttpResponse:
    """Switch a person off everywhere at once."""
    found = find(me, person)
    said = _("Deactivated. Sessions, links and tokens end within a second.")
    return carry_out(
        request, _here(person), said, switching.off, found["id"], keys=request.POST.get("keys") == "on",
        now_us=clock.now_us(), actor=me.actor,
    )  # fmt: skip


@require_POST
@operator("support", "admin")
@step_up
def on(request: HttpRequest, me: Operator, person: str) -> HttpResponse:
    """Let a person in again, as before."""
    found = find(me, person)
    return carry_out(request, _here(person), _("Reactivated."), switching.on, found["id"], actor=me.actor)


def find(me: Operator, person: str) -> dict[str, Any]:
    """The person of this id; 404 where there is none, or support looks for an operator."""
    found = db.read(switching.about, person, now_us=clock.now_us())
    if found is None or (me.role == "support" and found["operator_role"]):
        raise Http404
    return found


def _here(person: str) -> str:
    return reverse("office:person", args=[person])
