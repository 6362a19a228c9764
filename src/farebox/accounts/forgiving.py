"""How much of what is delivered and not paid an account is forgiven: what is shown of it, and what people set.

The allowance itself is a row of the ledger (ledger/allowance.py, promises 4.4).
"""

from __future__ import annotations

from typing import Any

from farebox.catalog import shelf
from farebox.catalog.shelf import Shelf
from farebox.kit import audit, db, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import allowance, journal
from farebox.ledger.allowance import AllowanceTerms

from . import accounts, allowed
from .models import Account


def seen(tx: Tx, stock: Shelf, row: Account, now_us: int) -> dict[str, Any] | None:
    """What may be shown of an allowance: `left_micro`, `most_micro`, `drawn_micro`; None where there is none."""
    if not allowed.has_one(stock, house=row.kind == "house", trusted=row.trusted, now_us=now_us):
        return None
    return allowance.view(allowance.read(tx, row.id), allowed.terms(stock, row.price_list_id, now_us))


def facts(tx: Tx, account: str, now_us: int) -> dict[str, Any]:
    """`trusted`, the maximum that people have set (`set_micro`), and what is left, held at most and drawn, or None."""
    row = accounts.find(account)
    counted = seen(tx, shelf.load(tx, now_us), row, now_us)
    empty = dict.fromkeys(("left_micro", "most_micro", "drawn_micro"))
    return {"trusted": row.trusted, "set_micro": most_of(tx, row.id), **(counted or empty)}


LOW_READ = 1000


def low(tx: Tx, stock: Shelf, now_us: int) -> list[tuple[Account, int, int]]:
    """Accounts whose allowance is down to a fifth of what it had, or holds: (account, left, most), by id.

    Accounts that are trusted, and those of which nothing was drawn yet, are not among them.
    """
    rows = allowance.low(tx, LOW_READ)
    accounts_of = Account.objects.in_bulk([row.account for row in rows])
    found = []
    for row in rows:
        account = accounts_of.get(row.account)
        if account is None or account.trusted or account.state not in {"active", "frozen"}:
            continue
        shop = allowed.terms(stock, account.price_list_id, now_us)
        if shop is not None and row.left_micro * 5 <= row.most(shop):
            found.append((account, row.left_micro, row.most(shop)))
    return found


def trust(tx: Tx, account: str, *, trusted: bool, actor: str) -> Account:
    """Let what this account is forgiven draw on no allowance, or on its allowance again. CommandError if so already."""
    found = accounts.customer(account)
    if Account.objects.filter(id=found.id, trusted=not trusted).update(trusted=trusted) != 1:
        raise CommandError("proposal.no_change")
    found.trusted = trusted
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb="account.trust", object=found.id, before=not trusted, after=trusted)
    return found


def most_of(tx: Tx, account: str) -> int | None:
    """The maximum that people have set for this account's allowance; None for the shop's own."""
    found = allowance.read(tx, account)
    return None if found is None else found.most_micro


def set_most(tx: Tx, account: str, *, most_micro: int | None, now_us: int, actor: str) -> dict[str, Any]:
    """Another maximum for this account's allowance, which is filled up to it; None for the shop's own. What it is then.

    CommandError for an amount out of range, and where its price list has no rate of exchange yet.
    """
    found = accounts.customer(account)
    check_most(most_micro)
    shop = _terms(tx, found, now_us)
    journal.lock(tx, found.id)
    before = most_of(tx, found.id)
    row = allowance.set_most(tx, account=found.id, currency=found.currency, terms=shop, most_micro=most_micro)
    audit.record(tx, actor=actor, verb="account.allowance", object=found.id, before=before, after=most_micro)
    return allowance.view(row, shop) or {}


def check_most(most_micro: Any) -> None:
    """CommandError for what can be no maximum."""
    if most_micro is not None and (type(most_micro) is not int or not 0 <= most_micro <= money.AMOUNT_MICRO_MAX):
        raise CommandError("allowance.most")


def gives(tx: Tx, account: str, most_micro: int | None, *, now_us: int) -> bool:
    """Whether this maximum lets an account be forgiven more than now: that takes a second person."""
    found = accounts.customer(account)
    shop = _terms(tx, found, now_us)
    if most_micro is None:  # filled by nobody, but it may grow to more than the maximum that was set
        before = most_of(tx, found.id)
        return before is not None and before < shop.most_micro
    return most_micro > allowance.left_micro(tx, found.id, shop)


def _terms(tx: Tx, found: Account, now_us: int) -> AllowanceTerms:
    shop = allowed.terms(shelf.load(tx, now_us), found.price_list_id, now_us)
    if shop is None:
        raise CommandError("price_list.not_in_force", price_list=found.price_list_id)
    return shop
