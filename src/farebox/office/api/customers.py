"""Management API: a customer's name, limits and end, and what is in the account: people, projects, holds, receipts."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Path, Router

from farebox.accounts import accounts, customers, forgiving
from farebox.accounts.keys import lifting, rates
from farebox.calls import look_up, receipts
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office import kinds

from . import shapes_customers as shapes
from . import types
from .people import LOGGED, customer
from .proposals import propose as propose_change
from .roles import ALL, answers, for_roles
from .shapes_people import Customer
from .shapes_proposals import Proposal

router = Router()
ADMIN = ("admin",)
THAWS = "A script lets no account make calls again. A person does, in the office."
SEES_MEMBERS = ("support", "admin", "auditor")


@router.post("/customers/{account}/rename", response=answers(Customer), tags=["customers"], **for_roles(*ADMIN))
def rename(request: Any, account: Path[types.Ident], body: shapes.NameIn) -> Any:
    """Rename an account."""
    customer(account)
    db.write(accounts.rename, account, name=body.name, actor=request.auth.actor)
    return customer(account)


@router.post("/customers/{account}/bar", response=answers(Customer), tags=["customers"], **for_roles(*ADMIN))
def bar(request: Any, account: Path[types.Ident]) -> Any:
    """Ban an account for breaking the rules: no new calls."""
    customer(account)
    db.write(accounts.bar, account, actor=request.auth.actor)
    return customer(account)


@router.post("/customers/{account}/unbar", response=answers(Customer), tags=["customers"], **for_roles(*ADMIN))
def unbar(request: Any, account: Path[types.Ident]) -> Any:
    """Refused: only a person can unban an account, in the office, after verifying their identity again."""
    del request
    customer(account)
    raise CommandError(THAWS)


@router.post("/customers/{account}/close", response=answers(Customer), tags=["customers"], **for_roles(*ADMIN))
def close(request: Any, account: Path[types.Ident], body: shapes.CloseIn) -> Any:
    """Close an account permanently, by its exact name; its keys are revoked."""
    name = customer(account)["name"]

    def write(tx: Tx) -> None:
        if body.name != name:
            raise CommandError("Give the name of the account exactly.")
        accounts.close(tx, account, leave_money=body.leave_money, now_us=clock.now_us(), actor=request.auth.actor)

    db.write(write)
    return customer(account)


@router.get("/customers/{account}/limits", response=answers(shapes.Limits), tags=["customers"], **for_roles(*ALL))
def read_limits(request: Any, account: Path[types.Ident]) -> Any:
    """Calls per minute, tokens per minute and concurrent calls of the whole account; null means no limit."""
    del request
    customer(account)
    return rates.now("account", account)


@router.post(
    "/customers/{account}/limits",
    response=answers(shapes.Limits, proposed=Proposal),
    tags=["customers"],
    **for_roles(*ADMIN),
)
def set_limits(request: Any, account: Path[types.Ident], body: shapes.LimitsIn) -> Any:
    """Set all three limits of the whole account; lifting one needs a person's approval."""
    customer(account)
    if lifting.limits(rates.now("account", account), body.dict()):
        return propose_change(request, "account.limits", account, body.dict())
    return rates.shown(db.write(rates.limit, "account", account, **body.dict(), actor=request.auth.actor))


@router.get("/customers/{account}/allowance", response=answers(shapes.Allowance), tags=["customers"], **for_roles(*ALL))
def read_allowance(request: Any, account: Path[types.Ident]) -> Any:
    """An account's remaining allowance and its maximum."""
    del request
    customer(account)
    return db.read(forgiving.facts, account, clock.now_us())


@router.post(
    "/customers/{account}/allowance",
    response=answers(shapes.Allowance, proposed=Proposal),
    tags=["customers"],
    **for_roles(*kinds.PROPOSES),
)
def set_allowance(request: Any, account: Path[types.Ident], body: shapes.AllowanceIn) -> Any:
    """Set the maximum of an account's allowance; an increase needs another administrator's approval."""
    customer(account)
    now_us = clock.now_us()
    if db.read(forgiving.gives, account, body.most_micro, now_us=now_us):
        return propose_change(request, "account.allowance", account, body.dict())
    db.write(forgiving.set_most, account, most_micro=body.most_micro, now_us=now_us, actor=request.auth.actor)
    return db.read(forgiving.facts, account, now_us)


@router.post(
    "/customers/{account}/trust",
    response=answers(shapes.Allowance, proposed=Proposal),
    tags=["customers"],
    **for_roles(*kinds.PROPOSES),
)
def set_trusted(request: Any, account: Path[types.Ident], body: shapes.TrustIn) -> Any:
    """Trust an account, with another administrator's approval; or stop trusting it, effective immediately."""
    customer(account)
    if body.trusted:
        return propose_change(request, "account.trusted", account, body.dict())
    db.write(forgiving.trust, account, trusted=False, actor=request.auth.actor)
    return db.read(forgiving.facts, account, clock.now_us())


@router.get(
    "/customers/{account}/members",
    response=answers(shapes.Members),
    tags=["customers"],
    **for_roles(*SEES_MEMBERS),
)
def list_members(request: Any, account: Path[types.Ident]) -> Any:
    """The members of an account with their roles and caps, oldest first, including removed ones."""
    del request
    customer(account)
    return {"data": db.read(customers.members, account)}


@router.get("/customers/{account}/projects", response=answers(shapes.Projects), tags=["customers"], **for_roles(*ALL))
def list_projects(request: Any, account: Path[types.Ident]) -> Any:
    """The projects of an account with their caps, oldest first."""
    del request
    customer(account)
    return {"data": db.read(customers.projects_of, account)}


@router.get("/customers/{account}/holds", response=answers(shapes.Holds), tags=["customers"], **for_roles(*ALL))
def list_holds(request: Any, account: Path[types.Ident]) -> Any:
    """Holds of running calls, oldest first, 50 at most."""
    del request
    customer(account)
    return {"data": db.read(customers.holds_of, account)}


@router.get(
    "/customers/{account}/calls/{call}", response=answers(shapes.ReceiptOut), tags=["customers"], **for_roles(*ALL)
)
def read_receipt(request: Any, account: Path[types.Ident], call: Path[types.Ident]) -> Any:
    """The receipt of a call with its attempts; access is recorded. Costs are not shown to support."""
    customer(account)
    who = request.auth
    logged = who.role in LOGGED
    run = db.write if logged else db.read
    made = run(look_up.receipt, call, account, actor=who.actor, logged=logged) if receipts.is_id(call) else None
    if made is None:
        raise Http404
    lines = [each | {"usage_class": each["class"]} for each in made["lines"]]
    tries = [_attempt(each, role=who.role) for each in made["tries"]]
    # As it came the report may say what the upstream takes for the call.
    reported = made["reported"] if who.role == "support" else made["told"]
    return made | {"lines": lines, "attempts": tries, "reported": reported}


def _attempt(each: dict[str, Any], *, role: str) -> dict[str, Any]:
    """An attempt, for support without what it cost us."""
    return each | {"cost_micro": None, "cost_currency": ""} if role == "support" else each
