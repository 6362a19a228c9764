"""An authenticator, as a phone has one (RFC 6238), written apart from the code that checks it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
import time


def seed(html: str) -> str:
    """The seed that a page of enrolling shows."""
    found = re.search(r'class="mono seed">([A-Z2-7 ]+)<', html)
    assert found, "no seed is shown"
    return found[1].replace(" ", "")


def code(secret: str, steps: int = 0) -> str:
    """The six figures of now, or of so many half-minutes later."""
    count = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.new(base64.b32decode(secret), count, hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"
