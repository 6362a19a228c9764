#!/usr/bin/env python3
"""Measure one or more LLM gateways the same way. Standard library only; README.md says how and why.

bench.py TARGETS.toml [-t NAME ...] [--tests idle,json,lat,sse,paced] [--repeat 3] [--out results.jsonl]
bench.py --table results.jsonl [more.jsonl ...]
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import ExitStack
from typing import Any, TextIO

import processes
import summary

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.environ.get("PROJECT", os.path.dirname(HERE))
PERF = os.environ.get("PERF", os.path.join(PROJECT, "var", "perf"))
BIN = os.environ.get("BENCH_BIN", os.path.join(PERF, "bin"))
# Not under PERF: two copies of the project on one machine must not measure at the same time.
LOCK = os.environ.get("BENCH_LOCK", os.path.join(tempfile.gettempdir(), "bench.lock"))
RAMP_S = 1.3
"""Streams start spread over one second; until this moment a paced test is not yet at its full rate."""

Target = dict[str, Any]
Row = dict[str, Any]


class MeasurementFailed(Exception):
    """A target did not start, did not answer, or the load program gave up."""


def build() -> None:
    """Compile the mock upstream and the load program if their sources are newer."""
    os.makedirs(BIN, exist_ok=True)
    for name in ("mock", "load"):
        source, program = os.path.join(HERE, "src", f"{name}.c"), os.path.join(BIN, name)
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            subprocess.run(["cc", "-O2", "-Wno-format-overflow", "-o", program, source], check=True)


def refuse_strangers(target: Target) -> None:
    """Raise MeasurementFailed if something listens on a port of the target already: it would be measured instead."""
    for port in (target["port"], target["upstream_port"]):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise MeasurementFailed(f"port {port} is in use by another program")


def wait_until_ready(port: int, target: Target, gateway: subprocess.Popen[bytes] | None, wait_s: float) -> None:
    """Return when one call is answered with 200 and a usage; MeasurementFailed if it exits or takes too long."""
    body = {"model": target["model"], "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    headers = {"Authorization": f"Bearer {target['key']}", "Content-Type": "application/json"}
    headers.update(header.split(": ", 1) for header in target["headers"])
    last: object = None
    ends_s = time.monotonic() + wait_s
    while time.monotonic() < ends_s:
        if gateway and gateway.poll() is not None:
            raise MeasurementFailed(f"it exited with {gateway.returncode} before it was ready")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            client.request("POST", target["path"], json.dumps(body), headers)
            answer = client.getresponse()
            data = answer.read()
            if answer.status == 200 and b'"usage"' in data:
                return
            last = (answer.status, data[:300])
        except (OSError, http.client.HTTPException) as problem:
            last = problem
        finally:
            client.close()
        time.sleep(0.1)
    raise MeasurementFailed(f"not ready after {wait_s:.0f} s: {last}")


def start_load(port: int, target: Target, mode: str, flags: dict[str, float]) -> subprocess.Popen[str]:
    """Start the load program; `flags` are its one-letter options."""
    command = [os.path.join(BIN, "load"), "-p", str(port), "-m", mode]
    command += ["-k", target["key"], "-M", target["model"], "-u", target["path"]]
    for header in target["headers"]:
        command += ["-H", header]
    for flag, value in flags.items():
        command += [f"-{flag}", str(value)]
    return processes.spawn_piped(command, processes.LOAD_CPU)


def finish_load(program: subprocess.Popen[str]) -> Row:
    """Wait for the load program and return the numbers it printed."""
    out, problems = program.communicate()
    if program.returncode:
        raise MeasurementFailed(f"load program: {problems.strip()}")
    if problems:
        print(problems.strip(), file=sys.stderr)
    row: Row = json.loads(out)
    return row


def settle(gateway: subprocess.Popen[bytes] | None, wait_s: float = 3) -> None:
    """Let a gateway finish what the last load left it (streams that were cut), so that no test pays for another's."""
    ends_s = time.monotonic() + wait_s
    while gateway and time.monotonic() < ends_s:
        before = processes.read_counters(gateway)
        time.sleep(0.25)
        if processes.read_counters(gateway).cpu_s - before.cpu_s <= 0.02:
            return


