"""Models in the office: what each can do, where it is sold, what lacks a price; define, rename, take off the shelf."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.catalog import definitions, factor_fitting, overview, shelf
from farebox.catalog.images import FORMULAS
from farebox.catalog.tokens import TOKENIZERS
from farebox.catalog.usage import CLASSES
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import called, marks
from farebox.office import refusals, retyped
from farebox.office.principal import Operator, ask_first, operator, step_up
from farebox.protocol.kinds import KINDS

from . import words
from .forms import carry_out, count, done, line, text


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Every model, with what it can do, the lists that sell it, and prices that are missing."""
    query = line(request, "q").lower()
    found = db.read(overview.models, now_us=clock.now_us())
    rows = [
        {
            "card": each.card,
            "kinds": [words.said(called.KINDS, kind) for kind in sorted(each.card.kinds)],
            "stock": each,
            "missing": _missing(each),
        }
        for each in found
        if query in each.card.name.lower() or query in each.card.owned_by.lower()
    ]
    without = sum(not each.sold for each in found)
    context = {"rows": rows, "query": query, "many": len(found), "without": without, "may": me.role == "admin"}
    return render(request, "office/models.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def new(request: HttpRequest, me: Operator) -> HttpResponse:
    """Define a model."""
    return _form(request, me, None)


@require_safe
@operator()
def model(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """One model: what it can do, its other names, its prices by list."""
    found = _find(name)
    context = {
        "stock": found,
        "card": found.card,
        "kinds": [words.said(called.KINDS, each) for each in sorted(found.card.kinds)],
        "modalities": [words.said(words.MODALITIES, each) for each in sorted(found.card.modalities)],
        "classes": [words.said(called.CLASSES, each) for each in CLASSES if each in found.card.classes],
        "missing": _missing(found),
        "learned": _learned(found),
        "may": me.role == "admin",
        "again": retyped.again(request),
    }
    return render(request, "office/model.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def edit(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """Change what is known of a model."""
    return _form(request, me, _find(name))


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def shelve(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """Take a model off the shelf, or put it back."""
    here = reverse("office:model", args=[name])
    _find(name)
    if request.method != "POST":
        return HttpResponseRedirect(here)
    if request.POST.get("listed") == "yes":
        return carry_out(request, here, _("Model put on sale."), definitions.relist, name, actor=me.actor)
    return carry_out(request, here, _("Model taken off sale."), shelf.unlist, name, text(request, "why", 200), me.actor)


@require_POST
@operator("admin")
def alias(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """Give a model another name, or take one away."""
    here = reverse("office:model", args=[name])
    found = _find(name)
    other = text(request, "alias", 128)
    if request.POST.get("do") == "remove":
        if other not in found.aliases:
            raise Http404
        return carry_out(request, here, _("Alias removed."), definitions.unalias, other, actor=me.actor)
    if way := ask_first(request, here):
        return way
    return carry_out(request, here, _aliased, definitions.alias, other, name, actor=me.actor)


def _aliased(made: dict[str, str]) -> str:
    if made["before"] in {"", made["model"]}:
        return _("Alias added.")
    return _("%(name)s is now an alias of %(model)s, no longer of %(before)s.") % {**made, "name": made["alias"]}


def _form(request: HttpRequest, me: Operator, found: overview.ModelOverview | None) -> HttpResponse:
    error = ""
    values = _values(found) | _typed_again(request)
    if request.method == "POST":
        values = _given(request)
        try:
            card = db.write(_define, values, found, me.actor)
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, reverse("office:model", args=[card]), _("Model saved."))
    context = {
        "found": found,
        "values": values,
        "error": error,
        "kinds": [(each, words.said(called.KINDS, each), each in values["kinds"]) for each in KINDS],
        "modalities": [
            (each, words.said(words.MODALITIES, each), each in values["modalities"]) for each in definitions.MODALITIES
        ],
        "classes": [(each, words.said(called.CLASSES, each), each in values["classes"]) for each in CLASSES],
        "tokenizers": [(each, each == values["tokenizer"]) for each in TOKENIZERS],
        "formulas": [(each, each == values["image_formula"]) for each in FORMULAS],
    }
    return render(request, "office/model_form.html", context, status=400 if error else 200)


def _define(tx: Tx, values: dict[str, Any], found: overview.ModelOverview | None, actor: str) -> str:
    name = values["name"] if found is None else found.card.name
    if found is None and overview.model(tx, name, now_us=clock.now_us()) is not None:
        raise CommandError(_("A model with this name already exists."))
    return definitions.define_model(
        tx,
        name,
        owned_by=values["owned_by"],
        kinds=values["kinds"],
        modalities=values["modalities"],
        classes=values["classes"],
        context_tokens=count(values["context_tokens"], _("Context")),
        output_tokens_max=count(values["output_tokens_max"], _("Max output")),
        hidden_output=values["hidden_output"],
        tokenizer=values["tokenizer"],
        image_formula=values["image_formula"],
        input_overhead_tokens=count(values["input_overhead_tokens"] or "0", _("Input overhead")),
        created_s=clock.now_us() // 1_000_000 if found is None else found.card.created_s,
        actor=actor,
        now_us=clock.now_us(),
    ).name


def _given(request: HttpRequest) -> dict[str, Any]:
    names = ("name", "owned_by", "context_tokens", "output_tokens_max", "tokenizer", "image_formula")
    values: dict[str, Any] = {name: text(request, name, 128) for name in (*names, "input_overhead_tokens")}
    values |= {name: request.POST.getlist(name)[:20] for name in ("kinds", "modalities", "classes")}
    return values | {"hidden_output": request.POST.get("hidden_output") == "on"}


def _typed_again(request: HttpRequest) -> dict[str, str]:
    """Single fields that were typed before a proof was asked for; what was ticked is ticked again."""
    names = ("name", "owned_by", "context_tokens", "output_tokens_max", "tokenizer", "image_formula")
    found = retyped.again(request)
    return {name: found[name] for name in (*names, "input_overhead_tokens") if name in found}


def _values(found: overview.ModelOverview | None) -> dict[str, Any]:
    if found is None:
        return {
            "name": "",
            "owned_by": "",
            "context_tokens": "",
            "output_tokens_max": "",
            "tokenizer": "",
            "image_formula": "",
            "input_overhead_tokens": "0",
            "kinds": [name for name, kind in KINDS.items() if kind.chats],
            "modalities": ["text"],
            "classes": ["input", "output"],
            "hidden_output": False,
        }
    card = found.card
    names = ("name", "owned_by", "context_tokens", "output_tokens_max", "tokenizer", "image_formula")
    values: dict[str, Any] = {name: getattr(card, name) for name in (*names, "input_overhead_tokens", "hidden_output")}
    return values | {name: sorted(getattr(card, name)) for name in ("kinds", "modalities", "classes")}


def _missing(found: overview.ModelOverview) -> list[tuple[str, str]]:
    """(price list, classes without a price there) of a model."""
    return [
        (price_list, marks.listed(words.said(called.CLASSES, each) for each in lacking))
        for price_list, lacking in found.missing.items()
    ]


def _learned(found: overview.ModelOverview) -> dict[str, Any]:
    """What is known of how the model's vendor counts, as the page shows it."""
    known = found.card.factors
    names = (*words.TEXTS, *words.QUARTILES)
    sides = (known.input, known.output)
    return {
        "known": known,
        "fitted_us": found.fitted_us,
        "needed": factor_fitting.SAMPLES_LEAST,
        "needed_accounts": factor_fitting.ACCOUNTS_LEAST,
        "rows": [
            (words.said(words.TEXTS | words.QUARTILES, name), [_hundredths(getattr(side, name)) for side in sides])
            for name in names
        ],
        "slack": _hundredths(known.bound_slack),
        "off_by": None if known.tokenizer_p95 is None else _hundredths(known.tokenizer_p95 * 100),
    }


def _hundredths(millionths: int) -> str:
    """A decimal with two digits after the point."""
    whole, part = divmod((millionths + 5000) // 10_000, 100)
    return f"{whole}.{part:02}"


def _find(name: str) -> overview.ModelOverview:
    found = db.read(overview.model, name, now_us=clock.now_us())
    if found is None:
        raise Http404
    return found
