"""Whom we buy from: upstreams and their channels with health, models and costs; tests, pauses, and the guided form."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from farebox.calls import log as records
from farebox.calls import margins
from farebox.catalog import official, shelf
from farebox.kit import clock, db, money, options, secrets
from farebox.kit.errors import CommandError
from farebox.look import called, kept
from farebox.office import letters, ports, refusals, resting, retyped
from farebox.office.principal import Operator, ask_first, operator, step_up
from farebox.protocol import presets
from farebox.upstreams import channels, survey
from farebox.upstreams.channel_terms import ChannelTerms

from . import seen, words
from .forms import carry_out, done, refused
from .upstream_forms import Edit, NewChannelForm, OfferForm, Secretive, costs_of, models_of

_both = require_http_methods(["GET", "HEAD", "POST"])
_get = require_http_methods(["GET", "HEAD"])
_KEY = "upstream key"  # typed into a form that failed
SEES_COSTS = ("finance", "admin", "auditor")
BADGES = {
    "closed": ("good", gettext_lazy("active")),
    "suspected": ("warn", gettext_lazy("being checked")),
    "half_open": ("warn", gettext_lazy("probing")),
    "open": ("bad", gettext_lazy("tripped after repeated failures")),
    "disabled": ("", gettext_lazy("paused")),
    "broken": ("bad", gettext_lazy("unusable")),
}


@_get
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Every upstream with its channels."""
    rows = _channels(me)
    vendors = db.read(channels.upstreams)
    by_upstream: dict[str, list[dict[str, Any]]] = {vendor["name"]: [] for vendor in vendors}
    for row in rows:
        by_upstream[row["upstream"]].append(row)
    found = [(vendor, by_upstream[vendor["name"]]) for vendor in vendors]
    return render(request, "office/upstreams.html", {"upstreams": found, "may": me.role == "admin"})


