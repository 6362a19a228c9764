"""The playground: a chat in the browser that calls the API itself, with a key that lives for an hour."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from farebox.accounts.keys import playground as domain
from farebox.accounts.models import Account
from farebox.accounts.sign_in import sessions
from farebox.catalog.images import FORMULAS
from farebox.catalog.pricing import ModelCard
from farebox.console import refusals
from farebox.console.prices import pricebook
from farebox.console.principal import Principal, signed_in
from farebox.kit import clock, db, options
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.protocol import kinds

from . import api_refusals
from .key_forms import Mint


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Try every model, see what each answer costs, and take the code along."""
    context = {
        "form": Mint(),
        "base_url": options.current().origin + "/v1",
        "minutes": domain.LIFE_S // 60,
        "day_micro": db.read(_day_micro, me.account),
        "refusals": json.dumps(api_refusals.said()),
    }
    return render(request, "console/playground.html", context)


@require_safe
@signed_in
def models(request: HttpRequest, me: Principal) -> HttpResponse:  # noqa: ARG001 - every view takes its request
    """The chat models that this account may buy, with their prices in micro-units for 1,000,000 units, as JSON."""
    price_list = Account.objects.values_list("price_list", flat=True).get(id=me.account)
    sold = db.read(pricebook.sold_by, price_list, clock.now_us())
    rows = [
        {
            "name": card.name,
            "context_tokens": card.context_tokens,
            "output_tokens_max": card.output_tokens_max,
            "image": "image" in card.modalities,
            "image_tokens": _image_tokens(card),
            "prices": dict(prices),
        }
        for card, prices in sorted(sold, key=lambda each: (-each[0].created_s, each[0].name))
        if kinds.chats(card)
    ]
    return JsonResponse({"currency": me.currency, "models": rows})


@require_POST
@signed_in
def key(request: HttpRequest, me: Principal) -> HttpResponse:
    """A key for this session, as JSON: its text, shown this once, and when it ends."""
    form = Mint(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": form.errors["cap"][0]}, status=400)
    try:
        made, text = db.write(
            domain.mint,
            session=sessions.digest(request.session.session_key or ""),
            member=me.member,
            cap_micro=form.cleaned_data["cap"],
            now_us=clock.now_us(),
            actor=me.actor,
        )
    except CommandError as fault:
        return JsonResponse({"error": refusals.said(fault)}, status=409)
    return JsonResponse({"key": text, "id": made.id, "expires_us": made.expires_us})


def _day_micro(tx: Tx, account: str) -> int:
    del tx  # the ORM reads in the same transaction
    return domain.day_micro(Account.objects.get(id=account), now_us=clock.now_us())


def _image_tokens(card: ModelCard) -> dict[str, int] | None:
    """What an image counts: `base`, and `tile` for each of its tiles; None where no formula is known."""
    formula = FORMULAS.get(card.image_formula)
    return None if formula is None else {"base": formula.base, "tile": formula.tile}
