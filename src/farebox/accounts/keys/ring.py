"""What one process remembers of keys: known ones by digest, unknown ones for a moment, and who guesses."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from farebox.kit import secrets
from farebox.kit.errors import RateLimited

from .caller import KnownKey

ENTRIES_MAX = 10_000
UNKNOWN_US = 5_000_000
ADDRESSES_MAX = 10_000
_MINUTE_US = 60_000_000


class KeyRing:
    """The keys of a process, by the full digest of each, never by their text.

    Who polls the version `keys` calls `forget_all` when it has changed, and sets `stale` while it could not
    be read for 1 s: then every call is looked up again. Take the first reading of the version before the
    first look-up.
    """

    __slots__ = (
        "_entries_max",
        "_flights",
        "_generation",
        "_known",
        "_minted_n",
        "_minting",
        "_no_imports",
        "_older",
        "_throttle",
        "_unknown",
        "rehash",
        "site",
        "stale",
    )

    def __init__(
        self,
        *,
        peppers: Mapping[int, bytes],
        site: str,
        wrong_keys_per_min: int = 60,
        entries_max: int = ENTRIES_MAX,
        rehash: bool = True,
    ) -> None:
        """`rehash`: move keys of older peppers to the newest on use; off while a node lacks the newest."""
        self.site = site
        self.stale = False
        self.rehash = rehash
        self._set_peppers(peppers)
        self._known: OrderedDict[str, KnownKey] = OrderedDict()
        self._unknown: OrderedDict[str, int] = OrderedDict()
        self._flights: dict[str, asyncio.Future[KnownKey | None]] = {}
        self._generation = 0
        self._no_imports = False
        self._entries_max = entries_max
        self._throttle = Throttle(per_min=wrong_keys_per_min)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def pepper_n(self) -> int:
        """Number of the newest pepper."""
        return self._minted_n

    @property
    def generation(self) -> int:
        """How often everything was forgotten."""
        return self._generation

    @property
    def no_imports(self) -> bool:
        """Whether a look-up found that no key of another form was ever imported."""
        return self._no_imports and not self.stale

    def take_peppers(self, peppers: Mapping[int, bytes]) -> None:
        """Continue with what the pepper file holds now: its keys have other digests, and are looked up again."""
        self._set_peppers(peppers)
        self.forget_all()

    def _set_peppers(self, peppers: Mapping[int, bytes]) -> None:
        self._minted_n, self._minting = secrets.newest(peppers)
        self._older = tuple(secrets.in_order(peppers)[1:])

    def note_no_imports(self, generation: int) -> None:
        """Remember that there are none, unless everything was forgotten since `generation`."""
        if generation == self._generation:
            self._no_imports = True

    def digest(self, key: str) -> str:
        """The digest of an ASCII key under the newest pepper: its name in this ring."""
        return secrets.digest_key(self._minting, key)

    def older_digests(self, key: str) -> list[str]:
        """The digests of a key under the other peppers, newest first."""
        return [secrets.digest_key(pepper, key) for pepper in self._older]

    def get(self, digest: str) -> KnownKey | None:
        """What is known of this key; None if a look-up must say."""
        if self.stale:
            return None
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
        return known

    def is_unknown(self, digest: str, *, now_us: int) -> bool:
        """Whether a look-up of the last 5 s found no such key."""
        return not self.stale and self._unknown.get(digest, 0) > now_us

    def forget_all(self) -> None:
        """Look up everything again, at once."""
        self._generation += 1
        self._no_imports = False
        self._known.clear()
        self._unknown.clear()
        self._flights = {}

    async def find(
        self, digest: str, read: Callable[[], Awaitable[KnownKey | None]], *, now_us: int
    ) -> KnownKey | None:
        """What `read` says of this key, remembered; callers of one key at one time share one look-up."""
        flight = self._flights.get(digest)
        while flight is not None:
            await asyncio.wait((flight,))
            if not flight.cancelled():
                return flight.result()
            flight = self._flights.get(digest)
        flights, generation = self._flights, self._generation
        flight = flights[digest] = asyncio.get_running_loop().create_future()
        try:
            known = await read()
        except Exception as fault:
            flight.set_exception(fault)
            flight.exception()  # seen, also where nobody else waits
            raise
        except BaseException:
            flight.cancel()
            raise
        else:
            flight.set_result(known)
            if generation == self._generation:
                self._remember(digest, known, now_us)
            return known
        finally:
            del flights[digest]

    def wrong(self, address: str, *, now_us: int) -> None:
        """Count a wrong key; RateLimited if this address has sent too many."""
        wait_us = self._throttle.count(address, now_us=now_us)
        if wait_us:
            wait_s = -(-wait_us // 1_000_000)
            raise RateLimited(
                "Rate limit reached for wrong API keys from your address. "
                f"Please check your API key and try again in {wait_s} s.",
                retry_after_s=wait_s,
            )

    def _remember(self, digest: str, known: KnownKey | None, now_us: int) -> None:
        if known is None:
            self._unknown.pop(digest, None)
            self._unknown[digest] = now_us + UNKNOWN_US
            if len(self._unknown) > self._entries_max:
                self._unknown.popitem(last=False)
            return
        self._known[digest] = known
        self._known.move_to_end(digest)
        if len(self._known) > self._entries_max:
            self._known.popitem(last=False)


class Throttle:
    """Counts events of an address: so many at once, then so many a minute; an IPv6 address is its /64."""

    __slots__ = ("_addresses_max", "_every_us", "_full_us")

    def __init__(self, *, per_min: int, addresses_max: int = ADDRESSES_MAX) -> None:
        self._every_us = _MINUTE_US // per_min
        self._addresses_max = addresses_max
        # address -> when its events so far are all forgotten: the generic cell rate algorithm
        self._full_us: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_us)

    def count(self, address: str, *, now_us: int) -> int:
        """0, and the event is counted; or the microseconds to wait until one may happen again."""
        name = _network(address)
        empty_us = max(self._full_us.get(name, 0), now_us) + self._every_us
        wait_us = empty_us - now_us - _MINUTE_US
        if wait_us > 0:
            return wait_us
        self._full_us[name] = empty_us
        self._full_us.move_to_end(name)
        if len(self._full_us) > self._addresses_max:
            self._full_us.popitem(last=False)
        return 0


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return found.exploded[:19]
    return str(getattr(found, "ipv4_mapped", None) or found)