def measure(
    gateway: subprocess.Popen[bytes] | None,
    port: int,
    target: Target,
    mode: str,
    flags: dict[str, float],
    window_s: tuple[float, float] | None = None,
) -> Row:
    """Run one load and return its numbers with the processor time and memory of the gateway beside them.

    `window_s`: seconds after the start between which `gw_util`, `core_foreign` and `rss_mb` are taken; whole run without.
    """
    settle(gateway)
    first = processes.read_counters(gateway, with_database=target["db"])
    program = start_load(port, target, mode, flags)
    from_, to = first, None
    if window_s:
        time.sleep(window_s[0])
        from_ = processes.read_counters(gateway)
        time.sleep(window_s[1] - window_s[0])
        to = processes.read_counters(gateway)
    row = finish_load(program)
    last = processes.read_counters(gateway, with_database=target["db"])
    to = to or last
    took_s, used_s = to.at_s - from_.at_s, to.cpu_s - from_.cpu_s
    row["gw_cpu_s"] = round(last.cpu_s - first.cpu_s, 3)
    row["gw_util"] = round(used_s / took_s, 4)
    row["core_foreign"] = round(max(0.0, to.core_busy_s - from_.core_busy_s - used_s) / took_s, 4)
    row["rss_mb"] = round(to.rss_mb, 1)
    row["load1"] = round(os.getloadavg()[0], 1)
    row["steal_s"] = round(last.steal_s - first.steal_s, 3)
    if row["reqs"]:
        row["us_per_req"] = round((last.cpu_s - first.cpu_s) * 1e6 / row["reqs"], 2)
        if target["db"]:
            row["db_us_per_req"] = round((last.database_cpu_s - first.database_cpu_s) * 1e6 / row["reqs"], 2)
    if row["chunks"]:
        row["us_per_chunk"] = round((last.cpu_s - first.cpu_s) * 1e6 / row["chunks"], 2)
    return row


def measure_idle(gateway: subprocess.Popen[bytes] | None) -> Row:
    """Memory and processor time of a gateway that has just answered its first call and has nothing to do."""
    time.sleep(0.5)
    first = processes.read_counters(gateway)
    time.sleep(1)
    last = processes.read_counters(gateway)
    took_s, used_s = last.at_s - first.at_s, last.cpu_s - first.cpu_s
    foreign_s = max(0.0, last.core_busy_s - first.core_busy_s - used_s)
    return {
        "conns": 0,
        "reqs": 0,
        "gw_util": round(used_s / took_s, 4),
        "rss_mb": round(last.rss_mb, 1),
        "core_foreign": round(foreign_s / took_s, 4),
        "load1": round(os.getloadavg()[0], 1),
        "steal_s": round(last.steal_s - first.steal_s, 3),
    }


def run_test(
    name: str, gateway: subprocess.Popen[bytes] | None, port: int, target: Target, args: argparse.Namespace
) -> list[Row]:
    """Run one test of the list and return its rows (`paced`: one for each number of streams)."""
    if name == "idle":
        return [measure_idle(gateway)]
    if name == "json":
        return [measure(gateway, port, target, "closed", {"c": args.conns, "d": args.secs})]
    if name == "lat":
        rate = target.get("rps", args.rps)
        row = measure(gateway, port, target, "rate", {"c": 64, "d": args.secs, "r": rate})
        return [row | {"rate_asked": rate}]
    if name == "sse":
        return [measure(gateway, port, target, "stream", {"c": 32, "d": args.secs})]
    if name.startswith("body"):
        flags = {"c": args.conns, "d": args.secs, "b": int(name[4:])}
        return [measure(gateway, port, target, "closed", flags)]
    rows = []
    for streams in target.get("streams", args.streams):
        secs = args.secs + 1
        flags = {"c": streams, "d": secs, "s": summary.PACE_MS, "w": RAMP_S}
        rows.append(measure(gateway, port, target, "stream", flags, window_s=(RAMP_S, secs - 0.1)))
        if rows[-1]["gw_util"] > 0.93:
            break
    return rows


def start_gateway(target: Target, log_path: str) -> subprocess.Popen[bytes] | None:
    """Start what the target's `start` says with PORT, UP_PORT, BENCH, PROJECT, PERF and its key in the environment."""
    if not target.get("start"):
        return None
    env = dict(os.environ, BENCH=HERE, PROJECT=PROJECT, PERF=PERF, BENCH_KEY=target["key"])
    env.update(BENCH_MODEL=target["model"], PORT=str(target["port"]), UP_PORT=str(target["upstream_port"]))
    env.update({name: str(value) for name, value in target.get("env", {}).items()})
    command = shlex.split(target["start"].format(port=target["port"], upstream_port=target["upstream_port"]))
    return processes.spawn(command, processes.GATEWAY_CPU, env, target.get("cwd"), log_path)


def serve(stack: ExitStack, target: Target, log_path: str) -> subprocess.Popen[bytes]:
    """Start a gateway and return once it is ready; `stack` ends it. MeasurementFailed says where its output is."""
    gateway = start_gateway(target, log_path)
    if gateway is None:
        raise MeasurementFailed(f"{target['name']}: nothing to start")
    stack.callback(processes.stop, gateway)
    try:
        wait_until_ready(target["port"], target, gateway, wait_s=120)
    except MeasurementFailed as problem:
        raise MeasurementFailed(f"{target['name']}: {problem} (its output: {log_path})") from problem
    return gateway


