"""The statement of a month: what came, what was charged for calls, what is left. It is the journal of that month.

Months and days are the account's own, by its time zone.

A customer's journal can have millions of charges, so their sums come from the day totals, put right at the month's
edges: a total counts a call on the day when it began and without what was given back, the journal counts a charge when
the call ended and a refund when it was given. `prove` shows every day that both agree; so does each statement, which
adds up the journal's own postings of its month beside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Sum

from farebox.accounts import zones
from farebox.accounts.models import Account
from farebox.kit import ids
from farebox.kit.db import Tx
from farebox.ledger import holds
from farebox.ledger.models import CreditLot

from . import by_key, sql
from .delivery import first_from
from .models import Call

CHARGE, REFUND = "charge", "refund"
LONGEST_US = 26 * 3_600_000_000  # no call lasts longer: a day at most (option `call_s_max`), and its body before
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Booked:
    """An entry of the journal that is no charge: a grant (with its end), a refund, what expired, a correction."""

    id: str
    kind: str
    ref: str
    at_us: int
    note: str
    single_person: bool
    amount_micro: int
    expires_us: int | None = None


@dataclass(slots=True)
class ChargeSum:
    """What the calls of one day, model or project were charged."""

    calls: int = 0
    charge_micro: int = 0


@dataclass(slots=True)
class Month:
    """A month of an account: `2026-11`, amounts in micro-units. `charged_micro` is positive."""

    month: str
    from_us: int
    until_us: int
    opening_micro: int = 0
    closing_micro: int = 0
    charged_micro: int = 0
    calls: int = 0
    entries: list[Booked] = field(default_factory=list)
    days: dict[str, ChargeSum] = field(default_factory=dict)
    models: dict[str, ChargeSum] = field(default_factory=dict)
    projects: dict[str, ChargeSum] = field(default_factory=dict)

    @property
    def booked_micro(self) -> int:
        """The sum of all entries that are no charges."""
        return sum(entry.amount_micro for entry in self.entries)

    @property
    def single_person(self) -> bool:
        """Whether an entry of the month was made without a second person."""
        return any(entry.single_person for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Statement:
    """A month with its parts, and the sum of the journal's postings in it, counted from the journal itself."""

    month: Month
    journal_micro: int
    postings: int

    @property
    def adds_up(self) -> bool:
        """Whether the statement is the journal of its month."""
        month = self.month
        return month.closing_micro - month.opening_micro == self.journal_micro


def months(account: Account, *, now_us: int) -> list[str]:
    """The months of an account, from its opening to now, newest first."""
    year, number = _year_and_month(account.created_us, account.time_zone)
    last = _year_and_month(now_us, account.time_zone)
    out = []
    while (year, number) <= last:
        out.append(f"{year:04d}-{number:02d}")
        year, number = (year, number + 1) if number < 12 else (year + 1, 1)
    return out[::-1]


def overview(tx: Tx, account: str, *, now_us: int) -> list[Month]:
    """Every month of the account with its balances and sums, newest first; without the parts."""
    row = Account.objects.get(id=account)
    return _chain(tx, account, [_month(name, row.time_zone) for name in months(row, now_us=now_us)])


def read(tx: Tx, account: str, month: str, *, now_us: int) -> Statement | None:
    """The statement of a month such as `2026-11`; None if the account has no such month."""
    row = Account.objects.get(id=account)
    known = months(row, now_us=now_us)
    if month not in known:
        return None
    newest_first = [_month(name, row.time_zone) for name in known[: known.index(month) + 1]]
    wanted = _chain(tx, account, newest_first)[-1]
    _split(tx, account, wanted, row.time_zone)
    lots = CreditLot.objects.filter(entry__in=[entry.id for entry in wanted.entries if entry.kind == "grant"])
    ends = dict(lots.values_list("entry_id", "expires_us"))
    wanted.entries = [replace(entry, expires_us=ends.get(entry.id)) for entry in wanted.entries]
    span = (f"ent_{ids.base62(wanted.from_us, 9)}", f"ent_{ids.base62(wanted.until_us, 9)}")
    found = tx.one(sql.MOVED, (account, *span))
    assert found is not None  # noqa: S101 - an aggregate has a row
    return Statement(wanted, int(found[1]), int(found[0]))


def _chain(tx: Tx, account: str, newest_first: list[Month]) -> list[Month]:
    """Give the months, without a gap up to now, their sums and balances, from today's balance backwards."""
    if not newest_first:
        return []
    until_us = newest_first[0].until_us
    charges = _charges(account, newest_first[-1].month)
    entries = sorted(_entries(tx, account), key=lambda entry: (entry.at_us, entry.id))
    begun = _begun(account, [entry.ref for entry in entries if entry.kind == REFUND])
    refunds = [(begun[entry.ref], entry.amount_micro) for entry in entries if entry.ref in begun]
    later = _carried(tx, account, until_us)
    # What lies beyond the newest month, where a clock ran ahead once.
    balance_micro = holds.balance(tx, account)[0]
    balance_micro -= sum(entry.amount_micro for entry in entries if entry.at_us >= until_us)
    balance_micro += sum(sums[1] for month, sums in charges.items() if month > newest_first[0].month)
    balance_micro += sum(refund_micro for at_us, refund_micro in refunds if at_us >= until_us)
    balance_micro += sum(call[4] for call in later)
    for month in newest_first:
        carried = _carried(tx, account, month.from_us)
        month.entries = [entry for entry in entries if month.from_us <= entry.at_us < month.until_us]
        month.calls, month.charged_micro = charges.get(month.month, (0, 0))
        month.charged_micro += sum(micro for at_us, micro in refunds if month.from_us <= at_us < month.until_us)
        month.charged_micro += sum(call[4] for call in carried) - sum(call[4] for call in later)
        month.calls += len(carried) - len(later)
        month.closing_micro = balance_micro
        month.opening_micro = balance_micro = balance_micro - month.booked_micro + month.charged_micro
        later = carried
    return newest_first


