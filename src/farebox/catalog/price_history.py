"""The history of one model's prices on a price list, from its first day to what is announced."""

from __future__ import annotations

from typing import NamedTuple

from farebox.catalog.models import Price, PriceListVersion
from farebox.kit.db import Tx


class PriceStep(NamedTuple):
    """From a moment on: usage class -> micro-units for 1,000,000 units; none where the list does not sell it."""

    version: int
    valid_from_us: int
    prices: dict[str, int]


def steps(tx: Tx, price_list: str, model: str) -> list[PriceStep]:
    """The steps in which a model's prices change, oldest first, future ones included; none if it was never sold.

    Versions that change none of them are left out, and so is what was withdrawn before its time.
    """
    del tx  # the ORM reads in the same transaction
    prices: dict[str, dict[str, int]] = {}
    found = Price.objects.filter(version__price_list=price_list, model=model)
    for version, usage_class, micro in found.values_list("version_id", "usage_class", "micro_per_million"):
        prices.setdefault(version, {})[usage_class] = micro
    out: list[PriceStep] = []
    if not prices:
        return out
    # Of two versions for the same time the later number is in force.
    order = PriceListVersion.objects.filter(price_list=price_list).order_by("valid_from_us", "n")
    in_force = {row.valid_from_us: row for row in order.only("id", "n", "valid_from_us")}
    for row in in_force.values():
        step = PriceStep(row.n, row.valid_from_us, prices.get(row.id, {}))
        if step.prices != (out[-1].prices if out else {}):
            out.append(step)
    return out
