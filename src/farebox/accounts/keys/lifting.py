"""Whether a change takes limits away: more may be spent, sent, or reached afterwards than before.

Limits are taken away only within five minutes of a proof of the person (security 2); they are tightened at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from farebox.accounts.caps import Caps
from farebox.accounts.models import ApiKey, Member, Project

from . import rates
from .key_terms import KeyTerms


def limits(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> bool:
    """Whether one of these numbers, None for no limit, is lifted or grows; what `after` leaves out stays."""
    return any(_grows(before.get(name), now) for name, now in after.items())


def place(row: Member | Project, caps: Caps, paces: Mapping[str, int | None]) -> bool:
    """Whether a project or a member may spend or call more under these caps and limits."""
    return limits(row.caps.view(), caps.view()) or limits(rates.shown(row), paces)


def key(row: ApiKey, wanted: KeyTerms) -> bool:
    """Whether a key may spend, call or reach more, from more places, or for longer."""
    had = KeyTerms.of(row)
    return (
        _widens(had.models, wanted.models)
        or _widens(had.addresses, wanted.addresses)
        or _grows(had.expires_us, wanted.expires_us)
        or limits(had.caps.view(), wanted.caps.view())
        or limits(had.paces, wanted.paces)
    )


def _grows(before: int | None, after: int | None) -> bool:
    return before is not None and (after is None or after > before)


def _widens(before: Collection[str], after: Collection[str]) -> bool:
    """Empty means everything."""
    return bool(before) and (not after or bool(set(after) - set(before)))
