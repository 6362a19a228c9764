"""Turn the result lines of bench.py into Markdown tables: medians, ratios in the same run, and the goals."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Rows = dict[str, dict[tuple[str, int], list[Row]]]
"""Target → (test, streams if paced else 0) → one row a repeat."""

PACE_MS = 20
"""A paced stream sends one event each so many milliseconds: 50 a second."""
KEEPS_UP_MS = PACE_MS
"""A number of streams keeps up while the 99th percentile of the events is later by no more than one pace."""
CHUNKS_A_STREAM = 60
UTIL = 0.70
BASE, PEER, PRODUCT = "direct", "litellm", "product"


def line(row: Row) -> str:
    """One measurement in one line, for watching a run."""
    text = f"{row['target']:10} {row['test']:6} c={row['conns']:<5} util={row['gw_util']:.2f} rss={row['rss_mb']}"
    if row["reqs"]:
        text += (
            f" rps={row['rps']} us/req={row.get('us_per_req', '-')} p50={row['lat_p50']:.0f} p99={row['lat_p99']:.0f}"
        )
    if row.get("chunks"):
        text += f" us/chunk={row['us_per_chunk']} chunk p50/p99={row['chunk_p50']:.0f}/{row['chunk_p99']:.0f}"
    text += f" foreign={row['core_foreign']:.2f} load1={row['load1']}"
    return text + "".join(f" !! {problem}" for problem in doubts(row))


def doubts(row: Row) -> list[str]:
    """Reasons not to believe a row: failed requests, streams that were cut, a rate that was not reached."""
    found = []
    if not row["reqs"]:
        return ["nothing answered"] if row["test"] != "idle" else []
    bad = row.get("errs", 0) + row.get("non2xx", 0)
    if bad > row["reqs"] / 1000:
        found.append(f"{bad} of {row['reqs']} failed")
    if row["mode"] == "stream" and row["chunks"] < 0.98 * CHUNKS_A_STREAM * row["reqs"]:
        found.append(f"{row['chunks'] / row['reqs']:.1f} events a stream instead of {CHUNKS_A_STREAM}")
    if "rate_asked" in row and row["rps"] < 0.97 * row["rate_asked"]:
        found.append(f"{row['rps']:.0f} of {row['rate_asked']:.0f} requests/s")
    return found


def read(paths: Sequence[str]) -> Rows:
    """Read result files and sort their rows by target and test."""
    rows: Rows = {}
    for path in paths:
        with open(path) as file:
            for text in file:
                row = json.loads(text)
                streams = row["conns"] if row["test"] == "paced" else 0
                rows.setdefault(row["target"], {}).setdefault((row["test"], streams), []).append(row)
    return rows


def median(rows: Sequence[Row], field: str) -> float | None:
    """Median of a field over the repeats that have it; None without any."""
    values = [row[field] for row in rows if field in row]
    return statistics.median(values) if values else None


def of(rows: Rows, target: str, test: str, field: str) -> float | None:
    """Median of a field of one test of one target."""
    return median(rows.get(target, {}).get((test, 0), []), field)


def added_ms(rows: Rows, target: str, field: str) -> float | None:
    """Latency of a target less that of the upstream called directly, both medians of the `lat` test."""
    ours, base = of(rows, target, "lat", field), of(rows, BASE, "lat", field)
    return (ours - base) / 1000 if ours is not None and base is not None else None


def times_cheaper(rows: Rows, target: str) -> tuple[float, float, float] | None:
    """LiteLLM's processor time a request over the target's: of the medians, and the least and most of one repeat."""
    ours, peers = (rows.get(name, {}).get(("json", 0), []) for name in (target, PEER))
    pairs = {(row["run"], row["repeat"]): row["us_per_req"] for row in peers if row.get("us_per_req")}
    each = [
        pairs[key] / row["us_per_req"]
        for row in ours
        if row.get("us_per_req") and (key := (row["run"], row["repeat"])) in pairs
    ]
    middle, peer = median(ours, "us_per_req"), median(peers, "us_per_req")
    return (peer / middle, min(each), max(each)) if each and middle and peer else None


def paced(rows: Rows, target: str) -> list[tuple[int, float, float, list[Row]]]:
    """Numbers of paced streams, ascending: streams, use of the core, 99th percentile of the delay in ms, rows."""
    found = []
    for (test, streams), group in sorted(rows.get(target, {}).items()):
        util, late_us = median(group, "gw_util"), median(group, "chunk_p99")
        if test == "paced" and util is not None and late_us is not None:
            found.append((streams, util, late_us / 1000, group))
    return found


def streams_at(rows: Rows, target: str) -> tuple[float, str] | None:
    """Streams that keep up at 70 % of the core, between the measured numbers; with a word if it is not that plain."""
    before_n, before_util = 0, 0.0
    for streams, util, late_ms, _ in paced(rows, target):
        if late_ms > KEEPS_UP_MS and util <= UTIL:
            return before_n, f"at {streams} the p99 delay was {late_ms:.0f} ms"
        if util >= UTIL:
            share = (UTIL - before_util) / (util - before_util)
            return before_n + share * (streams - before_n), ""
        before_n, before_util = streams, util
    return (before_n, f"the most tried: {before_util:.0%} of the core") if before_n else None


def show(value: float | None, digits: int = 0, text: str = "{}") -> str:
    """Give a number for a cell, a dash for none."""
    return "–" if value is None else text.format(f"{value:,.{digits}f}")


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *body])


def _streams_cell(rows: Rows, target: str) -> str:
    found = streams_at(rows, target)
    return "–" if found is None else show(found[0]) + (f" ({found[1]})" if found[1] else "")


def overview(rows: Rows) -> str:
    """One line a target with everything that the goals speak of."""
    body = []
    for name, tests in rows.items():
        cheaper = times_cheaper(rows, name)
        rate = of(rows, name, "lat", "rate_asked")
        p50, p99 = (added_ms(rows, name, field) for field in ("lat_p50", "lat_p99"))
        processor = of(rows, name, "json", "us_per_req") or None
        body.append(
            [
                name,
                str(max(len(group) for group in tests.values())),
                show(processor, 1),
                show(cheaper[0] if cheaper else None, 1),
                show(of(rows, name, "json", "rps")),
                show(p50, 2) + " / " + show(p99, 2) + show(rate, 0, " (at {})"),
                show(of(rows, name, "sse", "us_per_chunk") or None, 1),
                _streams_cell(rows, name) if name != BASE else "–",
                show(of(rows, name, "idle", "rss_mb") or None) + " / " + show(of(rows, name, "json", "rss_mb") or None),
            ]
        )
    head = ["target", "n", "CPU µs/request", "times less than LiteLLM", "requests/s, saturated"]
    head += [
        "added p50 / p99 ms (at requests/s)",
        "CPU µs/event",
        f"paced streams at {UTIL:.0%}",
        "RSS MB idle / loaded",
    ]
    return table(head, body)


def paced_detail(rows: Rows) -> str:
    """Show every measured number of paced streams."""
    body = [
        [
            name,
            str(streams),
            f"{util:.0%}",
            show(median(group, "us_per_chunk"), 1),
            show(median(group, "chunk_p50")),
            show(late_ms * 1000),
            show(median(group, "rss_mb")),
        ]
        for name in rows
        for streams, util, late_ms, group in paced(rows, name)
        if name != BASE
    ]
    head = ["target", "streams", "of the core", "CPU µs/event", "event delay p50 µs", "p99 µs", "RSS MB"]
    return table(head, body) if body else ""


def bodies(rows: Rows) -> str:
    """Processor time a request by size of the request."""
    sizes = sorted({int(test[4:]) for tests in rows.values() for test, _ in tests if test.startswith("body")})
    body = [
        [name, *(show(of(rows, name, f"body{size}", "us_per_req") or None, 1) for size in sizes)]
        for name in rows
        if any((f"body{size}", 0) in rows[name] for size in sizes)
    ]
    return table(["CPU µs/request", *(f"{size:,} bytes" for size in sizes)], body) if body else ""


def goals(rows: Rows) -> str:
    """The product against the goals of its first release (docs/performance.md)."""
    if PRODUCT not in rows:
        return ""
    cheaper, streams = times_cheaper(rows, PRODUCT), streams_at(rows, PRODUCT)
    at_most: Callable[[float, float], bool] = float.__le__
    at_least: Callable[[float, float], bool] = float.__ge__
    measured = [
        ("CPU µs/request (JSON)", at_most, 500, of(rows, PRODUCT, "json", "us_per_req"), 1),
        (
            "times less than LiteLLM without billing, same run",
            at_least,
            14,
            cheaper[0] if cheaper else None,
            1,
        ),
        ("added p50 at 500 requests/s, ms", at_most, 2, added_ms(rows, PRODUCT, "lat_p50"), 2),
        ("added p99 at 500 requests/s, ms", at_most, 10, added_ms(rows, PRODUCT, "lat_p99"), 2),
        ("CPU µs per streamed event, back to back", at_most, 30, of(rows, PRODUCT, "sse", "us_per_chunk"), 1),
        (f"paced streams at {UTIL:.0%} of the core", at_least, 120, streams[0] if streams else None, 0),
        ("RSS idle, MB", at_most, 150, of(rows, PRODUCT, "idle", "rss_mb"), 0),
    ]
    body = []
    for what, compare, goal, value, digits in measured:
        verdict = "not measured" if value is None else "yes" if compare(float(value), float(goal)) else "NO"
        body.append([what, ("≤ " if compare is at_most else "≥ ") + str(goal), show(value, digits), verdict])
    text = table(["first release", "goal", "measured", "met"], body)
    if cheaper:
        text += f"\n\nLiteLLM's CPU time over the product's in single repeats: {cheaper[1]:.1f} to {cheaper[2]:.1f}."
    return text


def noise(rows: Rows) -> str:
    """How quiet the machine was, and the rows not to believe."""
    every = [row for name in rows for group in rows[name].values() for row in group]
    foreign = [row["core_foreign"] for row in every if row["target"] != BASE] or [0.0]
    text = f"Others on the gateway's core: {statistics.median(foreign):.0%} (median), {max(foreign):.0%} (worst); "
    text += (
        f"load average up to {max(row['load1'] for row in every)}; steal {sum(row['steal_s'] for row in every):.1f} s."
    )
    for row in every:
        for doubt in doubts(row):
            text += f"\n- do not believe {row['target']} {row['test']} (repeat {row['repeat'] + 1}): {doubt}"
    return text


def tables(paths: Sequence[str]) -> str:
    """All tables of some result files; targets of the same name are taken together."""
    rows = read(paths)
    if not rows:
        return "no measurements"
    return "\n\n".join(
        part for part in (goals(rows), overview(rows), paced_detail(rows), bodies(rows), noise(rows)) if part
    )
