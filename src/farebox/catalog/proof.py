"""Proof of the catalogue: what is sold has prices, and prices are what was published (promises: I23, I24)."""

from __future__ import annotations

import json

from django.db.models import Count, Max, Min, Q

from farebox.catalog.models import Alias, Model, Price, PriceList, PriceListVersion
from farebox.catalog.pricing import PRICE_MICRO_MAX
from farebox.catalog.usage import CLASSES
from farebox.kit import clock, money, refusal
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import Refusal

from . import next_version, shelf


def prove(tx: Tx) -> list[str | Refusal]:
    """Every finding of this room in one sentence each; an empty list is the proof. Reads only."""
    broken = _models()
    found: list[str | Refusal] = [*broken, *_aliases(), *_lists(), *_versions(), *_prices()]
    # A model that cannot be read has no card, so the shelf could not be loaded either.
    return found if broken else [*found, *_shelf(tx)]


def _models() -> list[str]:
    found = []
    for row in Model.objects.order_by("name"):
        for field in ("kinds", "modalities", "classes"):
            try:
                words = json.loads(getattr(row, field))
            except ValueError:
                words = None
            if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
                found.append(f"model {row.name}: {field} is no JSON list of words")
            elif field == "classes" and set(words) - set(CLASSES):
                found.append(f"model {row.name} produces a usage class that does not exist")
    return found


def _aliases() -> list[str]:
    doubles = Alias.objects.filter(name__in=Model.objects.values("name")).order_by("name")
    return [f"{double.name} is both an alias and a model" for double in doubles]


def _lists() -> list[str | Refusal]:
    found: list[str | Refusal] = []
    for listed in PriceList.objects.order_by("name"):
        try:
            money.check_currency(listed.currency)
        except money.MoneyError as fault:
            found.append(refusal.of("proof.price_list", price_list=listed.name, why=fault.refusal))
        numbers = PriceListVersion.objects.filter(price_list=listed).aggregate(
            low=Min("n"), high=Max("n"), many=Count("n")
        )
        if listed.name == shelf.HOUSE_LIST and numbers["many"]:
            found.append(f"the built-in price list {shelf.HOUSE_LIST} has versions in the tables")
        if numbers["many"] and (numbers["low"], numbers["high"]) != (1, numbers["many"]):
            found.append(f"I24 price list {listed.name}: versions are missing between 1 and {numbers['high']}")
    return found


def _versions() -> list[str | Refusal]:
    found: list[str | Refusal] = []
    counted = PriceListVersion.objects.select_related("price_list").annotate(prices=Count("price"))
    for row in counted.order_by("price_list_id", "n"):
        name = f"price list {row.price_list_id} v{row.n}"
        if not row.prices:
            found.append(f"{name} has no prices")
        if row.valid_from_us < row.published_us:
            found.append(f"{name} began before it was published")
        for field in ("rate", "factor", "usd_rate"):
            try:
                next_version.positive(getattr(row, field), field)
            except CommandError as fault:
                found.append(refusal.of("proof.version", version=name, why=fault.reason))
        if row.price_list.currency == next_version.USD and row.usd_rate != "1":
            found.append(f"{name} is in USD and says that a USD is {row.usd_rate}")
    return found


def _prices() -> list[str]:
    wrong = Q(micro_per_million__lt=0) | Q(micro_per_million__gt=PRICE_MICRO_MAX) | ~Q(usage_class__in=CLASSES)
    strangers = ~Q(model__in=Model.objects.values("name"))
    return [
        f"I23 the price {row.id} of {row.model} for {row.usage_class} is impossible: {row.micro_per_million}"
        for row in Price.objects.filter(wrong).order_by("id")
    ] + [
        f"the price {row.id} is for {row.model}, which is no model"
        for row in Price.objects.filter(strangers).order_by("id")
    ]


def _shelf(tx: Tx) -> list[str]:
    """Listed models that a version, in force or to come, sells without a price for all that they produce."""
    found = []
    stock = shelf.load(tx, clock.now_us())
    for versions in stock.versions.values():
        for version in versions:
            for model, prices in sorted(version.prices.items()):
                card = stock.cards.get(model)
                if card is None or model not in stock.listed:
                    continue
                found += [
                    f"R05 {version.price_list} v{version.n} has no price for {name}, which {model} produces"
                    for name in sorted(card.classes - prices.keys())
                ]
    return found
