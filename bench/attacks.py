#!/usr/bin/env python3
"""What an honest customer sees while one customer attacks the shop. Standard library only.

attacks.py [-a NAME ...] [--secs 8] [--rate 20] [--rss-max-mb 1024] [--out attacks.jsonl]

The shop is started as the benchmark starts it; an honest customer (honest.py) calls at a fixed rate alone, then beside each
attack (hostile.py, an account each), then alone again. Latencies are told and never judged. Exit 1: an honest call was
refused or cut, somebody was told of a mistake of the shop, holds stayed open, `farebox prove` found something, or nothing
could be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TextIO

import bench
import processes
from hostile import ATTACKS, Attack

TARGETS = os.path.join(bench.HERE, "targets", "attacks.toml")
FOLDER = os.path.join(bench.PERF, "run", "attacks")
ATTACKERS_NICE = min(19, processes.NICE + 15)
"""Attackers share a core with the honest customer and his upstream: what they use of it must not be his latency."""
BUILD_S, HONEST_S, END_S, HOLDS_S = 60, 90, 20, 30
"""The longest waits: for an attack to begin, for the honest customer beyond his time, for an attack's end, for holds."""
PYTHON = os.environ.get("BENCH_PYTHON") or os.path.join(bench.PROJECT, ".venv", "bin", "python")


@dataclass(frozen=True)
class Shop:
    """The shop that is measured, and the keys of its hostile accounts by name."""

    target: bench.Target
    server: subprocess.Popen[bytes]
    keys: dict[str, str]

    @property
    def port(self) -> int:
        return int(self.target["port"])

    def held_micro(self, key: str) -> int:
        """What calls of this key's account hold, as the shop says."""
        url = f"http://127.0.0.1:{self.port}/v1/balance"
        ask = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(ask, timeout=10) as answer:
            return int(json.load(answer)["held_micro"])

    def held_in_the_end(self, keys: list[str]) -> int:
        """The same of several, as soon as it is 0, or after a while; -1 where the shop does not say."""
        ends_s = time.monotonic() + HOLDS_S
        held = -1
        while held and time.monotonic() < ends_s:
            time.sleep(0.2)
            with contextlib.suppress(OSError, ValueError, LookupError):
                held = sum(self.held_micro(key) for key in keys)
        return held


def open_shop(stack: ExitStack, names: list[str], rss_max_mb: int) -> Shop:
    """Start upstreams and server; `stack` ends them. The honest customer's upstream is one that no attack fills."""
    target = bench.read_targets([TARGETS])["attacked"]
    first = target["upstream_port"]
    fast, echoes = first + 1, first + 2
    for port in (first, fast, echoes):
        bench.refuse_strangers(target | {"upstream_port": port})
    os.makedirs(FOLDER, exist_ok=True)
    keys_path = os.path.join(FOLDER, "keys.json")
    usd = {name: ATTACKS[name].usd for name in names if ATTACKS[name].usd is not None}
    target["env"] = {"BENCH_HOSTILE": json.dumps(usd), "BENCH_HOSTILE_KEYS": keys_path}
    target["env"] |= {"BENCH_FAST_PORT": str(fast), "BENCH_ECHOES_PORT": str(echoes)}
    target["env"] |= {"BENCH_RSS_MAX_MB": str(rss_max_mb)}
    farebox = [PYTHON, os.path.join(os.path.dirname(PYTHON), "farebox")]
    for command, nice in (
        ([*farebox, "sandbox", "--port", str(first)], processes.NICE),
        ([os.path.join(bench.BIN, "mock"), str(fast)], ATTACKERS_NICE),
        ([*farebox, "sandbox", "--port", str(echoes)], ATTACKERS_NICE),
    ):
        upstream = processes.spawn(
            command, processes.LOAD_CPU, log_path=os.path.join(FOLDER, "upstreams.log"), nice=nice
        )
        stack.callback(processes.stop, upstream)
    server = bench.serve(stack, target, os.path.join(FOLDER, "server.log"))
    with open(keys_path) as file:
        return Shop(target, server, json.load(file))


