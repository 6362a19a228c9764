"""From a request to whoever answers it: metered endpoints go the path of a call, the others are free (R33)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
import structlog

from farebox.accounts.keys import authenticate
from farebox.accounts.keys.caller import Caller
from farebox.calls import log as records
from farebox.gateway import me, model_list
from farebox.gateway.ports import Ports
from farebox.gateway.serve import serve
from farebox.kit import errors, process_limits
from farebox.kit.errors import FareboxError
from farebox.protocol import kinds
from farebox.protocol.kind import Kind

from . import leaks
from .exchange import PREFLIGHT, Exchange

log = structlog.get_logger(__name__)
_json = msgspec.json.Encoder().encode

Free = Callable[[Ports, Caller, str, dict[str, str]], Awaitable[dict[str, Any]]]
# Free routes by path below /v1; one that ends in a slash takes a name after it.
FREE: dict[str, Free] = {
    "/models": model_list.listed,
    "/models/": model_list.one,
    "/balance": me.balance,
    "/calls": me.calls,
    "/calls/": me.receipt,
    "/dashboard/billing/subscription": me.subscription,
    "/dashboard/billing/usage": me.usage,
}


class Pages(Protocol):
    """What answers the paths that are not the API's; the roof brings it where the process serves pages."""

    async def wants(self, exchange: Exchange) -> bool:
        """Whether this request is for a page."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer it. Raises a FareboxError for a request that can't be read."""


class App:
    """The front door's own part of a serving process. One that is not `metered` answers for pages alone."""

    def __init__(self, ports: Ports, pages: Pages | None = None, *, metered: bool = True) -> None:
        self.ports = ports
        self.pages = pages
        self.metered = metered
        self.leaks: leaks.LeakDesk | None = None

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Never raises."""
        shop = self.ports.shop
        shop.begun.add(exchange.id)
        try:
            await self._answer(exchange)
        except FareboxError as refusal:
            self._count(exchange, refusal)
            await exchange.refuse(refusal)
            refusal.__traceback__ = None  # its frames hold this request, and who refused may still hold it
        except Exception as bug:
            if process_limits.exhausted(bug):  # no open files, memory or threads are left: it may pass (promises: F43)
                log.warning("app.exhausted", request=exchange.id, error=str(bug)[:200])
                await exchange.refuse(errors.Overloaded())
                return
            log.exception("app.broken", request=exchange.id, error=type(bug).__name__)
            await exchange.refuse(
                errors.InternalError(f"Something went wrong on our side; nothing was charged. (request {exchange.id})")
            )
        finally:
            shop.begun.discard(exchange.id)
            if shop.stopping:
                exchange.keep_alive = False

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.refusal is not None:
            raise exchange.refusal
        if self.pages is not None and await self.pages.wants(exchange):
            await self.pages(exchange)
            return
        if not self.metered:
            raise errors.NotFound("This process serves only the pages. Send API calls to one that serves the API.")
        if exchange.method == "OPTIONS":
            await exchange.answer(204, b"", PREFLIGHT)
            return
        target, _, query = exchange.target.partition(b"?")
        path = _below_v1(target.decode("latin-1"))
        kind = exchange.kind = kinds.PATHS.get(path)
        if kind is not None:
            await self._call(exchange, kind)
            return
        if path == leaks.PATH and self.leaks is not None:
            await leaks.take(self.ports, self.leaks, exchange)
            return
        free, name = _find_free(path)
        if free is None:
            raise errors.NotFound(
                f"Unknown request URL: {exchange.method[:16]} {_shown(exchange.target)}. "
                "Please check the URL for typos, or see the documentation of this service."
            )
        if exchange.method not in {"GET", "HEAD"}:
            allow = "GET, HEAD, OPTIONS"
            raise errors.MethodNotAllowed(f"Only GET is allowed for {_shown(exchange.target)}.", allow=allow)
        ports = self.ports
        caller = await authenticate.bearer(
            ports.shop.ring,
            ports.store,
            authorization=exchange.authorization,
            address=exchange.address,
            now_us=ports.clock.now_us(),
        )
        exchange.admit(caller.account)
        exchange.check()
        query_fields = _query(query)
        ports.shop.lookups.take(caller.account)
        try:
            found = await free(ports, caller, name, query_fields)
        finally:
            ports.shop.lookups.give(caller.account)
        await exchange.answer(200, _json(found))

    async def _call(self, exchange: Exchange, kind: Kind) -> None:
        shop = self.ports.shop
        if exchange.method != "POST":
            raise errors.MethodNotAllowed(f"Only POST is allowed for {_shown(exchange.target)}.", allow="POST, OPTIONS")
        media, _, parameters = exchange.head.get("content-type", "").partition(";")
        charset = parameters.replace(" ", "").replace('"', "").lower()
        if media.strip().lower() != "application/json" or (
            "charset=" in charset and "charset=utf-8" not in charset and "charset=utf8" not in charset
        ):
            raise errors.WrongMediaType("The Content-Type must be application/json, in UTF-8.")
        if shop.places.full or shop.stopping or shop.ground.shed:
            raise errors.Overloaded
        if shop.ground.short:  # the disk has room for what is under way alone (promises: F08)
            raise errors.StoreUnavailable
        if shop.ground.ahead:  # caps and prices of a day that has not come (promises 4.7)
            raise errors.StoreUnavailable(
                "The shop's clock is not right, and it takes no calls until that is fixed. Please try again later."
            )
        if self.ports.journal.full:  # what is owed is written into the store first (promises: F33)
            raise errors.StoreUnavailable
        await serve(self.ports, exchange, exchange, kind)

    def _count(self, exchange: Exchange, refusal: FareboxError) -> None:
        """Refusals are counted, not rows."""
        counts = self.ports.shop.refusals
        day = records.day_of(self.ports.clock.now_us())
        key = (day, exchange.account, (refusal.code or refusal.type)[:40])
        counts[key] = counts.get(key, 0) + 1


def _below_v1(target: str) -> str:
    """The path below /v1, however often `/v1` stands before it (up to twice), without a last slash."""
    path = target.rstrip("/") if len(target) > 1 else target
    for _ in range(2):
        if path.startswith("/v1/"):
            path = path[3:]
    return path


def _query(query: bytes) -> dict[str, str]:
    """The fields of a query; BadRequest for one that came twice."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("latin-1"), max_num_fields=50, errors="strict")
    except ValueError:
        raise errors.BadRequest("The query of this URL can't be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)[:64]
        raise errors.BadRequest(f"The parameter '{twice}' is repeated in the query of this URL.", param=twice)
    return fields


def _find_free(path: str) -> tuple[Free | None, str]:
    found = FREE.get(path)
    if found is not None:
        return found, ""
    for prefix in ("/models/", "/calls/"):
        if path.startswith(prefix):
            name = _named(path[len(prefix) :])
            return (FREE[prefix], name) if name else (None, "")
    return None, ""


def _named(text: str) -> str:
    """The name at the end of a path, decoded once; empty if it is not one."""
    try:
        name = unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return ""
    return name if name.isprintable() and len(name) <= 256 else ""


def _shown(target: bytes) -> str:
    path = target.partition(b"?")[0].decode("latin-1")
    safe = "".join(sign if sign.isprintable() and sign.isascii() else "?" for sign in path)
    return safe[:64]
