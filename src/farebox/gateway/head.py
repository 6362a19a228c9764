"""Whether the head of a request is one to work on: what is odd here is refused before anything else looks at it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from farebox.kit import errors
from farebox.kit.errors import FareboxError

BYTES_MAX = 32 * 1024
FIELDS_MAX = 100
TARGET_BYTES_MAX = 8 * 1024
# Fields that would mean two things if they came twice (RFC 9110 5.3); Host is counted for itself.
SINGLE = frozenset({"authorization", "content-type", "content-length", "content-encoding", "expect", "x-api-key"})
VERSIONS = frozenset({"1.1", "1.0"})

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z|\Z")
_LENGTH_DIGITS_MAX = 15


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
        return errors.BadRequest("The Content-Length is none.")
    if fields.get("content-encoding", "identity").lower() != "identity":
        return errors.WrongMediaType("Compressed request bodies are not understood; send plain JSON.")
    return None


def path_of(target: bytes) -> bytes:
    """The path and query of a target in absolute form, else the target itself."""
    if target[:1] in {b"/", b"*"}:
        return target
    _, _, rest = target.partition(b"://")
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"


def last_hop(forwarded: str, trusted: Collection[str]) -> str:
    """The last hop of an X-Forwarded-For that is no trusted proxy; empty if that is no address."""
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if hop not in trusted:
            try:
                return str(ipaddress.ip_address(hop))
            except ValueError:
                return ""
    return ""


@lru_cache(maxsize=1024)
def _is_host(text: str) -> bool:
    return _HOST.match(text) is not None


def _origin(target: bytes) -> str:
    _, _, rest = target.partition(b"://")
    return rest.partition(b"/")[0].partition(b"?")[0].decode("latin-1").lower()
