"""Shop settings in the office: a table of what is known, in both languages, audited, in force immediately.

What gives money, or bounds what people give by hand, takes two people (kinds.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.kit import clock, db, money, options, proposals, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.models import Proposal
from farebox.kit.settings import BY_NAME, KnownSetting
from farebox.office import kinds, refusals, retyped
from farebox.office.principal import Operator, operator, step_up
from farebox.office.setting_rules import wrong

from .forms import amount, count, done

KINDS = ("settings", "settings.money")

# group -> setting -> (label, hint)
GROUPS: tuple[tuple[Any, dict[str, tuple[Any, Any]]], ...] = (
    (
        gettext_lazy("The shop"),
        {
            "shop_name": (
                gettext_lazy("Shop name"),
                gettext_lazy("Leave empty to use the name from the process options."),
            ),
            "support_contact": (
                gettext_lazy("Support contact"),
                gettext_lazy("An e-mail address or phone number, shown at the bottom of every page."),
            ),
        },
    ),
    (
        gettext_lazy("Sign-up"),
        {
            "signup_currency": (
                gettext_lazy("Currency of new accounts"),
                gettext_lazy("Leave empty to use that of the public price list."),
            ),
            "signup_price_list": (
                gettext_lazy("Price list of new accounts"),
                gettext_lazy("Leave empty to use the public price list."),
            ),
            "trial_micro": (
                gettext_lazy("Trial credit"),
                gettext_lazy("One currency per line, such as USD 1.00. Leave empty for none."),
            ),
            "trial_days": (gettext_lazy("Trial credit valid for (days)"), ""),
        },
    ),
    (
        gettext_lazy("Prices and adjustments"),
        {
            "public_price_list": (
                gettext_lazy("Public price list"),
                gettext_lazy(
                    "Shown to visitors under Prices. Empty: the one in the process options, or the first one in force."
                ),
            ),
            "price_warn_factor": (
                gettext_lazy("Warn of price changes from this factor"),
                gettext_lazy("1.5 warns of a rise by half or a fall by a third."),
            ),
            "money_day_support_micro": (
                gettext_lazy("Daily proposal limit, support"),
                gettext_lazy("Per person, in the account's currency."),
            ),
            "money_day_finance_micro": (
                gettext_lazy("Daily proposal limit, finance"),
                gettext_lazy("Per person, in the account's currency. The same limit applies to approvals per day."),
            ),
            "money_day_admin_micro": (
                gettext_lazy("Daily proposal limit, administrator"),
                gettext_lazy("Per person, in the account's currency. The same limit applies to approvals per day."),
            ),
            "money_two_approvers_above_micro": (
                gettext_lazy("Amount above which two approvers are needed"),
                gettext_lazy("In the account's currency. 0 or empty: one approver is always enough."),
            ),
            "rules_2_from": (
                gettext_lazy("Charging rules version 2 apply from"),
                gettext_lazy(
                    "In UTC, at least 7 days from now; all account owners are notified by e-mail. It can be "
                    "changed until it takes effect. Empty: not set."
                ),
            ),
        },
    ),
    (
        gettext_lazy("Texts"),
        {
            "terms_en": (
                gettext_lazy("Terms, in English"),
                gettext_lazy("Leave empty to use the terms that come with Farebox."),
            ),
            "terms_zh": (
                gettext_lazy("Terms, in Chinese"),
                gettext_lazy("Leave empty to use the terms that come with Farebox."),
            ),
            "privacy_en": (
                gettext_lazy("Privacy, in English"),
                gettext_lazy("Leave empty to use the text that comes with Farebox."),
            ),
            "privacy_zh": (
                gettext_lazy("Privacy, in Chinese"),
                gettext_lazy("Leave empty to use the text that comes with Farebox."),
            ),
        },
    ),
)


@require_http_methods(["GET", "POST"])
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Every setting with what it is now. Administrators change them after a fresh proof; finance proposes of money.

    What gives money, or bounds what people give by hand, is a proposal that another administrator approves.
    """
    if me.role in kinds.PROPOSES:
        return _form(request, me)
    return _shown(request, me, _texts(), {})


@step_up
def _form(request: HttpRequest, me: Operator) -> HttpResponse:
    if request.method != "POST":
        again = {name: value for name, value in retyped.again(request).items() if name in _mine(me)}
        return _shown(request, me, _texts() | again, {})
    given = {name: request.POST.get(name, "")[: settings.TEXT_CHARS_MAX + 1].strip() for name in _mine(me)}
    values, errors = {}, {}
    for name, typed in given.items():
        try:
            values[name] = settings.check(name, read(BY_NAME[name], typed))
        except CommandError as fault:
            errors[name] = refusals.said(fault)
    if not errors:
        errors = db.read(lambda tx: wrong(tx, values, now_us=clock.now_us()))
    if not errors:
        return _done(request, *db.write(_change, values, me))
    return _shown(request, me, _texts() | given, errors)


