"""Short-lived keys of the playground: one hour, of one session, gone with it."""

from __future__ import annotations

from collections.abc import Sequence

from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import keys
from .caps import Caps
from .models import ApiKey, Member, Project

LIFE_S = 3600
ALIVE_MAX = 5  # a session has several windows; the oldest key makes room
NAME = "Playground"


def mint(
    tx: Tx, *, session: str, member: str, cap_micro: int | None = None, now_us: int, actor: str
) -> tuple[ApiKey, str]:
    """A key for the playground of a session (its id), of this member, and its text, shown now or never.

    It may spend `cap_micro` in all. Raises CommandError where the member has no project in use.
    """
    alive = ApiKey.objects.filter(session=session, state="active").order_by("-created_us", "-id")
    for old in alive[ALIVE_MAX - 1 :]:
        keys.revoke(tx, old.id, now_us=now_us, actor=actor)
    return keys.issue(
        tx,
        project=_project(member),
        name=NAME,
        expires_us=now_us + LIFE_S * 1_000_000,
        caps=Caps(ever_micro=cap_micro),
        member=member,
        session=session,
        now_us=now_us,
        actor=actor,
    )


def has_keys(sessions: Sequence[str]) -> bool:
    """Whether any of these sessions (ids) has a key that works."""
    return ApiKey.objects.filter(session__in=sessions, state="active").exists()


def move(session: str, to: str) -> None:
    """A session has another key: its keys of the playground stay its own."""
    ApiKey.objects.filter(session=session).update(session=to)


def end(tx: Tx, sessions: Sequence[str], *, now_us: int) -> int:
    """Revoke the keys of sessions that end; how many."""
    ids = list(ApiKey.objects.filter(session__in=sessions, state="active").values_list("id", flat=True))
    if not ids:
        return 0
    ApiKey.objects.filter(id__in=ids, state="active").update(state="revoked", revoked_us=now_us)
    for key in ids:
        audit.record(tx, actor="system", verb="key.revoke", object=key, after="the session ended")
    db.bump(tx, "keys")
    return len(ids)


def _project(member: str) -> str:
    """The member's own project, or the oldest of the account that is in use."""
    row = Member.objects.get(id=member)
    if row.project_id is not None:
        return row.project_id
    found = Project.objects.filter(account=row.account_id, state="active").order_by("created_us", "id").first()
    if found is None:
        raise CommandError("This account has no project in use. Make one under Team first.")
    return found.id
