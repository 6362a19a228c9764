"""Where we may connect to: read a URL, resolve its name once, refuse what is not the public Internet."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from farebox.kit.fetch.errors import AddressRefused

DNS_KEEP_S = 30.0
DNS_NAMES_MAX = 1024

_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_PATH = re.compile(r"(?:/[!-~]*)?")
_PORT_OF = {"https": 443, "http": 80}

# IANA's special-purpose registries, all that is not plain global unicast.
_REFUSED_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and one cloud's metadata service
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, most clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, one cloud's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Refused even to local channels: no upstream lives there, and an answer would be a credential of the host.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.0.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)


# This machine's own names, and those of clouds for what gives out credentials.
_OWN_NAMES = frozenset(
    {"localhost", "ip6-localhost", "ip6-loopback", "localhost.localdomain", "metadata", "instance-data"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """One server that connections are pooled for.

    `scheme` is https or, for local targets, also http; `host` is a lower-case ASCII name or bare IP address;
    `local` says that private addresses are allowed; `host_header` is the value of the Host field.
    """

    scheme: str
    host: str
    port: int
    local: bool
    host_header: bytes

    @classmethod
    def parse(
        cls, url: str, local: bool = False, *, ports: frozenset[int] | None = None, query: bool = False
    ) -> tuple[Self, bytes]:
        """Reads an absolute URL into a target and its path, without a slash at the end.

        `ports` limits the ports (None: any); `query` keeps a query string in the path instead of refusing it.
        Raises AddressRefused for another scheme (http only if `local`), user names, bad hosts, ports, paths.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            host = _plain_host(parts.hostname or "")
        except ValueError as error:
            raise AddressRefused("address.unreadable", reason="the URL cannot be read") from error
        if parts.scheme not in (("https", "http") if local else ("https",)):
            raise AddressRefused("address.scheme", reason="the URL must begin with https://")
        if "@" in parts.netloc:
            raise AddressRefused("address.user", reason="the URL may not hold a user name or password")
        port = _PORT_OF[parts.scheme] if port is None else port
        if port == 0 or (ports is not None and port not in ports):
            raise AddressRefused("address.port", reason="the port of the URL is not allowed")
        if "#" in url or ("?" in url and not query):
            raise AddressRefused("address.query", reason="the URL may not hold a query or fragment")
        path = parts.path.rstrip("/")
        if parts.query:
            path = f"{path or '/'}?{parts.query}"
        if not _PATH.fullmatch(path) or any(ord(sign) <= 32 for sign in url):
            raise AddressRefused("address.path", reason="the path of the URL holds characters that are not allowed")
        shown = f"[{host}]" if ":" in host else host
        if port != _PORT_OF[parts.scheme]:
            shown = f"{shown}:{port}"
        return cls(parts.scheme, host, port, local, shown.encode("ascii")), path.encode("ascii")


def _plain_host(host: str) -> str:
    if ":" in host and "%" not in host:
        return str(ipaddress.IPv6Address(host))
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    host = host.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ValueError(host)
    return host


def is_public(address: str) -> bool:
    """True if the numeric address (a zone after % is ignored) is plain global unicast.

    IPv4 addresses inside IPv6 count as what they carry for NAT64, and are refused in all other forms.
    Raises ValueError if it is not a numeric address.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed in _METADATA:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        return parsed in _GLOBAL_6 and not any(parsed in network for network in _REFUSED_6)
    return not any(parsed in network for network in _REFUSED_4)


def _is_metadata(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped in _METADATA
        if parsed in _NAT64:
            return ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) in _METADATA
    return parsed in _METADATA


def check(target: Target, addresses: tuple[str, ...]) -> None:
    """Raises AddressRefused if any of the addresses is one that this target may not lead to.

    One bad address refuses all: a name that mixes public and private addresses is a rebinding attempt.
    """
    for address in addresses:
        if _is_metadata(address) or not (target.local or is_public(address)):
            raise AddressRefused("address.not_allowed", reason="the name leads to an address that is not allowed")


def check_spelled(target: Target) -> None:
    """Raises AddressRefused if the host itself says, without a look-up, that it may not be led to.

    For whoever writes a URL down: a number in any spelling, or this machine's own name. Where other names lead is
    looked at when a connection is opened, each time.
    """
    host = target.host
    if not target.local and (host == "localhost" or host.endswith(".localhost")):
        raise AddressRefused("address.not_public", reason="the address is not a public one")
    try:
        address = host if ":" in host else str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except OSError:
        return  # a name
    try:
        check(target, (address,))
    except AddressRefused:
        raise AddressRefused("address.not_public", reason="the address is not a public one") from None


def is_spelled_private(url: str) -> bool:
    """Whether the host of an http URL itself, without a look-up, is no public one: a number in any spelling, or a name.

    Spellings are those that somebody's library reads: full-width digits, percent signs, octal, hex, one number.
    """
    host = unicodedata.normalize("NFKC", unquote(urlsplit(url).hostname or "")).replace("\u3002", ".").lower()
    host = host.removesuffix(".").partition("%")[0]
    if host in _OWN_NAMES or host.endswith((".localhost", ".internal")):
        return True
    try:
        address = host if ":" in host else str(ipaddress.IPv4Address(socket.inet_aton(host)))
        return not is_public(address) or _is_metadata(address)
    except (OSError, ValueError):
        return False  # a name


class Resolver:
    """Names to addresses; an answer is kept for 30 s, and many who ask at once share one look-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, target: Target) -> tuple[str, ...]:
        """The numeric addresses of the target, checked; raises AddressRefused, or OSError if it has none."""
        key = (target.host, target.port)
        known = self._known.get(key)
        if known is not None and known[0] > self._loop.time():
            found = known[1]
        else:
            asking = self._asking.get(key)
            if asking is None:
                asking = self._asking[key] = self._loop.create_task(self._ask(key))
                asking.add_done_callback(self._asked)
            # Shielded: one caller who gives up must not take the answer from the others.
            found = await asyncio.shield(asking)
        check(target, found)
        return found

    async def _ask(self, key: tuple[str, int]) -> tuple[str, ...]:
        try:
            answers = await self._loop.getaddrinfo(key[0], key[1], type=socket.SOCK_STREAM)
        finally:
            del self._asking[key]
        found = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
        now = self._loop.time()
        if len(self._known) >= DNS_NAMES_MAX:
            self._known = {name: kept for name, kept in self._known.items() if kept[0] > now}
        if len(self._known) < DNS_NAMES_MAX:
            self._known[key] = (now + DNS_KEEP_S, found)
        return found

    @staticmethod
    def _asked(asking: asyncio.Task[tuple[str, ...]]) -> None:
        # Looked at even when all who asked have left, so that the loop does not complain of it.
        if not asking.cancelled():
            asking.exception()

    async def close(self) -> None:
        """Gives up look-ups under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
