"""Manual money in the office: who proposes says why, another person sees the balances and approves (I27)."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import adjusting, customers, days
from farebox.kit import clock, db, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments, booking
from farebox.office import refusals
from farebox.office.principal import Operator, operator, step_up

from . import words
from .customers import find
from .forms import PAGE, carry_out, done, further, line, refused, single_person, text

STATES = ("proposed", "booked", "declined", "withdrawn", "lapsed")


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:  # noqa: ARG001 - every role reads it
    """What waits for approval, and everything that was decided."""
    state, account = line(request, "state"), line(request, "account", 40)
    now_us = clock.now_us()
    found = db.read(
        adjustments.listed,
        account=account,
        state=state if state in STATES else "",
        before=line(request, "before", 40),
        limit=PAGE + 1,
        now_us=now_us,
    )
    following = further(request, found, lambda row: str(row.id))
    emails = db.read(customers.names, [row.requester for row in found])
    named = db.read(customers.account_names, [row.account for row in found])
    context = {
        "rows": [
            _row(adjustments.view(row, now_us=now_us), emails) | {"account_name": named.get(row.account, row.account)}
            for row in found
        ],
        "next": following,
        "states": [(name, words.said(words.STATES, name), name == state) for name in STATES],
        "account": account,
        "alone": single_person(),
    }
    return render(request, "office/money.html", context)


@require_http_methods(["GET", "POST"])
@operator(*adjusting.PROPOSES)
@step_up
def new(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Propose to move money on this account."""
    found = find(account)
    fields = ("kind", "amount", "reason", "call", "last_day", "source", "reference")
    values = {name: text(request, name, 400) for name in fields}
    values["kind"] = values["kind"] or line(request, "kind")
    values["call"] = values["call"] or line(request, "call", 40)
    error = ""
    if request.method == "POST":
        try:
            row = db.write(
                adjusting.propose,
                account=account,
                kind=values["kind"],
                amount=values["amount"],
                reason=values["reason"],
                call=values["call"],
                expires_us=days.chosen(values["last_day"], None, found["time_zone"]),
                source=values["source"].strip(),
                reference=values["reference"],
                role=me.role,
                actor=me.actor,
                now_us=clock.now_us(),
            )
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, reverse("office:adjustment", args=[row.id]), _("Submitted for approval."))
    day_max_micro, today_micro, two_above_micro = db.read(_limits, found["currency"], me)
    context = {
        "account": found,
        "values": values,
        "error": error,
        "kinds": [
            (name, word, words.said(words.MONEY_MEANS, name), name == values["kind"])
            for name, word in words.MONEY.items()
        ],
        "two_above_micro": two_above_micro,
        "day_max_micro": day_max_micro,
        "today_micro": today_micro,
    }
    return render(request, "office/money_new.html", context, status=400 if error else 200)


@require_safe
@operator()
def adjustment(request: HttpRequest, me: Operator, adjustment: str) -> HttpResponse:
    """One proposal: what, why, who, and the balances before and after."""
    row = _shown(adjustment)
    emails = db.read(customers.names, [row["requester"], row["first_approver"], row["decider"]])
    person = adjusting.person_of(me.actor)
    own = row["requester"] == person
    alone = own and single_person()
    first = row["first_approver"] == person and not alone
    waits = row["state"] == "proposed"
    approves = adjusting.approves(me.role)
    context = {
        "row": _row(row, emails),
        "last_day": row["expires_us"] and days.last(row["expires_us"], find(row["account"])["time_zone"]),
        "takes": row["kind"] in booking.TAKES,
        "less": row["kind"] in booking.TAKES and -row["moved_micro"] < row["amount_micro"],
        "own": own,
        "alone": alone,
        "first": first,
        # The approval that one gives now is noted as the first of two, or else books.
        "notes": row["approvals"] > 1 and not row["first_approver"] and not alone,
        "may_approve": waits and approves and (not own or alone) and not first,
        "may_decline": waits and (approves or own),
    }
    return render(request, "office/adjustment.html", context)


@require_http_methods(["GET", "POST"])
@operator("finance", "admin")
@step_up
def approve(request: HttpRequest, me: Operator, adjustment: str) -> HttpResponse:
    """Approve it: the last approval that it needs moves the money, once."""
    here = reverse("office:adjustment", args=[adjustment])
    _shown(adjustment)
    if request.method != "POST":
        return HttpResponseRedirect(here)
    try:
        row = db.write(adjusting.approve, adjustment, role=me.role, actor=me.actor, now_us=clock.now_us())
    except CommandError as fault:
        return refused(request, here, refusals.said(fault))
    if row.state == "booked":
        return done(request, here, _("Approved and booked."))
    return done(request, here, _("Approval recorded, 1 of 2. It is booked after a second approval."))


@require_POST
@operator("support", "finance", "admin")
def decline(request: HttpRequest, me: Operator, adjustment: str) -> HttpResponse:
    """Decline it, or withdraw what one has proposed oneself."""
    _shown(adjustment)
    return carry_out(
        request,
        reverse("office:adjustment", args=[adjustment]),
        _("Closed without booking."),
        adjusting.decline,
        adjustment,
        role=me.role,
        note=text(request, "note", 301),
        actor=me.actor,
        now_us=clock.now_us(),
    )


def _limits(tx: Tx, currency: str, me: Operator) -> tuple[int, int, int]:
    """What this operator may propose a day, has proposed today, and what two must approve, in a currency."""
    shop = settings.values(tx)
    person = adjusting.person_of(me.actor)
    today_micro = adjustments.proposed_today(tx, requester=person, currency=currency, now_us=clock.now_us())
    return shop[f"money_day_{me.role}_micro"], today_micro, shop["money_two_approvers_above_micro"]


def _shown(adjustment: str) -> dict[str, Any]:
    try:
        return db.read(adjusting.shown, adjustment, now_us=clock.now_us())
    except CommandError:
        raise Http404 from None


def _row(row: dict[str, Any], emails: dict[str, str]) -> dict[str, Any]:
    return row | {
        "kind_said": words.said(words.MONEY, row["kind"]),
        "state_said": words.said(words.STATES, row["state"]),
        "badge": words.BADGES.get(row["state"], ""),
        "by": customers.named(row["requester"], emails),
        "first_by": customers.named(row["first_approver"], emails),
        "decided_by": customers.named(row["decider"], emails),
    }
