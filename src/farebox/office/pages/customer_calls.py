"""A customer's calls and receipts in the office, as the customer sees them, with what happened at the upstreams."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from farebox.accounts import customers
from farebox.calls import look_up, receipts
from farebox.kit import db
from farebox.ledger import given
from farebox.look import called
from farebox.office.principal import Operator, operator
from farebox.protocol import counters

from . import words
from .customers import find
from .forms import PAGE, further, line, local

# Finance and auditors read by their office; who else reads is written down.
LOGGED = ("support", "admin")


@require_safe
@operator()
def calls(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """The calls of an account, newest first."""
    found = find(account)
    before = line(request, "before", 40)
    run = db.write if me.role in LOGGED else db.read
    rows = run(look_up.calls, account, before=before, limit=PAGE + 1, actor=me.actor, logged=me.role in LOGGED)
    refunds = db.read(given.by_call, account, [row["id"] for row in rows])
    context = {
        "account": found,
        "next": further(request, rows, lambda row: str(row["id"])),
        "rows": [_row(row, refunds.get(row["id"], 0)) for row in rows],
        "logged": me.role in LOGGED,
    }
    return render(request, "office/customer_calls.html", context)


@require_safe
@operator()
def receipt(request: HttpRequest, me: Operator, account: str, call: str) -> HttpResponse:
    """The receipt of one call, line by line, with attempts and what each cost us."""
    found = find(account)
    run = db.write if me.role in LOGGED else db.read
    made = (
        run(look_up.receipt, call, account, actor=me.actor, logged=me.role in LOGGED) if receipts.is_id(call) else None
    )
    if made is None:
        raise Http404
    lines = [each | {"label": words.said(called.CLASSES, each["class"])} for each in made["lines"]]
    projects = db.read(customers.projects_of, account)
    # What an upstream costs us is for those who answer for money and for upstreams.
    sees_cost = me.role != "support"
    context = {
        "account": found,
        "call": made,
        "lines": lines,
        "said": words.said(words.OUTCOMES, made["outcome"]),
        "cause": words.said(words.CAUSES, made["cause"]),
        "flags": [words.said(words.FLAGS, flag) for flag in made["flags"]],
        "key": db.read(customers.key, account, made["key"]),
        "project": next((each for each in projects if each["id"] == made["project"]), None),
        "begun": local(made["opened_us"], me),
        "ended": local(made["ended_us"], me) if made["ended_us"] else "",
        "tries": [each | {"said": words.said(words.ATTEMPTS, each["outcome"])} for each in made["tries"]],
        # As it came it may say what the upstream takes for the call.
        "reported": counters.spelled(made["told"] if sees_cost else made["reported"]),
        "sees_cost": sees_cost,
        "logged": me.role in LOGGED,
    }
    return render(request, "office/customer_receipt.html", context)


def _row(row: dict[str, Any], by_hand_micro: int) -> dict[str, Any]:
    refunded_micro = (row["charge_micro"] or 0) if "refunded" in row["flags"] else by_hand_micro
    return row | {"said": words.said(words.OUTCOMES, row["outcome"]), "refunded_micro": refunded_micro}
