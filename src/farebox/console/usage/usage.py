"""Usage: what was used and spent in a span of time, by model, key, project or member, by day or by hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from farebox.calls import totals
from farebox.calls.totals import DAYS_MAX, HOURS_MAX, WAYS, Sums
from farebox.console import scoped
from farebox.console.principal import Principal, signed_in
from farebox.console.scoped import Names
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.look import charts
from farebox.look.charts import Series
from farebox.look.templatetags.look import exact, figure, money

SPANS: dict[str, Any] = {
    "24h": gettext_lazy("Last 24 hours"),
    "48h": gettext_lazy("Last 48 hours"),
    "7d": gettext_lazy("Last 7 days"),
    "30d": gettext_lazy("Last 30 days"),
    "90d": gettext_lazy("Last 90 days"),
    "month": gettext_lazy("This month"),
    "dates": gettext_lazy("Custom"),
}
BY: dict[str, Any] = {"model": gettext_lazy("Model"), **scoped.NAMED}
PARTS_SHOWN = 200
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the form asks for; `spots` are the days, or the begins of hours, of the chart."""

    span: str
    way: str
    from_day: str
    until_day: str
    only: Mapping[str, str]
    hours: int = 0

    @property
    def query(self) -> dict[str, str]:
        """The same as a query."""
        dates = {"from": self.from_day, "until": self.until_day} if self.span == "dates" else {}
        return {"span": self.span, "by": self.way, **dates, **self.only}


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Sums, a chart, and the same as tables."""
    return render(request, "console/usage.html", db.read(_facts, me, request.GET, clock.now_us()))


def _facts(tx: Tx, me: Principal, query: QueryDict, now_us: int) -> dict[str, Any]:
    names = scoped.names(me)
    chosen = _chosen(me, query, names, now_us)
    spots, table, complete = _read(tx, me, chosen, now_us)
    parts, by_spot = _parts(table), _by_spot(table)
    whole = Sums()
    for sums in parts.values():
        whole.add(sums)
    within = _within(me, chosen, now_us) if whole.calls else {}
    free = not any(sums.charge_micro for sums in table.values())
    series = _series(chosen, spots, table, names, free=free)
    return {
        "chosen": chosen,
        "narrowed": [(BY[name], names.of(name).get(value, value)) for name, value in chosen.only.items()],
        "whole": whole,
        "hourly": bool(chosen.hours),
        "complete": complete,
        "chart": _chart(me, chosen, spots, series, free=free) if whole.calls else None,
        "grid": _grid(spots, series, free=free) if len(series) > 1 else None,
        "parts": [_part(chosen, part, sums, whole, names, within) for part, sums in list(parts.items())[:PARTS_SHOWN]],
        "more_parts": max(0, len(parts) - PARTS_SHOWN),
        "heads": BY[chosen.way],
        "spots": [(label, by_spot.get(spot, Sums())) for spot, label in reversed(spots)],
        "spans": [(name, word, name == chosen.span) for name, word in SPANS.items()],
        "ways": _ways(chosen),
        "pickers": scoped.pickers(names, chosen.only),
        "days_max": DAYS_MAX,
        "day_begins": scoped.day_begins(me, now_us),
        "zone": me.time_zone,
        "day_zone": me.account_zone,
    }


def _chosen(me: Principal, query: QueryDict, names: Names, now_us: int) -> Chosen:
    """What is asked for; what makes no sense is as if it had not been said."""
    span = _span(query)
    way = query.get("by", "model")
    way = way if way in WAYS else "model"
    only = {name: query.get(name, "") for name in scoped.NAMED if query.get(name, "") in names.of(name)}
    if model := query.get("model", "").strip()[:128].replace("\x00", ""):
        only["model"] = model
    days = scoped.days_back(me, now_us, DAYS_MAX)
    made = Chosen(span, way, days[-30], days[-1], only)
    if span in {"24h", "48h"}:
        return replace(made, hours=int(span[:2]))
    if span == "dates":
        first, last = _dates(query, days)
        return replace(made, from_day=first, until_day=last)
    if span == "month":
        return replace(made, from_day=days[-1][:8] + "01")
    return replace(made, from_day=days[-int(span[:-1])])


def _span(query: QueryDict) -> str:
    """Whose From or Until is filled in wants those dates, unless the page had filled them in and he chose another."""
    chosen = query.get("span", "30d")
    given = [query.get(name, "") for name in ("from", "until")]
    if any(given) and "/".join(given) != query.get("shown"):
        return "dates"
    return chosen if chosen in SPANS else "30d"


def _dates(query: QueryDict, days: Sequence[str]) -> tuple[str, str]:
    """Two days from the form, in order and at most 92 apart; 30 days until the second, or today, where one is missing.

    What is no day is as if both were missing.
    """
    begin, end = (query.get(name, "")[:10] for name in ("from", "until"))
    try:
        last = date.fromisoformat(end or days[-1])
        first, last = sorted((date.fromisoformat(begin) if begin else last - timedelta(days=29), last))
        return max(first, last - timedelta(days=DAYS_MAX - 1)).isoformat(), last.isoformat()
    except (ValueError, OverflowError):
        return days[-30], days[-1]


def _read(
    tx: Tx, me: Principal, chosen: Chosen, now_us: int
) -> tuple[list[tuple[Any, str]], dict[tuple[Any, str], Sums], bool]:
    """The spots of the chart with their labels, the sums, and whether every call is in them."""
    scope = scoped.scope(me)
    if not chosen.hours:
        table = totals.by_day(
            tx, scope, way=chosen.way, from_day=chosen.from_day, until_day=chosen.until_day, only=chosen.only
        )
        days = _days(chosen.from_day, chosen.until_day)
        return [(day, day) for day in days], dict(table), True
    zone = ZoneInfo(me.time_zone)
    first_us, end_us = _moments(me, chosen, now_us)
    found, complete = totals.by_hour(
        tx, scope, way=chosen.way, from_us=first_us, until_us=end_us, zone=zone, only=chosen.only
    )
    spots = [
        (at_us, datetime.fromtimestamp(at_us // 1_000_000, zone).strftime("%m-%d %H:%M"))
        for at_us in range(first_us, end_us, _HOUR_US)
    ]
    return spots, dict(found), complete


def _moments(me: Principal, chosen: Chosen, now_us: int) -> tuple[int, int]:
    """When the span begins, and when it ends: by the person's hours, or by the account's days."""
    if not chosen.hours:
        zone = me.account_zone
        return scoped.moment_us(chosen.from_day, zone), scoped.moment_us(scoped.next_day(chosen.until_day), zone)
    offset = datetime.fromtimestamp(now_us // 1_000_000, ZoneInfo(me.time_zone)).utcoffset() or timedelta()
    shift_us = int(offset.total_seconds()) * 1_000_000 % _HOUR_US
    end_us = (now_us + shift_us) // _HOUR_US * _HOUR_US - shift_us + _HOUR_US
    return end_us - min(chosen.hours, HOURS_MAX) * _HOUR_US, end_us


def _within(me: Principal, chosen: Chosen, now_us: int) -> dict[str, str]:
    """The span as the request log asks for it; no end where that is still to come."""
    from_us, until_us = _moments(me, chosen, now_us)
    until = {"until": scoped.spelled(until_us, me.time_zone, until=True)} if until_us <= now_us else {}
    return {"from": scoped.spelled(from_us, me.time_zone), **until}


def _days(first: str, last: str) -> list[str]:
    begin = datetime.strptime(first, "%Y-%m-%d").replace(tzinfo=UTC)
    many = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    return [(begin + timedelta(days=number)).strftime("%Y-%m-%d") for number in range(many)]


def _parts(table: Mapping[tuple[Any, str], Sums]) -> dict[str, Sums]:
    """Sums by part, the dearest first."""
    out: dict[str, Sums] = {}
    for (_when, part), sums in table.items():
        out.setdefault(part, Sums()).add(sums)
    return dict(sorted(out.items(), key=lambda pair: (-pair[1].charge_micro, -pair[1].calls, pair[0])))


def _by_spot(table: Mapping[tuple[Any, str], Sums]) -> dict[Any, Sums]:
    """Sums by day or hour."""
    out: dict[Any, Sums] = {}
    for (when, _part), sums in table.items():
        out.setdefault(when, Sums()).add(sums)
    return out


def _named(chosen: Chosen, part: str, names: Names) -> str:
    """The name of a part; what nobody has, and what is gone or not for these eyes, in words."""
    if chosen.way == "model":
        return part
    if not part:
        return _("no member")
    return names.of(chosen.way).get(part) or part


def _part(
    chosen: Chosen, part: str, sums: Sums, whole: Sums, names: Names, within: Mapping[str, str]
) -> dict[str, Any]:
    """A row of the table; what can't be chosen, such as no member, has no links."""
    only = {chosen.way: part} if part and (chosen.way == "model" or part in names.of(chosen.way)) else {}
    return {
        "name": _named(chosen, part, names),
        "sums": sums,
        "share": f"{sums.charge_micro * 100 // whole.charge_micro}%" if whole.charge_micro > 0 else "–",
        "query": "?" + urlencode({**chosen.query, **only, "by": "model" if chosen.way != "model" else "key"}),
        "narrows": bool(only) and chosen.way not in chosen.only,
        "log": "?" + urlencode({**chosen.only, **only, **within}) if only else "",
    }


