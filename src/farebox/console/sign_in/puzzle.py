"""A small puzzle for browsers that sign up (altcha): found in a second by one person, in hours by ten thousand robots.

Our own script solves it in the browser; nothing is asked of anybody elsewhere. A browser without scripts sends none: it
may sign up once an hour from its network, and the code in the mail needs a mailbox. A wrong or used one is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
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
        given = json.loads(base64.b64decode(solution))
        right, _ = altcha.verify_solution(given, _key(), check_expires=True)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        return False
    # One solution can be written in many ways; the puzzle that it solves is always the same.
    return bool(right) and bool(cache.add(f"puzzle:{given['challenge']}", "y", LASTS_S))


def _key() -> str:
    return secrets.derived_text(options.current(), "altcha")
