"""The p99 of calls while strangers hold what they may, beside the p99 without them.

Needs a Farebox that serves (`make run`), and a key: `source var/demo.env; python3 bench/strangers.py`. Each stranger opens a
connection, announces a form of 64 KiB to the page for signing in, sends all but its last byte, a KiB a second at the end
so that nobody can call him slow, and never finishes. Standard library alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import threading
import time
from urllib.parse import urlsplit

FORM_BYTES = 64 * 1024
KEPT_BYTES = 24 * 1024  # of each form, sent slowly: 24 seconds


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--base", default=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"))
    ask.add_argument("--key", default=os.environ.get("OPENAI_API_KEY", ""))
    ask.add_argument("--model", default=os.environ.get("FAREBOX_ECHO_MODEL", "echo"))
    ask.add_argument("--strangers", type=int, default=300)
    ask.add_argument("--calls", type=int, default=500)
    ask.add_argument("--callers", type=int, default=4)
    chosen = ask.parse_args()
    where = urlsplit(chosen.base)
    host, port = where.hostname or "127.0.0.1", where.port or 80
    measure("warm-up", chosen, host, port, calls=chosen.calls // 5)
    measure("alone", chosen, host, port, calls=chosen.calls)
    lines = [stranger(host, port) for _ in range(chosen.strangers)]
    stop = threading.Event()
    feeder = threading.Thread(target=feed, args=(lines, stop))
    feeder.start()
    measure(f"with {chosen.strangers} strangers", chosen, host, port, calls=chosen.calls)
    stop.set()
    feeder.join()
    held = sum(alive(line) for line in lines)
    print(f"{held} of the strangers' connections were open at the end")
    for line in lines:
        line.close()
    measure("alone again", chosen, host, port, calls=chosen.calls)


def stranger(host: str, port: int) -> socket.socket:
    line = socket.create_connection((host, port), timeout=10)
    head = (
        "POST /account/sign-in HTTP/1.1\r\nHost: shop\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Accept: text/html\r\nContent-Length: {FORM_BYTES}\r\n\r\n"
    )
    line.sendall(head.encode() + b"x" * (FORM_BYTES - KEPT_BYTES))
    return line


def feed(lines: list[socket.socket], stop: threading.Event) -> None:
    """A KiB a second for each, until one byte is left or they are told to stop."""
    for _ in range(KEPT_BYTES // 1024 - 1):
        for line in lines:
            try:
                line.sendall(b"x" * 1024)
            except OSError:
                continue
        if stop.wait(1):
            return


def alive(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return line.recv(1) != b"" and False
    except BlockingIOError:
        return True
    except OSError:
        return False


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

    threads = [threading.Thread(target=caller) for _ in range(chosen.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(took, n=100)
    print(
        f"{name}: {len(took)} calls, p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, refused {len(bad)} {sorted(set(bad))}"
    )


if __name__ == "__main__":
    main()
