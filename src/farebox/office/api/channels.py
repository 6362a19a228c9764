"""Management API: one channel: its address and order, its health, a test, and a model that it no longer answers."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Path, Router

from farebox.kit import db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import refusals
from farebox.office import ports, resting
from farebox.upstreams import channels, survey

from . import shapes_channels as shapes
from . import types
from .roles import ALL, answers, for_roles
from .shapes import ChannelOut, Offered

router = Router()
ADMIN = ("admin",)


@router.get("/channels/{name}", response=answers(ChannelOut), tags=["upstreams"], **for_roles(*ALL))
def read_channel(request: Any, name: Path[types.Name]) -> Any:
    """One channel with what it answers; never its secret. What it costs us is not for support."""
    found = db.read(_find, name)
    if request.auth.role == "support":
        found |= {"models": [each | {"costs": {}} for each in found["models"]]}
    return found


@router.post("/channels/{name}/address", response=answers(ChannelOut), tags=["upstreams"], **for_roles(*ADMIN))
def set_address(request: Any, name: Path[types.Name], body: shapes.AddressIn) -> Any:
    """Refused: only a person can change a channel's address, in the office, after verifying their identity again."""
    del request, body
    db.read(_find, name)
    raise CommandError("A script gives no channel another key or address. A person does, in the office.")


@router.post("/channels/{name}/order", response=answers(ChannelOut), tags=["upstreams"], **for_roles(*ADMIN))
def set_order(request: Any, name: Path[types.Name], body: shapes.OrderIn) -> Any:
    """A channel's priority: tier, weight and concurrent calls; never raised."""

    def write(tx: Tx) -> dict[str, Any]:
        now = _find(tx, name)
        sooner = body.tier is not None and body.tier < now["tier"]
        if sooner or (body.weight and not now["weight"]):
            raise CommandError("A script lets no channel be tried sooner than before. A person does, in the office.")
        channels.set_order(tx, channel=name, **body.dict(), actor=request.auth.actor)
        return _find(tx, name)

    return db.write(write)


@router.post("/channels/{name}/withdraw", response=answers(Offered), tags=["upstreams"], **for_roles(*ADMIN))
def withdraw(request: Any, name: Path[types.Name], body: shapes.ModelName) -> Any:
    """Remove a model from a channel; returns what it offered."""

    def write(tx: Tx) -> dict[str, Any]:
        if not any(each["model"] == body.model for each in _find(tx, name)["models"]):
            raise Http404
        return channels.withdraw(tx, channel=name, model=body.model, actor=request.auth.actor)

    return db.write(write)


@router.get("/channels/{name}/health", response=answers(shapes.HealthOut), tags=["upstreams"], **for_roles(*ALL))
def read_health(request: Any, name: Path[types.Name]) -> Any:
    """A channel's health as seen by the answering process, and the accounts whose calls failed there."""
    del request
    found = db.read(_find, name)
    seen = resting.of(resting.seen(), found["id"])
    faults = survey.broken()
    state = "disabled" if found["state"] != "active" else "broken" if name in faults else seen["state"]
    broken = refusals.said(faults[name], "api") if name in faults else ""
    why = broken or seen["why"] or found["state_why"]
    return seen | {"channel": name, "state": state, "why": why, "accounts": resting.behind(seen["accounts"])}


@router.post("/channels/{name}/test", response=answers(shapes.Tested), tags=["upstreams"], **for_roles(*ADMIN))
def test_channel(request: Any, name: Path[types.Name], body: shapes.ModelName) -> Any:
    """Make a real call to a model on this channel, at the shop's expense; returns its answer and cost."""
    db.read(_find, name)
    desk = ports.desk()
    if desk is None:
        raise Http404
    return desk.test(actor=request.auth.actor, channel=name, model=body.model)


def _find(tx: Tx, name: str) -> dict[str, Any]:
    found = next((row for row in channels.listed(tx) if row["name"] == name), None)
    if found is None:
        raise Http404
    return found
