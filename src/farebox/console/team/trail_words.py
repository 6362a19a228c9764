"""What the page of changes says of an event of the audit trail: what was done, and the facts before and after.

An event or a fact that is not named here is not shown: what the trail keeps for the shop stays in the shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from farebox.kit.audit import TrailEvent
from farebox.look import marks, statement
from farebox.look.templatetags.look import money

VERBS: dict[str, Any] = {
    "account.open": gettext_lazy("Account opened"),
    "account.rename": gettext_lazy("Account renamed"),
    "account.set_price_list": gettext_lazy("Price list of the account changed"),
    "account.set_rates": gettext_lazy("Limits of the account changed"),
    "account.freeze": gettext_lazy("Account frozen"),
    "account.unfreeze": gettext_lazy("Account unfrozen"),
    "account.bar": gettext_lazy("Account banned"),
    "account.unbar": gettext_lazy("Account unbanned"),
    "account.close": gettext_lazy("Account closed"),
    "trial.grant": gettext_lazy("Trial credit granted"),
    "money.grant": gettext_lazy("Credit granted"),
    "money.approve": gettext_lazy("Credit or correction booked"),
    "calls.read": gettext_lazy("Calls viewed"),
    "receipt.read": gettext_lazy("Receipt viewed"),
    "statement.read": gettext_lazy("Statement viewed"),
    "notice.put": gettext_lazy("Notifications changed"),
    "project.create": gettext_lazy("Project created"),
    "project.cap": gettext_lazy("Project caps changed"),
    "project.set_rates": gettext_lazy("Project limits changed"),
    "project.set_keys_end": gettext_lazy("Expiry date of the project's keys changed"),
    "project.archive": gettext_lazy("Project archived"),
    "invitation.send": gettext_lazy("Invitation sent"),
    "invitation.resend": gettext_lazy("Invitation sent again"),
    "invitation.revoke": gettext_lazy("Invitation revoked"),
    "invitation.accept": gettext_lazy("Invitation accepted"),
    "member.add": gettext_lazy("Member added"),
    "member.set_role": gettext_lazy("Member role changed"),
    "member.cap": gettext_lazy("Member caps changed"),
    "member.set_rates": gettext_lazy("Member limits changed"),
    "member.remove": gettext_lazy("Member removed"),
    "session.end_by_owner": gettext_lazy("Member signed out"),
    "invitation.leak": gettext_lazy("Invitation link reported as leaked and revoked"),
    "notice.leak": gettext_lazy("Webhook secret reported as leaked, webhook switched off"),
    "key.issue": gettext_lazy("Key created"),
    "key.import": gettext_lazy("Key imported"),
    "key.rename": gettext_lazy("Key renamed"),
    "key.set_note": gettext_lazy("Key note changed"),
    "key.set_limits": gettext_lazy("Models or addresses of the key changed"),
    "key.set_expiry": gettext_lazy("Expiry of the key changed"),
    "key.set_cap": gettext_lazy("Key caps changed"),
    "key.set_rates": gettext_lazy("Key limits changed"),
    "key.rotate": gettext_lazy("Key rotated"),
    "key.revoke": gettext_lazy("Key revoked"),
    "key.leak": gettext_lazy("Key reported as leaked and revoked"),
}
FACTS: dict[str, Any] = {
    "name": gettext_lazy("Name"),
    "note": gettext_lazy("Note"),
    "email": gettext_lazy("E-mail"),
    "role": gettext_lazy("Role"),
    "project": gettext_lazy("Project"),
    "member": gettext_lazy("Member"),
    "new_key": gettext_lazy("New key"),
    "with_key": gettext_lazy("Key created on joining"),
    "models": gettext_lazy("Models"),
    "addresses": gettext_lazy("IP addresses"),
    "day": gettext_lazy("Cap per day"),
    "month": gettext_lazy("Cap per month"),
    "ever": gettext_lazy("Total cap"),
    "rpm": gettext_lazy("Calls per minute"),
    "tpm": gettext_lazy("Tokens per minute"),
    "concurrency": gettext_lazy("Concurrent calls"),
    "expires_us": pgettext_lazy("trail", "Expires"),
    "keys_end_us": gettext_lazy("Last valid day of all keys"),
    "keys_revoked": gettext_lazy("Keys revoked"),
    "keys_moved": gettext_lazy("Keys with a new expiry date"),
    "call": gettext_lazy("Call"),
    "statement": gettext_lazy("Month"),
}
# What is shown of events that keep other facts beside, of the shop or of one person.
ONLY: dict[str, dict[str, Any]] = {
    "account.open": {"name": FACTS["name"]},
    "account.set_price_list": {},
    "trial.grant": {"amount_micro": gettext_lazy("Amount")},
    "money.grant": {"amount_micro": gettext_lazy("Amount"), "reason": gettext_lazy("Note")},
    "money.approve": {
        "kind": gettext_lazy("Type"),
        "booked_micro": gettext_lazy("Amount"),
        "reason": gettext_lazy("Note"),
        "call": FACTS["call"],
    },
    "notice.put": {},
}
# Events whose `before` and `after` are one value, and which that is.
ONE = {
    "account.rename": "name",
    "key.rename": "name",
    "key.set_note": "note",
    "key.set_expiry": "expires_us",
    "trial.grant": "amount_micro",
}
ROLES: dict[str, Any] = {
    "owner": gettext_lazy("Owner"),
    "admin": gettext_lazy("Admin of a project"),
    "member": gettext_lazy("Member"),
}
_CAPS = ("day", "month", "ever")
_MONEY = (*_CAPS, "amount_micro", "booked_micro")
_NUMBERS = ("rpm", "tpm", "concurrency")
_TIMES = ("expires_us", "keys_end_us")
_LISTS = ("models", "addresses")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads: names that he may read by id, his account's currency, his time zone."""

    names: Mapping[str, str]
    currency: str
    zone: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of an event; `before` is empty where nothing was before."""

    label: str
    before: str
    after: str


def facts(event: TrailEvent, reader: Viewer) -> list[Fact]:
    """What an event made, or what it changed; what stayed as it was is left out."""
    old, new = _read(event, event.before), _read(event, event.after)
    changes = bool(event.before) or event.verb == "key.set_expiry"
    found = []
    for name, label in ONLY.get(event.verb, FACTS).items():
        before, after = old.get(name), new.get(name)
        if name in old and name in new and changes:
            if before != after:
                found.append(Fact(str(label), _said(name, before, reader), _said(name, after, reader)))
        elif after:
            found.append(Fact(str(label), "", _said(name, after, reader)))
    return found


def _read(event: TrailEvent, text: str) -> dict[str, Any]:
    given = msgspec.json.decode(text) if text else None
    if event.verb in ONE:
        return {ONE[event.verb]: given}
    if not isinstance(given, dict):
        return {}
    return given | (given.get("caps_micro") or {})


def _said(name: str, value: Any, reader: Viewer) -> str:
    """A fact in words."""
    if name in _MONEY or name in _NUMBERS:
        if value is None:
            return _("no limit")
        return money(value, reader.currency) if name in _MONEY else f"{value:,}"
    if name in _TIMES:
        return _("never") if value is None else _moment(value, reader.zone)
    if name in _LISTS:
        listed = msgspec.json.decode(value) if isinstance(value, str) else value
        return marks.listed(listed) if listed else _("all")
    if name == "project":
        return _("the whole account") if value is None else reader.names.get(value, _("another project"))
    if name == "role":
        return str(ROLES.get(value, value))
    if name == "kind":
        return statement.kind(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return reader.names.get(str(value), str(value))


def _moment(at_us: int, zone: str) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
