"""The text of HTTP/1.1: a request to bytes, and what we accept as the head of an answer. Pure functions."""

from __future__ import annotations

import re
from typing import Final

from farebox.kit.fetch.errors import BrokenResponse
from farebox.kit.fetch.exchange import Outgoing

HEAD_BYTES_MAX: Final = 65_536
HEAD_FIELDS_MAX: Final = 200

_NAMES_MAX = 512
_names: dict[bytes, str] = {}
_PATH = re.compile(rb"/[!-~]*")
_METHOD = re.compile(rb"[A-Z]+")


def _name(raw: bytes) -> str:
    name = raw.decode("latin-1").lower()
    if len(_names) < _NAMES_MAX:
        _names[raw] = name
    return name


def request_bytes(outgoing: Outgoing, fixed_head: bytes) -> bytes:
    """The request as it goes over the wire, for one write; raises ValueError if it were not one request."""
    path, headers, body = outgoing.path, outgoing.headers, outgoing.body
    if not _PATH.fullmatch(path) or not _METHOD.fullmatch(outgoing.method):
        raise ValueError("method or path holds signs that are not allowed")
    if headers and (headers[-2:] != b"\r\n" or headers[:2] == b"\r\n" or b"\r\n\r\n" in headers):
        raise ValueError("headers must be whole lines")
    if body or outgoing.method not in (b"GET", b"HEAD"):
        return b"%b %b%b%bContent-Length: %d\r\n\r\n%b" % (
            outgoing.method,
            path,
            fixed_head,
            headers,
            len(body),
            body,
        )
    return b"%b %b%b%b\r\n" % (outgoing.method, path, fixed_head, headers)


def read_fields(fields: list[tuple[bytes, bytes]], fed_bytes: int) -> dict[str, str]:
    """The header fields, names in lower case, those that came twice joined by a comma.

    `fed_bytes` is what has been read from the network, the head and perhaps more.
    Raises BrokenResponse above 200 fields or 64 KiB, and for a compressed answer.
    """
    if len(fields) > HEAD_FIELDS_MAX:
        raise BrokenResponse("the head of the answer has too many fields")
    if fed_bytes > HEAD_BYTES_MAX and sum(len(n) + len(v) + 4 for n, v in fields) > HEAD_BYTES_MAX:
        raise BrokenResponse("the head of the answer is too large")
    headers: dict[str, str] = {}
    for raw, value in fields:
        name = _names.get(raw) or _name(raw)
        text = value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    encoding = headers.get("content-encoding")
    if encoding and encoding.lower() != "identity":
        raise BrokenResponse("the answer is compressed, which was not asked for")
    return headers


def has_length(headers: dict[str, str], version: str) -> bool:
    """True if the body says itself where it ends; False if only the end of the connection can tell.

    Raises BrokenResponse for another version than 1.0 and 1.1, and for fields that contradict each other.
    """
    if version not in {"1.1", "1.0"}:
        raise BrokenResponse("the answer has an unknown version of HTTP")
    transfer = headers.get("transfer-encoding")
    if transfer is None:
        return "content-length" in headers
    if transfer.lower() != "chunked" or "content-length" in headers or version == "1.0":
        raise BrokenResponse("the answer contradicts itself about its length")
    return True
