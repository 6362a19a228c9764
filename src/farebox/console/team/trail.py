"""The changes of an account: who did what, as its owner and the admins of its projects read it in the audit trail."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.accounts import customers
from farebox.accounts.team import teams, trail
from farebox.console.principal import Principal, needs
from farebox.kit import db
from farebox.kit.audit import TrailEvent
from farebox.look import called

from . import trail_words
from .trail_words import Viewer

PAGE = 50
_ID = re.compile(r"\b(?:acc|prj|mem|key|inv)_[0-9A-Za-z]{25}\b")
_EVENT = re.compile(r"aud_[0-9A-Za-z]{25}")
_BY_ITSELF = ("system", "sign-up", "gateway")


@require_safe
@needs("admin")
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Events, newest first: an owner's are those of the account, an admin's those of their projects."""
    within = teams.reach(me.account, me.person, owner=me.role == "owner")
    before = request.GET.get("before", "")
    if not _EVENT.fullmatch(before):
        before = ""
    events = db.read(trail.read, within, verbs=trail_words.VERBS, before=before, limit=PAGE + 1)
    shown = events[:PAGE]
    ids = {ident for each in shown for text in (each.object, each.before, each.after) for ident in _ID.findall(text)}
    reader = Viewer(db.read(trail.names, within, ids), me.currency, me.time_zone)
    # Of their own people alone: who acts for the shop stays unnamed.
    emails = db.read(customers.names, [each.actor for each in shown if each.actor.startswith("person:")])
    context = {
        "rows": [_row(each, reader, emails) for each in shown],
        "older": f"?{urlencode({'before': shown[-1].id})}" if len(events) > PAGE else "",
        "first_page": not before,
        "whole": within.whole,
        "zone": me.time_zone,
    }
    return render(request, "console/trail.html", context)


def _row(event: TrailEvent, reader: Viewer, emails: dict[str, str]) -> dict[str, Any]:
    return {
        "at_us": event.at_us,
        "who": _who(event.actor, emails),
        "what": trail_words.VERBS[event.verb],
        "object": called.named(reader.names.get(event.object, event.object)),
        "facts": trail_words.facts(event, reader),
    }


def _who(actor: str, emails: dict[str, str]) -> str:
    """The address of a person of the customer's; an operator has no name here."""
    deed = actor.partition(" ")[0]
    if deed.startswith("person:"):
        return emails.get(deed.removeprefix("person:"), _("former user"))
    if deed in _BY_ITSELF or deed.startswith("invitation:"):
        return _("automatic")
    return _("operator")
