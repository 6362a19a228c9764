"""What the customers' templates know of who is signed in."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from farebox.kit import db
from farebox.ledger import holds
from farebox.look.sessions import area_of

from .principal import Principal, find


def person(request: HttpRequest) -> dict[str, Any]:
    """`me`, the principal or None; `available_micro`, the account's balance, for its owner alone (security 1)."""
    if area_of(request) != "console" or not hasattr(request, "user"):
        return {}
    me: Principal | None = getattr(request, "principal", None) or find(request)
    if me is None or me.must_prove:
        return {"me": None}
    if me.role != "owner":
        return {"me": me}
    posted_micro, held_micro, _ = db.read(holds.balance, me.account)
    return {"me": me, "available_micro": posted_micro - held_micro}