def _change(tx: Tx, values: dict[str, Any], me: Operator) -> tuple[bool, Proposal | None]:
    """Set what one person sets alone, and propose the rest: whether anything was set, and what was proposed."""
    before = settings.values(tx)
    differing = {name: value for name, value in values.items() if before[name] != value}
    plain = {name: value for name, value in differing.items() if not BY_NAME[name].money}
    ours = {name: value for name, value in differing.items() if BY_NAME[name].money}
    if plain:
        settings.put_all(tx, plain, actor=me.actor)
    if not ours:
        return bool(plain), None
    now_us = clock.now_us()
    return bool(plain), kinds.change(
        tx, "settings.money", "settings", ours, role=me.role, actor=me.actor, now_us=now_us
    )


def _done(request: HttpRequest, changed: bool, row: Proposal | None) -> HttpResponse:
    if row is not None and row.state == "proposed":
        said = _(
            "Submitted for approval by another administrator; settings that affect money are unchanged until then."
        )
        return done(request, reverse("office:proposal", args=[row.id]), said)
    said = _("Settings saved.") if changed or row is not None else _("No changes.")
    return done(request, reverse("office:settings"), said)


def _mine(me: Operator) -> list[str]:
    """The settings that this person may change or propose; a moment that has come stays."""
    if me.role not in kinds.PROPOSES:
        return []
    mine = [name for name, known in BY_NAME.items() if known.money or me.role == "admin"]
    return [name for name in mine if not _stays(name)]


def _stays(name: str) -> bool:
    """Whether this is a moment that has come."""
    return BY_NAME[name].kind == "moment" and db.read(settings.has_come, name, now_us=clock.now_us())


def _shown(request: HttpRequest, me: Operator, texts: dict[str, str], errors: dict[str, str]) -> HttpResponse:
    mine = _mine(me)
    waiting = [row for row in db.read(proposals.listed, state="proposed", now_us=clock.now_us()) if row.kind in KINDS]
    groups = [
        (
            title,
            [
                {
                    "name": name,
                    "label": label,
                    "hint": _("In force; can no longer be changed.") if _stays(name) else hint,
                    "value": texts[name],
                    "long": BY_NAME[name].kind in {"text", "amounts"},
                    "error": _sentence(errors.get(name, "").removeprefix(f"{name}: ").removeprefix(f"{name}：")),
                    "may": name in mine,
                    "two": BY_NAME[name].money and not options.current().single_person and not _stays(name),
                }
                for name, (label, hint) in fields.items()
            ],
        )
        for title, fields in GROUPS
    ]
    context = {
        "groups": groups,
        "may": bool(mine),
        "waiting": waiting,
        "errors": errors,
        "default_name": options.current().shop_name,
        "single_person": options.current().single_person,
    }
    return render(request, "office/settings.html", context, status=400 if errors else 200)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _texts() -> dict[str, str]:
    values = db.read(settings.values)
    return {name: write(known, values[name]) for name, known in BY_NAME.items()}


def label(name: str) -> str:
    """What a setting is called."""
    return next((str(fields[name][0]) for _title, fields in GROUPS if name in fields), name)


def write(known: KnownSetting, value: Any) -> str:
    """A value as it is typed."""
    if known.kind == "amounts":
        return "\n".join(f"{currency} {_plain(micro)}" for currency, micro in sorted(value.items()))
    if known.kind == "moment":
        return _("from the start") if value == 0 else "" if value is None else f"{_at(value):%Y-%m-%d %H:%M} UTC"
    return _plain(value) if known.kind == "amount" else str(value)


def read(known: KnownSetting, given: str) -> Any:
    """What was typed as a value; CommandError for an invalid one."""
    if known.kind == "count":
        return count(given, known.name)
    if known.kind == "amount":
        return 0 if known.optional and not given else amount(given, known.name)
    if known.kind == "currency":
        return given.upper()
    if known.kind == "moment":
        return _moment(given, known.name)
    if known.kind != "amounts":
        return given.replace("\r\n", "\n")
    found: dict[str, int] = {}
    for line in filter(None, map(str.strip, given.splitlines())):
        currency, _space, text = line.partition(" ")
        found[currency.upper()] = amount(text, known.name)
    return found


def _moment(given: str, name: str) -> int | None:
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given.removesuffix("UTC").strip())
    except ValueError:
        raise CommandError("setting.moment", setting=name) from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * 1_000_000


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC)


def _plain(micro: int) -> str:
    return money.text(micro).replace(",", "")
