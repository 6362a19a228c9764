"""An account's allowance in the office: what is left of it, another maximum, and accounts that are trusted without one.

What lets an account be forgiven more takes two people (security 1); one is enough to take it away.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from farebox.accounts import forgiving
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.office import kinds, refusals
from farebox.office.principal import Operator, ask_first, operator

from . import customers, proposals
from .forms import amount, carry_out, refused, text


@require_POST
@operator(*kinds.PROPOSES)
def trust(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Trust an account, once another administrator has approved it; or no longer, at once."""
    customers.find(account)
    if text(request, "trusted", 3) == "on":
        return _propose(request, me, account, "account.trusted", {"trusted": True})
    said = _("Account no longer trusted: its allowance applies again.")
    return carry_out(request, _here(account), said, forgiving.trust, account, trusted=False, actor=me.actor)


@require_POST
@operator(*kinds.PROPOSES)
def most(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Another maximum of the allowance, empty for the shop's; what gives the account more waits for another person."""
    customers.find(account)
    given, now_us = text(request, "most", 40), clock.now_us()
    try:
        most_micro = amount(given, _("Maximum of the allowance")) if given else None
        gives = db.read(forgiving.gives, account, most_micro, now_us=now_us)
    except CommandError as fault:
        return refused(request, _here(account), refusals.said(fault))
    if gives:
        return _propose(request, me, account, "account.allowance", {"most_micro": most_micro})
    facts = {"most_micro": most_micro, "now_us": now_us, "actor": me.actor}
    said = _("Allowance maximum saved.")
    return carry_out(request, _here(account), said, forgiving.set_most, account, **facts)


def _propose(request: HttpRequest, me: Operator, account: str, kind: str, after: dict[str, Any]) -> HttpResponse:
    here = _here(account)
    if way := ask_first(request, here):
        return way
    facts: dict[str, Any] = {"role": me.role, "actor": me.actor, "now_us": clock.now_us()}
    try:
        row = db.write(kinds.change, kind, account, after, **facts)
    except CommandError as fault:
        return refused(request, here, refusals.said(fault))
    return proposals.after(request, row, here, _("Allowance maximum saved."))


def _here(account: str) -> str:
    return reverse("office:customer", args=[account])
