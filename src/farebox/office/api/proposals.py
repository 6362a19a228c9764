"""Management API: proposals. A script makes them and takes them back; a person approves them, only in the office."""

from __future__ import annotations

from typing import Any, Literal

from django.http import Http404
from ninja import Path, Router, Status

from farebox.kit import clock, db, proposals
from farebox.kit.errors import CommandError
from farebox.office import kinds

from . import shapes_proposals as shapes
from . import types
from .roles import ALL, answers, for_roles
from .shapes_people import Note

router = Router()


@router.get("/proposals", response=answers(shapes.Proposals), tags=["proposals"], **for_roles(*ALL))
def list_proposals(
    request: Any,
    state: Literal["", "proposed", "approved", "declined", "withdrawn", "dropped", "lapsed"] = "",
    before: types.Ident = "",
) -> Any:
    """Pending and decided proposals, newest first."""
    now_us = clock.now_us()
    rows = db.read(proposals.listed, state=state, before=before, limit=51, now_us=now_us)
    shown = [_shown(request, row, now_us) for row in rows]
    return {"data": shown[:50], "next": shown[49]["id"] if len(shown) > 50 else None}


@router.get("/proposals/{proposal}", response=answers(shapes.Proposal), tags=["proposals"], **for_roles(*ALL))
def read_proposed(request: Any, proposal: Path[types.Ident]) -> Any:
    """One proposal, with the values before and after."""
    return _shown(request, _find(proposal), clock.now_us())


@router.post(
    "/proposals/{proposal}/decline",
    response=answers(shapes.Proposal),
    tags=["proposals"],
    **for_roles(*kinds.PROPOSES),
)
def decline_proposal(request: Any, proposal: Path[types.Ident], body: Note) -> Any:
    """Decline a proposal, or withdraw one's own."""
    _find(proposal)
    who, now_us = request.auth, clock.now_us()
    row = db.write(kinds.decline, proposal, role=who.role, note=body.note, actor=who.actor, now_us=now_us)
    return _shown(request, row, now_us)


def propose(request: Any, kind: str, of: str, after: Any) -> Any:
    """202 with the proposal of a change that a script wants, and a person makes."""
    who, now_us = request.auth, clock.now_us()
    row = db.write(kinds.propose, kind, of, after, role=who.role, actor=who.actor, now_us=now_us)
    return Status(202, _shown(request, row, now_us))


def _shown(request: Any, row: Any, now_us: int) -> dict[str, Any]:
    """A row; what a channel costs us is not for support."""
    found = proposals.view(row, now_us=now_us)
    if request.auth.role == "support" and row.kind == "channel.offer":
        found |= {name: each | {"costs": {}} for name in ("before", "after") if (each := found[name])}
    return found


def _find(proposal: str) -> Any:
    try:
        return db.read(lambda _tx: proposals.find(proposal))
    except CommandError:
        raise Http404 from None
