"""Write verbs on price lists and models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from farebox.catalog import definitions, price_lists, sheets, shelf
from farebox.kit import clock
from farebox.kit.db import Tx


def create(tx: Tx, *, actor: str, price_list: str, currency: str, about: str = "") -> dict[str, str]:
    """An empty price list in one currency."""
    return price_lists.create_list(tx, price_list, currency, about=about, actor=actor)


def publish(
    tx: Tx,
    *,
    actor: str,
    price_list: str,
    rows: Sequence[Sequence[str]] = (),
    from_usd_source: str = "",
    rate: str = "",
    factor: str = "1",
    usd_rate: str = "",
    remove: Sequence[str] = (),
    valid_from_us: int | None = None,
    note: str = "",
) -> dict[str, Any]:
    """The next version of a list; `rows` are (model, usage class, price as a decimal text for 1,000,000 units)."""
    sheet = price_lists.publish(
        tx,
        price_list,
        [sheets.row(*row) for row in rows],
        from_usd_source=from_usd_source,
        rate=rate,
        factor=factor,
        usd_rate=usd_rate,
        remove=remove,
        valid_from_us=valid_from_us,
        note=note,
        actor=actor,
        now_us=clock.now_us(),
    )
    return sheets.to_json(sheet)


def define(tx: Tx, *, actor: str, model: str, **facts: Any) -> dict[str, Any]:
    """Define a model, or change what is known about it; `facts` as of catalog.goods.define_model."""
    card = definitions.define_model(tx, model, **facts, actor=actor, now_us=clock.now_us())
    return {
        "name": card.name,
        "kinds": sorted(card.kinds),
        "classes": sorted(card.classes),
        "modalities": sorted(card.modalities),
        "context_tokens": card.context_tokens,
        "output_tokens_max": card.output_tokens_max,
    }


def alias(tx: Tx, *, actor: str, name: str, model: str) -> dict[str, str]:
    """Another name for a model."""
    return definitions.alias(tx, name, model, actor=actor)


def unalias(tx: Tx, *, actor: str, name: str) -> dict[str, str]:
    """Take an alias away."""
    return definitions.unalias(tx, name, actor=actor)


def unlist(tx: Tx, *, actor: str, model: str, why: str = "") -> dict[str, Any]:
    """Take a model off the shelf."""
    return {"model": model, "changed": shelf.unlist(tx, model, why, actor)}


def list_again(tx: Tx, *, actor: str, model: str) -> dict[str, Any]:
    """Put a model back on the shelf."""
    return {"model": model, "changed": definitions.relist(tx, model, actor=actor)}


RUNS: dict[str, Callable[..., Any]] = {
    "prices.create": create,
    "prices.publish": publish,
    "model.define": define,
    "model.alias": alias,
    "model.unalias": unalias,
    "model.unlist": unlist,
    "model.list-again": list_again,
}
