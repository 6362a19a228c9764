"""How an approved adjustment is booked: what it may move, and the entry that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q, Sum

from farebox.kit import errors
from farebox.kit.db import Tx
from farebox.kit.refusal import Amount

from . import allowance, caps, chart, holds, journal, lots, references
from .models import Adjustment, Entry, Posting
from .references import Outside

TAKES = frozenset({"debit", "write_off"})
_ENTRY_KINDS = {
    "grant": "grant",
    "credit": "credit",
    "refund": "call_refund",
    "debit": "debit",
    "write_off": "write_off",
}


def check_refund(tx: Tx, account: str, call: str, amount_micro: int, *, but: str = "", after_us: int) -> None:
    """Refuse a refund of more than its call was charged, with what was booked and what waits since `after_us`.

    `but` is a row that does not count as waiting. Locks the ledger account. CommandError.
    """
    # Two people may refund the same call at the same time: the second has to see what the first has booked.
    journal.lock(tx, account)
    charge = Entry.objects.filter(account=account, kind="charge", ref=call).first() if call else None
    if charge is None:
        raise errors.CommandError("refund.no_charge")
    if Entry.objects.filter(Q(kind="refund", ref=call) | Q(kind="reversal", ref=charge.id), account=account).exists():
        raise errors.CommandError("refund.given_back")
    charged_micro = -int(Posting.objects.get(entry=charge, account=account).amount_micro)
    waiting = Adjustment.objects.filter(account=account, kind="refund", call=call, state="proposed").exclude(id=but)
    waiting = waiting.filter(proposed_us__gt=after_us)
    before_micro = int(waiting.aggregate(total=Sum("amount_micro"))["total"] or 0)
    before_micro += journal.given_by_hand_micro(tx, account, call)
    if amount_micro + before_micro > charged_micro:
        raise errors.CommandError(
            "refund.too_much",
            charged=Amount(charged_micro, charge.currency),
            refunded=Amount(before_micro, charge.currency),
        )


def available_micro(tx: Tx, row: Adjustment) -> int:
    """As much of what a row would take as is available; CommandError where that is nothing."""
    amount_micro = min(int(row.amount_micro), holds.balance(tx, row.account)[2])
    if amount_micro <= 0:
        raise errors.CommandError("adjustment.nothing_available")
    return amount_micro


def outside(row: Adjustment) -> Outside | None:
    """The reference from outside that a row has, None where it has none."""
    return references.named(references.MANUAL, row.source, row.reference)


def refuse_known(tx: Tx, named: Outside | None) -> None:
    """CommandError where something was booked under this reference already."""
    entry = references.entry_of(tx, named) if named is not None else None
    if named is not None and entry is not None:
        raise references.refusal(tx, named, entry)


def refuse_waiting(named: Outside, *, after_us: int) -> None:
    """CommandError where a row proposed since `after_us` waits for approval under this reference."""
    waiting = Adjustment.objects.filter(source=named.source, reference=named.reference, state="proposed")
    row = waiting.filter(proposed_us__gt=after_us).order_by("id").first()
    if row is not None:
        raise errors.CommandError(
            "reference.proposed", reference=named.reference, source=named.source, account=row.account, adjustment=row.id
        )


def repeated(tx: Tx, says: Mapping[str, Any], named: Outside, *, after_us: int) -> Adjustment | None:
    """The row under this reference that is booked, or waits since `after_us`, and says just what `says` does.

    `says` holds account, kind, amount_micro, currency, call and requester.
    """
    del tx  # the ORM reads in the same transaction
    before = Adjustment.objects.filter(source=named.source, reference=named.reference, **says)
    return before.filter(Q(state="booked") | Q(state="proposed", proposed_us__gt=after_us)).order_by("id").first()


def book(tx: Tx, row: Adjustment, amount_micro: int, *, approver: str | None, single_person: bool, now_us: int) -> str:
    """Post what a row moves under its id, and let the caps of a refunded call count less; the entry's id."""
    if row.kind == "grant":
        return lots.grant(
            tx,
            account=row.account,
            currency=row.currency,
            amount_micro=amount_micro,
            ref=row.id,
            expires_us=row.expires_us,
            now_us=now_us,
            note=row.reason,
            requester=row.requester,
            approver=approver,
            single_person=single_person,
            outside=outside(row),
        )
    # A refund takes back what was earned with the call. Other corrections never were revenue, and are counted apart.
    own = chart.own("revenue" if row.kind == "refund" else "adjustments", row.currency)
    signed_micro = -amount_micro if row.kind in TAKES else amount_micro
    lines: Sequence[tuple[str, int]] = [(row.account, signed_micro), (own, -signed_micro)]
    entry = journal.post(
        tx,
        account=row.account,
        kind=_ENTRY_KINDS[row.kind],
        ref=row.id,
        currency=row.currency,
        lines=lines,
        at_us=now_us,
        note=row.reason,
        requester=row.requester,
        approver=approver,
        single_person=single_person,
        outside=outside(row),
    )
    if row.kind == "refund":
        caps.give_back(tx, call=row.call, amount_micro=amount_micro)
        allowance.give_back(tx, row.call)
    return entry
