"""The only writer of entries: post, reverse, and the charge of a settled hold.

Amounts are micro-units; positive is money for the ledger account. An entry balances, is in one currency, and happens
once for its account, kind and reference (I01, I07, I17).
"""

from __future__ import annotations

from collections.abc import Sequence

from farebox.kit import dbfaults, errors, ids, money
from farebox.kit.db import Tx
from farebox.kit.refusal import Amount

from . import allowance, caps, chart, references, sql
from .references import Outside


def open_account(tx: Tx, *, id: str, kind: str, currency: str, floor_micro: int | None) -> None:  # noqa: A002
    """Make a ledger account of `kind` (`customer`, `memo`, `house`) if it does not exist yet.

    With a customer's first account in a currency the shop's revenue account in it comes to be.
    """
    money.check_currency(currency)
    if kind == "customer":
        open_account(tx, id=chart.own("revenue", currency), kind="house", currency=currency, floor_micro=None)
    tx.execute(sql.OPEN_ACCOUNT, (id, kind, currency, floor_micro, False))


def lock(tx: Tx, account: str) -> None:
    """Let nobody else move money of this ledger account until the transaction ends: what is looked up next stays so."""
    tx.execute(sql.LOCK_ACCOUNT, (account,))


def given_by_hand_micro(tx: Tx, account: str, call: str) -> int:
    """What people gave back of the charge of a call, in micro-units, as far as that was not undone."""
    found = tx.one(sql.GIVEN_BY_HAND, (account, call))
    return int(found[0]) if found else 0


def moved_micro(tx: Tx, entry: str, account: str) -> int:
    """What an entry moved on a ledger account, in micro-units; positive is money for it."""
    return sum(int(amount) for name, amount in tx.all(sql.READ_POSTINGS, (entry,)) if name == account)


def write_charge(tx: Tx, *, account: str, ref: str, currency: str, amount_micro: int, at_us: int) -> None:
    """Write the entry of a settled hold; its ledger account has paid already, in the same transaction."""
    # Not by `post`, which looks for repeats first: a hold ends once, so this happens once, and it runs for each call.
    entry = ids.new("ent", at_us)
    tx.execute(sql.WRITE_ENTRY, (entry, account, "charge", ref, currency, at_us, "", "", None, False))
    revenue = chart.own("revenue", currency)
    tx.execute(
        sql.WRITE_TWO_POSTINGS,
        (f"{entry}.1", entry, account, -amount_micro, f"{entry}.2", entry, revenue, amount_micro),
    )


def post(
    tx: Tx,
    *,
    account: str,
    kind: str,
    ref: str,
    currency: str,
    lines: Sequence[tuple[str, int]],
    at_us: int,
    note: str = "",
    requester: str = "",
    approver: str | None = None,
    single_person: bool = False,
    outside: Outside | None = None,
) -> str:
    """Post one balanced entry about `account`; its id. The same account, kind and reference again: the first one's id.

    `lines` are (ledger account, signed micro-units). With a reference from `outside` the same reference again, whatever
    `account`, is the first one's id too, or refused if that is another entry; `ref` may be empty then. Raises
    CommandError if an account would fall below its floor or out of bounds, does not exist in this currency, or if the
    reference stands for something else already; ValueError if the lines do not balance.
    """
    # Asked first, because it counts over all accounts: the same bank line on another account must find the first
    # entry.
    known = references.entry_of(tx, outside) if outside is not None else None
    if outside is not None and known is not None:
        return _same_outside(tx, known, outside, account=account, kind=kind, lines=lines)
    found = tx.one(sql.FIND_ENTRY, (account, kind, ref))
    if found is not None:
        return _same(tx, str(found[0]), lines, f"{kind} {ref}")
    if sum(money.check_micro(amount) for _, amount in lines) != 0 or len(lines) < 2:
        raise ValueError("the lines of an entry add up to 0, and there are two at least")
    for name, amount_micro in lines:
        # The shop's own accounts store no balance: each charge would change the same row, and calls would wait for
        # each other.
        if chart.is_own(name):
            open_account(tx, id=name, kind="house", currency=currency, floor_micro=None)
        elif tx.execute(sql.POST, (amount_micro, name, currency, *_room(amount_micro), amount_micro)) != 1:
            raise _refusal(tx, name, currency, amount_micro)
    entry = ids.new("ent", at_us)
    facts = (entry, account, kind, ref or entry, currency, at_us, note, requester, approver, single_person)
    if tx.execute(sql.WRITE_ENTRY_ONCE, facts) != 1:
        # Another transaction has written it since we looked. Run again, this one finds that entry and returns it.
        raise dbfaults.Raced(f"entry {kind} {ref}")
    if outside is not None:
        references.take(tx, outside, entry, at_us=at_us)
    for number, (name, amount_micro) in enumerate(lines, start=1):
        tx.execute(sql.WRITE_POSTING, (f"{entry}.{number}", entry, name, amount_micro))
    return entry


