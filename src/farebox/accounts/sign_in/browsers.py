"""Browsers in which somebody has signed in before: they are counted separately.

So typing wrong passwords elsewhere locks nobody out of their own browser (security 6).
"""

from __future__ import annotations

import hashlib

from django.core import signing

KNOWN_AGE_S = 180 * 86_400
_SALT = "farebox known browser"


def mark(person: str) -> str:
    """What such a browser keeps in a cookie."""
    return signing.dumps(person, salt=_SALT)


def counted(cookie: str, *, person: str, email: str) -> str:
    """What tries at this mailbox are counted under: the browser that is known to its person, else the mailbox."""
    if knows(cookie, person):
        return f"browser:{hashlib.sha256(cookie.encode()).hexdigest()}"
    return f"password:{email.strip().lower()}"


def knows(cookie: str, person: str) -> bool:
    """Whether this person has signed in with the browser of this cookie; nobody (empty) has."""
    try:
        return bool(person) and bool(signing.loads(cookie, salt=_SALT, max_age=KNOWN_AGE_S) == person)
    except signing.BadSignature:
        return False
