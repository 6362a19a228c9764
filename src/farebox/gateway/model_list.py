"""GET /v1/models and /v1/models/{id}: what this key can call (R33: free)."""

from __future__ import annotations

from typing import Any

from farebox.accounts.keys.caller import Caller
from farebox.catalog.pricing import ModelCard
from farebox.kit import errors

from .ports import Ports


async def listed(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """The list of models and aliases on sale for this caller, in OpenAI's form."""
    del name, query
    shelf = ports.shop.shelf.current
    sold = shelf.names(caller.price_list, ports.clock.now_us())
    rows = [_shown(known, card) for known, card in sold if caller.may_use(card.name) or caller.may_use(known)]
    return {"object": "list", "data": rows}


async def one(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """One model; NoSuchModel if it is unknown or not for this key."""
    del query
    offer = ports.shop.shelf.current.offer(name, caller.price_list, ports.clock.now_us(), currency=caller.currency)
    if offer is None or not (caller.may_use(offer.card.name) or caller.may_use(name)):
        raise errors.NoSuchModel(name)
    return _shown(name, offer.card)


def _shown(name: str, card: ModelCard) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": card.created_s, "owned_by": card.owned_by or "farebox"}
