"""The statements of an account: its months, and one month to print."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from farebox.calls import statement
from farebox.console import scoped
from farebox.console.principal import Principal, needs
from farebox.kit import clock, db
from farebox.look import statement as papers
from farebox.look.statement import Holder


@require_safe
@needs("owner")
def months(request: HttpRequest, me: Principal) -> HttpResponse:
    """Every month with its balances."""
    with db.reading() as tx:  # one view of the books, or sums of different moments would not add up
        found = statement.overview(tx, me.account, now_us=clock.now_us())
    context = papers.overview(found, _holder(me), lambda name: reverse("statement", args=[name]))
    return render(request, "console/statements.html", context)


@require_safe
@needs("owner")
def month(request: HttpRequest, me: Principal, name: str) -> HttpResponse:
    """One month: opening balance, what came and went, closing balance."""
    now_us = clock.now_us()
    with db.reading() as tx:
        found = statement.read(tx, me.account, name, now_us=now_us)
    if found is None:
        raise Http404
    context = papers.paper(
        found,
        _holder(me),
        projects=scoped.names(me).projects,
        receipt=lambda call: reverse("call", args=[call]),
        now_us=now_us,
    )
    return render(request, "console/statement.html", context)


def _holder(me: Principal) -> Holder:
    return Holder(me.account, me.account_name, me.currency, me.account_zone)
