"""The statements of an account: its months, and one month to print."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.calls import statement
from farebox.calls.statement import Booked, Statement
from farebox.kit import clock, db, options

from . import call_words, labels, scoped
from .principal import Principal, needs

ENTRIES_SHOWN = 500


@require_safe
@needs("owner")
def months(request: HttpRequest, me: Principal) -> HttpResponse:
    """Every month with its balances."""
    with db.reading() as tx:  # one view of the books, or sums of different moments would not add up
        found = statement.overview(tx, me.account, now_us=clock.now_us())
    return render(request, "console/statements.html", {"months": found})


@require_safe
@needs("owner")
def month(request: HttpRequest, me: Principal, name: str) -> HttpResponse:
    """One month: opening balance, what came and went, closing balance."""
    now_us = clock.now_us()
    with db.reading() as tx:
        found = statement.read(tx, me.account, name, now_us=now_us)
    if found is None:
        raise Http404
    return render(request, "console/statement.html", _context(found, me, now_us))


def _context(found: Statement, me: Principal, now_us: int) -> dict[str, Any]:
    whole = found.month
    names = scoped.names(me)
    projects = [(names.projects.get(ident, ident), part) for ident, part in whole.projects.items()]
    return {
        "statement": found,
        "month": whole,
        "charged_micro": -whole.charged_micro,
        "entries": [_entry(entry) for entry in whole.entries[:ENTRIES_SHOWN]],
        "more_entries": _rest(whole.entries[ENTRIES_SHOWN:]),
        "groups": _groups(whole.entries),
        "sections": [
            (_("Charges by model"), _("Model"), list(whole.models.items())),
            (_("Charges by project"), _("Project"), projects),
            (_("Charges by day"), _("Day (UTC)"), list(whole.days.items())),
        ],
        "span": f"{labels.at(whole.from_us):%Y-%m-%d} – {labels.at(whole.until_us - 1):%Y-%m-%d} UTC",
        "made": labels.moment(now_us),
        "running": whole.until_us > now_us,
        "single_person": options.current().single_person,
    }


def _entry(entry: Booked) -> dict[str, Any]:
    return {
        "entry": entry,
        "kind": call_words.kind(entry.kind),
        "call": entry.ref if entry.kind == statement.REFUND else "",
        "day": f"{labels.at(entry.at_us):%Y-%m-%d}",
    }


def _groups(entries: list[Booked]) -> list[tuple[str, int]]:
    """The sums of the entries by what they are called, in the order in which they come first."""
    sums: dict[str, int] = {}
    for entry in entries:
        word = call_words.kind(entry.kind)
        sums[word] = sums.get(word, 0) + entry.amount_micro
    return list(sums.items())


def _rest(entries: list[Booked]) -> tuple[int, int] | None:
    return (len(entries), sum(entry.amount_micro for entry in entries)) if entries else None
