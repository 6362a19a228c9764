"""Whose a request for a page is, as far as earlier ones have shown (promises 4.6).

A look-up is work itself, and nobody's before it was done: so what one request finds out is known to the next, by the
digest of its session's key or of its token. A session that nobody has seen yet counts for its address.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from farebox.look.sessions import PERSON, key_of

_KEPT: Final = 10_000


class Whose:
    """Remembers the persons behind the last sessions and tokens; nothing of it is believed but for shares of places."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._persons: OrderedDict[bytes, str] = OrderedDict()

    def of(self, environ: Mapping[str, Any], area: str) -> str:
        """The person's id, or the address of one who is not known."""
        mark = _mark(environ, area)
        return str((mark and self._persons.get(mark)) or environ["REMOTE_ADDR"])

    def note(self, environ: Mapping[str, Any], area: str) -> None:
        """Keep what this request has found out, also that nobody is there any more."""
        mark = _mark(environ, area)
        if mark is None or PERSON not in environ:
            return
        if person := environ[PERSON]:
            self._persons[mark] = person
            self._persons.move_to_end(mark)
            if len(self._persons) > self._kept:
                self._persons.popitem(last=False)
        else:
            self._persons.pop(mark, None)


def _mark(environ: Mapping[str, Any], area: str) -> bytes | None:
    """What the request shows for itself, as a digest: the secret stays where it came from."""
    shown = environ.get("HTTP_AUTHORIZATION") or key_of(environ.get("HTTP_COOKIE", ""), area)
    return hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest() if shown else None