def reverse(tx: Tx, *, entry: str, at_us: int, note: str = "", requester: str = "", single_person: bool = False) -> str:
    """Post the entry that undoes `entry`, once; its id. The caps of a call count what it is charged net of that.

    CommandError if there is none, if the money is gone, if it is a charge of which something was refunded before, or
    the refund of a call that failed.
    """
    head = tx.one(sql.READ_ENTRY, (entry,))
    if head is None:
        raise errors.CommandError("entry.unknown", entry=entry)
    if head[1] == "refund":
        raise errors.CommandError("entry.refund_stays", entry=entry)
    lock(tx, str(head[0]))
    if head[1] == "charge":
        # The charge would be given back twice: by the refund, and by its reversal.
        given_micro = given_by_hand_micro(tx, str(head[0]), str(head[2]))
        if given_micro or tx.one(sql.FIND_ENTRY, (head[0], "refund", head[2])) is not None:
            raise errors.CommandError("entry.refunded", entry=entry)
    lines = [(str(name), -int(amount)) for name, amount in tx.all(sql.READ_POSTINGS, (entry,))]
    repeated = tx.one(sql.FIND_ENTRY, (head[0], "reversal", entry)) is not None
    undone = post(
        tx,
        account=str(head[0]),
        kind="reversal",
        ref=entry,
        currency=str(head[3]),
        lines=lines,
        at_us=at_us,
        note=note,
        requester=requester,
        single_person=single_person,
    )
    if head[1] == "charge" and not repeated:
        caps.give_back(tx, call=str(head[2]), amount_micro=sum(amount for name, amount in lines if name == head[0]))
        allowance.give_back(tx, str(head[2]))
    if head[1] == "call_refund" and not repeated:
        caps.count_again(tx, adjustment=str(head[2]))
    return undone


def _same_outside(
    tx: Tx, entry: str, outside: Outside, *, account: str, kind: str, lines: Sequence[tuple[str, int]]
) -> str:
    """`entry` itself if it is of this account and kind and moved the same: a repeat."""
    head = tx.one(sql.READ_ENTRY, (entry,))
    if head is None or (str(head[0]), str(head[1])) != (account, kind) or _postings(tx, entry) != sorted(lines):
        raise references.refusal(tx, outside, entry)
    return entry


def _postings(tx: Tx, entry: str) -> list[tuple[str, int]]:
    return sorted((str(name), int(amount)) for name, amount in tx.all(sql.READ_POSTINGS, (entry,)))


def _same(tx: Tx, entry: str, lines: Sequence[tuple[str, int]], what: str) -> str:
    """`entry` itself if its postings are `lines`: a repeat; another amount under one reference is a mistake."""
    booked = _postings(tx, entry)
    if booked != sorted(lines):
        amount_micro = max(amount for _, amount in booked)
        raise errors.CommandError("entry.other_amount", what=what, entry=entry, amount=Amount(amount_micro))
    return entry


def _room(amount_micro: int) -> tuple[int, int]:
    """Between which balances `amount_micro` can be posted, so that the sum stays within bounds."""
    top = money.AMOUNT_MICRO_MAX
    return max(-top, -top - amount_micro), min(top, top - amount_micro)


def _refusal(tx: Tx, name: str, currency: str, amount_micro: int) -> errors.CommandError:
    row = tx.one(sql.READ_ACCOUNT, (name,))
    if row is None:
        return errors.CommandError("ledger_account.unknown", ledger_account=name)
    if row[4] != currency:
        return errors.CommandError("ledger_account.currency", ledger_account=name, kept=str(row[4]), given=currency)
    low, high = _room(amount_micro)
    if not low <= int(row[0]) <= high:
        return errors.CommandError("ledger_account.bounds", ledger_account=name, most=Amount(money.AMOUNT_MICRO_MAX))
    return errors.CommandError("ledger_account.too_little", ledger_account=name)
