"""Whether the head of a request is one to work on: what is odd here is refused before anything else looks at it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from farebox.kit import errors
from farebox.kit.errors import FareboxError

BYTES_MAX = 32 * 1024
FIELDS_MAX = 100
TARGET_BYTES_MAX = 8 * 1024
# Fields that would mean two things if they came twice (RFC 9110 5.3); Host is counted for itself.
SINGLE = frozenset(
    {
        "authorization", "content-type", "content-length", "content-encoding", "expect", "x-api-key", "x-goog-api-key",
        "idempotency-key",
    }
)  # fmt: skip
VERSIONS = frozenset({"1.1", "1.0"})

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z|\Z")
_LENGTH_DIGITS_MAX = 15
_DISGUISED = re.compile(rb"%(?:2[DEF]|3[0-9]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)


def fault(
    fields: Mapping[str, str], *, method: str, version: str, upgrade: bool, hosts: int, target: bytes
) -> FareboxError | None:
    """What is wrong with a head (field names in lower case), or None. `hosts` is how many Host fields it has."""
    if version not in VERSIONS:
        return errors.BadRequest("This address speaks HTTP/1.1.", status=505)
    if method == "CONNECT":
        return errors.MethodNotAllowed("CONNECT is not allowed here.", allow="GET, POST, OPTIONS")
    if upgrade:
        return errors.BadRequest("This address speaks no other protocol: leave the field Upgrade away.", status=426)
    host = fields.get("host", "")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return errors.BadRequest("The request needs exactly one Host field.")
    if not _is_host(host):
        return errors.BadRequest("The field Host is not of the form name or name:port.")
    if target[:1] not in {b"/", b"*"} and _origin(target) != host.lower():
        return errors.BadRequest("The request is for another host.")
    if fields.get("expect", "100-continue").lower() != "100-continue":
        return errors.BadRequest("This expectation can't be met.", status=417)
    return _body_fault(fields, version)


def _body_fault(fields: Mapping[str, str], version: str) -> FareboxError | None:
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None:
        if version != "1.1" or length is not None:
            return errors.BadRequest("Transfer-Encoding is not allowed in this request.")
        if coding.lower() != "chunked":
            return errors.BadRequest("This transfer encoding is not understood.", status=501)
    if length is not None and not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS_MAX):
        return errors.BadRequest("The Content-Length is invalid.")
    if fields.get("content-encoding", "identity").lower() != "identity":
        return errors.WrongMediaType("Compressed request bodies are not understood; send plain JSON.")
    return None


def is_disguised(path: bytes) -> bool:
    """Whether a path has an encoded sign that stands for itself: a letter, a figure, `-._~`, or a slash of either kind.

    Who writes `/%6fffice/` wants something in between to take it for another page (clients: U03).
    """
    return b"%" in path and _DISGUISED.search(path) is not None


def path_of(target: bytes) -> bytes:
    """The path and query of a target in absolute form, else the target itself."""
    if target[:1] in {b"/", b"*"}:
        return target
    _, _, rest = target.partition(b"://")
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"


class Networks:
    """Addresses and networks; `address in networks` for an address as text, False for an invalid one."""

    __slots__ = ("_networks",)

    def __init__(self, text: str) -> None:
        """The networks of a text such as `10.0.0.0/8, ::1`; CommandError names the invalid one."""
        self._networks = tuple(_network(part.strip()) for part in text.split(",") if part.strip())

    def __contains__(self, address: str) -> bool:
        found = address_of(address) if self._networks else None
        return found is not None and self.holds(found)

    def holds(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether one of them holds this address."""
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise errors.CommandError("proxy.address", address=text[:60]) from None


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None for an invalid one; one of IPv4 that came through an IPv6 socket is that of IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=1024)
def _is_host(text: str) -> bool:
    return _HOST.match(text) is not None


def _origin(target: bytes) -> str:
    _, _, rest = target.partition(b"://")
    return rest.partition(b"/")[0].partition(b"?")[0].decode("latin-1").lower()
