"""Manual money: an operator's entry with reason and second approver, booked exactly once (promises: I27, security 7).

A row is proposed by one person and approved by another, above a limit by two others. The last approval moves the money
in the same transaction, under the row's id as reference. What nobody has decided in 72 hours lapses by its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import F, Q, Sum

from farebox.kit import audit, errors, ids, money
from farebox.kit.db import Tx
from farebox.kit.refusal import Amount, word

from . import booking, holds, journal
from .models import Adjustment, Entry, Posting
from .references import Outside

KINDS: Final[Mapping[str, str]] = {
    "grant": "Credit given away: goodwill, a trial, a bonus; not refundable, may expire.",
    "credit": "A correction in the customer's favour.",
    "refund": "The charge of one call, or a part of it, given back.",
    "debit": "A correction against the customer: at most what is available.",
    "write_off": "What is left on an account that is barred or closed, taken off the books.",
}
LAPSES_US = 72 * 3600 * 1_000_000
REASON_CHARS_MAX = 300
_DAY_US = 86_400_000_000
# Entries of these kinds are told by their calls and orders; the others stand on a customer's page one by one.
_SHOWN = ("grant", "credit", "call_refund", "debit", "write_off", "expiry", "reversal", "topup", "payment")


def propose(
    tx: Tx,
    *,
    account: str,
    currency: str,
    kind: str,
    amount_micro: int,
    reason: str,
    call: str = "",
    expires_us: int | None = None,
    day_max_micro: int,
    two_above_micro: int = 0,
    outside: Outside | None = None,
    requester: str,
    actor: str,
    now_us: int,
) -> Adjustment:
    """Write down what is to be moved and why; nothing moves yet. CommandError with what is wrong.

    A reference from `outside` is taken when the row is booked; it is refused here if it is known already: booked, or
    named by a proposal that waits.

    `day_max_micro` bounds what one requester proposes in this currency on one UTC day. More than `two_above_micro`, if
    that is not 0, needs two approvers.
    """
    _check(kind, amount_micro, reason, expires_us, now_us)
    if outside is not None:
        booking.refuse_known(tx, outside)
        booking.refuse_waiting(outside, after_us=now_us - LAPSES_US)
    if kind == "refund":
        booking.check_refund(tx, account, call, amount_micro, after_us=now_us - LAPSES_US)
    spent_micro = proposed_today(tx, requester=requester, currency=currency, now_us=now_us)
    if spent_micro + amount_micro > day_max_micro:
        raise errors.CommandError(
            "adjustment.propose_day_max", day_max=Amount(day_max_micro, currency), spent=Amount(spent_micro, currency)
        )
    row = Adjustment.objects.create(
        id=ids.new("adj", now_us),
        account=account,
        kind=kind,
        amount_micro=amount_micro,
        currency=currency,
        reason=reason.strip(),
        call=call if kind == "refund" else "",
        expires_us=expires_us if kind == "grant" else None,
        requester=requester,
        proposed_us=now_us,
        approvals=2 if 0 < two_above_micro < amount_micro else 1,
        source=outside.source if outside else "",
        reference=outside.reference if outside else "",
    )
    audit.record(tx, actor=actor, verb="money.propose", object=account, after=view(row, now_us=now_us))
    return row


def approve(
    tx: Tx,
    adjustment: str,
    *,
    approver: str,
    single_person: bool,
    day_max_micro: int,
    actor: str,
    now_us: int,
) -> Adjustment:
    """Note the first of two approvals, or move the money with the last one, once: row and books in one transaction.

    `single_person` says that this shop lets one person do it all; the entry says so too then. `day_max_micro` bounds
    what one person approves in a currency on one UTC day. CommandError for a second time, a lapsed or own row.
    """
    row = find(adjustment)
    alone = row.requester == approver
    if alone and not single_person:
        raise errors.CommandError("adjustment.own")
    journal.lock(tx, row.account)  # what is checked here stays so until it is booked
    row = find(adjustment)
    if state(row, now_us=now_us) != "proposed":
        raise _decided(row, now_us)
    if row.first_approver == approver and not alone:
        raise errors.CommandError("adjustment.second_approval")
    today_micro = approved_today(tx, approver=approver, currency=row.currency, now_us=now_us)
    if today_micro + row.amount_micro > day_max_micro:
        raise errors.CommandError(
            "adjustment.approve_day_max",
            day_max=Amount(day_max_micro, row.currency),
            approved=Amount(today_micro, row.currency),
        )
    booking.refuse_known(tx, booking.outside(row))
    if row.kind == "refund":
        booking.check_refund(tx, row.account, row.call, row.amount_micro, but=row.id, after_us=now_us - LAPSES_US)
    amount_micro = booking.available_micro(tx, row) if row.kind in booking.TAKES else row.amount_micro
    if row.approvals > 1 and not row.first_approver and not alone:
        _approve_first(row, approver, now_us)
        verb = "money.approve_first"
    else:
        facts = {"single_person": alone, "booked_micro": amount_micro}
        _decide(row, to="booked", first=row.first_approver, decider=approver, now_us=now_us, **facts)
        by = None if alone else approver
        entry = booking.book(tx, row, amount_micro, approver=by, single_person=alone, now_us=now_us)
        Adjustment.objects.filter(id=row.id).update(entry=entry)
        verb = "money.approve"
    row = find(row.id)
    audit.record(tx, actor=actor, verb=verb, object=row.account, after=view(row, now_us=now_us))
    return row


def decline(tx: Tx, adjustment: str, *, decider: str, note: str = "", actor: str, now_us: int) -> Adjustment:
    """Say no to what somebody proposed; its own requester withdraws it so."""
    row = find(adjustment)
    to = "withdrawn" if row.requester == decider else "declined"
    if len(note) > REASON_CHARS_MAX or not note.isprintable():
        raise errors.CommandError("adjustment.note", chars_max=REASON_CHARS_MAX)
    _decide(row, to=to, decider=decider, now_us=now_us, note=note.strip())
    row = find(row.id)
    audit.record(tx, actor=actor, verb="money.decline", object=row.account, after=view(row, now_us=now_us))
    return row


def find(adjustment: str) -> Adjustment:
    """The row of this id; CommandError otherwise."""
    row = Adjustment.objects.filter(id=adjustment).first()
    if row is None:
        raise errors.CommandError("adjustment.unknown")
    return row


def listed(
    tx: Tx, *, account: str = "", state: str = "", before: str = "", limit: int = 50, now_us: int
) -> list[Adjustment]:
    """Adjustments, newest first, older than the id `before`; of one account, of one state (also `lapsed`)."""
    del tx  # the ORM reads in the same transaction
    rows = Adjustment.objects.order_by("-id")
    if account:
        rows = rows.filter(account=account)
    if before:
        rows = rows.filter(id__lt=before)
    if state == "proposed":
        rows = rows.filter(state="proposed", proposed_us__gt=now_us - LAPSES_US)
    elif state == "lapsed":
        rows = rows.filter(state="proposed", proposed_us__lte=now_us - LAPSES_US)
    elif state:
        rows = rows.filter(state=state)
    return list(rows[:limit])


def state(row: Adjustment, *, now_us: int) -> str:
    """The state as people see it: what is proposed has `lapsed` after 72 hours."""
    return "lapsed" if row.state == "proposed" and row.proposed_us <= now_us - LAPSES_US else str(row.state)


def effect(tx: Tx, row: Adjustment) -> tuple[int, int, int]:
    """(available before, what would move now, available after), in micro-units, for who decides."""
    available_micro = holds.balance(tx, row.account)[2]
    moved_micro = -min(row.amount_micro, max(0, available_micro)) if row.kind in booking.TAKES else row.amount_micro
    return available_micro, moved_micro, available_micro + moved_micro


def proposed_today(tx: Tx, *, requester: str, currency: str, now_us: int) -> int:
    """Micro-units that a person has proposed in a currency since UTC midnight, without what came to nothing."""
    del tx
    rows = Adjustment.objects.filter(
        requester=requester,
        currency=currency,
        proposed_us__gte=now_us - now_us % _DAY_US,
        state__in=["proposed", "booked"],
    )
    return int(rows.aggregate(total=Sum("amount_micro"))["total"] or 0)


def approved_today(tx: Tx, *, approver: str, currency: str, now_us: int) -> int:
    """Micro-units that a person has approved in a currency since UTC midnight, without what came to nothing."""
    del tx
    from_us = now_us - now_us % _DAY_US
    rows = Adjustment.objects.filter(
        Q(state="booked", decider=approver, decided_us__gte=from_us)
        | Q(state__in=["proposed", "booked"], first_approver=approver, first_approved_us__gte=from_us),
        currency=currency,
    )
    return int(rows.aggregate(total=Sum("amount_micro"))["total"] or 0)


def entries(tx: Tx, account: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """The newest entries of an account that are no charges: id, kind, amount_micro, at_us, note, who."""
    del tx
    # By a sum, which no index keeps: in the order of times SQLite would walk through all charges of a large account.
    newest = (F("at_us") + 0).desc()
    rows = list(Entry.objects.filter(account=account, kind__in=_SHOWN).order_by(newest, "-id")[:limit])
    # By entry alone, for the same reason.
    lines = Posting.objects.filter(entry__in=[row.id for row in rows])
    found = lines.values_list("entry", "account", "amount_micro")
    moved = {entry: amount_micro for entry, whose, amount_micro in found if whose == account}
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "amount_micro": moved.get(row.id, 0),
            "at_us": row.at_us,
            "note": row.note,
            "requester": row.requester,
            "approver": row.approver or "",
            "single_person": row.single_person,
        }
        for row in rows
    ]


def view(row: Adjustment, *, now_us: int) -> dict[str, Any]:
    """What may be shown of a row, JSON-able."""
    return {
        "id": row.id,
        "account": row.account,
        "kind": row.kind,
        "amount_micro": row.amount_micro,
        "currency": row.currency,
        "reason": row.reason,
        "call": row.call,
        "expires_us": row.expires_us,
        "state": state(row, now_us=now_us),
        "requester": row.requester,
        "proposed_us": row.proposed_us,
        "approvals": row.approvals,
        "first_approver": row.first_approver,
        "first_approved_us": row.first_approved_us,
        "decider": row.decider,
        "decided_us": row.decided_us,
        "note": row.note,
        "single_person": row.single_person,
        "booked_micro": row.booked_micro,
        "entry": row.entry,
        "source": row.source,
        "reference": row.reference,
    }


def _check(kind: str, amount_micro: int, reason: str, expires_us: int | None, now_us: int) -> None:
    if kind not in KINDS:
        raise errors.CommandError("adjustment.kind", kinds=tuple(KINDS))
    if type(amount_micro) is not int or not 0 < amount_micro <= money.AMOUNT_MICRO_MAX:
        raise errors.CommandError("adjustment.amount")
    if not reason.strip() or len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        raise errors.CommandError("adjustment.reason", chars_max=REASON_CHARS_MAX)
    if expires_us is not None and (kind != "grant" or expires_us <= now_us):
        raise errors.CommandError("adjustment.expiry")


def _approve_first(row: Adjustment, approver: str, now_us: int) -> None:
    """One conditional statement notes the first of two approvals: of two persons at once one gives the second."""
    waiting = Adjustment.objects.filter(
        id=row.id, state="proposed", proposed_us__gt=now_us - LAPSES_US, approvals=2, first_approver=""
    )
    if waiting.update(first_approver=approver, first_approved_us=now_us) != 1:
        raise _decided(find(row.id), now_us)


def _decide(row: Adjustment, *, to: str, decider: str, now_us: int, first: str | None = None, **facts: Any) -> None:
    """One conditional statement decides: of two persons at once one is too late. `first` names the first approver."""
    waiting = Adjustment.objects.filter(id=row.id, state="proposed", proposed_us__gt=now_us - LAPSES_US)
    if first is not None:
        waiting = waiting.filter(first_approver=first)
    if waiting.update(state=to, decider=decider, decided_us=now_us, **facts) != 1:
        raise _decided(find(row.id), now_us)


def _decided(row: Adjustment, now_us: int) -> errors.CommandError:
    return errors.CommandError("adjustment.decided", state=word("state", state(row, now_us=now_us)))
