"""The statement of a month as a page shows it: the same paper for the customer and for who works in the office."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from farebox.calls.statement import REFUND, Booked, Month, Statement
from farebox.kit import options

ENTRIES_SHOWN = 500
KINDS: dict[str, Any] = {
    "grant": gettext_lazy("Granted credit"),
    "expiry": gettext_lazy("Credit expired"),
    "refund": gettext_lazy("Call refund"),
    "call_refund": gettext_lazy("Call refund"),
    "reversal": gettext_lazy("Reversal"),
    "credit": gettext_lazy("Correction in your favour"),
    "debit": gettext_lazy("Correction in our favour"),
    "write_off": gettext_lazy("Written off"),
    "topup": gettext_lazy("Top-up"),
    "payment": gettext_lazy("Top-up"),
}


# Notes that the program writes itself; all others are people's words.
NOTES: dict[str, Any] = {
    "trial credit": gettext_lazy("Trial credit"),
    "granted credit expired": gettext_lazy("Credit expired"),
    "refund:call": gettext_lazy("Answer not delivered"),
}


class Holder(NamedTuple):
    """Whose statement it is, and the time zone of the account's days."""

    id: str
    name: str
    currency: str
    zone: str = "UTC"


def overview(found: list[Month], holder: Holder, place: Callable[[str], str]) -> dict[str, Any]:
    """What `look/parts/statements.html` shows; `place` tells the address of a month."""
    return {"months": [(month, place(month.month)) for month in found], "holder": holder}


def paper(
    found: Statement, holder: Holder, *, projects: Mapping[str, str], receipt: Callable[[str], str], now_us: int
) -> dict[str, Any]:
    """What `look/parts/statement.html` shows; `projects` are names by id, `receipt` tells the address of a call."""
    whole, zone = found.month, holder.zone
    named = [(projects.get(ident, ident), part) for ident, part in whole.projects.items()]
    return {
        "statement": found,
        "holder": holder,
        "month": whole,
        "charged_micro": -whole.charged_micro,
        "entries": [_entry(entry, receipt, holder.zone) for entry in whole.entries[:ENTRIES_SHOWN]],
        "more_entries": _rest(whole.entries[ENTRIES_SHOWN:]),
        "groups": _groups(whole.entries),
        "sections": [
            (_("Charges by model"), _("Model"), list(whole.models.items())),
            (_("Charges by project"), _("Project"), named),
            (_("Charges by day"), _("Day (%(zone)s)") % {"zone": zone}, list(whole.days.items())),
        ],
        "span": f"{_at(whole.from_us, zone):%Y-%m-%d} – {_at(whole.until_us - 1, zone):%Y-%m-%d} ({zone})",
        "made": f"{_at(now_us, zone):%Y-%m-%d %H:%M} ({zone})",
        "running": whole.until_us > now_us,
        "single_person": options.current().single_person,
    }


def kind(name: str) -> str:
    """What a journal entry is called."""
    return str(KINDS.get(name, _("Other entry")))


def note(text: str) -> str:
    """The note of a journal entry: in the page's language where the program has written it, else as it is."""
    return str(NOTES.get(text, text))


def _entry(entry: Booked, receipt: Callable[[str], str], zone: str) -> dict[str, Any]:
    return {
        "entry": entry,
        "kind": kind(entry.kind),
        "note": note(entry.note),
        "call": receipt(entry.ref) if entry.kind == REFUND else "",
        "day": f"{_at(entry.at_us, zone):%Y-%m-%d}",
        "ends": "" if entry.expires_us is None else f"{_at(entry.expires_us, zone):%Y-%m-%d %H:%M %Z}",
    }


def _groups(entries: list[Booked]) -> list[tuple[str, int]]:
    """The sums of the entries by what they are called, in the order in which they come first."""
    sums: dict[str, int] = {}
    for entry in entries:
        word = kind(entry.kind)
        sums[word] = sums.get(word, 0) + entry.amount_micro
    return list(sums.items())


def _rest(entries: list[Booked]) -> tuple[int, int] | None:
    return (len(entries), sum(entry.amount_micro for entry in entries)) if entries else None


def _at(at_us: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, ZoneInfo(zone))
