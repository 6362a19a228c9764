"""What pages call usage classes, kinds of endpoint, moments and shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils.translation import gettext as _

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(at_us: int) -> datetime:
    """A moment in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def moment(at_us: int) -> str:
    """A moment as people read it, in UTC to the minute."""
    return at(at_us).strftime("%Y-%m-%d %H:%M UTC")


def tenths(number: int) -> str:
    """Tenths as a decimal text, without a needless place: `15`, `12.5`, `-0.1`."""
    whole, place = divmod(abs(number), 10)
    return f"{'-' if number < 0 else ''}{whole}{f'.{place}' if place else ''}"


def hundredths(number: int | None) -> str:
    """Hundredths of a percent: `99.97%`, `100%`."""
    if number is None:
        return "–"
    whole, places = divmod(number, 100)
    return f"{whole}.{places:02d}%" if places else f"{whole}%"


def discount(least: int, most: int) -> str:
    """How far a model's prices are below the vendor's, in words; from the smallest to the largest discount."""
    if least == most == 0:
        return _("same")
    if least >= 0:
        return _("%(percent)s%% less") % {"percent": _span(least, most)}
    if most <= 0:
        return _("%(percent)s%% more") % {"percent": _span(-most, -least)}
    return _("varies")


def lasting(duration_ms: int | None) -> str:
    """A duration as people read it: `840 ms`, `1.2 s`."""
    if duration_ms is None:
        return "–"
    return f"{duration_ms} ms" if duration_ms < 1000 else f"{duration_ms // 1000}.{duration_ms // 100 % 10} s"


def _span(least: int, most: int) -> str:
    return tenths(least) if least == most else f"{tenths(least)}–{tenths(most)}"
