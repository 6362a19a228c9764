"""For whom a trusted proxy asks: the hops in X-Forwarded-For, Forwarded (RFC 7239) or X-Real-IP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

from farebox.kit import errors

from .head import Networks, address_of

FIELDS = ("x-forwarded-for", "forwarded", "x-real-ip")

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"  # RFC 7239 6.2: a port may be made up
_BRACKETS = re.compile(rf"\[([^\]]+)\]{_PORT}\Z")
_DOTTED = re.compile(rf"([0-9.]+){_PORT}\Z")
# Elements of a list, and pairs of an element, read from the right: what a proxy has appended is whole, what a client
# wrote before it may hold an open quote that would swallow it.
_ELEMENTS = re.compile(r'(?:[^,"]|"[^"]*"|")+')
_PAIRS = re.compile(r'(?:[^;"]|"[^"]*"|")+')


def check_field(name: str) -> str:
    """`name` in lower case if it is one of `FIELDS`; CommandError otherwise."""
    if name.lower() not in FIELDS:
        raise errors.CommandError("proxy.header", header=name[:60])
    return name.lower()


def client(fields: Mapping[str, str], name: str, trusted: Networks) -> tuple[str, str]:
    """The address of the last hop in the field `name` that is no trusted proxy, and what could not be read, if any.

    Where all hops are trusted it is the first of them; empty where there is none, or where that hop is no address.
    """
    text = fields.get(name)
    if text is None:
        others = [other for other in FIELDS if other in fields]
        return "", f"no {name}, but {others[0]}" if others else ""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    for hop in _forwarded(text) if name == "forwarded" else reversed(text.split(",")):
        if not hop.strip():
            continue
        found = address(hop)
        if found is None:
            return "", hop
        if not trusted.holds(found):
            break
    return "" if found is None else str(found), ""


def address(hop: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of a hop with or without quotes, brackets, port and zone; None for a name, `unknown`, `_hidden`."""
    text = hop.strip().strip('"')
    for form in (_BRACKETS, _DOTTED):
        if match := form.match(text):
            text = match[1]
            break
    return address_of(text.partition("%")[0])


def _forwarded(text: str) -> Iterator[str]:
    """The `for=` of each element, the last first; `unknown` for an element that has none, or several."""
    for found in _ELEMENTS.finditer(text[::-1]):
        element = found[0][::-1]
        pairs = [pair[::-1].strip().partition("=") for pair in _PAIRS.findall(element[::-1])]
        said = [value for key, _, value in pairs if key.lower() == "for"]
        if element.strip():
            yield said[0] if len(said) == 1 else "unknown"
