"""A customer of one test, and what a test asks about the calls that were made with his key."""

from __future__ import annotations

from typing import Any


class Buyer:
    """A customer of this test alone, with the calls that were made with his key."""

    def __init__(self, customer: Any) -> None:
        self._customer = customer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._customer, name)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """All calls of the key, oldest first, ended."""
        listed = self.get("/v1/calls?limit=100").json["data"]
        return [self.receipt(row["id"]) for row in reversed(listed)]

    @property
    def only(self) -> dict[str, Any]:
        """The receipt of the one call that was made; its charge is what left the balance."""
        found = self.calls
        assert len(found) == 1, [(row["id"], row["model"], row["rule"]) for row in found]
        return found[0]

    @property
    def asked(self) -> dict[str, Any]:
        """The body that the sandbox got last."""
        return self.shop.sandbox.requests[-1].body


class Doorman:
    """Counts the requests that reach a shop, refused ones included, by the key that they bring."""

    def __init__(self, shop: Any) -> None:
        self._reception = shop.server.reception
        self._handler = self._reception.handler
        self._keys: list[str | None] = []
        self._reception.handler = self._note

    async def _note(self, exchange: Any) -> None:
        self._keys.append((exchange.head.get("authorization") or "").removeprefix("Bearer "))
        await self._handler(exchange)

    def asked(self, customer: Any) -> int:
        """How often this customer's key came."""
        return self._keys.count(customer.key)

    def close(self) -> None:
        """Count no more."""
        self._reception.handler = self._handler
