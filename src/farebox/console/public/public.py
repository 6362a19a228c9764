"""Pages that need no login: what this shop sells, how to connect, how it charges, its terms."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from farebox.accounts.sign_in import signup
from farebox.accounts.sign_in.signup import TrialOffer
from farebox.catalog import pricing
from farebox.catalog.usage import Usage
from farebox.console.keys import clients
from farebox.console.prices import pricebook, whose
from farebox.console.prices.pricebook import Book, ModelQuotes
from farebox.console.rules import rules
from farebox.kit import clock, db, options
from farebox.kit.db import Tx
from farebox.look import called
from farebox.protocol import kinds

from . import news, own_text
from .news import News

SHOWN_MAX = 6
_EXAMPLE = {"input": 1200, "output": 350}


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this shop sells, with prices of today and the receipt of an example."""
    mine, may_sign_up = whose.price_list(request), options.current().sign_up
    book, told, trial = db.read(_first, clock.now_us(), mine)
    shown = _newest(book)[:SHOWN_MAX]
    classes = [name for name in ("input", "output") if any(name in line.quotes for line in shown)]
    priced = next((line for line in shown if "input" in line.quotes), None)
    context = {
        "news": told,
        "mine": mine,
        "may_sign_up": may_sign_up,
        "trial": trial if may_sign_up else None,
        "base_url": options.current().origin + "/v1",
        "book": book,
        "heads": [called.CLASSES[name] for name in classes],
        "rows": [{"card": line.card, "quotes": [line.quotes.get(name) for name in classes]} for line in shown],
        "example": None if priced is None else _example(priced),
        "rules": _rules(),
    }
    return render(request, "console/landing.html", context)


@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    """How to connect each client."""
    book = db.read(pricebook.read, clock.now_us(), price_list=whose.price_list(request))
    cards = [line.card for line in _newest(book) if kinds.chats(line.card)]
    origin = options.current().origin
    context = {"origin": origin, "base_url": origin + "/v1", "clients": clients.settings(origin, cards)}
    return render(request, "console/guide.html", context)


@require_safe
def charging(request: HttpRequest) -> HttpResponse:
    """The charging rules in plain words: the version in force, or the one that is asked for."""
    now, asked, chosen = _rules(), request.GET.get("version", ""), options.current()
    version = int(asked) if asked in {"1", "2"} else now.version
    facts = {
        "groups": rules.GROUPS[version],
        "version": version,
        "other": 3 - version,
        "rules": now,
        "begin_micro": chosen.allowance_begin_usd_micro,
        "growth_percent": chosen.allowance_growth_percent,
        "most_micro": chosen.allowance_most_usd_micro,
    }
    return render(request, "console/rules.html", facts)


@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    """What buyer and shop owe each other."""
    return _text(request, "terms", rules=_rules())


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """What is kept of calls and visitors."""
    return _text(request, "privacy", diagnostics_days=options.current().diagnostics_days)


def _rules() -> rules.InForce:
    return db.read(rules.in_force, clock.now_us())


def _first(tx: Tx, now_us: int, price_list: str) -> tuple[Book | None, list[News], TrialOffer | None]:
    return pricebook.read(tx, now_us, price_list=price_list), news.read(tx, now_us), signup.offered(tx)


def _text(request: HttpRequest, page: str, **facts: Any) -> HttpResponse:
    """The operator's own text where there is one, else ours."""
    own = own_text.find(page, get_language() or "")
    if own is not None:
        return render(request, "console/own_text.html", {"own": own})
    return render(request, f"console/{page}.html", facts)


def _newest(book: Book | None) -> list[ModelQuotes]:
    """The models on sale, those that chat before all others, and within each the newest first."""
    lines = [] if book is None else book.lines
    return sorted(lines, key=lambda line: (not kinds.chats(line.card), -line.card.created_s, line.card.name))


def _example(sold: ModelQuotes) -> dict[str, Any]:
    """A call as its receipt would show it, made by the same arithmetic."""
    used = Usage(**{name: units for name, units in _EXAMPLE.items() if name in sold.quotes})
    made = pricing.charge({name: quote.micro for name, quote in sold.quotes.items()}, used)
    lines = [
        {
            "label": called.CLASSES[line.usage_class],
            "units": line.units,
            "micro": line.micro_per_million,
            "amount": pricing.fraction(line.numerator),
        }
        for line in made.lines
    ]
    return {"model": sold.card.name, "lines": lines, "amount_micro": made.amount_micro}
