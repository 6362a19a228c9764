"""The estimator: a text, or a number of words or characters, in tokens and money for every model on sale.

A pasted text arrives by POST, is counted in memory, and goes nowhere else: not into the store, a log or an address.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.catalog import pricing, tokens
from farebox.catalog.pricing import ModelCard
from farebox.catalog.usage import Usage
from farebox.console.rules import rules
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.look.whole import WholeField
from farebox.protocol import kinds

from . import pricebook, whose
from .pricebook import Book

TEXT_BYTES_MAX = 200_000
DAYS = 30
_LENGTH_MAX, _OUTPUT_MAX, _CALLS_MAX = 10_000_000, 1_000_000, 10_000_000
_WAIT_S = 3
_START = {"words": 750, "characters": 0, "output": 500, "calls": 100}
# Characters that stand by themselves, with their punctuation: Chinese, Japanese, Korean.
_CHARACTER = re.compile("[\u3001-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff]")

_counting = threading.BoundedSemaphore()  # one text at a time; the other threads of pages stay free


class Estimate(forms.Form):
    """What a visitor asks."""

    text = forms.CharField(
        label=gettext_lazy("Text"),
        help_text=gettext_lazy("Up to 200 KB. It is counted in memory and neither stored nor logged."),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "autocomplete": "off"}),
    )
    words = WholeField(
        label=gettext_lazy("English words"), required=False, min_value=0, max_value=_LENGTH_MAX, initial=_START["words"]
    )
    characters = WholeField(
        label=gettext_lazy("Chinese characters"), required=False, min_value=0, max_value=_LENGTH_MAX, initial=0
    )
    output = WholeField(
        label=gettext_lazy("Tokens per answer"),
        required=False,
        min_value=0,
        max_value=_OUTPUT_MAX,
        initial=_START["output"],
    )
    calls = WholeField(
        label=gettext_lazy("Calls per day"), required=False, min_value=1, max_value=_CALLS_MAX, initial=_START["calls"]
    )

    def clean_text(self) -> str:
        """A text within the limit."""
        text: str = self.cleaned_data["text"]
        if len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
            raise forms.ValidationError(_("The text exceeds 200 KB. Paste a part of it."))
        return text

    def clean(self) -> dict[str, Any]:
        """Something to count: a text comes first."""
        found = super().clean() or {}
        if self.errors:
            return found
        for name in ("words", "characters"):
            found[name] = found.get(name) or 0
        for name in ("output", "calls"):
            found[name] = _START[name] if found.get(name) is None else found[name]
        if not found["text"] and not found["words"] and not found["characters"]:
            raise forms.ValidationError(_("Paste a text, or enter its number of words or characters."))
        return found


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """One model's estimate: money in micro-units; `why_not` says why it can't take such a call."""

    card: ModelCard
    input_tokens: int
    output_tokens: int
    counted: bool
    call_micro: int
    day_micro: int
    month_micro: int
    why_not: str
    cheapest: bool = False


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """The form, and its answer for every model."""
    form = _form(request)
    mine = whose.price_list(request)
    book, charged_by = db.read(_facts, clock.now_us(), mine)
    rows: list[EstimateRow] = []
    status = 200
    asked = form.cleaned_data if form.is_bound and form.is_valid() else {} if form.is_bound else {"text": "", **_START}
    if asked and request.method == "POST" and not asked["text"]:
        lengths = {name: asked[name] for name in _START}
        return HttpResponseRedirect(f"{reverse('estimate')}?{urlencode(lengths)}")
    if not asked:
        status = 400
    elif book is not None:
        try:
            rows = _answer(book, asked)
        except _BusyError:
            form.add_error(None, _("Too many texts are being counted. Wait a moment, then submit it again."))
            status = 503
    context = {
        "form": form,
        "book": book,
        "mine": mine,
        "rules": charged_by,
        "asked": asked,
        "rows": rows,
        "best": next((row for row in rows if row.cheapest), None),
        "days": DAYS,
        "exact": any(row.counted for row in rows),
        "roughly": any(not row.counted for row in rows),
    }
    return render(request, "console/estimate.html", context, status=status)


def by_rule(*, words: int, characters: int) -> int:
    """1,000 tokens for 750 English words, or for 500 Chinese characters; rounded up."""
    return -(-words * 4 // 3) + characters * 2


def by_rule_of(text: str) -> int:
    """The same for a text: its characters of Chinese and its kin, and the words of the rest."""
    characters = len(_CHARACTER.findall(text))
    return by_rule(words=len(_CHARACTER.sub(" ", text).split()), characters=characters)


def price(card: ModelCard, prices: dict[str, int], *, input_tokens: int, output: int) -> int:
    """What such a call costs in micro-units, by the very arithmetic of a charge."""
    usage = Usage(input=input_tokens, output=output if card.output_tokens_max else 0)
    return pricing.charge(prices, usage).amount_micro


def _facts(tx: Tx, now_us: int, price_list: str) -> tuple[Book | None, rules.InForce]:
    return pricebook.read(tx, now_us, price_list=price_list), rules.in_force(tx, now_us)


class _BusyError(Exception):
    """Other texts are being counted."""


def _form(request: HttpRequest) -> Estimate:
    if request.method == "POST":
        return Estimate(request.POST)
    numbers = {name: request.GET[name] for name in _START if name in request.GET}
    return Estimate({**_START, "words": 0, **numbers}) if numbers else Estimate()


def _answer(book: Book, asked: dict[str, Any]) -> list[EstimateRow]:
    """The estimate of every model, cheapest first; those that can't take the call stand last."""
    cards = [line.card for line in book.lines]
    counts: dict[str, int] = {}
    if text := asked["text"]:
        counts, guess = _count(text, {card.tokenizer for card in cards}), by_rule_of(text)
    else:
        guess = by_rule(words=asked["words"], characters=asked["characters"])
    rows = []
    for line in book.lines:
        card, counted = line.card, counts.get(line.card.tokenizer)
        input_tokens = guess if counted is None else counted
        prices = {name: quote.micro for name, quote in line.quotes.items()}
        call_micro = price(card, prices, input_tokens=input_tokens, output=asked["output"])
        rows.append(
            EstimateRow(
                card=card,
                input_tokens=input_tokens,
                output_tokens=asked["output"] if card.output_tokens_max else 0,
                counted=counted is not None,
                call_micro=call_micro,
                day_micro=call_micro * asked["calls"],
                month_micro=call_micro * asked["calls"] * DAYS,
                why_not=_why_not(card, input_tokens, asked["output"]),
            )
        )
    return _ranked(rows)


