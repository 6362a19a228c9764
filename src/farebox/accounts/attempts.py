"""Wrong passwords and codes are counted and slowed down (security.md 6); two processes count together.

Each try is counted before it is looked at, so that many at once gain nothing; who succeeds is forgotten.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache

from farebox.kit.db import Tx

FREE = 5
FIRST_WAIT_S = 60
MOST_WAIT_S = 900
PER_ADDRESS = 30
_MINUTE_US = 60_000_000
_S_US = 1_000_000
_KEPT_S = 2 * MOST_WAIT_S


class TooMany(Exception):
    """Too many tries; the next one counts after `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"wait {wait_s} s")
        self.wait_s = wait_s


def take(tx: Tx, name: str, *, now_us: int) -> None:
    """Count a try at `name` (`password:<person>`); TooMany after five, for a minute, doubled up to 15 minutes."""
    del tx  # the cache writes in the same transaction
    key = _key(name)
    tries, until_us = cache.get(key, (0, 0))
    if now_us < until_us:
        raise TooMany(-(-(until_us - now_us) // _S_US))
    tries += 1
    wait_s = min(FIRST_WAIT_S << min(tries - FREE, 10), MOST_WAIT_S) if tries >= FREE else 0
    cache.set(key, (tries, now_us + wait_s * _S_US), _KEPT_S)


def take_address(tx: Tx, address: str, *, now_us: int) -> None:
    """Count a try from an address; TooMany after 30 in a minute."""
    del tx
    minute, key = now_us // _MINUTE_US, _key(f"address:{address}")
    seen, tries = cache.get(key, (0, 0))
    tries = tries + 1 if seen == minute else 1
    if tries > PER_ADDRESS:
        raise TooMany(-(-((minute + 1) * _MINUTE_US - now_us) // _S_US))
    cache.set(key, (minute, tries), 120)


def forget(tx: Tx, name: str) -> None:
    """A right one: the count begins anew."""
    del tx
    cache.delete(_key(name))


def _key(name: str) -> str:
    return f"attempts:{hashlib.sha256(name.encode()).hexdigest()}"
