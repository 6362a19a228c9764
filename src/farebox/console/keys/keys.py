"""Keys: the list, a new one with its ticket stub, one key with its usage, its limits, its end."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from farebox.accounts import cap_use
from farebox.accounts.keys import key_edit, key_line, lifting
from farebox.accounts.keys import keys as domain
from farebox.accounts.models import Account, ApiKey
from farebox.accounts.team import key_scope
from farebox.accounts.team.key_scope import KeyScope
from farebox.calls import by_key
from farebox.catalog.pricing import ModelCard
from farebox.console import refusals
from farebox.console.limit_forms import PERIODS
from farebox.console.prices import pricebook
from farebox.console.principal import Principal, View, signed_in
from farebox.console.scoped import days_back
from farebox.console.step_up import ask, step_up
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.look import called, charts
from farebox.look.templatetags.look import money

from . import key_stub
from .key_forms import KeyForm, Rotate, initial

PAGE = 50
DAYS = 30
STATES: dict[str, tuple[str, Any]] = {
    "active": ("good", gettext_lazy("active")),
    "ending": ("warn", gettext_lazy("being replaced")),
    "expired": ("", gettext_lazy("expired")),
    "revoked": ("bad", gettext_lazy("revoked")),
}
ENDED = (STATES["expired"], STATES["revoked"])


def _form_of_key(view: View[[str]]) -> View[[str]]:
    """A form on the page of a key: who comes to its address otherwise, by a link to the other language, goes there."""

    def checked(request: HttpRequest, me: Principal, /, key: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseRedirect(reverse("key", args=[_found(me, key).id]))
        return view(request, me, key)

    functools.update_wrapper(checked, view)
    return checked


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """The keys that this person may see, with what each has spent."""
    asked, ended = request.GET.get("q", "")[:100].strip(), bool(request.GET.get("ended"))
    before, now_us = request.GET.get("before", "")[:40], clock.now_us()
    rows = db.read(key_scope.page, scope(me), asked=asked, ended=ended, now_us=now_us, before=before, limit=PAGE + 1)
    more, rows = len(rows) > PAGE, rows[:PAGE]
    context = {
        "rows": _listed(me, rows, now_us),
        "asked": asked,
        "ended": ended,
        "filtered": bool(asked or before),
        "next": rows[-1].id if more else "",
        "many": me.at_least("admin"),
    }
    return render(request, "console/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@step_up
def new(request: HttpRequest, me: Principal) -> HttpResponse:
    """Make a key; its stub has an address of its own, so that a reload makes no second one."""
    places = db.read(key_scope.places, scope(me))
    form = KeyForm(
        request.POST or None,
        models=[card.name for card in _on_sale(me)],
        zone=_zone(me),
        projects=[(project.id, called.named(project.name)) for project, _member in places],
        initial={"project": request.GET.get("project", "")},
    )
    if not places or not form.is_valid():
        status = 400 if form.is_bound else 200
        return render(request, "console/key_new.html", {"form": form, "places": places}, status=status)
    member = next(who for project, who in places if project.id == form.cleaned_data["project"])
    try:
        key, text = db.write(
            domain.issue,
            form.wanted,
            project=form.cleaned_data["project"],
            member=member,
            now_us=clock.now_us(),
            actor=me.actor,
        )
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return render(request, "console/key_new.html", {"form": form, "places": places}, status=400)
    return key_stub.lead(request, key, text)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def made(request: HttpRequest, me: Principal, key: str) -> HttpResponse:
    """The ticket stub of a key that was made just now, for ten minutes or until it was closed."""
    row = _found(me, key)
    text = key_stub.text(request, row)
    if not text or request.method == "POST":
        key_stub.forget(request, row)
        return HttpResponseRedirect(reverse("key", args=[row.id]))
    old = ApiKey.objects.filter(account=me.account, replaced_by=row.id).first()
    context = {"key": row, "old": old, "until": until(me, old) if old is not None else "", **key_stub.facts(row, text)}
    return render(request, "console/key_made.html", context)


@require_safe
@signed_in
def shown(request: HttpRequest, me: Principal, key: str) -> HttpResponse:
    """One key: its state, its usage, its limits."""
    return _one(request, me, _found(me, key))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@_form_of_key
def change(request: HttpRequest, me: Principal, key: str) -> HttpResponse:
    """Another name, other limits; in force within a second."""
    row = _found(me, key)
    form = _form(me, row, request.POST)
    if not form.is_valid():
        return _one(request, me, row, form)
    if lifting.key(row, form.wanted):
        ask(request)
    try:
        db.write(key_edit.change, row.id, form.wanted, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _one(request, me, row, form)
    messages.success(request, _("Limits changed."), extra_tags="good")
    return HttpResponseRedirect(reverse("key", args=[row.id]))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@_form_of_key
@step_up
def rotate(request: HttpRequest, me: Principal, key: str) -> HttpResponse:
    """A new key with the settings of this one, which continues for a while."""
    row = _found(me, key)
    form = Rotate(request.POST)
    if not form.is_valid():
        return _one(request, me, row, status=400)
    try:
        made, text = db.write(
            key_line.rotate, row.id, grace_s=int(form.cleaned_data["grace"]), now_us=clock.now_us(), actor=me.actor
        )
    except CommandError as fault:
        messages.error(request, refusals.said(fault), extra_tags="bad")
        return HttpResponseRedirect(reverse("key", args=[row.id]))
    return key_stub.lead(request, made, text)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@_form_of_key
def revoke(request: HttpRequest, me: Principal, key: str) -> HttpResponse:
    """Switch the key off permanently."""
    row = _found(me, key)
    try:
        db.write(domain.revoke, row.id, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        messages.error(request, refusals.said(fault), extra_tags="bad")
    else:
        messages.success(request, _("Key %(name)s revoked.") % {"name": row.name}, extra_tags="good")
    return HttpResponseRedirect(reverse("key", args=[row.id]))


def scope(me: Principal) -> KeyScope:
    """The keys that this member may see."""
    return key_scope.scope(me.account, me.person, owner=me.role == "owner")


def state(key: ApiKey, now_us: int) -> tuple[str, Any]:
    """(badge, word) of a key now."""
    if key.state != "active":
        return STATES["revoked"]
    if key.expires_us is not None and key.expires_us <= now_us:
        return STATES["expired"]
    return STATES["ending" if key.replaced_by else "active"]


def until(me: Principal, key: ApiKey) -> str:
    """The end of a key in the person's time zone; empty for never."""
    if key.expires_us is None:
        return ""
    at = datetime.fromtimestamp(key.expires_us // 1_000_000, ZoneInfo(me.time_zone))
    return at.strftime("%Y-%m-%d %H:%M")


def _found(me: Principal, key: str) -> ApiKey:
    row = db.read(key_scope.find, scope(me), key)
    if row is None or row.kind:
        raise Http404
    return row


def _zone(me: Principal) -> str:
    """A last day is one of the account's own days."""
    return Account.objects.values_list("time_zone", flat=True).get(id=me.account)


def _on_sale(me: Principal) -> list[ModelCard]:
    price_list = Account.objects.values_list("price_list", flat=True).get(id=me.account)
    return [card for card, _prices in db.read(pricebook.sold_by, price_list, clock.now_us())]


def _form(me: Principal, row: ApiKey, given: Any = None) -> KeyForm:
    names = {card.name for card in _on_sale(me)} | set(msgspec.json.decode(row.models))
    return KeyForm(given, models=sorted(names), zone=_zone(me), initial=initial(row, _zone(me)))


def _listed(me: Principal, rows: list[ApiKey], now_us: int) -> list[dict[str, Any]]:
    ids, today = [row.id for row in rows], days_back(me, now_us, 1)[0]
    spent = db.read(by_key.spent, me.account, ids, from_day=today[:8] + "01")
    used = db.read(by_key.last_used_us, ids)
    return [
        {
            "key": row,
            "state": state(row, now_us),
            "until": until(me, row),
            "today_micro": spent.get(row.id, {}).get(today, 0),
            "month_micro": sum(spent.get(row.id, {}).values()),
            "used_us": used.get(row.id),
        }
        for row in rows
    ]


def _one(
    request: HttpRequest, me: Principal, row: ApiKey, form: KeyForm | None = None, status: int = 200
) -> HttpResponse:
    request.page_of_form = reverse("key", args=[row.id])  # type: ignore[attr-defined]
    now_us = clock.now_us()
    names = days_back(me, now_us, DAYS)
    days = db.read(by_key.days, me.account, row.id, from_day=names[0])
    today = names[-1]
    badge, zone = state(row, now_us), row.account.time_zone
    context = {
        "key": row,
        "state": badge,
        "until": until(me, row),
        "uses": [(PERIODS[use.period], use) for use in db.read(cap_use.of, row, time_zone=zone, now_us=now_us)],
        "counted_with": db.read(key_scope.counted_with, scope(me), row, now_us=now_us),
        "alive": badge not in ENDED,
        "models": msgspec.json.decode(row.models),
        "addresses": msgspec.json.decode(row.addresses),
        "today_micro": days[today].charge_micro if today in days else 0,
        "month_micro": sum(each.charge_micro for each in days.values() if each.day[:7] == today[:7]),
        "calls": sum(each.calls for each in days.values()),
        "used_us": db.read(by_key.last_used_us, [row.id]).get(row.id),
        "days": [days[name] for name in reversed(names) if name in days],
        "chart": _chart(me, names, days) if days else "",
        "form": form or _form(me, row),
        "open": form is not None,
        "rotate": Rotate(),
    }
    return render(request, "console/key.html", context, status=400 if form is not None else status)


def _chart(me: Principal, names: list[str], days: dict[str, by_key.Day]) -> SafeString:
    values = [days[name].charge_micro if name in days else 0 for name in names]
    title = _("Daily charges in %(currency)s, last %(n)d days") % {"currency": me.currency, "n": DAYS}
    return charts.bars(
        title,
        [name[5:] for name in names],
        [charts.Series(_("Charge"), values)],
        lambda micro: money(micro, me.currency),
    )
