"""Calls of our own: real ones on the house account, through the path of every call (promises 1.14).

A test is an operator's, of a channel as it is stored; a probe asks a channel in force for one token, to see how it is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from farebox.accounts.keys import authenticate
from farebox.calls import log as records
from farebox.catalog.pricing import ModelCard
from farebox.gateway.ports import Ports, Shop
from farebox.gateway.serve import serve
from farebox.kit import secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError, FareboxError
from farebox.protocol import kinds
from farebox.upstreams import board

PATIENCE_S: Final = 30  # one token takes no longer, however long an answer may


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
        """It is the house account's."""

    async def exceeds(self, count_bytes: int) -> bool:
        return len(self._body) > count_bytes

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

    def __init__(self, shop: Shop, found: board.Board, patience_s: float) -> None:
        limits = shop.limits
        first_byte_s, idle_s = min(limits.first_byte_s, patience_s), min(limits.idle_s, patience_s)
        object.__setattr__(self, "_shop", shop)
        object.__setattr__(self, "board", board.BoardKeeper(found))
        object.__setattr__(self, "limits", dataclasses.replace(limits, first_byte_s=first_byte_s, idle_s=idle_s))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shop, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._shop, name, value)


async def call(ports: Ports, channel: str, model: str) -> dict[str, Any]:
    """One call of `model` on `channel` alone, paused or not: {ok, call, charge_micro, attempts, usage, error}."""
    card = _card(ports, model)
    unseal = board.unsealer(secrets.master_keys(ports.shop.options))
    alone = await ports.store.read(board.of_one, channel, unseal)
    if not alone.candidates(card.name):
        raise CommandError("channel.not_offered", channel=channel, model=model)
    caller, ident, client = await _carry(ports, _Bench(ports.shop, alone, math.inf), channel, card)
    found = await ports.store.read(_outcome, ident, caller.account)
    return {
        "ok": client.error is None,
        "call": ident,
        "error": None if client.error is None else client.error.message,
        "answer": client.body.decode("utf-8", "replace")[:2000],
        **found,
    }


async def one_token(ports: Ports, channel_id: str, model: str) -> None:
    """The smallest call of `model` on this channel of the board in force; what it finds is told to `shop.health`.

    CommandError where the channel does not offer it now.
    """
    current = ports.shop.board.current
    candidates = tuple(each for each in current.candidates(model) if each.channel.id == channel_id)
    if not candidates:
        raise CommandError("channel.not_offered", channel=channel_id, model=model)
    channel = candidates[0].channel
    alone = board.Board(by_model={model: candidates}, channels={channel_id: channel})
    bench = _Bench(ports.shop, alone, PATIENCE_S)
    await _carry(ports, bench, channel.name, _card(ports, model), least=True)


def _card(ports: Ports, model: str) -> ModelCard:
    card = ports.shop.shelf.current.card(model)
    if card is None:
        raise CommandError("model.unknown", model=model)
    return card


async def _carry(
    ports: Ports, bench: _Bench, channel: str, card: ModelCard, *, least: bool = False
) -> tuple[authenticate.Caller, str, _Client]:
    """A call of the shop's own, an operator's test or the `least` one: whose it was, its id, and what came back."""
    caller = await ports.store.read(authenticate.house_caller)
    path = bench.board.current.candidates(card.name)[0].channel.path
    sold = [kind for name, kind in kinds.KINDS.items() if name in card.kinds]
    kind = next((kind for kind in sold if path(kind.name)), sold[0])
    ident = ports.ids.new("call", ports.clock.now_us())
    client = _Client()
    body = kind.probe_body if least else kind.test_body
    request = _Request(ident, caller, channel, {"model": card.name, **body})
    try:
        await serve(dataclasses.replace(ports, shop=cast("Shop", bench)), request, client, kind)
    except FareboxError as refusal:
        client.error = refusal
    return caller, ident, client


def _outcome(tx: Tx, ident: str, account: str) -> dict[str, Any]:
    receipt = records.receipt(tx, ident, account)
    if receipt is None:
        return {"attempts": [], "usage": {}, "charge_micro": None}
    return {
        "attempts": records.attempts(tx, ident),
        "usage": receipt["usage"],
        "charge_micro": receipt["charge_micro"],
    }
