"""What a session holds, sealed under the key in its browser's cookie: codes just mailed, seeds, challenges, all of it.

The store knows only a digest of that key, so a reader of the store, of a backup or of a replica reads no session,
even with the key files beside it; and no rotation of those touches a session. A sealed text is `1.` and base64url of
`nonce (12) ‖ text under the key (n + 16)`, AES-256-GCM, bound to the session's id and area.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = "1."
_NONCE_BYTES = 12


def seal(text: str, *, key: str, session: str, area: str) -> str:
    """The text of a session, sealed for the browser that has `key`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + AESGCM(_derived(key)).encrypt(nonce, text.encode(), _bound(session, area))
    return MARK + base64.urlsafe_b64encode(sealed).decode()


def is_sealed(text: str) -> bool:
    """Whether a stored text is one that `seal` made; earlier versions signed it only."""
    return text.startswith(MARK)


def unseal(sealed: str, *, key: str, session: str, area: str) -> str | None:
    """What `seal` took; None for what was changed, or belongs to another session."""
    try:
        raw = base64.b64decode(sealed.removeprefix(MARK).encode("ascii"), altchars=b"-_", validate=True)
        return AESGCM(_derived(key)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(session, area)).decode()
    except (binascii.Error, InvalidTag, ValueError):
        return None


def _derived(key: str) -> bytes:
    """Another key than the digest by which the session is found tells of."""
    return hmac.digest(key.encode(), b"farebox session data", "sha256")


def _bound(session: str, area: str) -> bytes:
    return f"{area}\0{session}".encode()
