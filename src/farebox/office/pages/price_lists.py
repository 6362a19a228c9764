"""Price lists in the office: the lists, their versions and dates, and drafts of new versions with what they change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import customers
from farebox.catalog import drafts, overview, price_lists, public_list, sheets
from farebox.kit import clock, db, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import called
from farebox.office import kinds, refusals, retyped
from farebox.office.principal import Operator, operator, step_up

from . import words
from .customers import assign_list
from .forms import carry_out, done, refused, single_person, text


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Every price list with the version in force, what comes, and drafts that wait."""
    now_us = clock.now_us()
    rows = []
    for listed in db.read(price_lists.overview, now_us=now_us):
        current = next((each for each in listed["versions"] if each["version"] == listed["version"]), None)
        coming = [each for each in listed["versions"] if each["valid_from_us"] > now_us]
        rows.append(listed | {"current": current, "coming": coming})
    waiting = db.read(drafts.of_list)
    emails = db.read(customers.names, [row.requester for row in waiting])
    context = {
        "rows": rows,
        "drafts": [{"row": row, "by": customers.named(row.requester, emails)} for row in waiting],
        "may": me.role == "admin",
    }
    return render(request, "office/price_lists.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def create(request: HttpRequest, me: Operator) -> HttpResponse:
    """An empty list in one currency."""
    values = {name: text(request, name) for name in ("name", "currency", "about")}
    error = ""
    if request.method == "POST":
        try:
            made = db.write(
                price_lists.create_list,
                values["name"],
                values["currency"].upper(),
                about=values["about"],
                actor=me.actor,
            )
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            here = reverse("office:price_list", args=[made["price_list"]])
            if made["changed"]:
                return done(request, here, _("Price list created."))
            messages.warning(request, _("This price list existed already. Nothing was changed."), extra_tags="warn")
            return HttpResponseRedirect(here)
    context = {"values": values, "error": error, "public": db.read(public_list.name)}
    return render(request, "office/price_list_new.html", context, status=400 if error else 200)


@require_safe
@operator()
def price_list(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """One list: the prices of a version, all versions with their dates, drafts, and who buys by it."""
    now_us = clock.now_us()
    listed = listed_of(name, now_us)
    asked = request.GET.get("version", "")
    if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 8):
        raise Http404
    number = int(asked) if asked else listed["version"]
    sheet = None
    if number is not None:
        try:
            sheet = db.read(price_lists.show, name, version=number, now_us=now_us)
        except CommandError:
            raise Http404 from None
    emails = db.read(customers.names, [] if sheet is None else [sheet.published_by])
    buyers = db.read(customers.search, price_list=name, limit=11)
    context = {
        "listed": listed,
        "sheet": sheet,
        "by": "" if sheet is None else customers.named(sheet.published_by, emails),
        "table": None if sheet is None else table(sheet),
        "versions": [each | {"state": _version_state(each, listed, now_us)} for each in reversed(listed["versions"])],
        "drafts": db.read(drafts.of_list, name),
        "buyers": buyers[:10],
        "more_buyers": len(buyers) > 10,
        "again": retyped.again(request),
        "may": me.role == "admin",
        "may_assign": me.role in kinds.PROPOSES,
    }
    return render(request, "office/price_list.html", context)


@require_POST
@operator(*kinds.PROPOSES)
def assign(request: HttpRequest, me: Operator, name: str) -> HttpResponse:
    """Sell to an account by this list from now on, once another administrator has approved it."""
    listed_of(name, clock.now_us())
    here = reverse("office:price_list", args=[name])
    account = text(request, "account", 100)
    if db.read(customers.find, account) is None:
        return refused(request, here, _("No account has this ID."))
    return assign_list(request, me, account, name, here)


@require_safe
@operator()
def draft(request: HttpRequest, me: Operator, draft: str) -> HttpResponse:
    """What a draft would change: line by line, and what an example call costs before and after."""
    now_us = clock.now_us()
    try:
        row = drafts.find(draft)
    except CommandError:
        raise Http404 from None
    difference, error = None, ""
    try:
        difference = db.read(_difference, row, now_us)
    except CommandError as fault:
        error = refusals.said(fault)
    emails = db.read(customers.names, [row.requester, row.decider])
    own = row.requester == me.actor
    context = {
        "row": row,
        "content": drafts.content_of(row),
        "difference": difference,
        "lines": [] if difference is None else _lines(difference),
        "examples": [] if difference is None else difference.examples,
        "steep": 0 if difference is None else sum(line.steep for line in difference.lines),
        "units": drafts.EXAMPLE,
        "error": error,
        "by": customers.named(row.requester, emails),
        "decided_by": customers.named(row.decider, emails),
        "own": own,
        "alone": own and single_person(),
        "may": me.role == "admin",
        "may_publish": me.role == "admin" and row.state == "open" and not error and (not own or single_person()),
    }
    return render(request, "office/price_draft.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def publish(request: HttpRequest, me: Operator, draft: str) -> HttpResponse:
    """Publish a draft of somebody else, or one's own where one person may."""
    here = reverse("office:price_draft", args=[draft])
    if request.method != "POST":
        return HttpResponseRedirect(here)
    _exists(draft)
    try:
        row, _sheet = db.write(
            drafts.publish,
            draft,
            actor=me.actor,
            decider=me.actor,
            single_person=single_person(),
            now_us=clock.now_us(),
        )
    except CommandError as fault:
        return refused(request, here, refusals.said(fault))
    to = reverse("office:price_list", args=[row.price_list_id])
    return done(request, f"{to}?version={row.version_n}", _("Version published."))


@require_POST
@operator("admin")
def drop(request: HttpRequest, me: Operator, draft: str) -> HttpResponse:
    """Discard a draft."""
    row = _exists(draft)
    return carry_out(
        request,
        reverse("office:price_list", args=[row.price_list_id]),
        _("Draft discarded."),
        drafts.drop,
        draft,
        actor=me.actor,
        decider=me.actor,
        now_us=clock.now_us(),
    )


def table(sheet: sheets.Sheet) -> dict[str, Any]:
    """The prices of a sheet as rows by model and columns by class."""
    used = [name for name in called.CLASSES if any(line.usage_class == name for line in sheet.rows)]
    by_model: dict[str, dict[str, int]] = {}
    for each in sheet.rows:
        by_model.setdefault(each.model, {})[each.usage_class] = each.micro_per_million
    heads = [words.said(called.CLASSES, name) for name in used]
    rows = [
        (model, [(head, prices.get(name)) for head, name in zip(heads, used, strict=True)])
        for model, prices in by_model.items()
    ]
    return {"heads": heads, "rows": rows}


def change_text(before_micro: int | None, after_micro: int | None) -> str:
    """How far a price moves, in percent, rounded towards zero: `+12.5%`."""
    if before_micro is None or after_micro is None or before_micro == 0:
        return ""
    tenths = abs(after_micro - before_micro) * 1000 // before_micro
    whole, place = divmod(tenths, 10)
    return f"{'+' if after_micro > before_micro else '−'}{whole:,}{f'.{place}' if place else ''}%"


def _lines(difference: drafts.Difference) -> Iterable[dict[str, Any]]:
    return [
        {
            "model": line.model,
            "label": words.said(called.CLASSES, line.usage_class),
            "before_micro": line.before_micro,
            "after_micro": line.after_micro,
            "change": change_text(line.before_micro, line.after_micro),
            "steep": line.steep,
        }
        for line in difference.lines
    ]


def _difference(tx: Tx, row: Any, now_us: int) -> drafts.Difference:
    return drafts.difference(tx, row, warn_factor=settings.values(tx)["price_warn_factor"], now_us=now_us)


def _version_state(version: dict[str, Any], listed: dict[str, Any], now_us: int) -> str:
    if version["version"] == listed["version"]:
        return "in force"
    return "coming" if version["valid_from_us"] > now_us else "past"


def _exists(draft: str) -> Any:
    try:
        return drafts.find(draft)
    except CommandError:
        raise Http404 from None


def listed_of(name: str, now_us: int) -> dict[str, Any]:
    """A list with its versions; that of the house account, which is free by its nature, is none."""
    found = [listed for listed in db.read(price_lists.overview, now_us=now_us) if listed["price_list"] == name]
    if not found or name not in db.read(overview.list_names):
        raise Http404
    return found[0]
