"""What the forms of the office have in common: refusals as sentences, times in the operator's zone, pages by cursor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from farebox.kit import db, money, options
from farebox.kit.errors import CommandError
from farebox.office import refusals, retyped
from farebox.office.principal import Operator

PAGE = 50


def done(request: HttpRequest, to: str, text: str) -> HttpResponse:
    """Say that it is done, on the page to which this leads."""
    messages.success(request, text, extra_tags="good")
    return HttpResponseRedirect(to)


def refused(request: HttpRequest, to: str, text: str) -> HttpResponse:
    """Say why it is not done, on the page to which this leads; its form shows again what was typed."""
    messages.error(request, text, extra_tags="bad")
    retyped.keep(request, to)
    return HttpResponseRedirect(to)


def carry_out(
    request: HttpRequest, to: str, text: str | Callable[[Any], str], verb: Callable[..., Any], *args: Any, **facts: Any
) -> HttpResponse:
    """Do one thing in a transaction and lead to the page `to`, which says that it is done, or why not.

    `text` is what it says, or what makes that of the verb's answer.
    """
    try:
        made = db.write(verb, *args, **facts)
    except CommandError as fault:
        return refused(request, to, refusals.said(fault))
    return done(request, to, text(made) if callable(text) else text)


def text(request: HttpRequest, name: str, chars_max: int = 300) -> str:
    """A field of a form in one piece, without spaces around it; before it is sent, what was typed and did nothing."""
    given = request.POST if request.method == "POST" else retyped.again(request)
    return given.get(name, "").strip()[:chars_max]


def line(request: HttpRequest, name: str, chars_max: int = 100) -> str:
    """A field of the address, for searches."""
    found = request.GET.get(name, "").strip()[:chars_max]
    return found if found.isprintable() else ""


def count(given: str, what: str) -> int:
    """A whole number that was typed; CommandError for an invalid one."""
    plain = given.replace(",", "").replace(" ", "")
    if not (plain.isascii() and plain.isdigit()) or len(plain) > 12:
        raise CommandError(_("%(what)s: enter a whole number.") % {"what": what})
    return int(plain)


def amount(given: str, what: str) -> int:
    """An amount that was typed, in micro-units; CommandError for an invalid one."""
    try:
        return money.parse(given)
    except money.MoneyError:
        raise CommandError(_("%(what)s: enter an amount such as 12.34.") % {"what": what}) from None


def zone(me: Operator) -> ZoneInfo:
    """The operator's time zone."""
    return ZoneInfo(me.time_zone or "UTC")


def moment(given: str, me: Operator) -> int | None:
    """A time that was chosen, in the operator's zone, as epoch microseconds; None for none. CommandError."""
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise CommandError(_("Enter a date and time such as 2026-12-01T09:00.")) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone(me))
    if not 1970 < at.year < 2200:
        raise CommandError(_("Enter a date and time such as 2026-12-01T09:00."))
    return int(at.timestamp()) * 1_000_000


def local(at_us: int, me: Operator) -> str:
    """A moment in the operator's zone: 2026-12-01 09:00."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(zone(me)).strftime("%Y-%m-%d %H:%M")


def further(request: HttpRequest, rows: list[Any], ident: Callable[[Any], str], limit: int = PAGE) -> str:
    """The query of the next page, or an empty text at the end; `rows` may hold one more than a page."""
    if len(rows) <= limit:
        return ""
    del rows[limit:]
    kept = {name: value for name, value in request.GET.items() if name != "before" and value}
    return "?" + urlencode(kept | {"before": ident(rows[-1])})


def single_person() -> bool:
    """Whether one person may do alone what else takes two."""
    return bool(options.current().single_person)