def _split(tx: Tx, account: str, month: Month, time_zone: str) -> None:
    """The month's charges by day, model and project, each adding up to the same."""
    days: dict[str, ChargeSum] = defaultdict(ChargeSum)
    models: dict[str, ChargeSum] = defaultdict(ChargeSum)
    projects: dict[str, ChargeSum] = defaultdict(ChargeSum)

    def count(day: str, model: str, project: str, calls: int, charge_micro: int) -> None:
        for part in (days[day], models[model], projects[project]):
            part.calls += calls
            part.charge_micro += charge_micro

    first, last = zones.day(month.from_us, time_zone), zones.day(month.until_us - 1, time_zone)
    rows = by_key.own(account, first, last)
    sums = rows.values_list("at", "model", "project").annotate(Sum("calls"), Sum("charge_micro"))
    for day, model, project, calls, charge_micro in sums:
        count(day, model, project, calls, charge_micro)
    refunds = {entry.ref: entry.amount_micro for entry in _refunds(tx, account)}
    for call, project, model, opened_us in _calls(account, refunds):
        if month.from_us <= opened_us < month.until_us:
            count(zones.day(opened_us, time_zone), model, project, 0, refunds[call])
    for sign, edge_us in ((1, month.from_us), (-1, month.until_us)):
        for _id, project, model, opened_us, charge_micro, _flags in _carried(tx, account, edge_us):
            count(zones.day(opened_us, time_zone), model, project, sign, sign * charge_micro)
    month.days = dict(sorted((name, part) for name, part in days.items() if part.calls or part.charge_micro))
    month.models, month.projects = _largest(models), _largest(projects)


def _largest(parts: dict[str, ChargeSum]) -> dict[str, ChargeSum]:
    kept = [(name, part) for name, part in parts.items() if part.calls or part.charge_micro]
    return dict(sorted(kept, key=lambda pair: (-pair[1].charge_micro, pair[0])))


def _charges(account: str, from_month: str) -> dict[str, tuple[int, int]]:
    """Calls and charges by month, as the day totals count them."""
    rows = by_key.own(account, f"{from_month}-01")
    out: dict[str, tuple[int, int]] = {}
    for day, calls, charge_micro in rows.values_list("at").annotate(Sum("calls"), Sum("charge_micro")):
        before = out.get(day[:7], (0, 0))
        out[day[:7]] = (before[0] + calls, before[1] + charge_micro)
    return out


def _entries(tx: Tx, account: str) -> Iterable[Booked]:
    """All entries of an account but its charges; kind by kind, so that charges are stepped over."""
    kind = ""
    while True:
        found = tx.one(sql.NEXT_KIND, (account, kind))
        if found is None or found[0] is None:
            return
        kind = str(found[0])
        if kind != CHARGE:
            yield from _of_kind(tx, account, kind)


def _refunds(tx: Tx, account: str) -> list[Booked]:
    return list(_of_kind(tx, account, REFUND))


def _of_kind(tx: Tx, account: str, kind: str) -> Iterable[Booked]:
    for entry, named, ref, at_us, note, single_person, amount_micro in tx.all(sql.ENTRIES_OF_KIND, (account, kind)):
        yield Booked(entry, named, ref, at_us, note, bool(single_person), int(amount_micro))


def _begun(account: str, calls: Sequence[str]) -> dict[str, int]:
    """When each of these calls began; what is no call of the account is left out."""
    return {call: opened_us for call, _project, _model, opened_us in _calls(account, calls)}


def _calls(account: str, calls: Iterable[str]) -> Iterable[tuple[str, str, str, int]]:
    names = list(calls)
    for place in range(0, len(names), _PAGE):
        rows = Call.objects.filter(account=account, id__in=names[place : place + _PAGE]).order_by()
        yield from rows.values_list("id", "project", "model", "opened_us")


def _carried(tx: Tx, account: str, edge_us: int) -> list[tuple[Any, ...]]:
    """The calls that began before a moment and ended at it or later, as the totals count them."""
    span = first_from(edge_us - LONGEST_US), first_from(edge_us)
    rows = tx.all(sql.ACROSS, (account, *span, edge_us, edge_us))
    return [(*row[:4], int(row[4] or 0), row[5]) for row in rows if "expired" not in str(row[5]).split()]


def _month(name: str, time_zone: str) -> Month:
    year, number = int(name[:4]), int(name[5:])
    after = f"{year + number // 12:04d}-{number % 12 + 1:02d}"
    return Month(name, zones.begin_us(f"{name}-01", time_zone), zones.begin_us(f"{after}-01", time_zone))


def _year_and_month(at_us: int, time_zone: str) -> tuple[int, int]:
    day = zones.day(at_us, time_zone)
    return int(day[:4]), int(day[5:7])
