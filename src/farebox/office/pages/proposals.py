"""Proposals in the office: what waits for another administrator, or for a person, with before and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import adjusting, customers
from farebox.accounts.models import Account
from farebox.kit import clock, db, money, proposals
from farebox.kit.errors import CommandError
from farebox.kit.models import Proposal
from farebox.kit.settings import BY_NAME
from farebox.look.templatetags.look import money as amount
from farebox.office import kinds, refusals
from farebox.office.principal import Operator, operator, step_up
from farebox.upstreams import channels

from . import seen, settings, words
from .forms import PAGE, carry_out, done, further, line, refused, single_person, text

STATES = ("proposed", "approved", "declined", "withdrawn", "dropped", "lapsed")
KINDS: dict[str, Any] = {
    "settings.money": gettext_lazy("Settings that affect money"),
    "account.price_list": gettext_lazy("Price list of an account"),
    "account.open": gettext_lazy("New account"),
    "account.trusted": gettext_lazy("Trusted account"),
    "account.allowance": gettext_lazy("Allowance of an account"),
    "settings": gettext_lazy("Settings"),
    "account.limits": gettext_lazy("Limits of an account"),
    "channel.offer": gettext_lazy("Model of a channel"),
    "model.alias": gettext_lazy("Alias of a model"),
    "model.define": gettext_lazy("Model details"),
}
FIELDS: dict[str, Any] = {
    "name": gettext_lazy("Name"),
    "currency": gettext_lazy("Currency"),
    "price_list": gettext_lazy("Price list"),
    "time_zone": gettext_lazy("Time zone"),
    "rpm": gettext_lazy("Calls per minute"),
    "tpm": gettext_lazy("Tokens per minute"),
    "concurrency": gettext_lazy("Concurrent calls"),
    "trusted": gettext_lazy("Trusted: failed calls are free without a limit"),
    "most_micro": gettext_lazy("Maximum of the allowance"),
    "model": gettext_lazy("Model"),
    "upstream_model": gettext_lazy("Name at the upstream"),
    "costs": gettext_lazy("Costs"),
}


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:  # noqa: ARG001 - every role reads it
    """What waits, and everything that was decided."""
    state, now_us = line(request, "state"), clock.now_us()
    before = line(request, "before", 40)
    wanted = state if state in STATES else ""
    found = db.read(proposals.listed, state=wanted, before=before, limit=PAGE + 1, now_us=now_us)
    following = further(request, found, lambda row: str(row.id))
    emails = db.read(customers.names, [row.requester for row in found])
    context = {
        "rows": [_row(proposals.view(row, now_us=now_us), emails) for row in found],
        "next": following,
        "states": [(name, words.said(words.STATES, name), name == state) for name in STATES],
        "alone": single_person(),
    }
    return render(request, "office/proposals.html", context)


@require_safe
@operator()
def one(request: HttpRequest, me: Operator, proposal: str) -> HttpResponse:
    """One proposal: what, why, who, before and after."""
    row = proposals.view(_found(proposal), now_us=clock.now_us())
    shown = db.read(seen.of_proposal, row)
    emails = db.read(customers.names, [row["requester"], row["decider"]])
    own = row["requester"] == adjusting.person_of(me.actor)
    waits, approves = row["state"] == "proposed", me.role in kinds.APPROVES
    alone = own and (single_person() or not row["two_people"])
    context = {
        "row": _row(row, emails),
        "lines": list(_lines(row, me)),
        "own": own,
        "seen": shown,
        "channel": db.read(_channel_of, row) if row["kind"] == "channel.offer" else None,
        "alone": alone and row["two_people"],
        "may_approve": waits and approves and (not own or alone),
        "may_decline": waits and (approves or own),
    }
    return render(request, "office/proposal.html", context)


@require_http_methods(["GET", "POST"])
@operator(*kinds.APPROVES)
@step_up
def approve(request: HttpRequest, me: Operator, proposal: str) -> HttpResponse:
    """Approve it: the change is made in the same moment, if nothing has changed since."""
    here = reverse("office:proposal", args=[proposal])
    _found(proposal)
    if request.method != "POST":
        return HttpResponseRedirect(here)
    try:
        row = db.write(_approve, proposal, request.POST.get("seen", "")[:1000], me)
    except CommandError as fault:
        return refused(request, here, refusals.said(fault))
    if row.state == "dropped":
        said = _("It has changed since this was proposed, so the proposal was dropped. Submit it again.")
        return refused(request, here, said)
    return done(request, here, _("Approved and in force."))


def _approve(tx: db.Tx, proposal: str, shown: str, me: Operator) -> Proposal:
    """Approve it, if what it touches is as its page has shown it; CommandError takes the approval back."""
    changed = seen.changed_of_proposal(tx, proposals.find(proposal), shown)
    row = kinds.approve(tx, proposal, role=me.role, actor=me.actor, now_us=clock.now_us())
    if row.state == "approved":
        seen.demand(changed)
    return row


@require_POST
@operator(*kinds.PROPOSES)
def decline(request: HttpRequest, me: Operator, proposal: str) -> HttpResponse:
    """Decline it, or withdraw what one has proposed oneself."""
    _found(proposal)
    return carry_out(
        request,
        reverse("office:proposal", args=[proposal]),
        _("Closed without changes."),
        kinds.decline,
        proposal,
        role=me.role,
        note=text(request, "note", 301),
        actor=me.actor,
        now_us=clock.now_us(),
    )


def after(request: HttpRequest, row: Proposal, to: str, said: str) -> HttpResponse:
    """Where a page leads whose change is made (`to`, which says `said`), or waits for another administrator."""
    if row.state == "approved":
        return done(request, to, said)
    return done(
        request,
        reverse("office:proposal", args=[row.id]),
        _("Submitted for approval by another administrator."),
    )


def _channel_of(tx: db.Tx, row: dict[str, Any]) -> dict[str, Any] | None:
    return next((each for each in channels.listed(tx) if each["name"] == row["object"]), None)


def _found(proposal: str) -> Proposal:
    try:
        return db.read(lambda _tx: proposals.find(proposal))
    except CommandError:
        raise Http404 from None


def _row(row: dict[str, Any], emails: dict[str, str]) -> dict[str, Any]:
    account = row["object"] if row["kind"] in kinds.OF_ACCOUNT else ""
    return row | {
        "kind_said": words.said(KINDS, row["kind"]),
        "state_said": words.said(words.STATES, row["state"]),
        "badge": words.BADGES.get(row["state"], ""),
        "by": customers.named(row["requester"], emails),
        "decided_by": customers.named(row["decider"], emails),
        "account": account,
        "account_name": db.read(customers.account_names, [account]).get(account, "") if account else "",
    }


def _lines(row: dict[str, Any], me: Operator) -> Iterator[tuple[str, str, str]]:
    """(what, before, after) of what differs; what a channel costs us is not for support."""
    before, after = row["before"], row["after"]
    if not isinstance(after, dict):
        yield words.said(KINDS, row["kind"]), _said(before), _said(after)
        return
    for name, value in after.items():
        if name == "costs" and me.role == "support":
            continue
        was = before.get(name) if isinstance(before, dict) else None
        known = BY_NAME.get(name) if row["kind"].startswith("settings") else None
        if known is not None:
            shown = [settings.write(known, each) or _("not set") for each in (was, value)]
            yield settings.label(name), shown[0], shown[1]
        elif name == "most_micro":
            yield words.said(FIELDS, name), _most(row["object"], was), _most(row["object"], value)
        elif was != value:
            yield words.said(FIELDS, name), _said(was, name), _said(value, name)


def _most(account: str, micro: int | None) -> str:
    """The maximum of an account's allowance, in its currency."""
    if micro is None:
        return _("shop default")
    return amount(micro, Account.objects.values_list("currency", flat=True).get(id=account))


def _said(value: Any, name: str = "") -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return _("Yes") if value else _("No, within its allowance")
    if name.endswith("_micro"):
        return money.text(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "\n".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
