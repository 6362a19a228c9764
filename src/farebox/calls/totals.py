"""What was used and spent: by the account's own day from the totals of settlements, by hour from the calls themselves.

Amounts are micro-units of the account's currency; charges that were given back are not in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, Sum

from farebox.accounts.models import ApiKey
from farebox.kit.db import Tx

from . import by_key, refunds, sql
from .delivery import first_from
from .models import DayTotal
from .refunds import Refunded
from .scope import CallScope

WAYS = ("model", "key", "project", "member")
DAYS_MAX = 92
HOURS_MAX = 48
HOURLY_CALLS_MAX = 200_000
_HOUR_US = 3_600_000_000
_EARLIER_US = 600_000_000  # the id of a call is as old as its first byte, its row as its hold


@dataclass(slots=True)
class Sums:
    """Calls that have ended, their charges, and their tokens (0 where only hours were asked for)."""

    calls: int = 0
    charge_micro: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, other: Sums) -> None:
        """Count another's in."""
        self.calls += other.calls
        self.charge_micro += other.charge_micro
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens


Table = dict[tuple[str, str], Sums]  # by (when, what): a day or the begin of an hour, and the name of the part


def days(tx: Tx, scope: CallScope, *, from_day: str, until_day: str) -> dict[str, Sums]:
    """The sums of each of the account's own days that has any, both days included."""
    return {day: sums for (day, _), sums in by_day(tx, scope, way="", from_day=from_day, until_day=until_day).items()}


def by_day(
    tx: Tx, scope: CallScope, *, way: str, from_day: str, until_day: str, only: Mapping[str, str] | None = None
) -> Table:
    """Sums by the account's day and by `way` (one of WAYS, or empty); `only` keeps one of each way that it names."""
    column = {"member": "key"}.get(way, way)
    groups = ["at", column] if column else ["at"]
    rows = _within(scope, from_day, until_day, only or {}).values_list(*groups)
    found = rows.annotate(Sum("calls"), Sum("charge_micro"), Sum("input_tokens"), Sum("output_tokens"))
    members = _members(scope) if way == "member" else {}
    table: Table = {}
    for row in found:
        part = str(row[1]) if column else ""
        name = members.get(part, "") if way == "member" else part
        table.setdefault((str(row[0]), name), Sums()).add(Sums(*(int(value) for value in row[len(groups) :])))
    back = refunds.of_days(tx, scope.account, from_day=from_day, until_day=until_day)
    for each, name in _seen(scope, back, way, only or {}):
        table.setdefault((each.day, name), Sums()).charge_micro -= each.amount_micro
    return table


def spent_by_key(tx: Tx, scope: CallScope, *, from_day: str, until_day: str) -> dict[str, int]:
    """Charges of each key on the account's own days from and until which, both included."""
    rows = _within(scope, from_day, until_day, {}).values_list("key").annotate(Sum("charge_micro"))
    found = Counter({str(key): int(charge_micro) for key, charge_micro in rows})
    back = refunds.of_days(tx, scope.account, from_day=from_day, until_day=until_day)
    for each, name in _seen(scope, back, "key", {}):
        found[name] -= each.amount_micro
    return dict(found)


def by_hour(
    tx: Tx,
    scope: CallScope,
    *,
    way: str,
    from_us: int,
    until_us: int,
    zone: ZoneInfo,
    only: Mapping[str, str] | None = None,
) -> tuple[dict[tuple[int, str], Sums], bool]:
    """Sums by the begin of each hour of `zone` in microseconds, and by `way`; and whether every call was counted.

    Beyond 200,000 calls the newest are counted, and it says so.
    """
    offset = datetime.fromtimestamp(from_us // 1_000_000, zone).utcoffset() or timedelta()
    shift_us = int(offset.total_seconds()) * 1_000_000 % _HOUR_US
    span = first_from(from_us - _EARLIER_US), first_from(until_us)
    rows = tx.all(sql.HOURS, (shift_us, scope.account, *span, HOURLY_CALLS_MAX, from_us, until_us))
    complete = tx.one(sql.SEARCH_ACCOUNT_END, (scope.account, *span, HOURLY_CALLS_MAX)) is None
    keys = set() if scope.whole else set(scope.keys())
    members = _members(scope) if way == "member" or "member" in (only or {}) else {}
    table: dict[tuple[int, str], Sums] = {}
    for hour, project, key, model, calls, charge_micro in rows:
        parts: dict[str, Any] = {"project": project, "key": key, "model": model}
        parts["member"] = members.get(str(key), "")
        if not scope.whole and key not in keys:
            continue
        if any(parts[name] != value for name, value in (only or {}).items()):
            continue
        begin_us = int(hour) * _HOUR_US - shift_us
        table.setdefault((begin_us, str(parts.get(way, ""))), Sums()).add(Sums(int(calls), int(charge_micro)))
    back = [each for each in refunds.since(tx, scope.account, from_us=from_us) if each.opened_us < until_us]
    for each, name in _seen(scope, back, way, only or {}):
        begin_us = (each.opened_us + shift_us) // _HOUR_US * _HOUR_US - shift_us
        if (begin_us, name) in table:  # else the call is not among those counted
            table[begin_us, name].charge_micro -= each.amount_micro
    return table, complete


def _seen(scope: CallScope, back: list[Refunded], way: str, only: Mapping[str, str]) -> Iterator[tuple[Refunded, str]]:
    """The refunds of calls within scope and `only`, each with the part of `way` that its call belongs to."""
    if not back:
        return
    keys = None if scope.whole else set(scope.keys())
    members = _members(scope) if way == "member" or "member" in only else {}
    for each in back:
        parts = {"project": each.project, "key": each.key, "model": each.model, "member": members.get(each.key, "")}
        if keys is not None and each.key not in keys and each.project not in (scope.projects or ()):
            continue
        if all(parts[name] == value for name, value in only.items()):
            yield each, parts.get(way, "")


def _within(scope: CallScope, from_day: str, until_day: str, only: Mapping[str, str]) -> QuerySet[DayTotal]:
    rows: QuerySet[DayTotal] = by_key.own(scope.account, from_day, until_day)
    if not scope.whole:
        rows = rows.filter(Q(project__in=scope.projects or ()) | Q(key__in=scope.own_keys()))
    columns = {name: value for name, value in only.items() if name != "member"}
    if "member" in only:
        rows = rows.filter(key__in=scope.keys(member=only["member"]))
    return rows.filter(**columns).order_by()


def _members(scope: CallScope) -> dict[str, str]:
    """The member of each key of the account that has one."""
    rows = ApiKey.objects.filter(account=scope.account, member__isnull=False).values_list("id", "member_id")
    return {str(key): str(member) for key, member in rows}
