"""The pages behind the front door: Django's own handler in a few threads, fed by the exchange.

The front door keeps its limits (head, body, slowness) for pages too. Each thread has its connection to the store; what
pages write shares the lock of the process with the committer (promises 1.7).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import structlog
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils import translation

from farebox.accounts.sign_in import sessions, tokens
from farebox.gateway.http.exchange import Exchange
from farebox.gateway.http.head import is_disguised
from farebox.gateway.shares import Places
from farebox.kit import clock, db, errors
from farebox.kit.errors import FareboxError
from farebox.kit.options import Options
from farebox.kit.threads import Threads
from farebox.look.middleware import PREFIX
from farebox.look.sessions import area_at, key_of
from farebox.look.trouble import REFUSAL

from .whose import Whose

log = structlog.get_logger(__name__)

FORM_BYTES_MAX = 64 * 1024
# Pages that take a text beyond a form: how long it may be, and whose session it needs ("": anybody's).
_TEXTS = (
    ("/office", 2 * 1024 * 1024, "office"),  # price lists, terms; and the management API, with its token
    ("/console/team", 512 * 1024, "console"),  # a list of people to invite
    ("/estimate", 640 * 1024, ""),  # 200 KB, each byte as three signs
)
_API = ("/v1/", "/V1/")
_MANAGEMENT = "/office/api/"
_OURS = (PREFIX + "/", "/static/")
_ALL, _CUSTOMERS = "farebox.site.urls", "farebox.site.urls_customers"
_THREADS = 3
_WAITING = 64  # requests that wait for one of these, or have it
_STOP_S = 5


def table_of(path: str) -> str:
    """Which table of addresses knows this path."""
    return _ALL if area_at(path) == "office" else _CUSTOMERS


def addresses(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Look up each page in the table that knows it."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.urlconf = table_of(request.path_info)
        return get_response(request)

    return answer


class Pages:
    """Answers what is not the API's. `await close()` at the end."""

    def __init__(self, options: Options) -> None:
        self._handler = WSGIHandler()
        self._threads = Threads(_THREADS, name="pages")
        self._places = Places(lambda: _WAITING)  # of each person, or address
        self._whose = Whose()
        self._options = options
        self._loaded: set[str] = set()

    async def wants(self, exchange: Exchange) -> bool:
        """Whether there is such a page, or a browser asks for one that there is not."""
        if exchange.refusal is not None or exchange.target.startswith(b"/v1/"):
            return False
        path = _path(exchange.target)
        if path.startswith(_API):
            return False
        if path.startswith(_OURS) or path == PREFIX:
            return True
        table = table_of(path)
        if table not in self._loaded:
            # The first page imports all of them: on the event loop every call would wait for half a second.
            await asyncio.get_running_loop().run_in_executor(self._threads, _known, "/", table)
            self._loaded.add(table)
        if _known(path, table):
            return True
        return exchange.method == "GET" and "text/html" in exchange.head.get("accept", "")

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request with its page."""
        loop = asyncio.get_running_loop()
        environ = self._environ(exchange)
        try:
            await self._bound(exchange, environ)
            body = await exchange.body()
        except FareboxError as refusal:
            if exchange.left:
                raise
            body, environ[REFUSAL] = b"", refusal
        environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        area = area_at(environ["PATH_INFO"])
        who = self._whose.of(environ, area)
        try:
            self._places.take(who)
        except FareboxError as refusal:
            await self._turn_away(exchange, environ, environ.get(REFUSAL) or refusal)
            return
        try:
            status, headers, pieces, close = await loop.run_in_executor(self._threads, self._respond, environ)
        finally:
            self._places.give(who)
        self._whose.note(environ, area)
        try:
            await exchange.page(status, headers, self._read(pieces))
        finally:
            await loop.run_in_executor(self._threads, close)

    async def _turn_away(self, exchange: Exchange, environ: Mapping[str, Any], refusal: FareboxError) -> None:
        """Say so in few words, and without a thread: those are what there is too little of."""
        if _path(exchange.target).startswith(_MANAGEMENT):
            raise refusal
        page = _turned_away(environ["SCRIPT_NAME"], refusal.status, self._options.shop_name)
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
            ("Cache-Control", "no-store"),
            *refusal.headers(),
        ]
        await exchange.page(refusal.status, headers, _once(page))

    async def _bound(self, exchange: Exchange, environ: dict[str, Any]) -> None:
        """Let strangers send forms alone: who may send more is looked up before it is read."""
        if exchange.length is not None and exchange.length <= FORM_BYTES_MAX:
            return
        path = environ["PATH_INFO"]
        for start, bytes_max, area in _TEXTS:
            if path == start or path.startswith(start + "/"):
                known = not area or await asyncio.get_running_loop().run_in_executor(
                    self._threads, _is_known, environ, area
                )
                if known:
                    exchange.bound(bytes_max, form=False)
                    return
        exchange.bound(FORM_BYTES_MAX)

    async def close(self) -> None:
        """Close each thread's connection, then the threads."""
        loop = asyncio.get_running_loop()
        barrier = threading.Barrier(_THREADS)

        def part() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(timeout=_STOP_S)
            connection.close()

        _, late = await asyncio.wait(
            [loop.run_in_executor(self._threads, part) for _ in range(_THREADS)], timeout=_STOP_S
        )
        self._threads.shutdown(wait=not late, cancel_futures=True)

    def _respond(
        self, environ: dict[str, Any]
    ) -> tuple[int, list[tuple[str, str]], Iterator[bytes], Callable[[], None]]:
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            del exc_info
            said.append((status, headers))

        response: Any = self._handler(environ, start)
        status, headers = said[0]
        return int(status.split()[0]), headers, iter(response), getattr(response, "close", lambda: None)

    async def _read(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while True:
            piece = await loop.run_in_executor(self._threads, next, pieces, None)
            if piece is None:
                return
            yield piece

    def _environ(self, exchange: Exchange) -> dict[str, Any]:
        """The request as PEP 3333 describes it. Links are made of the configured origin, never of the Host sent."""
        target, _, query = exchange.target.partition(b"?")
        path = _decoded(target).decode("latin-1")
        script = PREFIX if path == PREFIX or path.startswith(PREFIX + "/") else ""
        ours = urlsplit(self._options.origin)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": exchange.method,
            "SCRIPT_NAME": script,
            "PATH_INFO": path.removeprefix(script) or "/",
            "QUERY_STRING": query.decode("latin-1"),
            "CONTENT_TYPE": exchange.head.get("content-type", ""),
            "SERVER_NAME": ours.hostname or "",
            "SERVER_PORT": str(ours.port or (443 if ours.scheme == "https" else 80)),
            "SERVER_PROTOCOL": f"HTTP/{exchange.version}",
            "REMOTE_ADDR": exchange.address,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": ours.scheme,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "farebox.request": exchange.id,
        }
        for name, value in exchange.head.items():
            if name not in {"content-type", "content-length", "authorization", "transfer-encoding"}:
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        # Tokens of the management API go to it alone; no other page knows what to do with credentials in a header.
        if script == "" and path.startswith(_MANAGEMENT) and "authorization" in exchange.head:
            environ["HTTP_AUTHORIZATION"] = exchange.head["authorization"]
        environ["HTTP_HOST"] = exchange.head.get("host", ours.netloc)
        return environ


