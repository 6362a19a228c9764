"""The public status: how well each model on the price list answers, and how fast, from customers' calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.calls import availability
from farebox.calls.availability import Availability, Span, SpanTally
from farebox.console import labels
from farebox.console.prices import drawing, pricebook, whose
from farebox.console.prices.pricebook import Book
from farebox.kit import clock, db
from farebox.kit.db import Tx

from . import news
from .news import News

FEW = 20  # fewer calls than these say little
_SOME, _MANY = 9_900, 9_000  # hundredths of a percent below which some, or many calls fail
_NONE = SpanTally()


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Every model on sale, to the account that is signed in or to visitors: the last 24 hours and the last 30 days."""
    now_us = clock.now_us()
    book, seen, told = db.read(_read, now_us, whose.price_list(request))
    names = [line.card.name for line in book.lines] if book is not None else []
    rows = [_row(name, seen) for name in names]
    context = {
        "news": told,
        "rows": rows,
        "unknown": [row for row in rows if not row["known"]],
        "troubled": sum(row["now"] in {"some", "down"} for row in rows),
        "silent": all(row["now"] == "none" for row in rows),
        "at_us": seen.at_us,
        "sampled": seen.last_month.sampled or seen.last_day.sampled,
        "hour_heads": [_hour(span) for span in seen.hours],
        "day_heads": [_day(span) for span in seen.days],
    }
    return render(request, "console/status.html", context)


def state(hundredths: int | None) -> str:
    """`up`, `some` calls fail, `down`: many fail, or `none` to tell from."""
    if hundredths is None:
        return "none"
    if hundredths >= _SOME:
        return "up"
    return "some" if hundredths >= _MANY else "down"


def _read(tx: Tx, now_us: int, price_list: str) -> tuple[Book | None, Availability, list[News]]:
    book = pricebook.read(tx, now_us, price_list=price_list)
    return book, availability.WATCH.look(tx, now_us), news.read(tx, now_us)


def _row(model: str, seen: Availability) -> dict[str, Any]:
    lately = SpanTally()
    for span in seen.hours[-2:]:
        lately.add(span.tallies.get(model, _NONE))
    day, month = seen.last_day.tallies.get(model, _NONE), seen.last_month.tallies.get(model, _NONE)
    hours = [(_hour(span), span.tallies.get(model, _NONE)) for span in seen.hours]
    days = [(_day(span), span.tallies.get(model, _NONE)) for span in seen.days]
    return {
        "model": model,
        "now": state(lately.hundredths),
        "known": bool(month.calls or day.calls),
        "spans": [
            _sums(_("Last 24 hours"), day, _strip(_("%(model)s, by hour") % {"model": model}, hours)),
            _sums(_("Last 30 days"), month, _strip(_("%(model)s, by day") % {"model": model}, days)),
        ],
        "hours": [labels.hundredths(tally.hundredths) for _, tally in hours],
        "days": [labels.hundredths(tally.hundredths) for _, tally in days],
    }


def _sums(name: str, tally: SpanTally, strip: str) -> dict[str, Any]:
    return {
        "name": name,
        "strip": strip,
        "availability": labels.hundredths(tally.hundredths),
        "known": bool(tally.served),
        "few": 0 < tally.calls < FEW,
        "total": [labels.lasting(availability.rank(tally.total_ms, percent)) for percent in (50, 95)],
        "first": [labels.lasting(availability.rank(tally.first_ms, percent)) for percent in (50, 95)],
    }


def _strip(title: str, spans: Sequence[tuple[str, SpanTally]]) -> str:
    return drawing.strip(title, [(state(tally.hundredths), f"{when} · {_said(tally)}") for when, tally in spans])


def _said(tally: SpanTally) -> str:
    return labels.hundredths(tally.hundredths) if tally.calls else _("no calls")


def _hour(span: Span) -> str:
    return labels.at(span.from_us).strftime("%H:%M")


def _day(span: Span) -> str:
    return labels.at(span.from_us).strftime("%m-%d")
