"""OpenAI's list prices that ship: seven models on the price list `official-usd`, in USD for 1,000,000 tokens.

Facts from OpenAI's pricing and model pages; `created_s` is midnight UTC of the day of release.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from farebox.catalog.models import PriceListVersion
from farebox.catalog.sheets import PriceRow
from farebox.kit.db import Tx

from . import definitions, next_version, price_lists, sheets

OFFICIAL = "official-usd"


class OfficialModel(NamedTuple):
    """A model as its vendor describes it; `prices`: usage class -> USD for 1,000,000 units, a text."""

    name: str
    context_tokens: int
    output_tokens_max: int
    tokenizer: str
    created_s: int
    prices: dict[str, str]
    kinds: tuple[str, ...] = ("chat",)
    modalities: tuple[str, ...] = ("text",)
    image_formula: str = ""
    owned_by: str = "openai"

    def card(self) -> dict[str, Any]:
        """The facts as arguments of `goods.define_model`: what has a price is what it can produce."""
        return {
            **{k: v for k, v in self._asdict().items() if k not in {"name", "prices"}},
            "classes": tuple(self.prices),
        }

    def rows(self) -> list[PriceRow]:
        """The list prices in micro-USD."""
        return [sheets.row(self.name, usage_class, price) for usage_class, price in self.prices.items()]


def _prices(given: str, made: str) -> dict[str, str]:
    return {"input": given, "output": made}


OFFICIAL_MODELS = (
    OfficialModel("gpt-3.5-turbo-0125", 16_385, 4_096, "cl100k_base", 1_706_140_800, _prices("0.50", "1.50")),
    OfficialModel(
        "gpt-3.5-turbo-instruct",
        4_096,
        4_096,
        "cl100k_base",
        1_694_995_200,
        _prices("1.50", "2.00"),
        kinds=("completions",),
    ),
    OfficialModel("gpt-4", 8_192, 8_192, "cl100k_base", 1_678_752_000, _prices("30.00", "60.00")),
    OfficialModel("gpt-4-32k", 32_768, 32_768, "cl100k_base", 1_678_752_000, _prices("60.00", "120.00")),
    OfficialModel("gpt-4-0125-preview", 128_000, 4_096, "cl100k_base", 1_706_140_800, _prices("10.00", "30.00")),
    OfficialModel("gpt-4-1106-preview", 128_000, 4_096, "cl100k_base", 1_699_228_800, _prices("10.00", "30.00")),
    OfficialModel(
        "gpt-4-1106-vision-preview",
        128_000,
        4_096,
        "cl100k_base",
        1_699_228_800,
        _prices("10.00", "30.00"),
        modalities=("text", "image"),
        image_formula="openai_tile",
    ),
)

# Sold by the demo beside the seven; no rows of `official-usd`.
DEMO_MODELS = (
    OfficialModel(
        "gpt-4o-mini",
        128_000,
        16_384,
        "o200k_base",
        1_721_260_800,
        {"input": "0.15", "cached_read": "0.075", "output": "0.60"},
        modalities=("text", "image"),
        image_formula="openai_tile_mini",
    ),
    OfficialModel(
        "text-embedding-3-small",
        8_191,
        0,
        "cl100k_base",
        1_706_140_800,
        {"input": "0.02"},
        kinds=("embeddings",),
    ),
)


def define(tx: Tx, facts: Iterable[OfficialModel], *, actor: str, now_us: int) -> None:
    """Define models by their vendor's facts. Twice is once."""
    for model in facts:
        definitions.define_model(tx, model.name, **model.card(), actor=actor, now_us=now_us)


def seed_official(tx: Tx, *, actor: str, now_us: int) -> bool:
    """Define the seven models and publish `official-usd`; False, and nothing done, if it has a version."""
    price_lists.create_list(tx, OFFICIAL, next_version.USD, about="List prices of the vendor, in USD", actor=actor)
    if PriceListVersion.objects.filter(price_list=OFFICIAL).exists():
        return False
    define(tx, OFFICIAL_MODELS, actor=actor, now_us=now_us)
    rows = [line for model in OFFICIAL_MODELS for line in model.rows()]
    price_lists.publish(tx, OFFICIAL, rows, note="As the vendor lists them", actor=actor, now_us=now_us)
    return True
