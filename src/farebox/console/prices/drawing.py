"""Small drawings beside a table of the same data: prices in steps over time, and strips of how well a model answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 240, 80, 944, 16, 208
_PLOT = _BOTTOM - _TOP


@dataclass(frozen=True, slots=True)
class Stair:
    """One price over time: (from when, how much; None where there is none), oldest first."""

    name: str
    steps: Sequence[tuple[int, int | None]]


def stairs(
    title: str,
    series: Sequence[Stair],
    *,
    until_us: int,
    now_us: int,
    now: str,
    shown: Callable[[int], str],
    dated: Callable[[int], str],
) -> SafeString:
    """Prices in steps from their first day until `until_us`; a dashed line stands at `now_us`."""
    from_us = min(each.steps[0][0] for each in series)
    top = _nice(max(value or 0 for each in series for _, value in each.steps))

    def across(at_us: int) -> int:
        return _LEFT + (_RIGHT - _LEFT) * (at_us - from_us) // max(1, until_us - from_us)

    def height(value: int) -> int:
        return _BOTTOM - _PLOT * value // top

    lines, dots = [], []
    for number, each in enumerate(series, start=1):
        lines.append((f"l{number}", _path(each, across, height, _RIGHT)))
        dots += [
            (f"k{number}", across(at_us), height(value), each.name, dated(at_us), shown(value))
            for at_us, value in each.steps
            if value is not None
        ]
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption><svg viewBox="0 0 {} {}" role="group" aria-label="{}">'
        '{}{}{}<line class="now" x1="{}" y1="{}" x2="{}" y2="{}"/>{}{}</svg>{}</figure>',
        title, _WIDTH, _HEIGHT, title,
        _axis(top, shown), _dates(series, across, dated), _now(now, across(now_us)),
        across(now_us), _TOP, across(now_us), _BOTTOM,
        format_html_join("", '<path class="line {}" d="{}"/>', lines),
        format_html_join(
            "",
            '<circle class="{}" cx="{}" cy="{}" r="5" role="img" tabindex="0"><title>{} · {} · {}</title></circle>',
            dots,
        ),
        _legend([each.name for each in series]),
    )  # fmt: skip


def strip(title: str, marks: Sequence[tuple[str, str]]) -> SafeString:
    """Bars side by side, oldest first: (state, words). The height says the state too, so colour is not alone."""
    tall = {"up": 32, "some": 20, "down": 10, "none": 3}
    width = len(marks) * 8 - 2
    bars = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="6" height="{}" rx="1"><title>{}</title></rect>',
        [(state, place * 8, 32 - tall[state], tall[state], words) for place, (state, words) in enumerate(marks)],
    )
    return format_html(
        '<svg class="strip" viewBox="0 0 {} 32" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        width, title, bars,
    )  # fmt: skip


def _path(each: Stair, across: Callable[[int], int], height: Callable[[int], int], end: int) -> str:
    parts: list[str] = []
    for at_us, value in each.steps:
        if value is None:
            if parts:
                parts.append(f"H{across(at_us)}")
            continue
        gap = not parts or _before(each, at_us) is None
        parts.append(f"M{across(at_us)} {height(value)}" if gap else f"H{across(at_us)}V{height(value)}")
    if each.steps[-1][1] is not None:
        parts.append(f"H{end}")
    return "".join(parts)


def _before(each: Stair, at_us: int) -> int | None:
    earlier = [value for since_us, value in each.steps if since_us < at_us]
    return earlier[-1] if earlier else None


def _axis(top: int, shown: Callable[[int], str]) -> SafeString:
    rows = []
    for part in range(5):
        y = _BOTTOM - _PLOT * part // 4
        rows.append((_LEFT, y, _RIGHT, y, _LEFT - 8, y + 4, shown(top * part // 4)))
    return format_html_join(
        "",
        '<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        rows,
    )


def _dates(series: Sequence[Stair], across: Callable[[int], int], dated: Callable[[int], str]) -> SafeString:
    """The days of the steps, as many as stand side by side."""
    rows: list[tuple[int, int, str, str]] = []
    for at_us in sorted({at_us for each in series for at_us, _ in each.steps}):
        x = across(at_us)
        if not rows or x - rows[-1][0] >= 96:
            anchor = "end" if x > _RIGHT - 48 else "middle"
            rows.append((x, _BOTTOM + 20, anchor, dated(at_us)))
    return format_html_join("", '<text x="{}" y="{}" text-anchor="{}">{}</text>', rows)


def _now(word: str, x: int) -> SafeString:
    anchor = "end" if x > _RIGHT - 48 else "start" if x < _LEFT + 48 else "middle"
    return format_html('<text x="{}" y="{}" text-anchor="{}">{}</text>', x, _TOP - 4, anchor, word)


def _legend(names: Sequence[str]) -> SafeString:
    items = format_html_join(
        "",
        '<li><svg viewBox="0 0 12 12" aria-hidden="true"><rect class="k{}" width="12" height="12"/></svg> {}</li>',
        list(enumerate(names, start=1)),
    )
    return format_html('<ul class="legend">{}</ul>', items)


def _nice(most: int) -> int:
    """The next round number that four lines divide."""
    size: int = 10 ** max(0, len(str(most)) - 2)
    return max(4, -(-most // (4 * size)) * 4 * size)