def begin(stack: ExitStack, shop: Shop, name: str) -> subprocess.Popen[str]:
    """Start an attack and return when it has begun."""
    key = shop.keys.get(name, "")
    command = [sys.executable, os.path.join(bench.HERE, "hostile.py"), name, "--port", str(shop.port), "--key", key]
    program = processes.spawn_piped(command, processes.LOAD_CPU, ATTACKERS_NICE)
    stack.callback(processes.stop, program, 1)
    said = program.stdout
    if said is None or not select.select([said], [], [], BUILD_S)[0] or said.readline() != "there\n":
        processes.stop(program, 1)
        problems = program.communicate()[1].strip() or f"nothing within {BUILD_S} s, the machine may be too busy"
        raise bench.MeasurementFailed(f"{name} did not begin: {problems}")
    return program


def finish(program: subprocess.Popen[str], wait_s: float, said: str = "") -> bench.Row:
    """Tell a program to end, or wait until it does, and return what it printed last."""
    try:
        out, problems = program.communicate(said, timeout=wait_s)
        row: bench.Row = json.loads(out)
    except (subprocess.TimeoutExpired, ValueError) as problem:
        processes.stop(program, 1)
        told = program.communicate()[1] if isinstance(problem, subprocess.TimeoutExpired) else problems
        raise bench.MeasurementFailed(f"{program.args!r}: {told.strip() or 'gave up waiting'}") from problem
    return row


def measure(shop: Shop, name: str, attack: Attack | None, rate: float, secs: float) -> bench.Row:
    """Let the honest customer call for that long, alone or beside an attack; what he, the kernel and the foe say."""
    target = shop.target
    bench.settle(shop.server)
    processes.forget_peak(shop.server.pid)
    command = [sys.executable, os.path.join(bench.HERE, "honest.py"), "--port", str(shop.port), "--key", target["key"]]
    command += ["--model", target["model"], "--rate", str(rate), "--secs", str(secs)]
    row: bench.Row = {"name": name, "about": attack.about if attack else name}
    with ExitStack() as stack:
        foe = begin(stack, shop, name) if attack else None
        before = processes.read_counters(shop.server)
        honest = processes.spawn_piped(command, processes.LOAD_CPU)
        stack.callback(processes.stop, honest, 1)
        row |= finish(honest, secs + HONEST_S)
        after = processes.read_counters(shop.server)
        if foe:
            row |= finish(foe, END_S, "enough\n")
    took_s = after.at_s - before.at_s
    row["server"] = (after.cpu_s - before.cpu_s) / took_s
    row["core_gateway"] = (after.core_busy_s - before.core_busy_s) / took_s
    row["core_load"] = (after.load_core_busy_s - before.load_core_busy_s) / took_s
    row["peak_mb"] = processes.peak_mb(shop.server.pid)
    row["load1"] = os.getloadavg()[0]
    row["held_micro"] = shop.held_in_the_end([key for key in (target["key"], shop.keys.get(name)) if key])
    return row


def told(row: bench.Row) -> str:
    """What the attacker was told, most often first, and how many of his connections were open at the end."""
    found = [f"{text} × {count:,}" for text, count in row.get("told", {}).items()]
    return ", ".join(
        found[:5] + (["…"] if len(found) > 5 else []) + ([f"{row['held']:,} held"] if row.get("held") else [])
    )


def faults(row: bench.Row) -> list[str]:
    """What must not be, in words."""
    found = []
    if row["bad"]:
        found.append(f"{row['name']}: honest calls refused or cut: {row['bad']}")
    if mistakes := row.get("told", {}).get("500 internal_error"):
        found.append(f"{row['name']}: the attacker was told {mistakes} times of a mistake of the shop (500)")
    if row["held_micro"]:
        found.append(f"{row['name']}: holds stayed open {HOLDS_S} s after it: {row['held_micro']} micro-units")
    return found


