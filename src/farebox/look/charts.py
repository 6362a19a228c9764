"""Charts drawn on the server: zero-based bars as SVG, six series and the rest at most, and the same as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

SERIES_MAX = 6
_TOLD_CHARS = 120  # so many fit in the line above the bars
_BAR = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{} · {} · {}</title></rect>'
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 960, 240, 72, 24, 12


@dataclass(frozen=True, slots=True)
class Series:
    """One row of figures, as many as there are labels."""

    name: str
    values: Sequence[int]


def few(series: Sequence[Series], other: str) -> list[Series]:
    """The six largest series, and the sum of the rest as `other`."""
    ranked = sorted(series, key=lambda each: -sum(each.values))
    if len(ranked) <= SERIES_MAX:
        return ranked
    rest = [sum(column) for column in zip(*(each.values for each in ranked[SERIES_MAX:]), strict=True)]
    return [*ranked[:SERIES_MAX], Series(other, rest)]


def bars(title: str, labels: Sequence[str], series: Sequence[Series], shown: Callable[[int], str]) -> SafeString:
    """Stacked bars, one a label; `shown` writes a value with its unit.

    The keyboard goes from column to column, not through every bar: three months of seven series would be 644 stops.
    """
    totals = [sum(column) for column in zip(*(each.values for each in series), strict=True)] or [0]
    top = _nice(max(*totals, 1))
    step = (_WIDTH - _LEFT) / max(1, len(labels))
    plot = _HEIGHT - _BOTTOM - _TOP
    columns = []
    for place, label in enumerate(labels):
        base = float(_HEIGHT - _BOTTOM)
        shapes, said = [], []
        for number, each in enumerate(series, start=1):
            value = each.values[place]
            if value <= 0:
                continue
            height = plot * value / top
            base -= height
            said.append(f"{each.name} {shown(value)}")
            shapes.append(
                (
                    f"k{number}",
                    f"{_LEFT + place * step + step * 0.1:.1f}",
                    f"{base:.1f}",
                    f"{step * 0.8:.1f}",
                    f"{height:.1f}",
                    label,
                    each.name,
                    shown(value),
                )
            )
        if shapes:
            words = " · ".join((label, *said))
            short = words if len(words) <= _TOLD_CHARS else f"{label} · {shown(totals[place])}"
            columns.append((words, format_html_join("", _BAR, shapes), _WIDTH, _TOP - 2, short))
    return format_html(
        '<figure class="chart" tabindex="0"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="group" aria-label="{}">{}{}{}</svg>{}</figure>',
        title, _WIDTH, _HEIGHT, title, _axis(top, plot, shown),
        format_html_join(
            "",
            '<g role="img" tabindex="0" aria-label="{}">{}'
            '<text class="told" x="{}" y="{}" text-anchor="end">{}</text></g>',
            columns,
        ),
        _labels(labels, step), _legend(series),
    )  # fmt: skip


def _axis(top: int, plot: int, shown: Callable[[int], str]) -> SafeString:
    rows = []
    for part in range(5):
        y = _HEIGHT - _BOTTOM - plot * part / 4
        rows.append((_LEFT, f"{y:.1f}", _WIDTH, f"{y:.1f}", _LEFT - 8, f"{y + 4:.1f}", shown(top * part // 4)))
    return format_html_join(
        "",
        '<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        rows,
    )


def _labels(labels: Sequence[str], step: float) -> SafeString:
    every = max(1, -(-len(labels) // 10))
    rows = [
        (f"{_LEFT + place * step + step / 2:.1f}", _HEIGHT - 6, label)
        for place, label in enumerate(labels)
        if place % every == 0
    ]
    return format_html_join("", '<text x="{}" y="{}" text-anchor="middle">{}</text>', rows)


def _legend(series: Sequence[Series]) -> SafeString:
    if len(series) < 2:
        return SafeString("")
    rows = [(number, each.name) for number, each in enumerate(series, start=1)]
    items = format_html_join(
        "",
        '<li><svg viewBox="0 0 12 12" aria-hidden="true"><rect class="k{}" width="12" height="12"/></svg> {}</li>',
        rows,
    )
    return format_html('<ul class="legend">{}</ul>', items)


def _nice(most: int) -> int:
    """The next round number that four lines divide."""
    size: int = 10 ** max(0, len(str(most)) - 2)
    return -(-most // (4 * size)) * 4 * size
