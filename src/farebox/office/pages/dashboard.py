"""The first page of the office: what came in, what it cost, what is left of it, and what waits for somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.accounts.models import Account
from farebox.calls import forgiven, margins
from farebox.calls.forgiven import Forgiven
from farebox.calls.margins import Margin
from farebox.catalog.shelf import Shelf
from farebox.kit import clock, db, loopwatch, options
from farebox.ledger import standing
from farebox.look import charts
from farebox.look.templatetags.look import money
from farebox.office import tasks
from farebox.office.principal import Operator, operator
from farebox.upstreams import channels

from . import words

SPANS = {"1": gettext_lazy("Today"), "7": gettext_lazy("7 days"), "30": gettext_lazy("30 days")}
ROWS_MAX = 12


@require_http_methods(["GET", "HEAD"])
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Spend, cost and margin of a span, and what waits."""
    now_us = clock.now_us()
    span = request.GET.get("span", "7") if request.GET.get("span") in SPANS else "7"
    stock = tasks.stock(now_us)
    days = _days(int(span), now_us)
    found = _margins(stock, days, now_us)
    currencies = sorted(found["day"], key=lambda each: -margins.total(found["day"][each].values()).calls)
    asked = request.GET.get("currency", "")
    currency = asked if asked in currencies else (currencies[0] if currencies else "USD")
    by_day = [found["day"].get(currency, {}).get(day) or Margin(day) for day in days]
    held = db.read(standing.now)
    return render(
        request,
        "office/home.html",
        {
            "span": span,
            "spans": SPANS.items(),
            "currency": currency,
            "currencies": currencies,
            "costs": me.role != "support",
            "total": margins.total(by_day),
            "chart": _chart(by_day, currency, costs=me.role != "support") if any(row.calls for row in by_day) else "",
            "by_day": [(row.key, row) for row in reversed(by_day)],
            "tables": _tables(found, currency),
            "forgiven": _forgiven(currency, days),
            "held": held,
            "tasks": tasks.listed(now_us, stock, held),
            "held_up": loopwatch.read(options.current().data),
        },
    )


def _days(many: int, now_us: int) -> list[str]:
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    return [(today - timedelta(days=back)).strftime("%Y-%m-%d") for back in reversed(range(many))]


def _margins(stock: Shelf, days: list[str], now_us: int) -> dict[str, dict[str, dict[str, Margin]]]:
    rates = {
        version.currency: Fraction(version.usd_rate)
        for name in stock.versions
        if (version := stock.version(name, now_us)) is not None and version.usd_rate
    }
    return {
        by: db.read(margins.read, by, from_day=days[0], until_day=days[-1], rates=rates)
        for by in ("day", "channel", "model", "account")
    }


def _chart(rows: list[Margin], currency: str, *, costs: bool) -> Any:
    labels = [row.key[5:] for row in rows]
    shown: Callable[[int], str] = lambda value_micro: money(value_micro, currency)  # noqa: E731 - its name is the chart's
    if not costs:
        series = [charts.Series(_("Spend"), [row.charge_micro for row in rows])]
        return charts.bars(_("Spend by day, %(currency)s") % {"currency": currency}, labels, series, shown)
    series = [
        charts.Series(_("Cost"), [row.cost_micro for row in rows]),
        charts.Series(_("Margin"), [max(0, row.margin_micro or 0) for row in rows]),
    ]
    return charts.bars(_("Spend by day: cost and margin, %(currency)s") % {"currency": currency}, labels, series, shown)


def _tables(found: dict[str, dict[str, dict[str, Margin]]], currency: str) -> list[dict[str, Any]]:
    by_channel = found["channel"].get(currency, {})
    vendors = {row["name"]: row["upstream"] for row in db.read(channels.listed)}
    by_upstream: dict[str, Margin] = {}
    for name, row in by_channel.items():
        vendor = vendors.get(name, name)
        by_upstream.setdefault(vendor, Margin(vendor)).add(row)
    by_account = _largest(found["account"].get(currency, {}).values())
    names = dict(Account.objects.filter(id__in=[row.key for row in by_account]).values_list("id", "name"))
    return [
        {
            "title": _("By upstream"),
            "head": _("Upstream"),
            "rows": [(row.key or _("no upstream"), row) for row in _largest(by_upstream.values())],
        },
        {
            "title": _("By model"),
            "head": _("Model"),
            "rows": [(row.key, row) for row in _largest(found["model"].get(currency, {}).values())],
        },
        {
            "title": _("By customer"),
            "head": _("Customer"),
            "rows": [(names.get(row.key, row.key) or _("others"), row) for row in by_account],
        },
    ]


def _forgiven(currency: str, days: list[str]) -> list[dict[str, Any]]:
    """What was forgiven in these days, by customer, model, upstream and cause; nothing where nothing was."""
    found = {
        by: db.read(forgiven.read, by, currency=currency, from_day=days[0], until_day=days[-1])
        for by in ("account", "model", "channel", "cause")
    }
    if not found["cause"]:
        return []
    vendors = {row["name"]: row["upstream"] for row in db.read(channels.listed)}
    by_upstream: dict[str, Forgiven] = {}
    for row in found["channel"]:
        vendor = vendors.get(row.key, row.key)
        by_upstream.setdefault(vendor, Forgiven(vendor)).add(row)
    upstreams = sorted(by_upstream.values(), key=lambda row: -row.forgiven_micro)
    accounts = found["account"][:ROWS_MAX]
    names = dict(Account.objects.filter(id__in=[row.key for row in accounts]).values_list("id", "name"))
    rows = {
        "customer": [(names.get(row.key, row.key), row.key, row) for row in accounts],
        "model": [(row.key, "", row) for row in found["model"][:ROWS_MAX]],
        "upstream": [(row.key or _("no upstream"), "", row) for row in upstreams[:ROWS_MAX]],
        "cause": [(words.said(words.CAUSES, row.key), "", row) for row in found["cause"]],
    }
    return [
        {"title": _("By customer"), "head": _("Customer"), "rows": rows["customer"]},
        {"title": _("By model"), "head": _("Model"), "rows": rows["model"]},
        {"title": _("By upstream"), "head": _("Upstream"), "rows": rows["upstream"]},
        {"title": _("By cause"), "head": _("Cause"), "rows": rows["cause"]},
    ]


def _largest(rows: Iterable[Margin]) -> list[Margin]:
    """The largest by what they were charged, and one row for the rest."""
    ranked = sorted(rows, key=lambda row: (-row.charge_micro, -row.cost_micro, row.key))
    if len(ranked) <= ROWS_MAX:
        return ranked
    rest = margins.total(ranked[ROWS_MAX:])
    rest.key = _("others")
    return [*ranked[:ROWS_MAX], rest]
