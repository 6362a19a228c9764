"""Failed sign-ins and refused access, in the log and in the audit trail, so that a flood of them fills neither.

Of one kind, about one object, from one address, the 1st, 5th, 25th, 125th … within an hour is written, with the
count. Above so many lines an hour in a process, further ones are counted together, as `many`. Passwords and codes are
never written, nor what was typed in the place of an address: a mailbox that is nobody's is written as a digest.
"""

from __future__ import annotations

import threading
import time

import structlog

from farebox.kit import audit, db, options, secrets
from farebox.kit.errors import FareboxError

from . import attempts

log = structlog.get_logger(__name__)

STEP = 5
LINES_PER_H = 120
KEYS_MAX = 5_000
MANY = "many"
NOBODY = "visitor"
_HOUR_S = 3600

_lock = threading.Lock()
_seen: dict[tuple[str, str, str], tuple[float, int]] = {}
_lines: list[float] = []


def note(verb: str, *, object: str, address: str, actor: str = NOBODY) -> None:  # noqa: A002 - the trail's own word
    """Write down that somebody was refused: `verb` such as `sign_in.failed`, `object` what it was about.

    Outside of transactions, for what is refused is often rolled back. A store that is away is no further trouble.
    """
    place = attempts.place(address)
    counted = _count(verb, object, place)
    if counted is None:
        return
    about, where, tries = counted
    log.warning("refused", verb=verb, actor=actor, object=about, address=where, tries=tries)
    if about == MANY:
        actor = NOBODY
    facts = {"address": where, "tries": tries}
    try:
        db.write(audit.record, actor=actor, verb=verb, object=about, after=facts)
    except FareboxError as fault:
        log.warning("refused.unwritten", verb=verb, fault=fault.message)


def mailbox(email: str, person: str = "") -> str:
    """What stands for a mailbox: its person, else 16 digits of a digest, for people type passwords there as well."""
    if person:
        return person
    digest = secrets.digest_code(
        secrets.newest(secrets.peppers(options.current()))[1], email.strip().lower(), label="mailbox"
    )
    return f"mailbox:{digest[:16]}"


def forget() -> None:
    """Count anew, for tests."""
    with _lock:
        _seen.clear()
        _lines.clear()


def _count(verb: str, about: str, place: str) -> tuple[str, str, int] | None:
    """What to write now: object, address, and how many it makes; None where this one is only counted."""
    now = time.monotonic()
    with _lock:
        while _lines and _lines[0] < now - _HOUR_S:
            _lines.pop(0)
        if len(_seen) >= KEYS_MAX:
            for key in [key for key, (since, _) in _seen.items() if since < now - _HOUR_S]:
                del _seen[key]
        found = (verb, about, place)
        if len(_lines) >= LINES_PER_H or (len(_seen) >= KEYS_MAX and found not in _seen):
            found = (verb, MANY, "")
        since, tries = _seen.get(found, (now, 0))
        if since < now - _HOUR_S:
            since, tries = now, 0
        tries += 1
        _seen[found] = (since, tries)
        if not _is_power(tries):
            return None
        if found[1] != MANY:
            _lines.append(now)
        return found[1], found[2], tries


def _is_power(number: int) -> bool:
    while number % STEP == 0:
        number //= STEP
    return number == 1
