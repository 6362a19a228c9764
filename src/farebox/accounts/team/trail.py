"""What was done to an account and to what belongs to it, for its owner and for the admins of its projects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import QuerySet

from farebox.accounts.models import Account, ApiKey, Invitation, Member, Project
from farebox.kit.audit import TrailEvent
from farebox.kit.db import Tx
from farebox.kit.models import AuditEvent

from .teams import Reach


def read(tx: Tx, within: Reach, *, verbs: Iterable[str], before: str = "", limit: int = 50) -> list[TrailEvent]:
    """Events of these verbs about what is within, newest first, older than the id `before`.

    What happened to a member before he came from elsewhere in the account is left out.
    """
    del tx  # the ORM reads in the same transaction
    rows = AuditEvent.objects.filter(object__in=_objects(within), verb__in=list(verbs))
    if before:
        rows = rows.filter(id__lt=before)
    for member, came in _came(within).items():
        rows = rows.exclude(object=member, id__lt=came)
    return [
        TrailEvent(row.id, row.at_us, row.actor, row.verb, row.object, row.before, row.after)
        for row in rows.order_by("-id")[:limit]
    ]


def names(tx: Tx, within: Reach, ids: Iterable[str]) -> dict[str, str]:
    """What the account, its keys, projects, members and invitations of these ids are called; others have no name."""
    del tx
    wanted = set(ids)
    found: dict[str, str] = {}
    if within.whole:
        found |= dict(Account.objects.filter(id=within.account, id__in=wanted).values_list("id", "name"))
    found |= dict(_projects(within).filter(id__in=wanted).values_list("id", "name"))
    found |= dict(_of(ApiKey.objects, within).filter(id__in=wanted).values_list("id", "name"))
    found |= dict(_of(Invitation.objects, within).filter(id__in=wanted).values_list("id", "email"))
    members = _of(Member.objects, within).filter(id__in=wanted).values_list("id", "person__name", "person__email")
    return found | {ident: name or email for ident, name, email in members}


def _objects(within: Reach) -> QuerySet[Any]:
    """The ids of all that is within; keys of the playground come and go unasked, so they are left out."""
    parts = [
        _projects(within).values("id"),
        _of(ApiKey.objects, within).filter(kind="").values("id"),
        _of(Member.objects, within).values("id"),
        _of(Invitation.objects, within).values("id"),
    ]
    if within.whole:
        parts.append(Account.objects.filter(id=within.account).values("id"))
    return parts[0].union(*parts[1:], all=True)


def _projects(within: Reach) -> QuerySet[Project]:
    rows = Project.objects.filter(account=within.account)
    return rows if within.projects is None else rows.filter(id__in=within.projects)


def _of(manager: Any, within: Reach) -> QuerySet[Any]:
    rows: QuerySet[Any] = manager.filter(account=within.account)
    return rows if within.projects is None else rows.filter(project__in=within.projects)


def _came(within: Reach) -> dict[str, str]:
    """The event by which each member came last to what is within from elsewhere in the account."""
    if within.whole:
        return {}
    moves = AuditEvent.objects.filter(object__in=_of(Member.objects, within).values("id"), verb="member.set_role")
    return {
        member: event
        for event, member, before in moves.order_by("id").values_list("id", "object", "before")
        if not within.has(msgspec.json.decode(before).get("project"))
    }
