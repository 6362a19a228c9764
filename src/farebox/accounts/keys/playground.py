"""Short-lived keys of the playground: one hour, of one session, gone with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from farebox.accounts.caps import Caps
from farebox.accounts.models import Account, ApiKey, Member, Project
from farebox.accounts.people import people
from farebox.catalog import versions
from farebox.kit import audit, db, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import key_line, keys
from .key_terms import KeyTerms

LIFE_S = 3600
DAY_USD = 1  # what all keys of one person's playground may spend a day: they are made without a fresh proof
NAME = "Playground"


def mint(
    tx: Tx, *, session: str, member: str, cap_micro: int | None = None, now_us: int, actor: str
) -> tuple[ApiKey, str]:
    """A key for the playground of a session (its id), of this member, and its text, shown now or never.

    A session has one: the one before ends. All that a person makes in an account are counted together, and may spend
    1.00 USD a day, or `cap_micro` where that is less. Raises CommandError where the member has no project in use.
    """
    place = people.find_member(member)
    people.lock_places(place.account_id)  # of two windows that ask at one time the second one sees what the first made
    for old in ApiKey.objects.filter(session=session, state="active"):
        keys.revoke(tx, old.id, now_us=now_us, actor=actor)
    most_micro = day_micro(place.account, now_us=now_us)
    day = most_micro if cap_micro is None else min(cap_micro, most_micro)
    line = _first(place)
    key, text = keys.issue(
        tx,
        KeyTerms(name=NAME, expires_us=now_us + LIFE_S * 1_000_000, caps=Caps(day_micro=day)),
        project=_project(member),
        member=member,
        session=session,
        counts_as=line,
        now_us=now_us,
        actor=actor,
    )
    return (key_line.set_caps(tx, key.id, {"day": day}, now_us=now_us, actor=actor) if line else key), text


def day_micro(account: Account, *, now_us: int) -> int:
    """What the playground of one person may spend a day, in micro-units of the account's currency: 1.00 USD."""
    version = versions.at(account.price_list_id, now_us)
    return int(Fraction(version.usd_rate if version else "1") * DAY_USD * money.MICRO)


def has_keys(sessions: Sequence[str]) -> bool:
    """Whether any of these sessions (ids) has a key that works."""
    return ApiKey.objects.filter(session__in=sessions, state="active").exists()


def move(session: str, to: str) -> None:
    """A session has another key: its keys of the playground stay its own."""
    ApiKey.objects.filter(session=session).update(session=to)


def end(tx: Tx, sessions: Sequence[str], *, account: str = "", now_us: int) -> int:
    """Revoke the keys of sessions that end, all or those of one account; how many."""
    rows = ApiKey.objects.filter(session__in=sessions, state="active")
    if account:
        rows = rows.filter(account=account)
    ids = list(rows.values_list("id", flat=True))
    if not ids:
        return 0
    ApiKey.objects.filter(id__in=ids, state="active").update(state="revoked", revoked_us=now_us)
    for key in ids:
        audit.record(tx, actor="system", verb="key.revoke", object=key, after="the session ended")
    db.bump(tx, "keys")
    return len(ids)


def _first(place: Member) -> str:
    """The first key that this person's playground had in this account, with which all others are counted; or empty."""
    rows = ApiKey.objects.filter(kind="playground", account=place.account_id, member__person=place.person_id)
    first = rows.filter(counts_as="", cap_day_micro__isnull=False).order_by("created_us", "id").first()
    return first.id if first is not None else ""


def _project(member: str) -> str:
    """The member's own project, or the oldest of the account that is in use."""
    row = Member.objects.get(id=member)
    if row.project_id is not None:
        return row.project_id
    found = Project.objects.filter(account=row.account_id, state="active").order_by("created_us", "id").first()
    if found is None:
        raise CommandError("playground.no_project")
    return found.id
