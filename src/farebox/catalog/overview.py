"""What an operator sees of models: what each can do, which lists sell it, and where a price is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from farebox.catalog import samples, shelf
from farebox.catalog.models import Model, PriceList
from farebox.catalog.pricing import ModelCard
from farebox.catalog.usage import CLASSES
from farebox.kit.db import Tx


@dataclass(frozen=True, slots=True)
class ModelOverview:
    """A model. `sold` are the lists that sell it now; `missing` are, by list, classes without a price.

    `fitted_us` is when its card's factors were fitted last; 0 for never.
    """

    card: ModelCard
    listed: bool
    unlisted_why: str
    aliases: tuple[str, ...] = ()
    sold: tuple[str, ...] = ()
    missing: dict[str, list[str]] = field(default_factory=dict)
    fitted_us: int = 0


def models(tx: Tx, *, now_us: int) -> list[ModelOverview]:
    """Every model by name."""
    whole = shelf.load(tx, now_us)
    why = dict(Model.objects.values_list("name", "unlisted_why"))
    fitted_us = samples.fitted_us(tx)
    return [_overview(whole, name, why.get(name, ""), now_us, fitted_us.get(name, 0)) for name in sorted(whole.cards)]


def model(tx: Tx, name: str, *, now_us: int) -> ModelOverview | None:
    """One model, or None."""
    whole = shelf.load(tx, now_us)
    if name not in whole.cards:
        return None
    why = Model.objects.filter(name=name).values_list("unlisted_why", flat=True).first()
    return _overview(whole, name, why or "", now_us, samples.fitted_us(tx).get(name, 0))


def unpriced(tx: Tx) -> list[str]:
    """Models that a settlement has taken off the shelf for a usage class without a price (R05), by name."""
    del tx  # the ORM reads in the same transaction
    off = Model.objects.filter(listed=False, unlisted_why=shelf.UNPRICED)
    return list(off.order_by("name").values_list("name", flat=True))


def list_names(tx: Tx, *, currency: str = "") -> list[str]:
    """The price lists by name, of one currency if given, without the house account's."""
    del tx  # the ORM reads in the same transaction
    rows = PriceList.objects.exclude(name=shelf.HOUSE_LIST).order_by("name")
    return list((rows.filter(currency=currency) if currency else rows).values_list("name", flat=True))


def _overview(whole: shelf.Shelf, name: str, why: str, now_us: int, fitted_us: int) -> ModelOverview:
    card = whole.cards[name]
    sold, missing = [], {}
    for price_list in sorted(whole.versions):
        version = whole.version(price_list, now_us)
        prices = None if version is None else version.prices.get(name)
        if prices is None:
            continue
        lacking = [each for each in CLASSES if each in card.classes and each not in prices]
        if lacking:
            missing[price_list] = lacking
        else:
            sold.append(price_list)
    aliases = tuple(sorted(other for other, target in whole.aliases.items() if target == name))
    return ModelOverview(card, name in whole.listed, why, aliases, tuple(sold), missing, fitted_us)
