"""Suggestions: what a catalogue of list prices says beside what we charge. A suggestion changes nothing.

The catalogue is the data that the package genai-prices brings along; its updater, which would fetch, is never
started.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from farebox.catalog.models import Model
from farebox.catalog.usage import CLASSES
from farebox.kit import money
from farebox.kit.db import Tx

from . import next_version, price_lists, sheets, shelf

# The catalogue's names for prices of 1,000,000 tokens. OpenAI and others bill reasoning as output.
_KEYS = {
    "input": ("input_mtok",),
    "cached_read": ("cache_read_mtok",),
    "cache_write": ("cache_write_mtok",),
    "input_audio": ("input_audio_mtok",),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
    "output_audio": ("output_audio_mtok",),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Suggestion(NamedTuple):
    """A price beside the catalogue's, both micro-units for 1,000,000 units; None where there is none.

    `change` is `same`, `new`, `unknown` or a percentage such as `+12.50 %`; `note` says what a person should
    look at.
    """

    model: str
    usage_class: str
    current_micro: int | None
    proposed_micro: int | None
    change: str
    note: str = ""


def suggest(tx: Tx, price_list: str, *, now_us: int) -> list[Suggestion]:
    """The catalogue's prices beside those of the version in force, for every listed model and class.

    In the list's currency, by the rate and factor frozen in that version. CommandError without a version in
    force.
    """
    sheet = price_lists.show(tx, price_list, now_us=now_us)
    current = {(line.model, line.usage_class): line.micro_per_million for line in sheet.rows}
    at = _EPOCH + timedelta(microseconds=now_us)
    out = []
    for row in Model.objects.filter(listed=True).order_by("name"):
        card = shelf.card_of(row)
        found = _find(card.name, card.owned_by)
        prices = None if found is None else found.get_prices(at)
        for usage_class in (name for name in CLASSES if name in card.classes):
            usd, note = (None, "not in the catalogue") if prices is None else _price(prices, usage_class)
            proposed = None if usd is None else next_version.convert(usd, rate=sheet.rate, factor=sheet.factor)
            now = current.get((card.name, usage_class))
            out.append(Suggestion(card.name, usage_class, now, proposed, _change(now, proposed), note))
    return out


def rows(suggested: list[Suggestion]) -> list[sheets.PriceRow]:
    """The suggestions that would change a price, as rows to publish; for a person to decide."""
    return [
        sheets.PriceRow(line.model, line.usage_class, line.proposed_micro)
        for line in suggested
        if line.proposed_micro is not None and line.proposed_micro != line.current_micro
    ]


def _find(model: str, owned_by: str) -> Any:
    """The catalogue's entry for a model of that vendor, else of whom the name belongs to; None if unknown."""
    # Costs 0.6 s and is needed by this command alone.
    from genai_prices.data import providers  # noqa: PLC0415
    from genai_prices.data_snapshot import DataSnapshot  # noqa: PLC0415

    catalogue = DataSnapshot(providers=providers, from_auto_update=False)
    for vendor in (owned_by or None, None):
        try:
            return catalogue.find_provider_model(model, None, vendor, None)[1]
        except LookupError:
            continue
    return None


def _price(prices: Any, usage_class: str) -> tuple[int | None, str]:
    """The price of a class in micro-USD, or None, and a note."""
    for key in _KEYS.get(usage_class, ()):
        found = getattr(prices, key)
        if found is None:
            continue
        note = ""
        if not isinstance(found, Decimal):
            found, note = found.base, "the vendor has tiers by length; this is the lowest"
        try:
            return money.parse(str(found)), note
        except money.MoneyError:
            return None, f"the catalogue says {found}, which is no price in whole micro-units"
    return None, "no price for this class in the catalogue"


def _change(current: int | None, proposed: int | None) -> str:
    if proposed is None:
        return "unknown"
    if current is None:
        return "new"
    if current == proposed:
        return "same"
    if current == 0:
        return "was free"
    # Hundredths of a percent in whole numbers, towards zero.
    sign = "+" if proposed > current else "-"
    whole, part = divmod(abs(proposed - current) * 10_000 // current, 100)
    return f"{sign}{whole:,}.{part:02d} %"
