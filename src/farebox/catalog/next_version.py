"""How the next version of a price list comes to be: what it follows, what a USD list gives, what is complete.

Nothing is written here, and the same is true of a preview and of a publication.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from farebox.catalog import sheets, shelf, versions
from farebox.catalog.models import Alias, Model, PriceList, PriceListVersion
from farebox.catalog.sheets import PriceRow
from farebox.catalog.usage import CLASSES
from farebox.catalog.versions import Prices
from farebox.kit.errors import CommandError

USD = "USD"
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?\Z")


def draw_up(
    listed: PriceList,
    rows: Iterable[PriceRow],
    how: Mapping[str, str],
    *,
    remove: Iterable[str],
    valid_from_us: int | None,
    now_us: int,
) -> tuple[int, PriceListVersion | None, dict[str, str], Prices]:
    """When a version would begin, what it follows, how it is made, and its prices; CommandError if it can't be."""
    begins_us = now_us if valid_from_us is None else valid_from_us
    if begins_us < now_us:
        raise CommandError("version.past")
    before = versions.at(listed.name, begins_us)
    made = _terms(listed, before, **how)
    prices = versions.prices(before)
    for model in remove:
        _drop(prices, model)
    if how["from_usd_source"]:
        source, derived = _derive(how["from_usd_source"], made, now_us)
        made["source"] = source
        prices.update(derived)
    prices.update({(line.model, line.usage_class): line.micro_per_million for line in map(sheets.check, rows)})
    _complete(listed.name, prices)
    return begins_us, before, made, prices


def positive(text: str, name: str) -> Fraction:
    """The exact value of a positive decimal text such as `7.25`; CommandError naming it otherwise."""
    value = Fraction(text) if _DECIMAL.match(text) else Fraction(0)
    if value <= 0:
        raise CommandError("version.not_positive", name=name, text=text[:40])
    return value


def convert(micro_usd: int, *, rate: str, factor: str) -> int:
    """USD price x rate x factor in micro-units; a fraction of a micro-unit is dropped (the customer wins)."""
    return int(micro_usd * positive(rate, "rate") * positive(factor, "factor"))


def _terms(
    listed: PriceList,
    before: PriceListVersion | None,
    *,
    from_usd_source: str,
    rate: str,
    factor: str,
    usd_rate: str,
) -> dict[str, str]:
    """The frozen facts of how a version is made: source, rate, factor, usd_rate."""
    if listed.currency == USD:
        if {text for text in (rate, usd_rate) if text} - {"1"}:
            raise CommandError("version.usd_has_no_rate", price_list=listed.name)
        rate = usd_rate = "1"
    elif from_usd_source and not rate:
        raise CommandError("version.no_rate", currency=listed.currency)
    usd_rate = usd_rate or rate or (before.usd_rate if before is not None else "")
    if not usd_rate:
        raise CommandError("version.no_usd_rate", currency=listed.currency)
    if from_usd_source:
        made = {"source": from_usd_source, "rate": rate, "factor": factor}
    elif before is not None:
        made = {"source": before.source, "rate": before.rate, "factor": before.factor}
    else:
        made = {"source": "", "rate": rate or usd_rate, "factor": "1"}
    made["usd_rate"] = usd_rate
    for name in ("usd_rate", "rate", "factor"):
        positive(made[name], name)
    return made


def _derive(source: str, made: Mapping[str, str], now_us: int) -> tuple[str, Prices]:
    listed = versions.price_list_named(source)
    if listed.currency != USD:
        raise CommandError("version.source_currency", price_list=source, currency=listed.currency)
    version = versions.at(listed.name, now_us)
    if version is None:
        raise CommandError("price_list.not_in_force", price_list=source)
    derived = {
        key: convert(micro, rate=made["rate"], factor=made["factor"]) for key, micro in versions.prices(version).items()
    }
    return f"{source} v{version.n}", derived


def _drop(prices: Prices, model: str) -> None:
    gone = [key for key in prices if key[0] == model]
    if not gone:
        raise CommandError("version.nothing_to_remove", model=model[:80])
    for key in gone:
        del prices[key]


def _complete(price_list: str, prices: Prices) -> None:
    """Refuse a version in which a model lacks a price for a class that it can produce."""
    if not prices:
        raise CommandError("version.empty", price_list=price_list)
    for key, micro in prices.items():
        sheets.check(PriceRow(*key, micro))
    cards = {row.name: shelf.card_of(row) for row in Model.objects.all()}
    for model in sorted({model for model, _ in prices}):
        card = cards.get(model)
        if card is None:
            target = Alias.objects.filter(name=model).values_list("model_id", flat=True).first()
            if target:
                raise CommandError("version.alias", model=model[:80], target=target)
            raise CommandError("version.no_model", model=model[:80])
        missing = [name for name in CLASSES if name in card.classes and (model, name) not in prices]
        if missing:
            raise CommandError(
                "version.incomplete", model=model, usage_class=missing[0], price_list=price_list, missing=tuple(missing)
            )
