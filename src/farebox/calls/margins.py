"""What customers were charged, what it cost us upstream, and the difference: by day, channel, model or account.

The totals of UTC days are the source, so reading costs the same however many calls there were. A cost in another
currency than the charge is converted by a rate of exchange that the caller knows, and rounded up; without a rate it
is shown separately, and there is no margin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from farebox.kit.db import Tx
from farebox.ledger import given

from . import log, sql
from .models import Attempt, Call

ATTEMPTS_READ = 2000
LAST_ATTEMPTS = 10
ATTEMPTS_MIN = 3
_FAILED = frozenset({"failed", "unknown"})


@dataclass(slots=True)
class Margin:
    """Charges and costs of one day, channel, model or account, in one currency; `apart` are costs without a rate.

    What was refunded by hand is no charge any more: `refunded_micro` says how much was taken off.
    """

    key: str
    calls: int = 0
    charge_micro: int = 0
    cost_micro: int = 0
    refunded_micro: int = 0
    apart: dict[str, int] = field(default_factory=dict)

    @property
    def margin_micro(self) -> int | None:
        """What is left of the charges; None where not all costs could be converted."""
        return None if self.apart else self.charge_micro - self.cost_micro

    @property
    def hundredths(self) -> int | None:
        """The margin in hundredths of a percent of the charges, rounded down; None without charges or margin."""
        left_micro = self.margin_micro
        return None if left_micro is None or not self.charge_micro else left_micro * 10_000 // self.charge_micro

    @property
    def percent(self) -> str:
        """The same as people read it, with one place: `38.4%`; a dash where there is none."""
        found = self.hundredths
        if found is None:
            return "–"
        return f"{'−' if found < 0 else ''}{abs(found) // 100}.{abs(found) % 100 // 10}%"

    def add(self, other: Margin) -> None:
        """Take another one in."""
        self.calls += other.calls
        self.charge_micro += other.charge_micro
        self.cost_micro += other.cost_micro
        self.refunded_micro += other.refunded_micro
        for currency, cost_micro in other.apart.items():
            self.apart[currency] = self.apart.get(currency, 0) + cost_micro


def read(
    tx: Tx, by: str, *, from_day: str, until_day: str, rates: Mapping[str, Fraction]
) -> dict[str, dict[str, Margin]]:
    """Margins by currency of the charge, then by `by` (`day`, `channel`, `model`, `account`).

    Days are UTC days such as `2026-11-24`, both included; `rates` are units of a currency for one USD.
    """
    found: dict[str, dict[str, Margin]] = defaultdict(dict)
    for key, currency, cost_currency, calls, charge_micro, cost_micro in tx.all(sql.MARGINS[by], (from_day, until_day)):
        row = Margin(key, int(calls), int(charge_micro))
        worth_micro = convert(int(cost_micro), cost_currency or currency, currency, rates)
        if worth_micro is None:
            row.apart[cost_currency] = int(cost_micro)
        else:
            row.cost_micro = worth_micro
        found[currency].setdefault(key, Margin(key)).add(row)
    for key, currency, amount_micro in _refunded(tx, by, from_day=from_day, until_day=until_day):
        row = found[currency].setdefault(key, Margin(key))
        row.charge_micro -= amount_micro
        row.refunded_micro += amount_micro
    return dict(found)


def _refunded(tx: Tx, by: str, *, from_day: str, until_day: str) -> Iterator[tuple[str, str, int]]:
    """Refunds by hand as (key, currency, micro-units), on the UTC day on which they were booked."""
    from_us, until_us = (int(datetime.fromisoformat(f"{day}T00:00Z").timestamp()) for day in (from_day, until_day))
    refunds = given.between(tx, from_us * 1_000_000, (until_us + 86_400) * 1_000_000)
    calls = {refund.call for refund in refunds}
    known: dict[str, str] = {}
    if by == "model":
        known = dict(Call.objects.filter(id__in=calls).values_list("id", "model"))
    elif by == "channel":  # of several attempts the last one was charged
        known = dict(Attempt.objects.filter(call_id__in=calls).order_by("n").values_list("call_id", "channel"))
    for refund in refunds:
        key = {"day": log.day_of(refund.at_us), "account": refund.account}.get(by, known.get(refund.call, ""))
        yield key, refund.currency, refund.amount_micro


def convert(amount_micro: int, given: str, wanted: str, rates: Mapping[str, Fraction]) -> int | None:
    """An amount in another currency, rounded up; None without a rate. Nothing is nothing in every currency."""
    if given == wanted or amount_micro == 0:
        return amount_micro
    known = {"USD": Fraction(1), **rates}
    if given not in known or wanted not in known:
        return None
    worth = amount_micro * known[wanted] / known[given]
    return -(-worth.numerator // worth.denominator)


def total(rows: Iterable[Margin]) -> Margin:
    """All of them as one."""
    found = Margin("")
    for row in rows:
        found.add(row)
    return found


def failing(tx: Tx, channels: Collection[str], *, since_us: int) -> dict[str, int]:
    """Those of the channels whose last attempts all failed, with how many: ten at most, three at least."""
    last: dict[str, list[str]] = defaultdict(list)
    for channel, outcome, started_us in tx.all(sql.LAST_ATTEMPTS, (ATTEMPTS_READ,)):
        if started_us < since_us:
            break
        if channel in channels and len(last[channel]) < LAST_ATTEMPTS:
            last[channel].append(outcome)
    return {name: len(ends) for name, ends in last.items() if len(ends) >= ATTEMPTS_MIN and _FAILED.issuperset(ends)}
