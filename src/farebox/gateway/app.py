"""From a request to whoever answers it: metered endpoints go the path of a call, the others are free (R33)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import structlog

from farebox.accounts import authenticate
from farebox.accounts.caller import Caller
from farebox.calls import log as records
from farebox.kit import errors
from farebox.kit.errors import FareboxError

from . import me, models
from .endpoint import Endpoint
from .endpoints import ENDPOINTS
from .ports import Ports
from .serve import serve
from .wire import PREFLIGHT, Exchange

log = structlog.get_logger(__name__)
_json = msgspec.json.Encoder().encode

Free = Callable[[Ports, Caller, str, dict[str, str]], Awaitable[dict[str, Any]]]
# Free routes by path below /v1; one that ends in a slash takes a name after it.
FREE: dict[str, Free] = {
    "/models": models.listed,
    "/models/": models.one,
    "/balance": me.balance,
    "/calls": me.calls,
    "/calls/": me.receipt,
    "/dashboard/billing/subscription": me.subscription,
    "/dashboard/billing/usage": me.usage,
}
BILLING_CLASSES = frozenset({"metered"})


class App:
    """The front door's own part of a serving process."""

    def __init__(self, ports: Ports) -> None:
        for path, endpoint in ENDPOINTS.items():
            if endpoint.billing not in BILLING_CLASSES:
                raise RuntimeError(f"{path} has no billing class")
        self.ports = ports

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Never raises."""
        shop = self.ports.shop
        try:
            await self._answer(exchange)
        except FareboxError as refusal:
            self._count(exchange, refusal)
            await exchange.refuse(refusal)
        except Exception as bug:
            log.exception("app.broken", request=exchange.id, error=type(bug).__name__)
            await exchange.refuse(
                errors.InternalError(f"Something went wrong on our side; nothing was charged. (request {exchange.id})")
            )
        finally:
            if shop.stopping:
                exchange.keep_alive = False

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.method == "OPTIONS":
            await exchange.answer(204, b"", PREFLIGHT)
            return
        path, query = _split(exchange.target)
        endpoint = ENDPOINTS.get(path)
        if endpoint is not None:
            await self._call(exchange, endpoint)
            return
        free, name = _find_free(path)
        if free is None:
            raise errors.NotFound(
                f"Unknown request URL: {exchange.method[:16]} {_shown(exchange.target)}. "
                "Please check the URL for typos, or see the documentation of this service."
            )
        if exchange.method != "GET":
            raise errors.MethodNotAllowed(f"Only GET is allowed for {_shown(exchange.target)}.", allow="GET, OPTIONS")
        ports = self.ports
        caller = await authenticate.bearer(
            ports.shop.ring,
            ports.store,
            authorization=exchange.authorization,
            address=exchange.address,
            now_us=ports.clock.now_us(),
        )
        exchange.account = caller.account
        await exchange.answer(200, _json(await free(ports, caller, name, query)))

    async def _call(self, exchange: Exchange, endpoint: Endpoint) -> None:
        shop = self.ports.shop
        if exchange.method != "POST":
            raise errors.MethodNotAllowed(f"Only POST is allowed for {_shown(exchange.target)}.", allow="POST, OPTIONS")
        kind, _, parameters = exchange.head.get("content-type", "").partition(";")
        charset = parameters.replace(" ", "").replace('"', "").lower()
        if kind.strip().lower() != "application/json" or (
            "charset=" in charset and "charset=utf-8" not in charset and "charset=utf8" not in charset
        ):
            raise errors.WrongMediaType("The Content-Type must be application/json, in UTF-8.")
        if shop.calls >= shop.options.calls_max or shop.stopping:
            raise errors.Overloaded
        shop.calls += 1
        try:
            await serve(self.ports, exchange, exchange, endpoint)
        finally:
            shop.calls -= 1

    def _count(self, exchange: Exchange, refusal: FareboxError) -> None:
        """Refusals are counted, not rows."""
        counts = self.ports.shop.refusals
        day = records.day_of(self.ports.clock.now_us())
        key = (day, exchange.account, (refusal.code or refusal.type)[:40])
        counts[key] = counts.get(key, 0) + 1


def _split(target: bytes) -> tuple[str, dict[str, str]]:
    """The path below /v1, once however often `/v1` stands before it, without a last slash; and the query."""
    raw, _, query = target.decode("latin-1").partition("?")
    path = raw.rstrip("/") if len(raw) > 1 else raw
    for _ in range(2):
        if path.startswith("/v1/"):
            path = path[3:]
    return path, dict(parse_qsl(query, max_num_fields=50)) if query else {}


def _find_free(path: str) -> tuple[Free | None, str]:
    found = FREE.get(path)
    if found is not None:
        return found, ""
    for prefix in ("/models/", "/calls/"):
        if path.startswith(prefix):
            name = unquote(path[len(prefix) :], errors="strict") if "%" in path else path[len(prefix) :]
            return (FREE[prefix], name) if name.isprintable() and len(name) <= 256 else (None, "")  # noqa: PLR2004
    return None, ""


def _shown(target: bytes) -> str:
    path = target.partition(b"?")[0].decode("latin-1")
    safe = "".join(sign if sign.isprintable() and sign.isascii() else "?" for sign in path)
    return safe[:64]