def _series(
    chosen: Chosen, spots: Sequence[tuple[Any, str]], table: Mapping[tuple[Any, str], Sums], names: Names, *, free: bool
) -> list[Series]:
    """What each part was charged by day or hour, the largest six and the others; calls where nothing was charged."""
    parts: dict[str, dict[Any, int]] = {}
    for (when, part), sums in table.items():
        parts.setdefault(part, {})[when] = sums.calls if free else max(0, sums.charge_micro)
    series = [
        Series(_named(chosen, part, names), [by.get(spot, 0) for spot, _l in spots]) for part, by in parts.items()
    ]
    return charts.few(series, _("other"))


def _chart(
    me: Principal, chosen: Chosen, spots: Sequence[tuple[Any, str]], series: Sequence[Series], *, free: bool
) -> SafeString:
    """Spend as stacked bars; calls where nothing was charged."""
    labels = [
        label.removeprefix(f"{label[:5]}") if not chosen.hours and len(label) == 10 else label for _s, label in spots
    ]
    title = _("Hourly spend (%(currency)s)") if chosen.hours else _("Daily spend (%(currency)s)")
    title = _("Calls") if free else title % {"currency": me.currency}
    shown: Callable[[int], str] = figure if free else lambda micro: money(micro, me.currency)
    return charts.bars(title, labels, series, shown)


def _grid(spots: Sequence[tuple[Any, str]], series: Sequence[Series], *, free: bool) -> dict[str, Any]:
    """The figures of the chart as a table, the newest day or hour first."""
    shown = figure if free else exact
    rows = [(label, [shown(each.values[place]) for each in series]) for place, (_s, label) in enumerate(spots)]
    return {"heads": [each.name for each in series], "rows": rows[::-1], "free": free}


def _ways(chosen: Chosen) -> list[tuple[str, Any, bool]]:
    return [(name, word, name == chosen.way) for name, word in BY.items()]
