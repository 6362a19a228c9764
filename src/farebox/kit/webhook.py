"""Webhooks to customers: signed, only to public addresses, without redirects (security 5).

The header `Farebox-Signature: t=<seconds>,v1=<hex>` carries HMAC-SHA256 over `<seconds>.<body>` under the secret that
the customer was shown once; `Farebox-Message` is the message's id, the same when it comes again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from .fetch import AddressRefused, Fetch, Outgoing, Target, check_spelled

PATIENCE_S = 10
PORTS = frozenset({80, 443})
_encode = msgspec.json.Encoder().encode


class NotTaken(Exception):
    """The customer's server answered, but not with 2xx."""


def check(url: str) -> str:
    """`url` itself if webhooks may go there, else AddressRefused; where its name leads is looked at when they go."""
    check_spelled(Target.parse(url, ports=PORTS, query=True)[0])
    return url


def signature(secret: str, body: bytes, *, at_s: int) -> str:
    """The value of `Farebox-Signature`."""
    made = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={made}"


def body(payload: Mapping[str, Any], *, ident: str, at_s: int) -> bytes:
    """What is sent."""
    return _encode({"id": ident, "event": payload["event"], "at": at_s, "data": payload["data"]})


async def post(fetch: Fetch, payload: Mapping[str, Any], *, ident: str, at_s: int) -> None:
    """Deliver one; AddressRefused where it never can, NotTaken or another FetchError to try again."""
    target, path = Target.parse(payload["url"], ports=PORTS, query=True)
    sent = body(payload, ident=ident, at_s=at_s)
    signed = signature(payload["secret"], sent, at_s=at_s)
    head = f"Content-Type: application/json\r\nFarebox-Signature: {signed}\r\nFarebox-Message: {ident}\r\n"
    exchange = fetch.start(
        Outgoing(target, b"POST", path or b"/", head.encode(), sent, PATIENCE_S, PATIENCE_S, PATIENCE_S)
    )
    try:
        answer = await exchange.response()
        if not 200 <= answer.status < 300:
            raise NotTaken(f"The server answered {answer.status}.")
        # The body is not read: a server that drips it would keep everybody's messages waiting.
    finally:
        exchange.release()


__all__ = ["AddressRefused", "NotTaken", "body", "check", "post", "signature"]
