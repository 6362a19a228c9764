#!/usr/bin/env python3
"""Compare builds of one gateway that run at the same time, in short loads that take turns. Standard library only.

side_by_side.py TARGETS.toml -t BASE -t OTHER [--rounds 15] [--secs 1] [--tests json,sse] [--out pairs.jsonl]

A machine's core may be twice as fast for one minute as for the next; two loads a second apart meet the same core. So what
is told is the ratio within each round, to the first target, and its median over the rounds.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
from contextlib import ExitStack

import bench
import processes

FIGURES = {"json": "us_per_req", "sse": "us_per_chunk"}


def start(target: bench.Target, place: int, stack: ExitStack, logs: str) -> subprocess.Popen[bytes]:
    """Start a target with ports, a mock and a folder of its own, warm it, and have `stack` end both."""
    target["port"] += 10 * place
    target["upstream_port"] += 10 * place
    folder = os.path.join(bench.PERF, "run", f"side{place}")
    os.makedirs(folder, exist_ok=True)
    target["env"] = {"PERF": folder} | target.get("env", {})
    bench.refuse_strangers(target)
    mock = processes.spawn([os.path.join(bench.BIN, "mock"), str(target["upstream_port"])], processes.LOAD_CPU)
    stack.callback(processes.stop, mock)
    gateway = bench.serve(stack, target, os.path.join(logs, f"{target['name']}.log"))
    bench.finish_load(bench.start_load(target["port"], target, "closed", {"c": 16, "d": 1}))
    return gateway


def tell(rows: list[bench.Row], names: list[str], tests: list[str]) -> str:
    """Write each test's median by target, and its ratio to the first: median, quartiles, rounds."""
    lines = []
    for test in tests:
        by_name = {
            name: [row[FIGURES[test]] for row in rows if row["target"] == name and row["test"] == test]
            for name in names
        }
        for name, figures in by_name.items():
            ratios = [one / base for one, base in zip(figures, by_name[names[0]], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            lines.append(
                f"{test:5} {name:10} {FIGURES[test]} {statistics.median(figures):8.2f}"
                f"   to {names[0]} {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {len(ratios)} rounds)"
            )
    return "\n".join(lines)


def main() -> int:
    """Measure; 1 if a target could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", help="target files")
    parser.add_argument(
        "-t", action="append", required=True, metavar="NAME", help="these targets; the first is the base"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--secs", type=float, default=1, help="length of one load")
    parser.add_argument("--tests", default="json,sse", type=lambda text: text.split(","))
    parser.add_argument("--out", default=os.path.join(bench.PERF, "pairs.jsonl"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stack ends what was started
    logs = os.path.join(bench.PERF, "logs")
    os.makedirs(logs, exist_ok=True)
    bench.build()
    known = bench.read_targets(args.targets)
    targets = [known[name] for name in args.t]
    rows: list[bench.Row] = []
    loads = {"json": ("closed", {"c": 64, "d": args.secs}), "sse": ("stream", {"c": 32, "d": args.secs})}
    with open(args.out, "a") as out, open(bench.LOCK, "a") as lock, ExitStack() as stack:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            gateways = [start(target, place, stack, logs) for place, target in enumerate(targets)]
            for round_ in range(args.rounds):
                # Each comes first as often as the others.
                order = [(round_ + place) % len(targets) for place in range(len(targets))]
                for test in args.tests:
                    for place in order:
                        mode, flags = loads[test]
                        row = bench.measure(gateways[place], targets[place]["port"], targets[place], mode, flags)
                        row.update(target=targets[place]["name"], test=test, repeat=round_)
                        rows.append(row)
                        out.write(json.dumps(row) + "\n")
                        out.flush()
                print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr, flush=True)
        except bench.MeasurementFailed as problem:
            print(problem, file=sys.stderr)
            return 1
    print(tell(rows, args.t, args.tests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
