"""A channel test: a real call on the house's own account, through the path of every call (money.md 1.14)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from farebox.accounts import authenticate
from farebox.calls import log as records
from farebox.gateway.endpoints import ENDPOINTS
from farebox.gateway.ports import Ports, Shop
from farebox.gateway.serve import serve
from farebox.kit import secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError, FareboxError
from farebox.upstreams import board

_BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16},
    "completions": {"prompt": "Hello", "max_tokens": 16},
    "embeddings": {"input": "Hello"},
}


class _Request:
    """The request of a test."""

    def __init__(self, ident: str, caller: authenticate.Caller, channel: str, body: dict[str, Any]) -> None:
        self.id = ident
        self.authorization: str | None = None
        self.address = "127.0.0.1"
        self.caller: authenticate.Caller | None = caller
        self.channel = channel
        self.complete = True
        self.once: str | None = None
        self._body = msgspec.json.encode(body)

    def admit(self, account: str) -> None:
        """It is the house's."""

    async def body(self) -> bytes:
        return self._body


class _Client:
    """The customer's end of a test: it keeps the answer."""

    left = False

    def __init__(self) -> None:
        self.error: FareboxError | None = None
        self.body = b""

    def on_left(self, callback: Callable[[], None] | None) -> None:
        """It never leaves."""

    def begin(self, headers: Sequence[tuple[str, str]], *, stream: bool, patient: bool = False) -> None:
        """It needs no head."""

    async def send(self, data: bytes) -> None:
        self.body += data

    async def finish(self, data: bytes) -> None:
        self.body += data

    async def answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        del status, headers
        self.body = body

    async def refuse(self, error: FareboxError) -> None:
        self.error = error

    def cut(self) -> None:
        """Nobody waits for it."""

    def drop(self) -> None:
        """Nobody waits for it; the record says what became of it."""


class _Bench:
    """The serving process's shop with another board: a paused channel can be tried, and no customer's call finds it."""

    def __init__(self, shop: Shop, found: board.Board) -> None:
        object.__setattr__(self, "_shop", shop)
        object.__setattr__(self, "board", board.BoardKeeper(found))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shop, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._shop, name, value)


async def call(ports: Ports, channel: str, model: str) -> dict[str, Any]:
    """One call of `model` on `channel` alone, paused or not: {ok, call, charge_micro, attempts, usage, error}."""
    caller = await ports.store.read(authenticate.house_caller)
    card = ports.shop.shelf.current.card(model)
    if card is None:
        raise CommandError(f"There is no model {model}. `farebox model list` shows them.")
    unseal = board.unsealer(secrets.master_keys(ports.shop.options))
    alone = await ports.store.read(board.of_one, channel, unseal)
    if not alone.candidates(card.name):
        raise CommandError(f"The channel {channel} does not offer {model}. `farebox channel offer` adds it.")
    kind = next(name for name in _BODIES if name in card.kinds)
    endpoint = next(found for found in ENDPOINTS.values() if found.kind == kind)
    ident = ports.ids.new("call", ports.clock.now_us())
    client = _Client()
    request = _Request(ident, caller, channel, {"model": model, **_BODIES[kind]})
    try:
        await serve(dataclasses.replace(ports, shop=cast("Shop", _Bench(ports.shop, alone))), request, client, endpoint)
    except FareboxError as refusal:
        client.error = refusal
    found = await ports.store.read(_outcome, ident, caller.account)
    return {
        "ok": client.error is None,
        "call": ident,
        "error": None if client.error is None else client.error.message,
        "answer": client.body.decode("utf-8", "replace")[:2000],
        **found,
    }


def _outcome(tx: Tx, ident: str, account: str) -> dict[str, Any]:
    receipt = records.receipt(tx, ident, account)
    if receipt is None:
        return {"attempts": [], "usage": {}, "charge_micro": None}
    return {
        "attempts": records.attempts(tx, ident),
        "usage": receipt["usage"],
        "charge_micro": receipt["charge_micro"],
    }
