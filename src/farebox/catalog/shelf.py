"""The shelf: what is on sale now, as one immutable snapshot that is swapped whole.

Versions that begin later are already in it and take over when their time comes. The module itself needs no Django;
only loading and unlisting do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from farebox.catalog import factors, rules
from farebox.catalog.pricing import ModelCard, Offer
from farebox.catalog.usage import CLASSES
from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

if TYPE_CHECKING:
    from farebox.catalog import models

# The built-in list of the house account (channel tests): every model, also an unlisted one, at 0.
HOUSE_LIST = "house"
_HOUSE_PRICES = dict.fromkeys(CLASSES, 0)


@dataclass(frozen=True, slots=True)
class ListVersion:
    """A version of a price list; `prices`: model -> usage class -> micro-units for 1,000,000 units.

    `whole` are the same with those that classes take from their parents by the newest rules (R05).
    """

    price_list: str
    n: int
    currency: str
    valid_from_us: int
    usd_rate: str
    prices: Mapping[str, dict[str, int]]
    whole: Mapping[str, dict[str, int]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        newest = rules.of(rules.NEWEST)
        object.__setattr__(self, "whole", {model: newest.priced(prices) for model, prices in self.prices.items()})


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is on sale: cards of all models, which of them are listed, aliases, and versions by price list.

    Versions are in the order in which they come into force: by `valid_from_us`, then by number. From `rules_2_from_us`
    on (None: not set) offers are of the charging rules version 2.
    """

    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[ListVersion, ...]] = field(default_factory=dict)
    rules_2_from_us: int | None = None

    def rule_version(self, now_us: int) -> int:
        """The version of the charging rules for calls whose money is held at `now_us`."""
        return 2 if self.rules_2_from_us is not None and self.rules_2_from_us <= now_us else 1

    def version(self, price_list: str, now_us: int) -> ListVersion | None:
        """The version of a price list in force at `now_us`; None if there is none yet."""
        for version in reversed(self.versions.get(price_list, ())):
            if version.valid_from_us <= now_us:
                return version
        return None

    def card(self, asked: str) -> ModelCard | None:
        """The card of a model or alias, whether listed or not."""
        return self.cards.get(self.aliases.get(asked, asked))

    def offer(self, asked: str, price_list: str, now_us: int, *, currency: str = "USD") -> Offer | None:
        """The offer for a model or alias on a price list; None if not on sale there now (no price, no call).

        `currency` matters for the built-in list `house` alone, which has none of its own.
        """
        card = self.card(asked)
        if card is None:
            return None
        if price_list == HOUSE_LIST:
            return Offer(card, asked, HOUSE_LIST, 0, currency, _HOUSE_PRICES, "1", self.rule_version(now_us))
        version = self.version(price_list, now_us)
        if version is None or not self._sells(version, card):
            return None
        rule_version = self.rule_version(now_us)
        prices = (version.prices if rule_version == 1 else version.whole)[card.name]
        return Offer(card, asked, price_list, version.n, version.currency, prices, version.usd_rate, rule_version)

    def models(self, price_list: str, now_us: int) -> tuple[ModelCard, ...]:
        """The models that a price list sells now, by name."""
        if price_list == HOUSE_LIST:
            return tuple(self.cards[name] for name in sorted(self.cards))
        version = self.version(price_list, now_us)
        if version is None:
            return ()
        return tuple(card for name, card in sorted(self.cards.items()) if self._sells(version, card))

    def names(self, price_list: str, now_us: int) -> tuple[tuple[str, ModelCard], ...]:
        """Every name under which a price list sells a model now, aliases included, with the model's card."""
        sold = {card.name: card for card in self.models(price_list, now_us)}
        others = {alias: sold[name] for alias, name in self.aliases.items() if name in sold}
        return tuple(sorted({**sold, **others}.items()))

    def _sells(self, version: ListVersion, card: ModelCard) -> bool:
        prices = version.prices.get(card.name)
        # A class that came to the model after the publication leaves it without a price: no price, no call.
        return prices is not None and card.name in self.listed and card.classes <= prices.keys()


