"""A customer's statements in the office, on the same paper as the customer's own; who looks but leaves a trace."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from farebox.accounts import customers
from farebox.calls import statement
from farebox.kit import audit, clock, db
from farebox.look import statement as papers
from farebox.look.statement import Holder
from farebox.office.principal import Operator, operator

from .customer_calls import LOGGED
from .customers import find


@require_safe
@operator()
def months(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Every month of an account with its balances."""
    whose = find(account)
    with db.reading() as tx:  # one view of the books, or sums of different moments would not add up
        found = statement.overview(tx, account, now_us=clock.now_us())
    _note(me, account, None)
    shown = papers.overview(found, _holder(whose), lambda name: reverse("office:statement", args=[account, name]))
    return render(request, "office/statements.html", shown | {"account": whose, "logged": me.role in LOGGED})


@require_safe
@operator()
def month(request: HttpRequest, me: Operator, account: str, name: str) -> HttpResponse:
    """One month of an account: opening balance, what came and went, closing balance."""
    whose = find(account)
    now_us = clock.now_us()
    with db.reading() as tx:
        found = statement.read(tx, account, name, now_us=now_us)
    if found is None:
        raise Http404
    _note(me, account, name)
    shown = papers.paper(
        found,
        _holder(whose),
        projects={each["id"]: each["name"] for each in db.read(customers.projects_of, account)},
        receipt=lambda call: reverse("office:customer_receipt", args=[account, call]),
        now_us=now_us,
    )
    return render(request, "office/statement.html", shown | {"account": whose, "logged": me.role in LOGGED})


def _note(me: Operator, account: str, name: str | None) -> None:
    """In a transaction of its own: who sums up years holds no writer back."""
    if me.role in LOGGED:
        after = None if name is None else {"statement": name}
        db.write(audit.record, actor=me.actor, verb="statement.read", object=account, after=after)


def _holder(whose: dict[str, Any]) -> Holder:
    return Holder(whose["id"], whose["name"], whose["currency"], whose["time_zone"])
