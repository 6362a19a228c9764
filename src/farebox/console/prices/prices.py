"""The prices, of an account or of visitors: as a table to search and sort, as JSON and CSV, and by model over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.catalog import price_history
from farebox.catalog.price_history import PriceStep
from farebox.catalog.sheets import price_text
from farebox.console import cells, labels
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.look import called
from farebox.look.templatetags.look import money

from . import drawing, pricebook, whose
from .pricebook import Announced, Book, ModelQuotes

_TEXT_CHARS_MAX = 100
_DAY_US = 86_400_000_000
CSV_HEAD = (
    "model,owned_by,kinds,context_tokens,output_tokens_max,usage_class,price,currency,official_price_usd,"
    "discount_percent,price_list,version,valid_from"
).split(",")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a visitor has asked to see of the list, and in which order; empty texts ask for nothing."""

    q: str = ""
    kind: str = ""
    owner: str = ""
    sort: str = "model"
    down: bool = False

    @property
    def query(self) -> str:
        """It as the end of an address, with `?`, or nothing."""
        sort = ("-" if self.down else "") + self.sort
        parts = {"q": self.q, "kind": self.kind, "owner": self.owner, "sort": "" if sort == "model" else sort}
        text = urlencode({name: value for name, value in parts.items() if value})
        return f"?{text}" if text else ""

    def by(self, column: str) -> Selection:
        """The same, sorted by a column; the other way round if it is that already."""
        return replace(self, sort=column, down=self.sort == column and not self.down)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Every model on sale with its prices."""
    mine = whose.price_list(request)
    book, now_us = _book(mine)
    if book is None:
        return render(request, "console/prices.html", {"book": None, "mine": mine})
    chosen = _selection(request, book)
    found = _select(book, chosen)
    context = {
        "book": book,
        "mine": mine,
        "since": labels.moment(book.valid_from_us),
        "chosen": chosen,
        "found": len(found),
        "rows": [_row(line, book) for line in found],
        "heads": _heads(book, chosen),
        "sorts": _sorts(book, chosen),
        "kinds": [(name, label, name == chosen.kind) for name, label in called.KINDS.items() if _has(book, name)],
        "owners": [(name, name == chosen.owner) for name in _owners(book)],
        "announced": _announcements(book.announced, book.currency, now_us),
        "compared": any(line.discounts for line in book.lines),
    }
    return render(request, "console/prices.html", context)


@require_safe
def as_json(request: HttpRequest) -> HttpResponse:
    """The same as JSON; prices are decimal texts for 1,000,000 units."""
    book, _now_us = _book(whose.price_list(request))
    if book is None:
        return JsonResponse({"error": {"message": "No prices are in force.", "code": "no_price_list"}}, status=404)
    models = [_as_json(line) for line in _select(book, _selection(request, book))]
    facts = {
        "object": "price_list",
        "price_list": book.price_list,
        "version": book.version,
        "currency": book.currency,
        "usd_rate": book.usd_rate,
        "valid_from": _iso(book.valid_from_us),
        "units": 1_000_000,
        "models": models,
    }
    return JsonResponse(facts, json_dumps_params={"ensure_ascii": False, "indent": 1})


@require_safe
def as_csv(request: HttpRequest) -> HttpResponse:
    """The same as CSV, one price a line."""
    book, _now_us = _book(whose.price_list(request))
    if book is None:
        return HttpResponse("No prices are in force.\n", status=404, content_type="text/plain; charset=utf-8")
    rows = []
    for line in _select(book, _selection(request, book)):
        card = line.card
        facts = (cells.text(card.name), cells.text(card.owned_by), " ".join(sorted(card.kinds)))
        for name, quote in line.quotes.items():
            official = "" if quote.official_micro is None else price_text(quote.official_micro)
            tenths = "" if quote.discount_tenths is None else labels.tenths(quote.discount_tenths)
            sizes = (card.context_tokens, card.output_tokens_max)
            price = (name, price_text(quote.micro), book.currency, official, tenths)
            rows.append((*facts, *sizes, *price, book.price_list, book.version, _iso(book.valid_from_us)))
    response = HttpResponse(cells.table(CSV_HEAD, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="prices.csv"'
    return response


@require_safe
def model(request: HttpRequest, name: str) -> HttpResponse:
    """One model: its prices now, what they were, and what is announced."""
    now_us, mine = clock.now_us(), whose.price_list(request)
    book, card, steps = db.read(_model, name, now_us, mine)
    if book is None or card is None or not steps:
        raise Http404
    if card.name != name:  # an alias
        return HttpResponseRedirect(reverse("price", args=[card.name]))
    line = next((line for line in book.lines if line.card.name == name), None)
    classes = [each for each in called.CLASSES if any(each in step.prices for step in steps)]
    context = {
        "book": book,
        "mine": mine,
        "card": card,
        "line": line,
        "kinds": [called.KINDS[kind] for kind in sorted(card.kinds)],
        "quotes": [] if line is None else [_quote(each, line, book) for each in line.quotes],
        "announced": [] if line is None else _announcements(line.announced, book.currency, now_us),
        "labels": [called.CLASSES[each] for each in classes],
        "steps": _history(steps, classes, now_us),
        "chart": _chart(steps, classes, book.currency, now_us),
    }
    return render(request, "console/price.html", context)


def _book(price_list: str) -> tuple[Book | None, int]:
    now_us = clock.now_us()
    return db.read(pricebook.read, now_us, price_list=price_list), now_us


def _model(tx: Tx, name: str, now_us: int, price_list: str) -> tuple[Book | None, Any, list[PriceStep]]:
    book, card = pricebook.read(tx, now_us, price_list=price_list), pricebook.card(tx, name, now_us)
    return (
        book,
        card,
        price_history.steps(tx, book.price_list, card.name) if book is not None and card is not None else [],
    )


def _selection(request: HttpRequest, book: Book) -> Selection:
    given = request.GET
    sort = given.get("sort", "")
    column = sort.removeprefix("-")
    if column not in {"model", "owner", "context", "discount", *book.classes}:
        sort = column = "model"
    kind = given.get("kind", "")
    return Selection(
        q=given.get("q", "").strip()[:_TEXT_CHARS_MAX],
        kind=kind if kind in called.KINDS else "",
        owner=given.get("owner", "")[:_TEXT_CHARS_MAX],
        sort=column,
        down=sort.startswith("-"),
    )


def _select(book: Book, chosen: Selection) -> list[ModelQuotes]:
    """The lines that were asked for, in the order that was asked for; what has no such value stands last."""
    words = chosen.q.casefold().split()
    found = []
    for line in book.lines:
        card = line.card
        text = " ".join((card.name, card.owned_by, *line.aliases)).casefold()
        wanted = (not chosen.kind or chosen.kind in card.kinds) and (not chosen.owner or chosen.owner == card.owned_by)
        if wanted and all(word in text for word in words):
            found.append(line)
    value = _value(chosen.sort)
    known = [line for line in found if value(line) is not None]
    known.sort(key=lambda line: line.card.name)
    known.sort(key=value, reverse=chosen.down)
    return known + sorted((line for line in found if value(line) is None), key=lambda line: line.card.name)


def _value(column: str) -> Callable[[ModelQuotes], Any]:
    """What a line is sorted by."""
    if column == "model":
        return lambda line: line.card.name.casefold()
    if column == "owner":
        return lambda line: line.card.owned_by.casefold() or None
    if column == "context":
        return lambda line: line.card.context_tokens
    if column == "discount":
        return lambda line: line.discounts
    return lambda line: line.quotes[column].micro if column in line.quotes else None


def _columns(book: Book) -> list[tuple[str, Any, bool]]:
    """The columns of the table: name, head, whether it holds figures."""
    return [
        ("model", _("Model"), False),
        ("context", _("Context"), True),
        *((name, called.CLASSES[name], True) for name in book.classes),
        ("discount", _("vs. official"), True),
    ]


def _heads(book: Book, chosen: Selection) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "figures": figures,
            "href": reverse("prices") + chosen.by(name).query,
            "sorted": "" if chosen.sort != name else "descending" if chosen.down else "ascending",
        }
        for name, label, figures in _columns(book)
    ]


def _sorts(book: Book, chosen: Selection) -> list[tuple[str, str, bool]]:
    """The orders to choose from: every column both ways."""
    sort = ("-" if chosen.down else "") + chosen.sort
    out = []
    for name, label, figures in _columns(book):
        up, down = (_("%(what)s: low to high"), _("%(what)s: high to low")) if figures else (_("%(what)s: A–Z"), "")
        ways = [(name, up), (f"-{name}", down)] if down else [(name, up)]
        out += [(value, text % {"what": label}, value == sort) for value, text in ways]
    return out


def _owners(book: Book) -> list[str]:
    return sorted({line.card.owned_by for line in book.lines} - {""})


def _has(book: Book, kind: str) -> bool:
    return any(kind in line.card.kinds for line in book.lines)


def _row(line: ModelQuotes, book: Book) -> dict[str, Any]:
    return {
        "card": line.card,
        "kinds": [called.KINDS[kind] for kind in sorted(line.card.kinds)],
        "aliases": line.aliases,
        "cells": [
            {"label": called.CLASSES[name], "quote": line.quotes.get(name), "currency": book.currency}
            for name in book.classes
        ],
        "discount": labels.discount(*line.discounts) if line.discounts else "",
        "cheaper": bool(line.discounts and line.discounts[0] > 0),
        "dearer": bool(line.discounts and line.discounts[1] < 0),
        "changes": bool(line.announced),
    }


def _quote(name: str, line: ModelQuotes, book: Book) -> dict[str, Any]:
    quote = line.quotes[name]
    tenths = quote.discount_tenths
    return {
        "label": called.CLASSES[name],
        "micro": quote.micro,
        "currency": book.currency,
        "official_micro": quote.official_micro,
        "discount": "" if tenths is None else labels.discount(tenths, tenths),
    }


def _announcements(changes: Sequence[Announced], currency: str, now_us: int) -> list[dict[str, Any]]:
    """Announced changes by their moment."""
    out = []
    for at_us, group in groupby(changes, key=lambda each: each.valid_from_us):
        rows = [
            {
                "model": each.model,
                "label": called.CLASSES[each.usage_class],
                "before": money(each.before_micro, currency),
                "after": money(each.after_micro, currency),
                "gone": each.after_micro is None,
                "change": _change(each.before_micro, each.after_micro),
            }
            for each in group
        ]
        days = -(-(at_us - now_us) // _DAY_US)
        out.append({"at": labels.moment(at_us), "days": days, "rows": rows})
    return out


def _history(steps: Sequence[PriceStep], classes: Sequence[str], now_us: int) -> list[dict[str, Any]]:
    """The steps as rows of a table, newest first, each price with its change against the step before."""
    in_force = max((step.valid_from_us for step in steps if step.valid_from_us <= now_us), default=None)
    rows = []
    before: dict[str, int] = {}
    for step in steps:
        prices = [
            {
                "label": called.CLASSES[name],
                "micro": step.prices.get(name),
                "change": _change(before.get(name), step.prices.get(name)),
            }
            for name in classes
        ]
        state = "past" if in_force is not None and step.valid_from_us < in_force else "coming"
        rows.append(
            {
                "at": labels.moment(step.valid_from_us),
                "version": step.version,
                "state": "now" if step.valid_from_us == in_force else state,
                "prices": prices,
                "sold": bool(step.prices),
            }
        )
        before = step.prices
    return rows[::-1]


def _change(before: int | None, after: int | None) -> str:
    """By how much a price goes up or down, in percent, with its sign; empty where there is nothing to compare."""
    if not before or after is None or before == after:
        return ""
    tenths = round(Fraction((after - before) * 1000, before))
    sign = "+" if after > before else "−"
    return f"{sign}{labels.tenths(abs(tenths))}%" if tenths else f"{sign}<0.1%"


def _chart(steps: Sequence[PriceStep], classes: Sequence[str], currency: str, now_us: int) -> SafeString | str:
    if len(steps) < 2:
        return ""
    first_us, last_us = steps[0].valid_from_us, max(steps[-1].valid_from_us, now_us)
    return drawing.stairs(
        _("%(currency)s per 1M tokens") % {"currency": currency},
        [
            drawing.Stair(str(called.CLASSES[name]), [(step.valid_from_us, step.prices.get(name)) for step in steps])
            for name in classes[:6]
        ],
        until_us=last_us + max(1, (last_us - first_us) // 8),
        now_us=now_us,
        now=_("current"),
        shown=lambda micro: money(micro, currency),
        dated=lambda at_us: labels.at(at_us).strftime("%Y-%m-%d"),
    )


def _as_json(line: ModelQuotes) -> dict[str, Any]:
    card = line.card
    known = {name: quote for name, quote in line.quotes.items() if quote.official_micro is not None}
    return {
        "model": card.name,
        "owned_by": card.owned_by,
        "aliases": list(line.aliases),
        "kinds": sorted(card.kinds),
        "modalities": sorted(card.modalities),
        "context_tokens": card.context_tokens,
        "output_tokens_max": card.output_tokens_max,
        "prices": {name: price_text(quote.micro) for name, quote in line.quotes.items()},
        "official_prices_usd": {name: _text(quote.official_micro) for name, quote in known.items()},
        "discount_percent": {
            name: None if quote.discount_tenths is None else labels.tenths(quote.discount_tenths)
            for name, quote in known.items()
        },
        "announced": [
            {
                "valid_from": _iso(each.valid_from_us),
                "usage_class": each.usage_class,
                "before": _text(each.before_micro),
                "after": _text(each.after_micro),
            }
            for each in line.announced
        ],
    }


def _text(micro: int | None) -> str | None:
    return None if micro is None else price_text(micro)


def _iso(at_us: int) -> str:
    return labels.at(at_us).strftime("%Y-%m-%dT%H:%M:%SZ")
