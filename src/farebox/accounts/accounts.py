"""Accounts: open, freeze, bar, close; each with a ledger account of the same id and a default project.

Whatever names an account takes its id or its name, if only one account has that name. Times are epoch
microseconds.
"""

from __future__ import annotations

import secrets
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farebox.catalog import samples
from farebox.catalog.models import PriceList
from farebox.catalog.shelf import HOUSE_LIST
from farebox.kit import audit, db, ids, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import Amount, word
from farebox.ledger import holds, journal

from .models import Account, ApiKey, Project
from .names import HOUSE_ACCOUNT, HOUSE_KEY

HOUSE_CURRENCY = "USD"
DEFAULT_PROJECT = "default"
NAME_CHARS_MAX = 100


def open_account(
    tx: Tx, *, name: str, currency: str, price_list: str, time_zone: str = "UTC", now_us: int, actor: str
) -> tuple[Account, Project]:
    """A new account with balance 0, its ledger account and its project `default`, or none of them.

    Raises CommandError for a name, currency, price list or time zone that will not do.
    """
    checked_name(name)
    checked_zone(time_zone)
    listed = _list_for(price_list, _currency(currency))
    account = Account(
        id=ids.new("acc", now_us),
        name=name,
        currency=currency,
        price_list=listed,
        time_zone=time_zone,
        created_us=now_us,
    )
    project = Project(id=ids.new("prj", now_us), account=account, name=DEFAULT_PROJECT, created_us=now_us)
    journal.open_account(tx, id=account.id, kind="customer", currency=currency, floor_micro=0)
    account.save(force_insert=True)
    project.save(force_insert=True)
    audit.record(tx, actor=actor, verb="account.open", object=account.id, after=view(account))
    return account, project


def ensure_house(tx: Tx, *, now_us: int) -> Account:
    """The house account, for calls of our own (promises 1.14), with its list, project and key."""
    found = Account.objects.filter(id=HOUSE_ACCOUNT).first()
    if found is not None:
        return found
    listed, _ = PriceList.objects.get_or_create(
        name=HOUSE_LIST,
        defaults={"currency": HOUSE_CURRENCY, "about": "Calls of our own: free, and counted."},
    )
    journal.open_account(tx, id=HOUSE_ACCOUNT, kind="customer", currency=HOUSE_CURRENCY, floor_micro=None)
    account = Account.objects.create(
        id=HOUSE_ACCOUNT, name="House", kind="house", currency=HOUSE_CURRENCY, price_list=listed, created_us=now_us
    )
    project = Project.objects.create(id="prj_house", account=account, name=DEFAULT_PROJECT, created_us=now_us)
    # Its text was never made: nobody can send it, and our own calls have a key to be recorded under.
    ApiKey.objects.create(
        id=HOUSE_KEY,
        account=account,
        project=project,
        name="house",
        digest=secrets.token_hex(32),
        hint="none",
        created_us=now_us,
    )
    audit.record(tx, actor="system", verb="account.open", object=HOUSE_ACCOUNT, after=view(account))
    db.bump(tx, "keys")
    return account


def freeze(tx: Tx, account: str, *, actor: str) -> Account:
    """No new calls from within a second on, until `unfreeze`; money and keys stay."""
    return _move(tx, account, frm=("active",), to="frozen", verb="account.freeze", actor=actor)


def unfreeze(tx: Tx, account: str, *, actor: str) -> Account:
    """Calls again."""
    return _move(tx, account, frm=("frozen",), to="active", verb="account.unfreeze", actor=actor)


def bar(tx: Tx, account: str, *, actor: str) -> Account:
    """No new calls: the account broke the rules."""
    return _move(tx, account, frm=("active", "frozen"), to="barred", verb="account.bar", actor=actor)


def unbar(tx: Tx, account: str, *, actor: str) -> Account:
    """Calls again."""
    return _move(tx, account, frm=("barred",), to="active", verb="account.unbar", actor=actor)


