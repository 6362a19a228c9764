"""Projects: divisions of an account with their own keys and an optional cap.

Whatever names a project takes its id or `account/project`, ids or names; an account without a project means its
`default`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farebox.kit import audit, db, ids
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import word

from . import accounts
from .caps import NO_CAPS, Caps
from .caps import change as change_caps
from .caps import check as check_caps
from .models import ApiKey, Project


def create(
    tx: Tx,
    *,
    account: str,
    name: str,
    caps: Caps = NO_CAPS,
    now_us: int,
    actor: str,
) -> Project:
    """A new project of an account that is not closed, capped or not; CommandError if it has one of this name."""
    accounts.checked_name(name)
    if "/" in name:
        raise CommandError("project.name")
    owner = accounts.find(account)
    if owner.state == "closed":
        raise CommandError("account.closed", account=owner.id)
    if Project.objects.filter(account=owner, name=name).exists():
        raise CommandError("project.exists", account=owner.id, project=name)
    check_caps(caps.view())
    project = Project.objects.create(
        id=ids.new("prj", now_us), account=owner, name=name, created_us=now_us, **caps.columns()
    )
    audit.record(tx, actor=actor, verb="project.create", object=project.id, after=view(project))
    return project


def set_caps(tx: Tx, project: str, caps_micro: Mapping[str, int | None], *, now_us: int, actor: str) -> Project:
    """Limit what the project's calls may cost per `day`, `month` or `ever`, in micro-units; None lifts that limit.

    Periods left out stay as they are.
    """
    found = find(project)
    change_caps(tx, [found], caps_micro, now_us=now_us, verb="project.cap", actor=actor)
    return found


def key_end(project: Project, expires_us: int | None, now_us: int) -> int | None:
    """When a key of this project ends that should end at `expires_us`: never after the project's own date for keys.

    CommandError where that date has come.
    """
    if project.keys_end_us is not None and project.keys_end_us <= now_us:
        raise CommandError("project.keys_ended", project=project.name)
    ends = [end_us for end_us in (expires_us, project.keys_end_us) if end_us is not None]
    return min(ends, default=None)


def archive(tx: Tx, project: str, *, now_us: int, actor: str) -> Project:
    """Take the project out of use permanently; its keys are revoked, its calls and charges stay on record."""
    found = find(project)
    if Project.objects.filter(id=found.id, state="active").update(state="archived") != 1:
        raise CommandError("project.state", project=found.id, state=word("state", found.state))
    found.state = "archived"
    dead = ApiKey.objects.filter(project=found, state="active").update(state="revoked", revoked_us=now_us)
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb="project.archive", object=found.id, after={"keys_revoked": dead})
    return found


def find(project: str) -> Project:
    """The project of this id, of `account/project`, or the default one of an account; or CommandError."""
    rows = Project.objects.select_related("account")
    found = rows.filter(id=project).first()
    if found is None:
        account, _, name = project.partition("/")
        owner = accounts.find(account)
        found = rows.filter(account=owner, name=name or accounts.DEFAULT_PROJECT).first()
    if found is None:
        raise CommandError("project.unknown", project=project[:200])
    return found


def list_projects(tx: Tx, *, account: str | None = None) -> list[dict[str, Any]]:
    """The projects of one account or of all, oldest first."""
    del tx  # the ORM reads in the same transaction
    rows = Project.objects.order_by("created_us", "id")
    if account is not None:
        rows = rows.filter(account=accounts.find(account))
    return [view(project) for project in rows]


def view(project: Project) -> dict[str, Any]:
    """What may be shown of a project, JSON-able."""
    return {
        "id": project.id,
        "account": project.account_id,
        "name": project.name,
        "state": project.state,
        "caps_micro": project.caps.view(),
        "keys_end_us": project.keys_end_us,
        "created_us": project.created_us,
    }