class ShelfKeeper:
    """Holds the shelf in force for one process; whoever polls the version `shelf` swaps it."""

    __slots__ = ("current",)

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.current = shelf or Shelf()

    def swap(self, shelf: Shelf) -> None:
        """Put a newly loaded shelf in force."""
        self.current = shelf


def load(tx: Tx, now_us: int) -> Shelf:
    """Read the whole shelf: versions in force at `now_us` and later ones, models, aliases, and when rules begin."""
    from farebox.catalog import models  # noqa: PLC0415 - the hot path needs no Django
    from farebox.kit import settings  # noqa: PLC0415

    versions = _load_versions(now_us)
    rows = list(models.Model.objects.order_by("name"))
    learned = dict(models.ModelFactors.objects.values_list("model", "factors"))
    return Shelf(
        cards=MappingProxyType({row.name: card_of(row, learned.get(row.name, "")) for row in rows}),
        listed=frozenset(row.name for row in rows if row.listed),
        aliases=MappingProxyType(dict(models.Alias.objects.values_list("name", "model_id"))),
        versions=versions,
        rules_2_from_us=settings.get(tx, settings.RULES_2_FROM),
    )


def _load_versions(now_us: int) -> Mapping[str, tuple[ListVersion, ...]]:
    """Versions by list. They are read first and never change, so all their prices are there by then."""
    from farebox.catalog import models  # noqa: PLC0415

    by_list: dict[str, list[models.PriceListVersion]] = {}
    order = models.PriceListVersion.objects.select_related("price_list").order_by("valid_from_us", "n")
    for version in order:
        kept = by_list.setdefault(version.price_list_id, [])
        if version.valid_from_us <= now_us:
            kept.clear()
        kept.append(version)
    ids = [version.id for kept in by_list.values() for version in kept]
    prices: dict[str, dict[str, dict[str, int]]] = {}
    for price in models.Price.objects.filter(version_id__in=ids):
        of_version = prices.setdefault(price.version_id, {})
        of_version.setdefault(price.model, {})[price.usage_class] = price.micro_per_million
    return MappingProxyType(
        {
            name: tuple(_version(version, prices.get(version.id, {})) for version in kept)
            for name, kept in by_list.items()
        }
    )


def _version(version: models.PriceListVersion, prices: dict[str, dict[str, int]]) -> ListVersion:
    return ListVersion(
        price_list=version.price_list_id,
        n=version.n,
        currency=version.price_list.currency,
        valid_from_us=version.valid_from_us,
        usd_rate=version.usd_rate,
        prices=MappingProxyType(prices),
    )


def card_of(row: models.Model, learned: str = "") -> ModelCard:
    """The card of a row of the table of models, with its factors if their JSON text is given."""
    return ModelCard(
        name=row.name,
        owned_by=row.owned_by,
        kinds=_texts(row.kinds),
        modalities=_texts(row.modalities),
        context_tokens=row.context_tokens,
        output_tokens_max=row.output_tokens_max,
        hidden_output=row.hidden_output,
        tokenizer=row.tokenizer,
        image_formula=row.image_formula,
        input_overhead_tokens=row.input_overhead_tokens,
        classes=_texts(row.classes),
        created_s=row.created_s,
        factors=factors.decode(learned) if learned else factors.DEFAULT,
    )


def _texts(text: str) -> frozenset[str]:
    found: Iterable[str] = json.loads(text)
    return frozenset(found)


UNPRICED = "a call used a usage class that has no price"  # why a settlement takes a model off the shelf (R05)


def unlist(tx: Tx, model: str, why: str, actor: str) -> bool:
    """Take a model off the shelf on every node; whether it was on it. Twice is once. CommandError if unknown.

    Calls under way keep the price of their hold; new ones get `model_not_found`.
    """
    from farebox.catalog import models  # noqa: PLC0415

    changed = models.Model.objects.filter(name=model, listed=True).update(listed=False, unlisted_why=why[:200])
    if not changed:
        if not models.Model.objects.filter(name=model).exists():
            raise CommandError("model.unknown", model=model[:80])
        return False
    db.bump(tx, "shelf")
    audit.record(tx, actor=actor, verb="model.unlist", object=model, before={"listed": True}, after={"why": why})
    return True
