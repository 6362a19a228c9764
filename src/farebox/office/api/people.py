"""Management API: customers with their keys and calls, manual money, totals, the audit trail."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import msgspec
from django.http import Http404
from ninja import Path, Router

from farebox.accounts import accounts, adjusting, customers
from farebox.accounts.keys import keys
from farebox.calls import look_up
from farebox.kit import audit, chain, clock, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments
from farebox.office import kinds

from . import shapes_people as shapes
from . import types
from .proposals import propose as propose_change
from .roles import ALL, answers, for_roles
from .shapes_proposals import Proposal

router = Router()
DAYS_MAX = 92
SEES_KEYS = ("support", "admin", "auditor")
LOGGED = ("support", "admin")


@router.get("/customers", response=answers(shapes.Customers), tags=["customers"], **for_roles(*ALL))
def list_customers(
    request: Any,
    q: types.Line = "",
    state: Literal["", "active", "frozen", "barred", "closed"] = "",
    before: types.Ident = "",
) -> Any:
    """Customers, newest first, by a part of the name or e-mail address, an ID, or the end of a key."""
    del request
    return _page(db.read(customers.search, query=q, state=state, before=before, limit=51))


@router.post("/customers", response=answers(shapes.Customer), tags=["customers"], **for_roles("admin"))
def open_account(request: Any, body: shapes.CustomerIn) -> Any:
    """Open an account with balance 0 and the price list of new accounts."""
    if not db.read(kinds.is_list_of_new, body.price_list):
        raise CommandError(
            "A script can open accounts only with the price list of new accounts. Propose another one for the account "
            "afterwards, or open it in the office."
        )

    def write(tx: Tx) -> str:
        made, _project = accounts.open_account(tx, **body.dict(), now_us=clock.now_us(), actor=request.auth.actor)
        return made.id

    return customer(db.write(write))


@router.get("/customers/{account}", response=answers(shapes.Customer), tags=["customers"], **for_roles(*ALL))
def read_customer(request: Any, account: Path[types.Ident]) -> Any:
    """One customer with its money."""
    del request
    return customer(account)


@router.post(
    "/customers/{account}/freeze",
    response=answers(shapes.Customer),
    tags=["customers"],
    **for_roles("support", "finance", "admin"),
)
def freeze(request: Any, account: Path[types.Ident]) -> Any:
    """Freeze an account: no new calls, effective within a second."""
    customer(account)
    db.write(accounts.freeze, account, actor=request.auth.actor)
    return customer(account)


@router.post(
    "/customers/{account}/unfreeze", response=answers(shapes.Customer), tags=["customers"], **for_roles("admin")
)
def unfreeze(request: Any, account: Path[types.Ident]) -> Any:
    """Refused: only a person can unfreeze an account, in the office, after verifying their identity again."""
    del request
    customer(account)
    raise CommandError("A script lets no account make calls again. A person does, in the office.")


@router.post(
    "/customers/{account}/price-list",
    response=answers(shapes.Customer, proposed=Proposal),
    tags=["customers"],
    **for_roles(*kinds.PROPOSES),
)
def set_price_list(request: Any, account: Path[types.Ident], body: shapes.ListChoice) -> Any:
    """Propose another price list for this account; another administrator must approve it in the office."""
    found = customer(account)
    if found["price_list"] == body.price_list:
        return found
    return propose_change(request, "account.price_list", account, body.price_list)


@router.get("/customers/{account}/keys", response=answers(shapes.Keys), tags=["keys"], **for_roles(*SEES_KEYS))
def list_keys(request: Any, account: Path[types.Ident]) -> Any:
    """The keys of an account, masked."""
    del request
    customer(account)
    return {"data": db.read(customers.keys_of, account)}


@router.post(
    "/customers/{account}/keys/{key}/revoke",
    response=answers(shapes.KeyOut),
    tags=["keys"],
    **for_roles("support", "admin"),
)
def revoke_key(request: Any, account: Path[types.Ident], key: Path[types.Ident]) -> Any:
    """Revoke a key permanently; effective within a second."""
    customer(account)
    if db.read(customers.key, account, key) is None:
        raise Http404
    return keys.view(db.write(keys.revoke, key, now_us=clock.now_us(), actor=request.auth.actor))


@router.get("/customers/{account}/calls", response=answers(shapes.Calls), tags=["customers"], **for_roles(*ALL))
def list_calls(request: Any, account: Path[types.Ident], before: types.Ident = "") -> Any:
    """The calls of an account, newest first; access by support or an administrator is recorded."""
    customer(account)
    logged = request.auth.role in LOGGED
    run = db.write if logged else db.read
    return _page(run(look_up.calls, account, before=before, limit=51, actor=request.auth.actor, logged=logged))


@router.get("/money", response=answers(shapes.Adjustments), tags=["money"], **for_roles(*ALL))
def list_money(
    request: Any,
    state: Literal["", "proposed", "booked", "declined", "withdrawn", "lapsed"] = "",
    account: types.Ident = "",
    before: types.Ident = "",
) -> Any:
    """Adjustments, newest first."""
    del request
    now_us = clock.now_us()
    rows = db.read(adjustments.listed, account=account, state=state, before=before, limit=51, now_us=now_us)
    return _page([adjustments.view(row, now_us=now_us) for row in rows])


@router.post("/money", response=answers(shapes.Adjustment), tags=["money"], **for_roles(*adjusting.PROPOSES))
def propose(request: Any, body: shapes.AdjustmentIn) -> Any:
    """Propose to move money; nothing moves before another person approves it in the office.

    With `source` and `reference` the same request again answers with the row that it made before.
    """
    who = request.auth
    now_us = clock.now_us()
    row = db.write(adjusting.propose, **body.dict(), again=True, role=who.role, actor=who.actor, now_us=now_us)
    return adjustments.view(row, now_us=now_us)


@router.get("/money/{adjustment}", response=answers(shapes.Adjustment), tags=["money"], **for_roles(*ALL))
def read_money(request: Any, adjustment: Path[types.Ident]) -> Any:
    """One adjustment."""
    del request
    return _adjustment(adjustment)


@router.post(
    "/money/{adjustment}/decline",
    response=answers(shapes.Adjustment),
    tags=["money"],
    **for_roles(*adjusting.PROPOSES),
)
def decline(request: Any, adjustment: Path[types.Ident], body: shapes.Note) -> Any:
    """Decline an adjustment, or withdraw one's own."""
    _adjustment(adjustment)
    who = request.auth
    db.write(adjusting.decline, adjustment, role=who.role, note=body.note, actor=who.actor, now_us=clock.now_us())
    return _adjustment(adjustment)


