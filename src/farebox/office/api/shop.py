"""Management API: the shop itself: announcements, settings, and who works here."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Path, Router

from farebox.accounts.sign_in import operators
from farebox.kit import announcements, clock, db, options, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office import kinds

from . import shapes_shop as shapes
from . import types
from .proposals import propose
from .roles import ALL, answers, for_roles
from .shapes_proposals import Proposal

router = Router()
ADMIN = ("admin",)
SEES_SHOP = ("admin", "auditor")


@router.get("/announcements", response=answers(shapes.Announcements), tags=["shop"], **for_roles(*ALL))
def list_announcements(request: Any) -> Any:
    """Announcements, latest start first."""
    del request
    return {"data": db.read(announcements.listed)}


@router.post("/announcements", response=answers(shapes.Announcement), tags=["shop"], **for_roles(*ADMIN))
def announce(request: Any, body: shapes.AnnouncementIn) -> Any:
    """Publish an announcement in at least one language, starting now or at a given time."""
    now_us = clock.now_us()
    facts = body.dict() | {"from_us": now_us if body.from_us is None else body.from_us}
    return db.write(announcements.add, **facts, now_us=now_us, actor=request.auth.actor)


@router.post(
    "/announcements/{announcement}/end", response=answers(shapes.Announcement), tags=["shop"], **for_roles(*ADMIN)
)
def end_announcement(request: Any, announcement: Path[types.Ident]) -> Any:
    """Remove an announcement."""

    def write(tx: Tx) -> dict[str, Any]:
        if not any(each["id"] == announcement for each in announcements.listed(tx)):
            raise Http404
        return announcements.end(tx, announcement, actor=request.auth.actor)

    return db.write(write)


@router.get("/settings", response=answers(shapes.Settings), tags=["shop"], **for_roles(*ALL))
def read_settings(request: Any) -> Any:
    """The shop's current settings."""
    del request
    return dict(db.read(settings.values))


@router.post(
    "/settings", response=answers(shapes.Settings, proposed=Proposal), tags=["shop"], **for_roles(*kinds.PROPOSES)
)
def set_settings(request: Any, body: shapes.SettingsIn) -> Any:
    """Propose settings; a person must approve them in the office, another administrator if they affect money."""
    changes = body.dict(exclude_none=True)
    before = db.read(settings.values)
    changed = {name: value for name, value in changes.items() if before[name] != value}
    if not changed:
        return dict(before)
    kind = "settings.money" if settings.money_of(changed) else "settings"
    if kind == "settings" and request.auth.role != "admin":
        raise CommandError("Your role can propose only settings of money.")
    return propose(request, kind, "settings", changed)


@router.get("/operators", response=answers(shapes.Operators), tags=["shop"], **for_roles(*SEES_SHOP))
def list_operators(request: Any) -> Any:
    """Operators, and changes pending a second person's approval in the office."""
    del request
    return {
        "data": db.read(operators.listed),
        "waiting": db.read(operators.waiting, now_us=clock.now_us()),
        "single_person": bool(options.current().single_person),
    }