def run_target(target: Target, repeat: int, args: argparse.Namespace, out: TextIO) -> None:
    """Start mock and gateway, run every test, write one JSON line each, and end both whatever happens."""
    log_path = os.path.join(args.logs, f"{target['name']}.log")
    port = target["port"] if target.get("start") else target["upstream_port"]
    mock = gateway = None
    try:
        refuse_strangers(target)
        mock = processes.spawn([os.path.join(BIN, "mock"), str(target["upstream_port"])], processes.LOAD_CPU)
        gateway = start_gateway(target, log_path)
        wait_until_ready(port, target, gateway, args.wait)
        warm = False
        for name in args.tests:
            if name != "idle" and not warm:
                finish_load(start_load(port, target, "closed", {"c": 16, "d": args.warm}))
                warm = True
            for row in run_test(name, gateway, port, target, args):
                row.update(target=target["name"], test=name, repeat=repeat, run=args.run)
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(summary.line(row), flush=True)
    except MeasurementFailed as problem:
        raise MeasurementFailed(f"{target['name']}: {problem} (its output: {log_path})") from problem
    finally:
        processes.stop(gateway)
        processes.stop(mock)


def read_targets(paths: list[str]) -> dict[str, Target]:
    """Read target files and fill in what a target leaves out."""
    targets: dict[str, Target] = {}
    for path in paths:
        with open(path, "rb") as file:
            found = tomllib.load(file)
        for name, given in found.items():
            target: Target = {
                "key": "sk-test",
                "model": "gpt-4o-mini",
                "path": "/v1/chat/completions",
                "headers": [],
            }
            target |= {"port": 9200, "upstream_port": 9101, "db": False} | given | {"name": name}
            for place in ("port", "upstream_port"):
                target[place] = int(os.environ.get(f"BENCH_{place.upper()}") or target[place])
            up = target["upstream_port"]
            target["headers"] = [header.format(upstream_port=up) for header in target["headers"]]
            targets[name] = target
    return targets


def read_arguments() -> argparse.Namespace:
    """Read the command line; lists are split, folders made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", help="target files; with --table, result files")
    parser.add_argument("-t", action="append", metavar="NAME", help="only these targets, in this order")
    parser.add_argument("--tests", default="idle,json,lat,sse,paced", type=lambda text: text.split(","))
    parser.add_argument("--repeat", type=int, default=3, help="whole list again, interleaved")
    parser.add_argument("--secs", type=float, default=4, help="length of one load")
    parser.add_argument("--warm", type=float, default=1, help="seconds of load before the first test")
    parser.add_argument("--wait", type=float, default=120, help="seconds a gateway has to answer its first call")
    parser.add_argument("--conns", type=int, default=64, help="connections of the closed loop")
    parser.add_argument("--rps", type=float, default=500, help="rate of `lat` where the target has none of its own")
    parser.add_argument("--streams", default="100,200,500,1000", help="numbers of streams for `paced`")
    parser.add_argument("--out", default=os.path.join(PERF, "results.jsonl"))
    parser.add_argument("--logs", default=os.path.join(PERF, "logs"))
    parser.add_argument("--table", action="store_true", help="print the tables of result files")
    args = parser.parse_args()
    args.streams = [int(text) for text in args.streams.split(",")]
    args.run = f"{time.time():.0f}"
    for name in args.tests:
        if name not in {"idle", "json", "lat", "sse", "paced"} and not (name[:4] == "body" and name[4:].isdigit()):
            parser.error(f"unknown test {name}")
    return args


def main() -> int:
    """Measure, or print tables; 1 if a target could not be measured."""
    args = read_arguments()
    if args.table:
        print(summary.tables(args.targets))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` ends what was started
    os.makedirs(args.logs, exist_ok=True)
    build()
    targets = read_targets(args.targets)
    names = args.t or list(targets)
    if unknown := [name for name in names if name not in targets]:
        print(f"no such target: {', '.join(unknown)}", file=sys.stderr)
        return 2
    failed: set[str] = set()
    with open(args.out, "a") as out, open(LOCK, "a") as lock:
        for repeat in range(args.repeat):
            for name in names:
                if name in failed:
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    run_target(targets[name], repeat, args, out)
                except MeasurementFailed as problem:
                    failed.add(name)
                    print(problem, file=sys.stderr)
                finally:
                    fcntl.flock(lock, fcntl.LOCK_UN)
                time.sleep(0.3)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