@_get
@operator()
def channel(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """One channel: where it leads, how it is, what it answers at what cost."""
    tested = kept.get(request, f"test {channel}") if "tested" in request.GET else None
    return _channel_page(request, me, channel, tested=tested)


@_both
@operator("admin")
@step_up
def new(request: HttpRequest, me: Operator) -> HttpResponse:
    """Connect an upstream: a vendor, its address and key, the models that it answers."""
    name = request.GET.get("vendor", "")
    vendor = presets.PRESETS.get(name)
    if request.method != "POST" and vendor is None and "vendor" not in request.GET:
        return render(request, "office/channel_vendors.html", {"vendors": presets.PRESETS})
    before = _preset(name, vendor) | _again(request)
    form = NewChannelForm(request.POST or None, initial=before, kept=kept.get(request, _KEY) or "")
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            known = _official() if given["official_costs"] else {}
            row = db.write(_connect, given, preset=name if vendor else "", known=known, actor=me.actor)
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            kept.drop(request, _KEY)
            told = _("Channel added (paused). Test it, then enable it.")
            return done(request, reverse("office:channel", args=[row["id"]]), told)
    _keep_key(request, form, _KEY)
    return render(request, "office/channel_new.html", {"form": form, "vendor": vendor})


@require_POST
@operator("admin")
def state(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """Pause a channel or switch it on; calls under way continue in any case."""
    row, to = _find(channel), reverse("office:channel", args=[channel])
    wanted = "disabled" if request.POST.get("state") == "disabled" else "active"
    if wanted == "active" and (way := ask_first(request, to)):
        return way
    why = request.POST.get("why", "")[:200]
    if wanted == "disabled":
        db.write(channels.set_state, channel=row["name"], state=wanted, why=why, actor=me.actor)
        return done(request, to, _("Channel paused."))
    shown = request.POST.get("seen", "")[:1000]
    return carry_out(request, to, _("Channel enabled."), _switch_on, row, shown=shown, why=why, actor=me.actor)


@require_POST
@operator("admin")
def test(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """A real call on this channel, paid by the shop; the page of the channel shows its answer and cost."""
    row, desk = _find(channel), ports.desk()
    if desk is None:
        raise Http404
    try:
        found = desk.test(actor=me.actor, channel=row["name"], model=request.POST.get("model", "")[:128])
    except CommandError as fault:
        return refused(request, reverse("office:channel", args=[channel]), refusals.said(fault))
    kept.put(request, f"test {channel}", found)
    return HttpResponseRedirect(reverse("office:channel", args=[channel]) + "?tested=1")


@_both
@operator("admin")
@step_up
def edit(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """Address, key, order of a channel. The key is written, never shown."""
    row = _find(channel)
    form = Edit(request.POST or None, initial=row | _again(request), kept=kept.get(request, f"{_KEY} {channel}") or "")
    if request.method == "POST" and form.is_valid():
        try:
            db.write(_change, row, form.cleaned_data, actor=me.actor)
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            kept.drop(request, f"{_KEY} {channel}")
            return done(request, reverse("office:channel", args=[channel]), _("Channel updated."))
    _keep_key(request, form, f"{_KEY} {channel}")
    return render(request, "office/channel_edit.html", {"form": form, "channel": row})


@_both
@operator("admin")
@step_up
def offer(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """A model that the channel answers: its name there, and what it costs us. New, or changed."""
    row = _find(channel)
    known = next((each for each in row["models"] if each["model"] == request.GET.get("model")), None)
    # One that it answers already is changed on the form that shows its costs, since saving replaces them.
    others = db.read(shelf.load, clock.now_us()).cards.keys() - {each["model"] for each in row["models"]}
    form = OfferForm(request.POST or None, initial=_costs_initial(known) | _again(request), known=sorted(others))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        there = given["upstream_model"] or given["model"]  # emptied is the same name again, as the form says
        facts = {"model": given["model"], "upstream_model": there, "costs": costs_of(given)}
        try:
            db.write(channels.offer, channel=row["name"], actor=me.actor, **facts)
        except CommandError as fault:
            form.add_error(None, refusals.said(fault))
        else:
            told = _("The channel now serves %(model)s.") % {"model": given["model"]}
            return done(request, reverse("office:channel", args=[channel]), told)
    here = {"form": form, "channel": row, "known": known, "currency": row["cost_currency"]}
    return render(request, "office/channel_offer.html", here)


@require_POST
@operator("admin")
def withdraw(request: HttpRequest, me: Operator, channel: str) -> HttpResponse:
    """The channel no longer answers a model."""
    row, model = _find(channel), request.POST.get("model", "")
    if not any(each["model"] == model for each in row["models"]):
        raise Http404
    db.write(channels.withdraw, channel=row["name"], model=model, actor=me.actor)
    told = _("The channel no longer serves %(model)s.") % {"model": model}
    return done(request, reverse("office:channel", args=[channel]), told)


def _switch_on(tx: db.Tx, row: dict[str, Any], *, shown: str, why: str, actor: str) -> None:
    """Let it take calls, if it is as its page has shown it."""
    seen.demand_channel(tx, row, shown)
    channels.set_state(tx, channel=row["name"], state="active", why=why, actor=actor)


def _again(request: HttpRequest) -> dict[str, Any]:
    """What was typed before a proof was asked for; a box that stood empty then stands empty again."""
    found = retyped.again(request)
    return found | {name: name in found for name in ("local", "official_costs")} if found else {}


def _keep_key(request: HttpRequest, form: Secretive, what: str) -> None:
    """Keep the key of a form that failed for the next try."""
    if form.is_bound and (typed := form.secret_typed()):
        kept.put(request, what, typed)


def _channel_page(
    request: HttpRequest, me: Operator, channel: str, tested: dict[str, Any] | None = None
) -> HttpResponse:
    _find(channel)
    shown = db.read(seen.of_channel, channel)  # before the rest is read: what changes between counts as not seen
    row = next((each for each in _channels(me) if each["id"] == channel), None)
    if row is None:
        raise Http404
    here = {
        "channel": row,
        "behind": resting.behind(row["breaker"]["accounts"]) if row["breaker"] else [],
        "may": me.role == "admin",
        "costs": me.role in SEES_COSTS,
        "can_test": ports.desk() is not None,
        "tested": tested and _in_words(tested),
        "seen": shown,
    }
    return render(request, "office/channel.html", here)


def _in_words(tested: dict[str, Any]) -> dict[str, Any]:
    """The facts of a test, with the ends of its attempts in the language of the page."""
    attempts = [each | {"said": words.said(words.ATTEMPTS, each["outcome"])} for each in tested["attempts"]]
    return tested | {"attempts": attempts}


def _channels(me: Operator) -> list[dict[str, Any]]:
    """Channels with the badge of their health and their calls of today; costs only for who may see them."""
    health = resting.seen()
    today = records.day_of(clock.now_us())
    sums = db.read(margins.read, "channel", from_day=today, until_day=today, rates={})
    currencies = {row["name"]: row["cost_currency"] for row in db.read(channels.upstreams)}
    faults = {name: refusals.said(why) for name, why in survey.broken().items()}
    found = []
    for row in db.read(channels.listed):
        seen = resting.of(health, row["id"])
        of_breaker = "suspected" if seen["suspected"] else seen["state"]
        state = "disabled" if row["state"] != "active" else "broken" if row["name"] in faults else of_breaker
        kind, called_so = BADGES[state]
        found.append(
            row
            | {
                "badge": kind,
                "health": called_so,
                "why": faults.get(row["name"]) or seen["why"] or row["state_why"],
                "breaker": seen if state == of_breaker and (seen["suspected"] or seen["until_us"]) else None,
                "calls_now": seen["calls"],
                "calls_today": sum(rows[row["name"]].calls for rows in sums.values() if row["name"] in rows),
                "cost_currency": currencies[row["upstream"]],
                "quirks": {name: json.dumps(value, ensure_ascii=False) for name, value in row["quirks"].items()},
                "models": [each | {"costs": _short(each["costs"], me)} for each in row["models"]],
            }
        )
    return found


def _short(costs: dict[str, str], me: Operator) -> dict[str, str]:
    """Costs by class as people write them, for who may see them."""
    return (
        {called.CLASSES.get(name, name): money.text(money.parse(cost)) for name, cost in costs.items()}
        if me.role in SEES_COSTS
        else {}
    )


def refuse_to_lead_away(row: dict[str, Any], base_url: str, secret: str) -> None:
    """CommandError where a channel's key would go to another place without being given again.

    Else who may write a key, but never read it, would have it sent to a server of their own.
    """
    moved = urlsplit(base_url)[:2] != urlsplit(row["base_url"])[:2]
    if moved and row["secret"] != "none" and not secret:  # noqa: S105 - says whether there is one
        raise CommandError(_("The address points to another server: enter the upstream's key again."))


def _find(channel: str) -> dict[str, Any]:
    currencies = {row["name"]: row["cost_currency"] for row in db.read(channels.upstreams)}
    row = next((each for each in db.read(channels.listed) if each["id"] == channel), None)
    if row is None:
        raise Http404
    return row | {"cost_currency": currencies[row["upstream"]]}


def _preset(name: str, vendor: presets.Preset | None) -> dict[str, Any]:
    if vendor is None:
        return {"currency": "USD", "cancel_billing": "unknown", "tier": 1, "weight": 1}
    return {
        "upstream": name,
        "name": name,
        "base_url": vendor.base_url,
        "currency": vendor.currency,
        "cancel_billing": vendor.cancel_billing,
        "local": vendor.local,
        "dialect": vendor.dialect,
        "official_costs": name == "openai",
        "tier": 1,
        "weight": 1,
    }


def _official() -> dict[str, dict[str, str]]:
    """The official list's prices by model, as decimal texts: what this upstream costs, for those it lists."""
    version = db.read(shelf.load, clock.now_us()).version(official.OFFICIAL, clock.now_us())
    prices = {} if version is None else version.prices
    return {model: {name: money.exact(micro) for name, micro in rows.items()} for model, rows in prices.items()}


def _connect(
    tx: db.Tx, given: dict[str, Any], *, preset: str, known: dict[str, dict[str, str]], actor: str
) -> dict[str, Any]:
    """Upstream where it is new, channel, and the models named: all or nothing; the channel is paused at first."""
    if not any(row["name"] == given["upstream"] for row in channels.upstreams(tx)):
        channels.add_upstream(
            tx,
            name=given["upstream"],
            cancel_billing=given["cancel_billing"],
            cost_currency=given["currency"],
            actor=actor,
        )
    asked = {name: given[name] for name in ChannelTerms.__struct_fields__ if given.get(name) not in {None, ""}}
    terms = ChannelTerms.given(asked | {"quirks": presets.quirks(preset, {})})
    master = secrets.master_keys(options.current())
    row = channels.add_channel(tx, terms, secret=given["secret"], master=master, actor=actor)
    # Before anybody has tested it, no customer's call shall find out what is wrong with it.
    row = channels.set_state(tx, channel=row["name"], state="disabled", actor=actor)
    letters.channel(tx, "channel.add", row["id"], actor=actor)
    for model, there in models_of(given["models"]):
        costs = known.get(there) or known.get(model)
        channels.offer(tx, channel=row["name"], model=model, upstream_model=there, costs=costs, actor=actor)
    return row


def _change(tx: db.Tx, row: dict[str, Any], given: dict[str, Any], *, actor: str) -> None:
    """What differs, and nothing else, so that the trail shows what was changed."""
    name = row["name"]
    refuse_to_lead_away(row, given["base_url"], given["secret"])
    if (given["base_url"], given["local"]) != (row["base_url"], row["local"]):
        channels.set_address(tx, channel=name, base_url=given["base_url"], local=given["local"], actor=actor)
        letters.channel(tx, "channel.address", row["id"], actor=actor)
    order = {key: given[key] for key in ("tier", "weight", "concurrency_max")}
    if any(row[key] != value for key, value in order.items()):
        channels.set_order(tx, channel=name, actor=actor, **order)
    if given["preset"]:
        channels.set_quirks(tx, channel=name, quirks=presets.quirks(given["preset"], {}), actor=actor)
    if given["secret"]:
        master = secrets.master_keys(options.current())
        channels.set_secret(tx, channel=name, secret=given["secret"], master=master, actor=actor)
        letters.channel(tx, "channel.secret", row["id"], actor=actor)


def _costs_initial(known: dict[str, Any] | None) -> dict[str, Any]:
    if known is None:
        return {}
    costs = {name: money.text(money.parse(cost)) for name, cost in known["costs"].items()}
    return {"model": known["model"], "upstream_model": known["upstream_model"], **costs}
