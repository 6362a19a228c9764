"""`POST /v1/key-leaks`: whoever finds a key where others can read it reports it here; having it is the proof.

The body is `{"key": "…"}`, `{"keys": ["…", …]}`, or plain text with a key a line. No key is needed to call it, and the
answer is 202 whatever was found: it tells nobody whether a key is one of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from farebox.accounts.keys.ring import Throttle
from farebox.gateway.ports import Ports
from farebox.kit import errors, outline

from .exchange import Exchange

PATH: Final = "/key-leaks"
BODY_BYTES_MAX: Final = 64 * 1024
KEYS_MAX: Final = 100
KEY_CHARS: Final = (16, 512)
PER_MIN: Final = 30
_ACCEPTED: Final = b'{"object":"key_leak_report","status":"accepted"}'


class LeakDesk(Protocol):
    """What the roof brings: which of these texts are secrets of this shop, and what follows from that."""

    def find(self, tx: Any, texts: Sequence[str]) -> Any:
        """The keys, tokens and channels whose secrets these are; something empty where none is."""

    def act(self, tx: Any, found: Any, address: str, now_us: int) -> None:
        """Revoke what was found, and tell whom it belongs to."""


@functools.lru_cache(maxsize=1)
def throttle() -> Throttle:
    """Reports of one address are counted in this process."""
    return Throttle(per_min=PER_MIN)


async def take(ports: Ports, desk: LeakDesk, exchange: Exchange) -> None:
    """Take one report. Raises MethodNotAllowed, RateLimited, TooLarge, StoreUnavailable."""
    if exchange.method != "POST":
        raise errors.MethodNotAllowed("Only POST is allowed for /v1/key-leaks.", allow="POST, OPTIONS")
    now_us = ports.clock.now_us()
    if wait_us := throttle().count(exchange.address, now_us=now_us):
        wait_s = -(-wait_us // 1_000_000)
        raise errors.RateLimited(f"Too many reports from your address. Try again in {wait_s} s.", retry_after_s=wait_s)
    if exchange.length is None or exchange.length > BODY_BYTES_MAX:
        raise errors.TooLarge(f"A report has a Content-Length of at most {BODY_BYTES_MAX:,} bytes.")
    if texts := read(await exchange.body()):
        found = await ports.store.read(desk.find, texts)
        if found:
            await ports.store.write(desk.act, found, exchange.address, now_us)
    await exchange.answer(202, _ACCEPTED)


def read(body: bytes) -> list[str]:
    """What may be keys in a body, each once; empty for anything that can't be read."""
    try:
        outline.check(body)
        given = msgspec.json.decode(body)
    except (outline.TooMuch, outline.NotUtf8, msgspec.DecodeError, RecursionError):
        given = body.decode("ascii", "replace").split()
    if isinstance(given, dict):
        keys = given.get("keys")
        given = [given.get("key"), *(keys if isinstance(keys, list) else ())]
    texts = [each.strip() for each in (given if isinstance(given, list) else ()) if isinstance(each, str)]
    least, most = KEY_CHARS
    fit = [each for each in texts if each.isascii() and each.isprintable() and least <= len(each) <= most]
    return list(dict.fromkeys(fit))[:KEYS_MAX]