def _count(text: str, tokenizers: Iterable[str]) -> dict[str, int]:
    """The tokens of the text by tokenizer, each counted once; what no tokenizer can count is left out."""
    if not _counting.acquire(timeout=_WAIT_S):
        raise _BusyError
    try:
        found = {name: tokens.count_exact(name, [text]) for name in tokenizers if name}
    finally:
        _counting.release()
    return {name: count for name, count in found.items() if count is not None}


def _why_not(card: ModelCard, input_tokens: int, output: int) -> str:
    if card.output_tokens_max and output > card.output_tokens_max:
        return _("Its max output is %(n)s tokens.") % {"n": f"{card.output_tokens_max:,}"}
    if input_tokens + (output if card.output_tokens_max else 0) > card.context_tokens:
        return _("Too long: its context is %(n)s tokens.") % {"n": f"{card.context_tokens:,}"}
    return ""


def _ranked(rows: list[EstimateRow]) -> list[EstimateRow]:
    """Models that write come before those that only embed, and within each the cheapest first."""
    rows = sorted(rows, key=lambda row: (bool(row.why_not), not _writes(row.card), row.call_micro, row.card.name))
    able = [row.call_micro for row in rows if not row.why_not and _writes(row.card)]
    least_micro = min(able, default=None)
    return [
        replace(row, cheapest=not row.why_not and _writes(row.card) and row.call_micro == least_micro) for row in rows
    ]


def _writes(card: ModelCard) -> bool:
    return kinds.writes(card)
