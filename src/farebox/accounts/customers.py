"""Customers as operators see them: search, one account with its money, people and keys. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from farebox.kit.db import Tx
from farebox.ledger.models import Hold, LedgerAccount

from . import accounts, projects
from .keys import keys
from .models import Account, ApiKey, Member, Person, Project
from .people import people

_LAST_ID = "acc_~"
_PERSON = re.compile(r"(?:\b(?:operator|person):)?\b(per_[0-9A-Za-z]{25})\b")
QUERY_CHARS_MAX = 100


def search(
    tx: Tx, *, query: str = "", state: str = "", price_list: str = "", before: str = "", limit: int = 50
) -> list[dict[str, Any]]:
    """Customers newest first, older than the id `before`, that fit `query`: an id, or a part of a name or address.

    The end of a key, as its hint shows it, finds the account of the key. Each row has its money.
    """
    del tx  # the ORM reads in the same transaction
    rows = Account.objects.filter(kind="customer", id__lt=before or _LAST_ID).order_by("-id")
    if state:
        rows = rows.filter(state=state)
    if price_list:
        rows = rows.filter(price_list=price_list)
    text = query.strip()[:QUERY_CHARS_MAX]
    if text:
        fits = Q(id=text) | Q(name__icontains=text)
        fits |= Q(id__in=Member.objects.filter(person__email__icontains=text).values("account"))
        if len(text) >= 4:
            fits |= Q(id__in=ApiKey.objects.filter(Q(id=text) | Q(hint__endswith=text[-4:])).values("account"))
        rows = rows.filter(fits)
    found = list(rows[:limit])
    money = LedgerAccount.objects.in_bulk([row.id for row in found])
    return [accounts.view(row) | _money(money.get(row.id)) for row in found]


def find(tx: Tx, account: str) -> dict[str, Any] | None:
    """One customer with its money, or None; the house account is none."""
    del tx
    row = Account.objects.filter(id=account, kind="customer").first()
    if row is None:
        return None
    return accounts.view(row) | _money(LedgerAccount.objects.filter(id=row.id).first())


def members(tx: Tx, account: str) -> list[dict[str, Any]]:
    """The members of an account with their addresses, oldest first."""
    del tx
    rows = Member.objects.filter(account=account).select_related("person", "project").order_by("created_us", "id")
    return [
        people.view_member(row)
        | {
            "email": row.person.email,
            "name": row.person.name,
            "project_name": "" if row.project is None else row.project.name,
        }
        for row in rows[:500]
    ]


def keys_of(tx: Tx, account: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """The keys of an account, masked, living ones first and the newest first among them."""
    del tx
    rows = ApiKey.objects.filter(account=account).select_related("project").order_by("-id")[:limit]
    found = [keys.view(row) | {"project_name": row.project.name} for row in rows]
    return sorted(found, key=lambda each: each["state"] != "active")


def projects_of(tx: Tx, account: str) -> list[dict[str, Any]]:
    """The projects of an account, oldest first."""
    del tx
    return [projects.view(row) for row in Project.objects.filter(account=account).order_by("created_us", "id")[:500]]


def key(tx: Tx, account: str, key: str) -> dict[str, Any] | None:
    """One key of an account, or None."""
    del tx
    row = ApiKey.objects.filter(account=account, id=key).first()
    return None if row is None else keys.view(row)


def holds_of(tx: Tx, account: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """Open holds of an account, oldest first: the call's id, amount and time."""
    del tx
    # By time, which no index keeps: in the order of ids SQLite would walk through all holds there ever were.
    rows = Hold.objects.filter(account=account, state="open").order_by("placed_us", "id")[:limit]
    return [{"id": row.id, "amount_micro": row.amount_micro, "placed_us": row.placed_us} for row in rows]


def names(tx: Tx, actors: Iterable[str]) -> dict[str, str]:
    """E-mail addresses by person, of all persons that occur in these texts: `operator:per_…`, `per_…`."""
    del tx
    wanted = {each for actor in actors for each in _PERSON.findall(actor)}
    return dict(Person.objects.filter(id__in=wanted).values_list("id", "email"))


def account_names(tx: Tx, ids: Iterable[str]) -> dict[str, str]:
    """The names of these accounts by id."""
    del tx
    return dict(Account.objects.filter(id__in=set(ids)).values_list("id", "name"))


def named(actor: str, emails: dict[str, str]) -> str:
    """An actor with the address of the person in the place of their id."""
    return _PERSON.sub(lambda found: emails.get(found[1], found[0]), actor)


def _money(row: LedgerAccount | None) -> dict[str, Any]:
    posted_micro, held_micro = (0, 0) if row is None else (row.posted_micro, row.held_micro)
    return {"posted_micro": posted_micro, "held_micro": held_micro, "available_micro": posted_micro - held_micro}
