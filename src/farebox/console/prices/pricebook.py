"""A price list as a book: every model that it sells now, its prices beside the vendor's, what is announced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from django.db import connection

from farebox.catalog import public_list, shelf
from farebox.catalog.official import OFFICIAL
from farebox.catalog.pricing import ModelCard
from farebox.catalog.shelf import ListVersion, Shelf
from farebox.catalog.usage import CLASSES
from farebox.kit import db, options
from farebox.kit.db import Tx


@dataclass(frozen=True, slots=True)
class Quote:
    """One price in micro-units for 1,000,000 units, beside the vendor's in micro-USD where that is known.

    `discount_tenths`: tenths of a percent below the vendor's price at the list's own rate, rounded down.
    """

    micro: int
    official_micro: int | None = None
    discount_tenths: int | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """A price that will change: None where the model is not sold before or after."""

    valid_from_us: int
    model: str
    usage_class: str
    before_micro: int | None
    after_micro: int | None


@dataclass(frozen=True, slots=True)
class ModelQuotes:
    """A model on sale with its quotes by usage class, its other names, and what is announced for it."""

    card: ModelCard
    quotes: Mapping[str, Quote]
    aliases: tuple[str, ...]
    announced: tuple[Announced, ...]

    @property
    def discounts(self) -> tuple[int, int] | None:
        """The smallest and the largest discount of its prices; None where no price of the vendor is known."""
        known = [quote.discount_tenths for quote in self.quotes.values() if quote.discount_tenths is not None]
        return (min(known), max(known)) if known else None


@dataclass(frozen=True, slots=True)
class Book:
    """A price list now."""

    price_list: str
    version: int
    currency: str
    usd_rate: str
    valid_from_us: int
    lines: tuple[ModelQuotes, ...]
    announced: tuple[Announced, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The usage classes that any model has a price for."""
        return tuple(name for name in CLASSES if any(name in line.quotes for line in self.lines))


_kept: tuple[tuple[object, int], Shelf] | None = None


def read(tx: Tx, now_us: int, *, price_list: str = "") -> Book | None:
    """The book of this list now, of the public one if not named; None without one, or without a version in force."""
    name = price_list or public_list.name(tx)
    if name is None:
        return None
    found = on_shelf(tx, now_us)
    version = found.version(name, now_us)
    if version is None:
        return None
    official = found.version(OFFICIAL, now_us)
    announced = tuple(_announced(found, version, now_us))
    aliases: dict[str, list[str]] = {}
    for alias, model in sorted(found.aliases.items()):
        aliases.setdefault(model, []).append(alias)
    return Book(
        price_list=name,
        version=version.n,
        currency=version.currency,
        usd_rate=version.usd_rate,
        valid_from_us=version.valid_from_us,
        lines=tuple(
            ModelQuotes(
                card=card,
                quotes=_quotes(version, official, card),
                aliases=tuple(aliases.get(card.name, ())),
                announced=tuple(each for each in announced if each.model == card.name),
            )
            for card in found.models(name, now_us)
        ),
        announced=announced,
    )


def card(tx: Tx, asked: str, now_us: int) -> ModelCard | None:
    """The card of a model or alias, whether on sale or not."""
    return on_shelf(tx, now_us).card(asked)


def sold_by(tx: Tx, price_list: str, now_us: int) -> list[tuple[ModelCard, Mapping[str, int]]]:
    """The models that this list sells now, each with its prices in micro-units for 1,000,000 units by usage class."""
    found = on_shelf(tx, now_us)
    version = found.version(price_list, now_us)
    if version is None:
        return []
    return [(card, version.prices[card.name]) for card in found.models(price_list, now_us)]


def discount_tenths(micro: int, official_micro: int, usd_rate: str) -> int | None:
    """Tenths of a percent that a price is below the vendor's at `usd_rate`, rounded down; None if that is 0."""
    there = official_micro * Fraction(usd_rate)
    return int((there - micro) * 1000 // there) if there else None


def on_shelf(tx: Tx, now_us: int) -> Shelf:
    """What is on sale; loaded again only after a change."""
    global _kept  # noqa: PLW0603 - one snapshot for all threads that draw pages, swapped whole
    at = (connection.settings_dict["NAME"], db.versions(tx).get("shelf", 0))
    kept = _kept
    if kept is None or kept[0] != at:
        _kept = kept = (at, shelf.load(tx, now_us))
    return kept[1]


def _quotes(version: ListVersion, official: ListVersion | None, of: ModelCard) -> dict[str, Quote]:
    vendor = official.prices.get(of.name, {}) if official is not None else {}
    quotes = {}
    for name in CLASSES:
        micro = version.prices[of.name].get(name)
        if micro is None:
            continue
        there = vendor.get(name)
        tenths = None if there is None else discount_tenths(micro, there, version.usd_rate)
        if tenths is not None and tenths < 0 and not options.current().advertise_markup:
            there = tenths = None
        quotes[name] = Quote(micro, there, tenths)
    return quotes


def _announced(found: Shelf, now: ListVersion, now_us: int) -> Iterator[Announced]:
    """What the versions to come change, each against the one before it, of models that are listed."""
    coming = {
        version.valid_from_us: version
        for version in found.versions.get(now.price_list, ())
        if version.valid_from_us > now_us
    }
    before = now
    for version in coming.values():
        for model in sorted(before.prices.keys() | version.prices.keys()):
            if model not in found.listed:
                continue
            old, new = before.prices.get(model, {}), version.prices.get(model, {})
            for name in CLASSES:
                if old.get(name) != new.get(name):
                    yield Announced(version.valid_from_us, model, name, old.get(name), new.get(name))
        before = version
