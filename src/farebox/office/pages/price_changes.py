"""Drawing up a new version of a price list: by hand or from a USD list, and from the catalogue of list prices."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from farebox.catalog import drafts, price_lists, sheets, suggestions
from farebox.kit import clock, db, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import called
from farebox.office import refusals, retyped
from farebox.office.principal import Operator, operator, step_up

from . import words
from .forms import done, moment, text
from .price_lists import listed_of

ROWS_CHARS_MAX = 400_000
FIELDS = ("from_usd_source", "rate", "factor", "usd_rate", "remove", "begins", "note")


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def change(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """Create a version: prices by hand, prices of a USD list times rate and factor, models that are no longer sold."""
    now_us = clock.now_us()
    listed = listed_of(name, now_us)
    values = {field: text(request, field, 2000) for field in FIELDS}
    values["rows"] = (request.POST or retyped.again(request)).get("rows", "")[:ROWS_CHARS_MAX]
    error = ""
    if request.method == "POST":
        try:
            content = drafts.DraftContent(
                rows=[(row.model, row.usage_class, row.micro_per_million) for row in typed(values["rows"])],
                from_usd_source=values["from_usd_source"],
                rate=values["rate"],
                factor=values["factor"] or "1",
                usd_rate=values["usd_rate"],
                remove=values["remove"].split(),
                valid_from_us=moment(values["begins"], me),
            )
            made = _draw_up(listed["price_list"], content, values["note"], me)
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, reverse("office:price_draft", args=[made]), _("Draft created. Please review it."))
    sources = [each["price_list"] for each in db.read(price_lists.overview, now_us=now_us) if each["currency"] == "USD"]
    context = {
        "listed": listed,
        "values": values,
        "sources": [(each, each == values["from_usd_source"]) for each in sources if each not in {name, "house"}],
        "error": error,
    }
    return render(request, "office/price_change.html", context, status=400 if error else 200)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def proposal(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """The catalogue's list prices beside ours; those that are ticked become a draft, for now or for a day to come."""
    now_us = clock.now_us()
    listed = listed_of(name, now_us)
    if listed["version"] is None:
        raise Http404
    found = db.read(suggestions.suggest, name, now_us=now_us)
    differing = {f"{line.model} {line.usage_class}": line for line in found if _differs(line)}
    error, begins, taken = "", text(request, "begins", 40), set(request.POST.getlist("take"))
    if request.method == "POST":
        chosen = [line for key, line in differing.items() if key in taken]
        rows = [(line.model, line.usage_class, line.proposed_micro or 0) for line in chosen]
        try:
            content = drafts.DraftContent(rows=rows, valid_from_us=moment(begins, me))
            made = _draw_up(name, content, _("Official prices in the catalogue"), me)
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, reverse("office:price_draft", args=[made]), _("Draft created. Please review it."))
    factor = db.read(settings.values)["price_warn_factor"]
    context = {
        "listed": listed,
        "error": error,
        "begins": begins,
        "same": sum(line.change == "same" for line in found),
        "unknown": sorted({line.model for line in found if line.proposed_micro is None}),
        "rows": [_row(key, line, factor) | {"taken": key in taken} for key, line in differing.items()],
    }
    return render(request, "office/price_proposal.html", context, status=400 if error else 200)


def typed(given: str) -> list[sheets.PriceRow]:
    """Prices as they are typed: a CSV with its head, or a line each of model, class and price. CommandError."""
    lines = [line.strip() for line in given.replace("\r\n", "\n").split("\n") if line.strip()]
    if lines and lines[0].removeprefix("\ufeff").replace(" ", "") == ",".join(sheets.COLUMNS):
        return sheets.from_csv("\n".join(lines))
    rows = []
    for number, line in enumerate(lines, start=1):
        parts = line.replace("\t", " ").split()
        if len(parts) != len(sheets.COLUMNS):
            raise CommandError(_("Line %(n)s: enter model, class and price.") % {"n": number})
        rows.append(sheets.row(*parts))
    return rows


def _draw_up(price_list: str, content: drafts.DraftContent, note: str, me: Operator) -> str:
    if not (content.rows or content.from_usd_source or content.remove or content.usd_rate):
        raise CommandError(_("Enter the prices to change."))

    def write(tx: Tx) -> str:
        return str(
            drafts.draw_up(
                tx, price_list, content, note=note, actor=me.actor, requester=me.actor, now_us=clock.now_us()
            ).id
        )

    return db.write(write)


def _differs(line: suggestions.Suggestion) -> bool:
    return line.proposed_micro is not None and line.proposed_micro != line.current_micro


def _row(key: str, line: suggestions.Suggestion, factor: str) -> dict[str, Any]:
    return {
        "key": key,
        "model": line.model,
        "label": words.said(called.CLASSES, line.usage_class),
        "current_micro": line.current_micro,
        "proposed_micro": line.proposed_micro,
        "change": line.change if line.current_micro else "",
        "steep": drafts.steep(line.current_micro, line.proposed_micro, factor),
    }
