"""Who calls: an authenticated API key with its project, account and price list."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from farebox.accounts import caps
from farebox.kit.errors import CommandError
from farebox.ledger.holds import Purse

from .pace import Pace

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class _Purses:
    """The purses of one period, and the moment in which that period ends; the account's day, and when that ends."""

    until_us: int = 0
    purses: tuple[Purse, ...] = ()
    day_until_us: int = 0
    day: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated API key and everything that a call of it needs to know about its account.

    `models` empty means all models, `addresses` empty means all addresses; `caps` are (scope id, micro-units,
    period) of key, project and member, one for each that is set, `paces` the limits a minute and at once of key,
    member, project and account where one is set; `expires_us` is in epoch microseconds.
    """

    key: str
    key_name: str
    account: str
    account_name: str
    account_state: str
    project: str
    member: str | None
    currency: str
    price_list: str
    time_zone: str
    models: frozenset[str] = frozenset()
    addresses: tuple[Network, ...] = ()
    expires_us: int | None = None
    house: bool = False
    trusted: bool = False  # what it is forgiven draws on no allowance
    caps: tuple[tuple[str, int, str], ...] = ()
    paces: tuple[Pace, ...] = ()
    _current: _Purses = field(default_factory=_Purses, repr=False, compare=False)

    def purses(self, now_us: int) -> tuple[Purse, ...]:
        """The ledger accounts that a hold placed now takes from, ascending by id; computed once a period."""
        current = self._current
        if now_us >= current.until_us:
            current.purses, current.until_us = self._purses_at(now_us)
        return current.purses

    def day(self, now_us: int) -> str:
        """The account's own day, `2026-11-24`; computed once a day."""
        current = self._current
        if now_us >= current.day_until_us:
            current.day = caps.period_id("day", now_us=now_us, time_zone=self.time_zone)
            current.day_until_us = caps.period_end_us("day", now_us=now_us, time_zone=self.time_zone)
        return current.day

    def may_use(self, model: str) -> bool:
        """Whether the key may use the model of this name."""
        return not self.models or model in self.models

    def _purses_at(self, now_us: int) -> tuple[tuple[Purse, ...], int]:
        purses = [Purse(self.account)]
        until_us = caps.NEVER_US
        for scope, cap_micro, period in self.caps:
            memo = caps.memo(scope, period, now_us=now_us, time_zone=self.time_zone)
            purses.append(Purse(memo, cap_micro, caps.anew(period, now_us=now_us, time_zone=self.time_zone)))
            until_us = min(until_us, caps.period_end_us(period, now_us=now_us, time_zone=self.time_zone))
        return tuple(sorted(purses, key=lambda purse: purse.id)), until_us


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What the store says of a key: its caller, and whether key, project, member or account are dead."""

    caller: Caller
    dead: bool
    pepper_n: int


def from_row(row: Sequence[Any]) -> KnownKey:
    """The key of a row of sql.FIND_KEY."""
    (key, key_name, key_state, models, addresses, expires_us, counts_as, pepper_n) = row[:8]
    (project, project_state, account, account_name, kind, account_state, currency, price_list, time_zone) = row[8:17]
    (member, member_state) = row[17:19]
    line = counts_as or key  # a rotated key is counted together with the one that it replaces
    capped = [(scope, row[19 + 3 * n : 22 + 3 * n]) for n, scope in enumerate((line, project, member))]
    scopes = (("key", line, key), ("project", project, ""), ("account", account, ""), ("member", member, ""))
    paced = [(*scope, row[28 + 3 * n : 31 + 3 * n]) for n, scope in enumerate(scopes)]
    caller = Caller(
        key=key,
        key_name=key_name,
        account=account,
        account_name=account_name,
        account_state=account_state,
        project=project,
        member=member,
        currency=currency,
        price_list=price_list,
        time_zone=time_zone,
        models=frozenset(msgspec.json.decode(models, type=list[str])),
        addresses=networks(msgspec.json.decode(addresses, type=list[str])),
        expires_us=expires_us,
        house=kind == "house",
        trusted=bool(row[40]),
        caps=tuple((scope, cap, period) for scope, limits in capped for period, cap in caps.Caps(*limits)),
        paces=tuple(
            Pace(of, scope, rpm, tpm, concurrency, said)
            for of, scope, said, (rpm, tpm, concurrency) in paced
            if rpm or tpm or concurrency
        ),
    )
    alive = key_state == "active" and project_state == "active" and member_state in {None, "active"}
    return KnownKey(caller, dead=not alive or account_state == "closed", pepper_n=int(pepper_n))


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks such as `203.0.113.7`, `10.0.0.0/8`, `2001:db8::/32`; or ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def check_networks(texts: Sequence[str]) -> None:
    """CommandError that names the first text that `networks` can't read."""
    for each in texts:
        try:
            networks([each])
        except ValueError:
            raise CommandError("key.address", address=each[:60]) from None


def within(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a client's address is in one of the networks; a text that is no address is in none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return any((mapped or found) in network for network in allowed)
