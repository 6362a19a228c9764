"""Console home: what is left, how long it lasts, what was spent, and what needs a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_safe

from farebox.accounts import cap_use, forgiving
from farebox.accounts.cap_use import Use
from farebox.accounts.models import Account, ApiKey, Member, Project
from farebox.calls import receipts, search, totals
from farebox.calls.scope import CallScope
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.ledger import holds, lots
from farebox.ledger.models import Entry, LedgerAccount
from farebox.look import charts
from farebox.look.charts import Series
from farebox.look.templatetags.look import money

from . import scoped
from .prices import pricebook
from .principal import Principal, signed_in
from .public import news
from .rules import rules

CHART_DAYS = 30
PACE_DAYS = 7
LOW_DAYS = 3
SOON_US = 7 * 86_400_000_000
KEYS_SHOWN = 6
EXPIRING_SHOWN = 3
LASTS_DAYS_MAX = 999
LOW_PART = 5  # an allowance is low when a fifth is left of all that it had


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key at a glance."""

    key: ApiKey
    spent_micro: int
    soon: bool


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One of the first steps; `route` is where it is done."""

    name: str
    hint: str
    done: bool
    route: str


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Balance, pace, spend, alerts, keys, first steps."""
    return render(request, "console/home.html", db.read(_facts, me, clock.now_us()))


def _facts(tx: Tx, me: Principal, now_us: int) -> dict[str, Any]:
    scope = scoped.scope(me)
    days = scoped.days_back(me, now_us, CHART_DAYS)
    month_first = days[-1][:8] + "01"
    found = totals.days(tx, scope, from_day=min(days[0], month_first), until_day=days[-1])
    spent = {day: sums.charge_micro for day, sums in found.items()}
    posted_micro, held_micro, available_micro = holds.balance(tx, me.account)
    pace_micro = _pace(spent, days)
    left_micro = available_micro if me.role == "owner" else None
    cap = None if me.role == "owner" else _cap(tx, me, now_us)
    lasts_days = _lasts(left_micro if cap is None else min(cap.left_micro, available_micro), pace_micro, cap)
    keys = _keys(tx, scope, month_first, days[-1], now_us)
    return {
        "balance_micro": posted_micro,
        "held_micro": held_micro,
        "left_micro": left_micro,
        "expiring": [] if left_micro is None else lots.expiring(tx, me.account, now_us=now_us)[:EXPIRING_SHOWN],
        "cap": cap,
        "pace_micro": pace_micro,
        "lasts_days": lasts_days,
        "today_micro": spent.get(days[-1], 0),
        "yesterday_micro": spent.get(days[-2], 0),
        "month_micro": sum(value for day, value in spent.items() if day >= month_first),
        "today_calls": found[days[-1]].calls if days[-1] in found else 0,
        "month_calls": sum(sums.calls for day, sums in found.items() if day >= month_first),
        "chart": _chart(me, days, spent) if spent else None,
        "days": [(day, found.get(day, totals.Sums())) for day in reversed(days)],
        "day_begins": scoped.day_begins(me, now_us),
        "day_zone": me.account_zone,
        "keys": keys,
        "alerts": _alerts(tx, me, keys, lasts_days=lasts_days, available_micro=available_micro),
        "news": news.read(tx, now_us),
        "rules": rules.in_force(tx, now_us),
        "allowance": _allowance(tx, me, now_us),
        "steps": _steps(tx, me, scope, posted_micro),
        "empty": available_micro <= 0,
    }


def _allowance(tx: Tx, me: Principal, now_us: int) -> dict[str, Any] | None:
    """What the account may still be forgiven, for its owners; None where that is not counted."""
    if me.role != "owner":
        return None
    found = forgiving.seen(tx, pricebook.on_shelf(tx, now_us), Account.objects.get(id=me.account), now_us)
    if found is None:
        return None
    left_micro, had_micro = found["left_micro"], found["left_micro"] + found["drawn_micro"]
    return found | {"low": left_micro * LOW_PART <= had_micro}


def _pace(spent: dict[str, int], days: list[str]) -> int:
    """Micro-units a day: the mean of the last seven whole days, or of as many as there were since the first charge."""
    whole = days[-1 - PACE_DAYS : -1]
    begun = [day for day in whole if any(spent.get(earlier) for earlier in spent if earlier <= day)]
    return sum(spent.get(day, 0) for day in begun) // len(begun) if begun else spent.get(days[-1], 0)