def close(tx: Tx, account: str, *, leave_money: bool = False, now_us: int, actor: str) -> Account:
    """Close the account permanently; its keys die with it.

    Raises CommandError while money is held or left, unless `leave_money` says that it may stay in the books.
    """
    found = find(account)
    # Who books a credit locks the same row: it comes before the look at the balance, or is refused.
    list(Account.objects.select_for_update(no_key=True).filter(id=found.id))
    posted_micro, held_micro, _ = holds.balance(tx, found.id)
    if (posted_micro or held_micro) and not leave_money:
        raise CommandError(
            "account.money_left",
            account=found.id,
            posted=Amount(posted_micro, found.currency),
            held=Amount(held_micro, found.currency),
        )
    open_states = ("active", "frozen", "barred")
    closed = _move(tx, found.id, frm=open_states, to="closed", verb="account.close", actor=actor, closed_us=now_us)
    ApiKey.objects.filter(account=closed, state="active").update(state="revoked", revoked_us=now_us)
    samples.forget(tx, closed.id)
    return closed


def set_price_list(tx: Tx, account: str, *, price_list: str, actor: str) -> Account:
    """Sell to this account by another price list of the same currency, for calls that begin from now on."""
    found = customer(account)
    before = found.price_list_id
    found.price_list = _list_for(price_list, found.currency)
    found.save(update_fields=["price_list"])
    db.bump(tx, "keys")
    audit.record(
        tx,
        actor=actor,
        verb="account.set_price_list",
        object=found.id,
        before=before,
        after=found.price_list_id,
    )
    return found


def rename(tx: Tx, account: str, *, name: str, actor: str) -> Account:
    """Give the account another name."""
    checked_name(name)
    found = customer(account)
    before, found.name = found.name, name
    found.save(update_fields=["name"])
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb="account.rename", object=found.id, before=before, after=name)
    return found


def find(account: str) -> Account:
    """The account of this id or, if only one has it, of this name; CommandError otherwise."""
    found = list(Account.objects.filter(id=account)) or list(Account.objects.filter(name=account)[:2])
    if not found:
        raise CommandError("account.unknown", account=account[:100])
    if len(found) > 1:
        raise CommandError("account.ambiguous", account=account[:100])
    return found[0]


def list_accounts(tx: Tx) -> list[dict[str, Any]]:
    """All accounts with their money, oldest first."""
    rows = []
    for account in Account.objects.order_by("created_us", "id"):
        posted_micro, held_micro, _ = holds.balance(tx, account.id)
        rows.append(view(account) | {"posted_micro": posted_micro, "held_micro": held_micro})
    return rows


def view(account: Account) -> dict[str, Any]:
    """What may be shown of an account, JSON-able."""
    return {
        "id": account.id,
        "name": account.name,
        "kind": account.kind,
        "state": account.state,
        "currency": account.currency,
        "price_list": account.price_list_id,
        "time_zone": account.time_zone,
        "trusted": account.trusted,
        "created_us": account.created_us,
        "closed_us": account.closed_us,
    }


def checked_name(name: str) -> str:
    """`name` itself if it can name an account, project, person or key; CommandError otherwise."""
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise CommandError("account.name", chars_max=NAME_CHARS_MAX)
    return name


def customer(account: str) -> Account:
    """The customer's account of this id or name; CommandError for none, and for the house account."""
    found = find(account)
    if found.kind == "house":
        raise CommandError("account.house")
    return found


def _move(
    tx: Tx,
    account: str,
    *,
    frm: tuple[str, ...],
    to: str,
    verb: str,
    actor: str,
    closed_us: int | None = None,
) -> Account:
    found = customer(account)
    # The state is compared and changed in one statement: two operators at once are one change.
    if Account.objects.filter(id=found.id, state__in=frm).update(state=to, closed_us=closed_us) != 1:
        raise CommandError("account.state", account=found.id, state=word("state", found.state), to=word("state", to))
    audit.record(tx, actor=actor, verb=verb, object=found.id, before=found.state, after=to)
    found.state, found.closed_us = to, closed_us
    db.bump(tx, "keys")
    return found


def _currency(code: str) -> str:
    try:
        return money.check_currency(code)
    except money.MoneyError as fault:
        raise CommandError(fault.refusal) from None


def checked_zone(time_zone: str) -> None:
    """CommandError for what is no time zone."""
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CommandError("account.time_zone", time_zone=time_zone[:64]) from None


def _list_for(price_list: str, currency: str) -> PriceList:
    found = PriceList.objects.filter(name=price_list).first()
    if found is None:
        raise CommandError("account.price_list", price_list=price_list[:64])
    if found.currency != currency:
        raise CommandError(
            "account.price_list_currency", price_list=found.name, currency=found.currency, account_currency=currency
        )
    return found
