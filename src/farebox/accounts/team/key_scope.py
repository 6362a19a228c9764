"""The keys that somebody may see: all of an account, those of projects of which they are an admin, and their own."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from farebox.accounts.models import ApiKey, Member, Project
from farebox.kit.db import Tx

from . import teams


@dataclass(frozen=True, slots=True)
class KeyScope:
    """Keys of this account; all of them if `projects` is None, else of these projects, and those of this person."""

    account: str
    person: str
    projects: frozenset[str] | None


def scope(account: str, person: str, *, owner: bool) -> KeyScope:
    """What this person may see here."""
    return KeyScope(account, person, teams.reach(account, person, owner=owner).projects)


def find(tx: Tx, of: KeyScope, key: str) -> ApiKey | None:
    """The key of this id, or None: absent and another's are the same."""
    del tx  # the ORM reads in the same transaction
    return _rows(of).filter(id=key).first()


def page(
    tx: Tx, of: KeyScope, *, asked: str = "", ended: bool = False, now_us: int, before: str = "", limit: int
) -> list[ApiKey]:
    """Keys, newest first: those whose name or last signs hold `asked`; those that have ended only if `ended`."""
    del tx
    rows = _rows(of).filter(kind="")
    if not ended:
        rows = rows.filter(state="active").filter(Q(expires_us__isnull=True) | Q(expires_us__gt=now_us))
    if asked:
        rows = rows.filter(Q(name__icontains=asked) | Q(hint__endswith=asked))
    if before:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[:limit])


def counted_with(tx: Tx, of: KeyScope, key: ApiKey, *, now_us: int) -> list[ApiKey]:
    """The other living keys that caps and limits count together with this one, oldest first."""
    del tx
    line = _rows(of).filter(Q(id=key.cap_scope) | Q(counts_as=key.cap_scope)).exclude(id=key.id)
    alive = line.filter(state="active").filter(Q(expires_us__isnull=True) | Q(expires_us__gt=now_us))
    return list(alive.order_by("id"))


def places(tx: Tx, of: KeyScope) -> list[tuple[Project, str]]:
    """The projects in use that a new key of this person may belong to, oldest first, each with their place there."""
    del tx
    mine = {
        row.project_id: row.id for row in Member.objects.filter(account=of.account, person=of.person, state="active")
    }
    rows = Project.objects.filter(account=of.account, state="active").order_by("created_us", "id")
    return [(row, mine.get(row.id) or mine[None]) for row in rows if row.id in mine or None in mine]


def _rows(of: KeyScope) -> QuerySet[ApiKey]:
    rows = ApiKey.objects.filter(account=of.account).select_related("account", "project", "member__person")
    if of.projects is None:
        return rows
    return rows.filter(Q(project__in=of.projects) | Q(member__person=of.person))
