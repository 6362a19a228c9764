"""What the tests of the console share: a visitor, options for one test, a price list for visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.visitor import Visitor


@pytest.fixture
def visitor(shop: Any) -> Visitor:
    return Visitor(shop)


@pytest.fixture
def option(shop: Any) -> Iterator[Callable[..., None]]:
    """Change options of the running shop for one test."""
    before: dict[str, Any] = {}

    def change(**changes: Any) -> None:
        for name, value in changes.items():
            before.setdefault(name, getattr(shop.options, name))
            setattr(shop.options, name, value)

    yield change
    for name, value in before.items():
        setattr(shop.options, name, value)


@pytest.fixture
def publish(shop: Any) -> Callable[..., None]:
    """Publish prices by model and usage class on a list, made where it does not exist."""

    def go(
        price_list: str, prices: dict[str, dict[str, str]] | None = None, currency: str = "CNY", **facts: Any
    ) -> Any:
        from farebox.catalog import price_lists, sheets
        from farebox.kit import clock

        shop.write(price_lists.create_list, price_list, currency, actor="test")
        rows = [
            sheets.row(model, usage_class, price)
            for model, classes in (prices or {}).items()
            for usage_class, price in classes.items()
        ]
        made = {"actor": "test", "now_us": clock.now_us(), **facts}
        if currency != "USD" and "rate" not in made:
            made.setdefault("usd_rate", "7.25")
        sheet = shop.write(price_lists.publish, price_list, rows, **made)
        shop.refresh()
        return sheet

    return go
