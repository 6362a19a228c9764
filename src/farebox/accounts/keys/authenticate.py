"""Bearer to Caller. A 401 only after a definite answer: the key's form, or the store; a store away is 503."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import structlog

from farebox.accounts import sql
from farebox.accounts.names import HOUSE_KEY
from farebox.kit import db
from farebox.kit.db import Tx
from farebox.kit.errors import BadKey, CommandError, FareboxError, NotAllowed, StoreUnavailable

from . import key_format
from .caller import Caller, KnownKey, from_row, within
from .key_format import KeyVerdict
from .ring import KeyRing, Throttle

log = structlog.get_logger(__name__)

# Grows when a key of another form is imported: until then such keys need no look-up.
IMPORTED = "imported_keys"
_SCHEME = "bearer"


class Store(Protocol):
    """The port of the store, as far as authentication needs it."""

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(tx, *args)` for reading."""

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(tx, *args)` in a transaction."""


async def bearer(ring: KeyRing, store: Store, *, authorization: str | None, address: str, now_us: int) -> Caller:
    """The caller of an `Authorization` header sent from `address`.

    Raises BadKey (401), NotAllowed (403), RateLimited (429, wrong keys only), StoreUnavailable (503).
    """
    key = _key_of(authorization)
    return await by_key(ring, store, key=key, address=address, now_us=now_us)


async def by_key(ring: KeyRing, store: Store, *, key: str, address: str, now_us: int) -> Caller:
    """The caller of a plaintext key; raises what `bearer` raises."""
    if len(key) > key_format.KEY_BYTES_MAX or not key.isascii():
        _refuse(ring, key, address, "This is not the form of an API key.", now_us=now_us)
    digest = ring.digest(key)
    known = ring.get(digest)
    if known is None:
        known = await _look_up(ring, store, key=key, digest=digest, address=address, now_us=now_us)
    return _admit(known, address, now_us)


def account_of(ring: KeyRing, authorization: str | None) -> str:
    """The account of an `Authorization` header whose key the ring knows; empty otherwise. Nobody is let in by it."""
    _, _, key = (authorization or "").partition(" ")
    known = ring.get(ring.digest(key.strip())) if 0 < len(key) <= key_format.KEY_BYTES_MAX and key.isascii() else None
    return "" if known is None or known.dead else known.caller.account


def house_caller(tx: Tx) -> Caller:
    """The caller of our own calls, on the house account (promises 1.14); CommandError before it exists."""
    row = tx.one(sql.READ_KEY, (HOUSE_KEY,))
    if row is None:
        raise CommandError("store.not_set_up")
    return from_row(row).caller


def caller_of(tx: Tx, key: str) -> Caller:
    """The caller that this key (id) makes; CommandError if there is no such key."""
    row = tx.one(sql.READ_KEY, (key,))
    if row is None:
        raise CommandError("key.not_live", key=key[:40])
    return from_row(row).caller


def ends_us(tx: Tx, keys: Sequence[str]) -> dict[str, int | None]:
    """When these keys (ids) end, in epoch microseconds; None is never.

    0 is for those that have ended: switched off, gone, or of an account that is closed, frozen or barred (R21).
    """
    out: dict[str, int | None] = {}
    for key in keys:
        row = tx.one(sql.READ_KEY, (key,))
        known = None if row is None else from_row(row)
        ended = known is None or known.dead or known.caller.account_state != "active"
        out[key] = 0 if known is None or ended else known.caller.expires_us
    return out


def _key_of(authorization: str | None) -> str:
    scheme, *rest = (authorization or "").split(None, 1) or ("",)
    key = rest[0].rstrip() if rest else ""
    if scheme.lower() != _SCHEME and scheme:
        raise BadKey(
            "Incorrect API key provided: the Authorization header is not of the form `Bearer YOUR_KEY`. "
            "Put the word Bearer and a space before your API key."
        )
    if not key:
        raise BadKey(
            "Incorrect API key provided: none. You didn't provide an API key. "
            "Send it in the header `Authorization: Bearer YOUR_KEY`."
        )
    return key


async def _look_up(ring: KeyRing, store: Store, *, key: str, digest: str, address: str, now_us: int) -> KnownKey:
    verdict = key_format.check(key, ring.site)
    if verdict is KeyVerdict.MISTYPED:
        words = "Its checksum does not fit: a character was changed or lost. Please copy the key again."
        _refuse(ring, key, address, words, now_us=now_us)
    known = None
    if _may_exist(ring, key, verdict) and not ring.is_unknown(digest, now_us=now_us):
        digests = [digest, *ring.older_digests(key)]

        async def read() -> KnownKey | None:
            return await _read(ring, store, digests, verdict)

        known = await ring.find(digest, read, now_us=now_us)
    if known is None:
        words = "There is no such key here. Check that you copied it whole, and the address you send it to."
        if verdict is KeyVerdict.OTHER_SITE:
            words = "It belongs to another installation. Check the address (base URL) that you send it to."
        _refuse(ring, key, address, words, now_us=now_us)
    if ring.rehash and known.pepper_n != ring.pepper_n:
        await _rehash(ring, store, known, key)
    return known


def _may_exist(ring: KeyRing, key: str, verdict: KeyVerdict) -> bool:
    """Whether a look-up could find it: other forms than ours only where keys were imported."""
    return key.isprintable() and " " not in key and (verdict is KeyVerdict.GOOD or not ring.no_imports)


async def _read(ring: KeyRing, store: Store, digests: Sequence[str], verdict: KeyVerdict) -> KnownKey | None:
    generation = ring.generation
    try:
        row, imports = await store.read(_find, digests, verdict is not KeyVerdict.GOOD)
    except FareboxError:
        raise
    except Exception as fault:
        log.exception("authenticate.look_up_failed")
        raise StoreUnavailable from fault
    if not imports:
        ring.note_no_imports(generation)
    return None if row is None else from_row(row)


def _find(tx: Tx, digests: Sequence[str], only_imported: bool) -> tuple[tuple[Any, ...] | None, bool]:
    """The row of the first digest that is there, and whether imported keys may be."""
    if only_imported and not db.versions(tx).get(IMPORTED):
        return None, False
    rows = (tx.one(sql.FIND_KEY, (digest,)) for digest in digests)
    return next((row for row in rows if row is not None), None), True


async def _rehash(ring: KeyRing, store: Store, known: KnownKey, key: str) -> None:
    """Put the digest under the newest pepper; the call continues without, if the store is busy."""
    try:
        for older in ring.older_digests(key):
            await store.write(_write_digest, known.caller.key, older, ring.digest(key), ring.pepper_n)
    except FareboxError as fault:
        log.warning("authenticate.rehash_failed", key=known.caller.key, fault=fault.message)


def _write_digest(tx: Tx, key: str, old: str, new: str, pepper_n: int) -> int:
    return tx.execute(sql.REHASH_KEY, (new, pepper_n, key, old))


def _refuse(ring: KeyRing, key: str, address: str, words: str, *, now_us: int) -> NoReturn:
    ring.wrong(address, now_us=now_us)
    raise BadKey(f"Incorrect API key provided: {key_format.masked(key)}. {words}")


def _admit(known: KnownKey, address: str, now_us: int) -> Caller:
    caller = known.caller
    if known.dead:
        raise BadKey("This API key has been deactivated. Please use another key of your account.")
    if _expired(caller, now_us):
        raise BadKey("This API key has been deactivated (expired). Please use another key of your account.")
    if caller.account_state != "active":
        words = "Please ask the operator of this service."
        if caller.account_state == "frozen":
            words = "It is frozen until the operator of this service lifts that; nothing is lost."
        raise NotAllowed(f"Your account is not active. {words}", code="account_deactivated")
    if caller.addresses and not within(address, caller.addresses):
        raise NotAllowed(
            f"Your address {address[:64]} is not on the list of addresses of the API key "
            f"`{caller.key_name}`. The list is a setting of that key (`{caller.key}`): the owner of your "
            "account or the operator of this service can change it there.",
            code="ip_not_allowed",
        )
    return caller


def _expired(caller: Caller, now_us: int) -> bool:
    return caller.expires_us is not None and now_us >= caller.expires_us


__all__ = [
    "IMPORTED",
    "Caller",
    "KeyRing",
    "KnownKey",
    "Store",
    "Throttle",
    "bearer",
    "by_key",
    "ends_us",
    "house_caller",
]