def _lasts(left_micro: int | None, pace_micro: int, cap: Use | None) -> int | None:
    """For how many days what is left lasts at this pace; None where nobody can say."""
    if left_micro is None or pace_micro <= 0 or (cap is not None and cap.period != "ever"):
        return None
    return min(max(0, left_micro) // pace_micro, LASTS_DAYS_MAX)


def _cap(tx: Tx, me: Principal, now_us: int) -> Use | None:
    """The cap that leaves the person least: of his own and his project's, for an admin of his project's if it has one.

    None without any.
    """
    own, project = Member.objects.filter(id=me.member).first(), Project.objects.filter(id=me.project or "").first()
    rows = [row for row in (own, project) if row is not None]
    if me.role == "admin" and project is not None and project.caps:
        rows = [project]
    uses = [use for each in cap_use.of_rows(tx, rows, time_zone=me.account_zone, now_us=now_us) for use in each]
    return min(uses, key=lambda use: use.left_micro, default=None)


def _keys(tx: Tx, scope: CallScope, from_day: str, until_day: str, now_us: int) -> list[KeyRow]:
    """The living keys that have spent most this month, then the newest."""
    spent = totals.spent_by_key(tx, scope, from_day=from_day, until_day=until_day)
    rows = scope.key_rows().filter(state="active", kind="").select_related("project")
    living = [row for row in rows.order_by("-created_us") if row.expires_us is None or row.expires_us > now_us]
    ranked = sorted(living, key=lambda row: -spent.get(row.id, 0))
    shown = ranked[:KEYS_SHOWN] + [row for row in ranked[KEYS_SHOWN:] if _soon(row, now_us)][:KEYS_SHOWN]
    return [KeyRow(row, spent.get(row.id, 0), _soon(row, now_us)) for row in shown]


def _soon(row: ApiKey, now_us: int) -> bool:
    return row.expires_us is not None and row.expires_us - now_us < SOON_US


def _alerts(
    tx: Tx, me: Principal, keys: list[KeyRow], *, lasts_days: int | None, available_micro: int
) -> list[tuple[str, str]]:
    """What needs a look, as (colour, sentence)."""
    del tx  # the ORM reads in the same transaction
    out: list[tuple[str, str]] = []
    if me.account_state == "frozen":
        out.append(("bad", _("This account is frozen and can't make new calls. Contact us for the reason.")))
    elif me.account_state != "active":
        out.append(("bad", _("This account is banned and can't make new calls. Contact us for the reason.")))
    elif LedgerAccount.objects.filter(id=me.account, frozen=True).exists():
        out.append(("bad", _("The balance is being verified; new calls are paused until then. No money is lost.")))
    if me.role == "owner" and available_micro > 0 and lasts_days is not None and lasts_days < LOW_DAYS:
        out.append(("warn", _("Low balance: at the current rate it lasts less than three days.")))
    if me.role == "owner" and available_micro <= 0 and Entry.objects.filter(account=me.account).exists():
        out.append(("bad", _("The balance is used up. Calls are refused until you add credit.")))
    expiring = [row.key.name for row in keys if row.soon]
    return out + [("warn", _("The key “%(name)s” expires within a week.") % {"name": name}) for name in expiring]


def _steps(tx: Tx, me: Principal, scope: CallScope, posted_micro: int) -> list[FirstStep]:
    """The first steps of an account; nothing once all are done."""
    called = search.exists(tx, me.account)
    money_came = posted_micro > 0 or called or Entry.objects.filter(account=me.account).exists()
    keyed = ApiKey.objects.filter(account=scope.account, kind="").exists()
    steps = [
        FirstStep(_("Sign up"), "", done=True, route="home"),
        FirstStep(pgettext("step", "Add credit"), _("Granted credit or a top-up"), money_came, "statements"),
        FirstStep(_("Create a key"), _("Shown once, with settings for your app"), keyed, "keys"),
        FirstStep(_("Make your first call"), _("From your app or in the playground"), called, "playground"),
        FirstStep(_("Check a receipt"), _("The call's usage and cost"), receipts.seen(tx, me.account), "calls"),
    ]
    steps = steps if me.role == "owner" else [step for step in steps if step.route != "statements"]
    return [] if all(step.done for step in steps) else steps


def _chart(me: Principal, days: list[str], spent: dict[str, int]) -> Any:
    title = _("Daily spend (%(currency)s)") % {"currency": me.currency}
    values = [max(0, spent.get(day, 0)) for day in days]
    return charts.bars(
        title,
        [day[5:] for day in days],
        [Series(pgettext("sum", "Charged"), values)],
        lambda micro: money(micro, me.currency),
    )
