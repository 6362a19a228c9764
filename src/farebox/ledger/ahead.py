"""What expired only because the clock had run ahead is given back, entry by entry, by reversal (promises 4.7)."""

from __future__ import annotations

from django.db.models import Exists, F, OuterRef, QuerySet

from farebox.kit.db import Tx

from . import journal
from .models import CreditLot, Entry, LedgerAccount

_NOTE = "it had expired while the clock ran ahead"


def accounts(tx: Tx, *, from_us: int) -> list[str]:
    """The accounts of which credit expired after `from_us` whose end is still to come then."""
    del tx  # the ORM reads in the same transaction
    found = {entry.account for entry in _open(from_us) if _lot(entry, from_us) is not None}
    return sorted(found)


def give_back(tx: Tx, account: str, *, from_us: int, at_us: int) -> list[tuple[str, int]]:
    """Undo what expired of an account's credit though its end is after `from_us`; (lot, micro-units) of each.

    Twice is once. The lot is open again, and expires at its own end.
    """
    journal.lock(tx, account)
    given = []
    for entry in _open(from_us).filter(account=account):
        lot = _lot(entry, from_us)
        if lot is None:
            continue
        amount_micro = -journal.moved_micro(tx, str(entry.id), account)
        journal.reverse(tx, entry=str(entry.id), at_us=at_us, note=_NOTE)
        CreditLot.objects.filter(id=lot.id).update(
            expired_micro=F("expired_micro") - amount_micro, resets=F("resets") + 1, closed=lot.reversed_us is not None
        )
        given.append((str(lot.id), amount_micro))
    # What was closed with nothing left to take is open again as well.
    lots = CreditLot.objects.filter(account=account, closed=True, reversed_us=None, expires_us__gt=from_us)
    lots.update(closed=False)
    return given


def closed(tx: Tx, *, from_us: int) -> list[str]:
    """The accounts with a lot that is closed although its end is after `from_us` and its grant stands."""
    del tx
    lots = CreditLot.objects.filter(closed=True, reversed_us=None, expires_us__gt=from_us)
    return sorted(set(lots.values_list("account", flat=True)))


def caps(tx: Tx, *, after: str) -> list[str]:
    """The memo accounts of caps whose day or month is after the day `after` (ISO): they began in the jump."""
    del tx
    found = []
    for name in LedgerAccount.objects.filter(kind="memo").values_list("id", flat=True):
        period = name.rpartition(":")[2]
        if period[:4].isdigit() and period > after[: len(period)]:
            found.append(str(name))
    return sorted(found)


def _open(from_us: int) -> QuerySet[Entry]:
    undone = Entry.objects.filter(account=OuterRef("account"), kind="reversal", ref=OuterRef("id"))
    return Entry.objects.filter(~Exists(undone), kind="expiry", at_us__gt=from_us).order_by("account", "id")


def _lot(entry: Entry, from_us: int) -> CreditLot | None:
    return CreditLot.objects.filter(id=str(entry.ref).partition(".")[0], expires_us__gt=from_us).first()
