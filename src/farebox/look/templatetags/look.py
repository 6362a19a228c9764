"""Money, figures, times and symbols as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from farebox.kit import clock
from farebox.kit import money as amounts
from farebox.look import agents, called, marks

_EXACT: Final = "%Y-%m-%d %H:%M:%S %Z"

register = template.Library()
register.filter(agents.browser)
register.filter(called.named)
register.filter(marks.aside)
register.filter(marks.listed)
register.simple_tag(marks.colon)
register.simple_tag(marks.comma)
register.simple_tag(marks.gap)

SIGNS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "HKD": "HK$"}
_ICONS = {
    "check": '<path d="M4 12l5 5L20 6"/>',
    "todo": '<circle cx="12" cy="12" r="8"/>',
    "key": '<circle cx="8" cy="15" r="4"/><path d="M11 12l9-9M17 6l3 3"/>',
    "home": '<path d="M4 11l8-7 8 7v9H4z"/>',
    "chart": '<path d="M4 20V10M10 20V4M16 20v-7M22 20H2"/>',
    "warn": '<path d="M12 4L2 20h20zM12 10v4M12 17v.5"/>',
    "cross": '<path d="M6 6l12 12M18 6L6 18"/>',
}


@register.filter
def money(micro: int | str | None, currency: str = "") -> str:
    """Micro-units as `¥12.34`; small amounts with as many places as they need, up to six; else a dash."""
    if not isinstance(micro, int):  # None, or a template's empty text for what is not there
        return "–"
    sign = "−" if micro < 0 else ""
    return f"{sign}{SIGNS.get(currency, f'{currency} ' if currency else '')}{amounts.text(abs(micro))}"


@register.filter
def exact(micro: int | str | None, plus: str = "") -> str:
    """Micro-units as a till prints them, so that a column adds up by eye: `0.060000`, `−1.500000`; `plus` for gains."""
    if not isinstance(micro, int):  # None, or a template's empty text for what is not there
        return "–"
    sign = "−" if micro < 0 else plus if micro > 0 else ""
    return sign + amounts.text(abs(micro), places_min=6)


@register.filter
def figure(number: int | str | None) -> str:
    """A whole number with commas."""
    return f"{number:,}" if isinstance(number, int) else "–"


@register.simple_tag(takes_context=True)
def when(context: Any, at_us: int | None) -> SafeString:
    """A moment, relative, with the exact one in the person's time zone on hover."""
    if not at_us:
        return mark_safe("–")
    local = datetime.fromtimestamp(at_us / 1_000_000, _zone(context))
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.astimezone(UTC).isoformat(), local.strftime(_EXACT), _relative(at_us, local.strftime("%Y-%m-%d")),
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def moment(context: Any, at_us: int) -> SafeString:
    """A moment to the second in the person's time zone, for whoever compares it with a watch."""
    at = datetime.fromtimestamp(at_us / 1_000_000, _zone(context))
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), at.strftime(_EXACT))


@register.simple_tag(takes_context=True)
def ends(context: Any, at_us: int | None) -> SafeString:
    """The end of a thing: the last day that it works on, with the exact moment on hover; once over, like `when`."""
    if not at_us or at_us <= clock.now_us():
        return when(context, at_us)
    zone = _zone(context)
    at = datetime.fromtimestamp(at_us / 1_000_000, zone)
    last = datetime.fromtimestamp((at_us - 1) / 1_000_000, zone)
    exact = at.strftime(_EXACT)
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, last.strftime("%Y-%m-%d"))


def _zone(context: Any) -> ZoneInfo:
    return ZoneInfo(getattr(getattr(context.get("request"), "user", None), "time_zone", "") or "UTC")


def _relative(at_us: int, day: str) -> str:
    seconds = (clock.now_us() - at_us) // 1_000_000
    if 0 <= seconds < 60:
        return _("just now")
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if 0 < minutes < 60:
        return ngettext("%(n)d minute ago", "%(n)d minutes ago", minutes) % {"n": minutes}
    if 0 < hours < 24:
        return ngettext("%(n)d hour ago", "%(n)d hours ago", hours) % {"n": hours}
    if 0 < days < 7:
        return ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days}
    return day


@register.simple_tag
def icon(name: str) -> SafeString:
    """A small sign; it is never the only one who says something."""
    return format_html('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">{}</svg>', mark_safe(_ICONS[name]))  # noqa: S308 - our own paths


@register.simple_tag(takes_context=True)
def here(context: Any, *names: str) -> SafeString:
    """`aria-current` on the link to this page."""
    match = getattr(context.get("request"), "resolver_match", None)
    return mark_safe(' aria-current="page"') if match and match.view_name in names else mark_safe("")