def table(rows: list[bench.Row]) -> str:
    """Every phase in a line of Markdown."""
    gateway, load = processes.GATEWAY_CPU, processes.LOAD_CPU
    columns = ["attack", "honest calls", "refused or cut", "p50 ms", "p99 ms", "most ms", "longest silence ms"]
    columns += ["peak RSS MB", f"server (core {gateway})", f"core {gateway} / {load}", "the attacker was told"]
    alone_ms = [row["p99_ms"] for row in rows if row["name"] not in ATTACKS]
    columns.insert(5, f"times the p99 alone ({' and '.join(f'{ms:.1f}' for ms in alone_ms)} ms)")
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    for row in rows:
        cells = [row["about"], str(row["calls"]), str(sum(row["bad"].values()))]
        cells += [f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms")]
        cells += [f"{row['p99_ms'] / statistics.mean(alone_ms):.1f}", f"{row['max_ms']:.1f}"]
        cells += [f"{row['gap_ms']:.0f}", f"{row['peak_mb']:.0f}", f"{row['server']:.0%}"]
        cells += [f"{row['core_gateway']:.0%} / {row['core_load']:.0%}", told(row)]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def prove() -> str:
    """What `farebox prove` says of the store that the server has left; nothing where all is well."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    env["FAREBOX_DATA_DIR"] = os.path.join(bench.PERF, "run", "product")
    command = [PYTHON, os.path.join(os.path.dirname(PYTHON), "farebox"), "prove"]
    try:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "farebox prove took longer than 120 s"
    return f"farebox prove: {ran.stdout}{ran.stderr}" if ran.returncode else ""


def run(args: argparse.Namespace, out: TextIO) -> tuple[list[bench.Row], list[str]]:
    """All phases, each written as it ends, then the proof."""
    names = args.a or list(ATTACKS)
    rows: list[bench.Row] = []
    with ExitStack() as stack:
        shop = open_shop(stack, names, args.rss_max_mb)
        phases = [("alone, before", None), *((name, ATTACKS[name]) for name in names), ("alone, after", None)]
        for name, attack in phases:
            rows.append(measure(shop, name, attack, args.rate, args.secs))
            out.write(json.dumps(rows[-1]) + "\n")
            out.flush()
            print(f"{name}: p99 {rows[-1]['p99_ms']:.1f} ms", *faults(rows[-1]), file=sys.stderr, flush=True)
    found = prove()
    return rows, [fault for row in rows for fault in faults(row)] + ([found] if found else [])


def main() -> int:
    """Measure and print the table; 1 if something must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-a", action="append", choices=ATTACKS, metavar="NAME", help=f"these alone: {' '.join(ATTACKS)}"
    )
    parser.add_argument("--secs", type=float, default=8, help="length of each phase")
    parser.add_argument("--rate", type=float, default=20, help="honest calls a second")
    parser.add_argument(
        "--rss-max-mb", type=int, default=1024, help="the product's option; 0: half of the machine's memory"
    )
    parser.add_argument("--out", default=os.path.join(bench.PERF, "attacks.jsonl"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stack ends what was started
    bench.build()
    with open(args.out, "a") as out, open(bench.LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            rows, found = run(args, out)
        except bench.MeasurementFailed as problem:
            print(problem, file=sys.stderr)
            return 1
    late = max(row["late_p99_ms"] for row in rows)
    print(table(rows))
    print(
        f"\n{args.rate:.0f} calls a second for {args.secs:.0f} s in each line, half of them streams, counted from when they "
        f"were due; beside them two streams of an event each 100 ms. The caller himself was late by {late:.1f} ms at most "
        f"(p99). Load average {rows[0]['load1']:.1f} to {rows[-1]['load1']:.1f}; rss_max_mb {args.rss_max_mb}.\n"
    )
    print("\n".join(f"- {fault}" for fault in found) or "All holds were closed; `farebox prove` found nothing.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
