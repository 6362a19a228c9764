"""Granted credit by its lots: not refundable, counted as spent first, may expire (promises 1.8).

A lot is not a second balance: what is left of it is computed from what was charged since it was granted, over all
lots that ever lay beside it: what a closed lot paid for does not eat the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from farebox.kit import errors, ids
from farebox.kit.db import Tx
from farebox.kit.refusal import Amount

from . import chart, holds, journal, sql
from .models import CreditLot
from .references import Outside

_EVER_US = 2**62
_CHARGED = (sql.CHARGED_BETWEEN, sql.GIVEN_BY_HAND_BETWEEN)


@dataclass(frozen=True, slots=True)
class Lot:
    """One grant: amounts in micro-units, times in epoch microseconds; `expires_us` None never expires.

    `reversed_us` is when the grant was undone, None if it was not.
    """

    id: str
    amount_micro: int
    granted_us: int
    expires_us: int | None
    expired_micro: int = 0
    reversed_us: int | None = None
    resets: int = 0

    @property
    def end_us(self) -> int:
        """From when on no charge eats it."""
        return min(_EVER_US if time_us is None else time_us for time_us in (self.expires_us, self.reversed_us))


def left(lots: Sequence[Lot], spans: Sequence[tuple[int, int, int]]) -> dict[str, int]:
    """What is left of each lot after the charges of `spans` [(from_us, until_us, charged_micro)], oldest span first.

    Charges eat the lots that expire soonest first; a lot that ended before a span is not eaten by it. A reversal takes
    the whole amount of its lot: what was eaten of that eats the others alive then. Spans begin where lots do and end.
    """
    rest = {lot.id: lot.amount_micro - lot.expired_micro for lot in lots}
    order = sorted(lots, key=lambda lot: (lot.expires_us is None, lot.expires_us or 0, lot.granted_us, lot.id))
    undone = {lot.id: lot for lot in lots if lot.reversed_us is not None}
    for from_us, _until_us, charged_micro in spans:
        open_micro = charged_micro
        for lot in [lot for lot in undone.values() if (lot.reversed_us or 0) <= from_us]:
            open_micro += lot.amount_micro - rest[lot.id]
            rest[lot.id] = 0
            del undone[lot.id]
        for lot in order:
            if lot.granted_us <= from_us < lot.end_us and open_micro > 0:
                eaten_micro = min(open_micro, rest[lot.id])
                rest[lot.id] -= eaten_micro
                open_micro -= eaten_micro
    return rest


def grant(
    tx: Tx,
    *,
    account: str,
    currency: str,
    amount_micro: int,
    ref: str,
    expires_us: int | None,
    now_us: int,
    note: str,
    requester: str,
    approver: str | None = None,
    single_person: bool = False,
    outside: Outside | None = None,
) -> str:
    """Give `amount_micro` to `account` from the shop's grants, as a lot; the entry's id.

    The same `ref` gives once to an account, the same reference from `outside` once at all.
    """
    if amount_micro <= 0:
        raise errors.CommandError("grant.amount")
    if expires_us is not None and expires_us <= now_us:
        raise errors.CommandError("grant.expiry")
    entry = journal.post(
        tx,
        account=account,
        kind="grant",
        ref=ref,
        currency=currency,
        lines=[(account, amount_micro), (chart.own("grants", currency), -amount_micro)],
        at_us=now_us,
        note=note,
        requester=requester,
        approver=approver,
        single_person=single_person,
        outside=outside,
    )
    # A repeated grant gets the first one's entry from `post`, which has its lot already.
    CreditLot.objects.get_or_create(
        entry_id=entry,
        defaults={
            "id": ids.new("lot", now_us),
            "account": account,
            "amount_micro": amount_micro,
            "granted_us": now_us,
            "expires_us": expires_us,
        },
    )
    return entry


def lots_of(tx: Tx, account: str) -> tuple[list[Lot], dict[str, int]]:
    """The open lots of `account`, and what is left of each."""
    rows = list(CreditLot.objects.filter(account=account).order_by("granted_us", "id"))
    still_open = {row.id for row in rows if not row.closed}
    lots = _together(
        [
            Lot(
                row.id,
                row.amount_micro,
                row.granted_us,
                row.expires_us,
                row.expired_micro,
                row.reversed_us,
                row.resets,
            )
            for row in rows
        ],
        still_open,
    )
    cuts = {time_us for lot in lots for time_us in (lot.granted_us, lot.end_us, lot.reversed_us or lot.end_us)}
    spans = []
    for from_us, until_us in pairwise(sorted(cuts | {_EVER_US})):
        found, given = (tx.one(each, (account, from_us, until_us)) for each in _CHARGED)
        spans.append((from_us, until_us, (int(found[0]) if found else 0) - (int(given[0]) if given else 0)))
    rest = left(lots, spans)
    return [lot for lot in lots if lot.id in still_open], {name: rest[name] for name in still_open}


def expiring(tx: Tx, account: str, *, now_us: int) -> list[Lot]:
    """What is left of the lots that will expire, the soonest first; `amount_micro` is what is left.

    What is neither available nor held is left of no lot.
    """
    lots, rest = lots_of(tx, account)
    open_micro = max(0, holds.balance(tx, account)[0])
    found = []
    for lot in sorted(lots, key=lambda each: (each.expires_us or 0, each.id)):
        if lot.expires_us is None or lot.expires_us <= now_us:
            continue
        left_micro = min(rest[lot.id], open_micro)
        if left_micro > 0:
            found.append(Lot(lot.id, left_micro, lot.granted_us, lot.expires_us))
            open_micro -= left_micro
    return found


def reverse(tx: Tx, *, entry: str, at_us: int, note: str, requester: str, single_person: bool) -> str:
    """Undo an entry as `journal.reverse` does; a lot granted by it ends too, or its expiry would take other money.

    CommandError where part of the lot has expired: that part was taken back already.
    """
    lot = CreditLot.objects.filter(entry_id=entry).first()
    if lot is not None and lot.expired_micro:
        raise errors.CommandError("grant.expired", entry=entry, expired=Amount(lot.expired_micro))
    undone = journal.reverse(tx, entry=entry, at_us=at_us, note=note, requester=requester, single_person=single_person)
    CreditLot.objects.filter(entry_id=entry, reversed_us=None).update(closed=True, reversed_us=at_us)
    return undone


def _together(lots: Sequence[Lot], still_open: Collection[str]) -> list[Lot]:
    """Those of `lots`, by time of grant, that bear on an open one: lots whose lives touch, an open one among them."""
    found: list[Lot] = []
    group: list[Lot] = []
    end_us = 0
    for lot in lots:
        if group and lot.granted_us >= end_us:
            found += group if any(member.id in still_open for member in group) else []
            group, end_us = [], 0
        group.append(lot)
        end_us = max(end_us, lot.end_us, lot.reversed_us or 0)
    return found + (group if any(member.id in still_open for member in group) else [])


def due(now_us: int) -> list[str]:
    """The accounts that have an expired lot not yet taken back."""
    rows = CreditLot.objects.filter(closed=False, expires_us__lte=now_us).values_list("account", flat=True)
    return sorted(set(rows))


def expire(tx: Tx, *, account: str, currency: str, now_us: int) -> int:
    """Take back what is left of the account's expired lots, as far as it is available now; the micro-units taken.

    The rest, held by calls under way, is taken by a later run; what came in after an expiry never is.
    """
    journal.lock(tx, account)
    lots, rest = lots_of(tx, account)
    taken_micro = 0
    for lot in lots:
        if lot.expires_us is None or lot.expires_us > now_us:
            continue
        _posted, held_micro, available_micro = holds.balance(tx, account)
        later = tx.one(sql.RECEIVED_SINCE, (account, lot.expires_us))
        free_micro = available_micro - (int(later[0]) if later else 0)
        take_micro, closed = taken_back(rest[lot.id], free_micro, held_micro)
        if take_micro:
            journal.post(
                tx,
                account=account,
                kind="expiry",
                # A lot may expire in parts, each with a reference of its own: what has expired by now. What a reset
                # of the clock gave back expires again under another one.
                ref=f"{lot.id}.{lot.expired_micro}" + (f".{lot.resets}" if lot.resets else ""),
                currency=currency,
                lines=[(account, -take_micro), (chart.own("grants", currency), take_micro)],
                at_us=now_us,
                note="granted credit expired",
            )
        taken_micro += take_micro
        CreditLot.objects.filter(id=lot.id).update(expired_micro=lot.expired_micro + take_micro, closed=closed)
    return taken_micro


def taken_back(rest_micro: int, free_micro: int, held_micro: int) -> tuple[int, bool]:
    """How much of the rest of an expired lot is taken now, and whether that was the last of it.

    `free_micro` is what is available without all that came in since the expiry, so what is spent since then counts as
    money of before, to the customer's favour. It grows only by what is still held.
    """
    take_micro = max(0, min(rest_micro, free_micro))
    return take_micro, take_micro >= min(rest_micro, free_micro + held_micro)
