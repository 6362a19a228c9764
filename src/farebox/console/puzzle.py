"""A small puzzle for browsers that sign up (altcha): found in a second by one person, in hours by ten thousand robots.

Our own script solves it in the browser; nothing is asked of anybody elsewhere. A browser without scripts sends none: it
may sign up once an hour from its network, and the code in the mail needs a mailbox. A wrong or used one is refused.
"""

from __future__ import annotations

import binascii
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from altcha import v1 as altcha
from django.core.cache import cache

from farebox.kit import options, secrets

HARDEST = 60_000
LASTS_S = 900


def make() -> dict[str, Any]:
    """A new one, as the script reads it."""
    until = datetime.now(UTC) + timedelta(seconds=LASTS_S)
    wanted = altcha.ChallengeOptions(hmac_key=_key(), max_number=HARDEST, expires=until)
    return dict(altcha.create_challenge(wanted).to_dict())


def passes(solution: str) -> bool:
    """Whether this is a right solution that is still good and was not used before."""
    try:
        right, _ = altcha.verify_solution(solution, _key(), check_expires=True)
    except (ValueError, TypeError, KeyError, binascii.Error):
        right = False
    used = f"puzzle:{hashlib.sha256(solution.encode()).hexdigest()}"
    return bool(right) and bool(cache.add(used, "y", LASTS_S))


def _key() -> str:
    return secrets.derived_text(options.current(), "altcha")