@router.get("/usage", response=answers(shapes.Totals), tags=["usage"], **for_roles("finance", "admin", "auditor"))
def totals(
    request: Any,
    from_day: types.Day,
    until_day: types.Day,
    by: Literal["day", "account", "model", "channel"] = "day",
) -> Any:
    """What calls of these UTC days were charged and cost, both days included; 92 days at most."""
    del request
    try:
        first, last = date.fromisoformat(from_day), date.fromisoformat(until_day)
    except ValueError:
        raise CommandError("A day is written 2026-12-01.") from None
    if not 0 <= (last - first).days < DAYS_MAX:
        raise CommandError(f"Ask for 1 to {DAYS_MAX} days, the first one first.")
    return {"data": db.read(look_up.totals, by, from_day=from_day, until_day=until_day)}


@router.get("/audit", response=answers(shapes.Events), tags=["audit"], **for_roles(*ALL))
def events(
    request: Any,
    actor: types.Line = "",
    verb: types.Line = "",
    object: types.Line = "",  # noqa: A002 - as the trail calls it
    from_us: types.Moment = 0,
    until_us: types.Moment = 2**53,
    before: types.Ident = "",
) -> Any:
    """The audit trail, newest first; texts match from their beginning. Support sees its own actions only."""
    who = request.auth
    own = f"operator:{who.person}"
    if who.role == "support":
        actor = own
    found = db.read(audit.search, audit.Search(actor, verb, object, from_us, until_us), before=before, limit=51)
    rows = [
        {
            "id": each.id,
            "at_us": each.at_us,
            "actor": each.actor,
            "verb": each.verb,
            "object": each.object,
            "before": _value(each.before),
            "after": _value(each.after),
        }
        for each in found
    ]
    return _page(rows)


@router.get("/audit/head", response=answers(shapes.Head), tags=["audit"], **for_roles("finance", "admin", "auditor"))
def audit_head(request: Any) -> Any:
    """The head of the audit trail's chain, to keep elsewhere."""
    del request
    head = db.read(chain.head)
    return {"n": head.n, "hash": head.hash, "head": str(head)}


def _page(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fifty of fifty-one rows, and where the next page begins."""
    more = len(rows) > 50
    return {"data": rows[:50], "next": rows[49]["id"] if more else None}


def customer(account: str) -> dict[str, Any]:
    """The customer of this id with its money; 404 otherwise."""
    found = db.read(customers.find, account)
    if found is None:
        raise Http404
    return found


def _adjustment(adjustment: str) -> dict[str, Any]:
    try:
        return adjustments.view(adjustments.find(adjustment), now_us=clock.now_us())
    except CommandError:
        raise Http404 from None


def _value(text: str) -> Any:
    return msgspec.json.decode(text) if text else None