def _is_known(environ: Mapping[str, str], area: str) -> bool:
    """Whether this comes with a token of the management API, or with a living session of the area."""
    bearer = environ.get("HTTP_AUTHORIZATION", "")
    try:
        if bearer:
            token, address, now_us = bearer.partition(" ")[2].strip(), environ["REMOTE_ADDR"], clock.now_us()
            return db.read(tokens.authenticate, token, address=address, now_us=now_us) is not None
        key = key_of(environ.get("HTTP_COOKIE", ""), area)
        return key is not None and db.read(sessions.has_person, key, area=area)
    except errors.StoreUnavailable as trouble:
        raise errors.StoreUnavailable from trouble  # what the database says of itself is not for whoever asks


@functools.lru_cache(maxsize=32)
def _turned_away(prefix: str, status: int, shop_name: str) -> bytes:
    """The page of a refusal that asks the store for nobody, and needs no thread."""
    language = "zh-hans" if prefix else "en"
    with translation.override(language):
        given = {"lang": "zh-Hans" if prefix else "en", "status": status, "shop_name": shop_name}
        return render_to_string("look/turned_away.html", given).encode()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _known(path: str, table: str) -> bool:
    with contextlib.suppress(Resolver404):
        resolve(path, table)
        return True
    return False


def _path(target: bytes) -> str:
    return _decoded(target.partition(b"?")[0]).decode("utf-8", "replace")


def _decoded(path: bytes) -> bytes:
    """The path that router, pages and static files all see: decoded once. In disguise it stays as it came: no page."""
    if path.startswith(_MANAGEMENT.encode()):  # programs write the slash in a model's name so
        path = path.replace(b"%2F", b"/").replace(b"%2f", b"/")
    return path if is_disguised(path) else unquote_to_bytes(path)
