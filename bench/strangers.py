"""The p99 of calls while strangers hold what they may, beside the p99 without them.

Needs a Farebox that serves (`make run`), and a key: `source var/demo.env; python3 bench/strangers.py`. Each stranger opens a
connection, announces a form of 64 KiB to the page for signing in, sends 24 KiB of it and then somewhat more than a KiB a
second, so that nobody can call him slow, and never finishes. The strangers live in a process of their own, so that what they
cost is not measured as the calls' time. With `--server PID` the processor time of the server is shown as well, by call.
Standard library alone.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

FORM_BYTES = 64 * 1024
KEPT_BYTES = 40 * 1024  # of each form, sent slowly: half a minute
BYTES_PER_S = 1280  # somewhat more than the least that is no slowness, or a busy machine makes them slow
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--base", default=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"))
    ask.add_argument("--key", default=os.environ.get("OPENAI_API_KEY", ""))
    ask.add_argument("--model", default=os.environ.get("FAREBOX_ECHO_MODEL", "echo"))
    ask.add_argument("--server", type=int, default=0, help="the server's process, whose processor time is shown")
    ask.add_argument("--strangers", type=int, default=300)
    ask.add_argument("--calls", type=int, default=500)
    ask.add_argument("--callers", type=int, default=4)
    chosen = ask.parse_args()
    where = urlsplit(chosen.base)
    host, port = where.hostname or "127.0.0.1", where.port or 80
    measure("warm-up", chosen, host, port, calls=chosen.calls // 5)
    measure("alone", chosen, host, port, calls=chosen.calls)
    ours, theirs = multiprocessing.Pipe()
    crowd = multiprocessing.Process(target=feed, args=(theirs, host, port, chosen.strangers))
    crowd.start()
    ours.recv()  # all are there
    before_s = used_s(chosen.server)
    began = time.perf_counter()
    time.sleep(2)
    idle_s = (used_s(chosen.server) - before_s) / (time.perf_counter() - began)
    if chosen.server:
        print(f"strangers and no calls: the server uses {idle_s * 100:.1f} % of a processor")
    measure(f"with {chosen.strangers} strangers", chosen, host, port, calls=chosen.calls)
    if ours.poll():
        print("the strangers were at their end before the calls were: ask for fewer calls")
    else:
        ours.send("enough")
    held, cpu_s, lasted_s = ours.recv()
    crowd.join()
    print(
        f"{held} of the strangers' connections were open at the end; their process used {cpu_s:.2f} s of {lasted_s:.1f} s"
    )
    measure("alone again", chosen, host, port, calls=chosen.calls)


def feed(line_to_main: Connection, host: str, port: int, count: int) -> None:
    """The strangers: each sends so many bytes a second, until one byte is left or they are told to stop."""
    began = time.perf_counter()
    lines = [stranger(host, port) for _ in range(count)]
    line_to_main.send("there")
    sent, step, slow_from = [0] * count, 0, time.perf_counter()
    while min(sent) < KEPT_BYTES - 1 and not line_to_main.poll(0.05):
        due = min(KEPT_BYTES - 1, int((time.perf_counter() - slow_from) * BYTES_PER_S))
        for at in range(step % 10, count, 10):  # not all at one time
            with contextlib.suppress(OSError):  # refused: the count at the end says so
                lines[at].sendall(b"x" * (due - sent[at]))
            sent[at] = due
        step += 1
    held = sum(alive(line) for line in lines)
    line_to_main.send((held, time.process_time(), time.perf_counter() - began))
    for line in lines:
        line.close()


def stranger(host: str, port: int) -> socket.socket:
    line = socket.create_connection((host, port), timeout=10)
    head = (
        "POST /account/sign-in HTTP/1.1\r\nHost: shop\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Accept: text/html\r\nContent-Length: {FORM_BYTES}\r\n\r\n"
    )
    line.sendall(head.encode() + b"x" * (FORM_BYTES - KEPT_BYTES))
    return line


def alive(line: socket.socket) -> bool:
    """Whether the server has neither answered nor closed."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(line, selectors.EVENT_READ)
        return not waiting.select(0)


def used_s(pid: int) -> float:
    """The processor time that a process and those that it has started have used; 0 where none is named."""
    if not pid:
        return 0.0
    total = 0
    families = {pid}
    stats = [stat for path in Path("/proc").glob("[0-9]*/stat") if (stat := read_stat(path))]
    for own, parent, ticks in sorted(stats):
        if own in families or parent in families:
            families.add(own)
            total += ticks
    return total * TICK_S


def read_stat(path: Path) -> tuple[int, int, int] | None:
    """A process, its parent, and its ticks in user and system mode (proc(5))."""
    try:
        fields = path.read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return int(path.parent.name), int(fields[1]), int(fields[11]) + int(fields[12])


def measure(name: str, chosen: argparse.Namespace, host: str, port: int, *, calls: int) -> None:
    took: list[float] = []
    bad: list[int] = []
    body = json.dumps({"model": chosen.model, "messages": [{"role": "user", "content": "Hello"}]})
    headers = {"Authorization": f"Bearer {chosen.key}", "Content-Type": "application/json"}

    def caller() -> None:
        line = http.client.HTTPConnection(host, port, timeout=60)
        for _ in range(calls // chosen.callers):
            began = time.perf_counter()
            line.request("POST", "/v1/chat/completions", body, headers)
            answer = line.getresponse()
            answer.read()
            took.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                bad.append(answer.status)
        line.close()

    before_s, cpu_before_s, began = used_s(chosen.server), time.process_time(), time.perf_counter()
    threads = [threading.Thread(target=caller) for _ in range(chosen.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted_s, own_s = time.perf_counter() - began, time.process_time() - cpu_before_s
    server_ms = (used_s(chosen.server) - before_s) * 1000 / len(took)
    cuts = statistics.quantiles(took, n=100)
    print(
        f"{name}: {len(took)} calls in {lasted_s:.1f} s, p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, "
        f"refused {len(bad)} {sorted(set(bad))}; processor time a call: callers {own_s * 1000 / len(took):.2f} ms"
        + (f", server {server_ms:.2f} ms" if chosen.server else "")
        + f"; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
