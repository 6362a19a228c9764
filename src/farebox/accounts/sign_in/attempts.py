"""Wrong passwords and codes are counted and slowed down (security 6); two processes count together.

Each try is counted before it is looked at, so many concurrent tries gain nothing; a success deletes the count.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import UTC, datetime

from django.core.cache import cache

from farebox.kit.db import Tx
from farebox.kit.models import Cache

FREE = 5
FIRST_WAIT_S = 60
MOST_WAIT_S = 900
PER_ADDRESS = 30
# Mails an hour that somebody has sent by signing up, forgetting a password or changing an address (security 6).
PER_PAIR_H = 5
PER_ADDRESS_H = 30
PER_MAILBOX_H = 20
_HOUR_S = 3600
_MINUTE_US = 60_000_000
_S_US = 1_000_000
_KEPT_S = 2 * MOST_WAIT_S


class TooMany(Exception):
    """Too many tries; the next one counts after `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"wait {wait_s} s")
        self.wait_s = wait_s


def take(tx: Tx, name: str, *, now_us: int) -> int:
    """Count a try at `name` (`password:<person>`), and say how many that makes.

    TooMany after five, for a minute, doubled up to 15 minutes.
    """
    del tx  # the cache writes in the same transaction
    key = _key(name)
    # Where two may write at once, the second one waits for what the first one has counted.
    list(Cache.objects.select_for_update().filter(cache_key=cache.make_key(key)).values_list("cache_key"))
    tries, until_us = cache.get(key, (0, 0))
    if now_us < until_us:
        raise TooMany(-(-(until_us - now_us) // _S_US))
    tries += 1
    wait_s = min(FIRST_WAIT_S << min(tries - FREE, 10), MOST_WAIT_S) if tries >= FREE else 0
    # No wait is no moment: one who came a little earlier, and is counted later, is not too early.
    cache.set(key, (tries, now_us + wait_s * _S_US if wait_s else 0), _KEPT_S)
    return int(tries)


def take_mail(tx: Tx, kind: str, *, address: str, mailbox: str, now_us: int, only_ask: bool = False) -> None:
    """Count a mail that somebody at an address has sent to a mailbox (`kind`: `reset`, `confirm`); TooMany.

    Five an hour from one address to one mailbox, so that no stranger alone keeps its owner from getting one; 30 from an
    address, 20 to a mailbox. What is refused does not count; with `only_ask` nothing does.
    """
    del tx
    limits = (
        (f"{kind} {address} to {mailbox}", PER_PAIR_H),
        (f"{kind} from {address}", PER_ADDRESS_H),
        (f"{kind} to {mailbox}", PER_MAILBOX_H),
    )
    counted = []
    for name, most in limits:
        key = _key(name)
        if not only_ask:
            cache.add(key, [], _HOUR_S)  # a row to wait at, where two count at once
        list(Cache.objects.select_for_update().filter(cache_key=cache.make_key(key)).values_list("cache_key"))
        times = [each for each in cache.get(key, []) if each > now_us - _HOUR_S * _S_US]
        if len(times) >= most:
            raise TooMany(-(-(times[0] + _HOUR_S * _S_US - now_us) // _S_US))
        counted.append((key, times))
    if not only_ask:
        for key, times in counted:
            cache.set(key, [*times, now_us], _HOUR_S)


def take_address(tx: Tx, address: str, *, now_us: int) -> None:
    """Count a try from an address; TooMany after 30 in a minute."""
    del tx
    minute, key = now_us // _MINUTE_US, _key(f"address:{address}")
    list(Cache.objects.select_for_update().filter(cache_key=cache.make_key(key)).values_list("cache_key"))
    seen, tries = cache.get(key, (0, 0))
    tries = tries + 1 if seen == minute else 1
    if tries > PER_ADDRESS:
        raise TooMany(-(-((minute + 1) * _MINUTE_US - now_us) // _S_US))
    cache.set(key, (minute, tries), 120)


def place(address: str) -> str:
    """What counts as one address: of IPv6 the /64, for everybody has as many addresses in it as he likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found.packed, 64), strict=False))


def forget(tx: Tx, name: str) -> None:
    """A right one: the count begins again."""
    del tx
    cache.delete(_key(name))


def sweep(tx: Tx, *, now_us: int) -> int:
    """Delete counters, used codes and whatever else the cache keeps once it has ended; how many."""
    del tx
    gone, _ = Cache.objects.filter(expires__lt=datetime.fromtimestamp(now_us // _S_US, UTC)).delete()
    return gone


def _key(name: str) -> str:
    return f"attempts:{hashlib.sha256(name.encode()).hexdigest()}"
