"""The request log as a stream: page after page, so that ten million calls need no more memory than a thousand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from django.core.cache import cache

from farebox.kit import db
from farebox.kit.db import Tx

from . import search
from .scope import CallScope
from .search import CallRow, Wanted

PAGE = 1000
PER_MINUTE = 6
_MINUTE_US = 60_000_000


def take(tx: Tx, person: str, *, now_us: int) -> int:
    """Count an export of this person; 0, or the seconds to wait after six in a minute (security 6)."""
    del tx  # the cache writes in the same transaction
    minute, key = now_us // _MINUTE_US, f"export:{hashlib.sha256(person.encode()).hexdigest()}"
    seen, taken = cache.get(key, (0, 0))
    taken = taken + 1 if seen == minute else 1
    if taken > PER_MINUTE:
        return max(1, -(-((minute + 1) * _MINUTE_US - now_us) // 1_000_000))
    cache.set(key, (minute, taken), 120)
    return 0


def pages(scope: CallScope, wanted: Wanted) -> Iterator[tuple[CallRow, ...]]:
    """All calls of `scope` that are `wanted`, newest first, a page at a time; a page may be empty.

    Each page is a read of its own: no view of the store is held while somebody reads slowly.
    """
    before: str | None = None
    while True:
        found = db.read(search.page, scope, wanted, before=before, limit=PAGE)
        yield found.rows
        if found.after is None:
            return
        before = found.after
