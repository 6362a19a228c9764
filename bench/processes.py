"""Start programs on one core with a weight of their own, stop them, and read what the kernel counted for them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NICE = int(os.environ.get("BENCH_NICE", "-15"))
GATEWAY_CPU = os.environ.get("BENCH_GW_CPU", "1")
LOAD_CPU = os.environ.get("BENCH_LOAD_CPU", "0")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
FILES_MAX = 65536


def own_session(nice: int = NICE) -> None:
    """Make a session and give it a weight; runs in the child.

    With autogroup scheduling, nice alone counts only inside one session.
    """
    os.setsid()
    with contextlib.suppress(OSError):
        os.nice(nice)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as weight:
        weight.write(str(nice))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))


def spawn(
    command: Sequence[str],
    cpu: str,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    log_path: str = os.devnull,
    nice: int = NICE,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, pinned to one core, its output appended to `log_path`."""
    with open(log_path, "ab") as log:
        return subprocess.Popen(
            ["taskset", "-c", cpu, *command],
            preexec_fn=lambda: own_session(nice),  # noqa: PLW1509  (there are no threads here)
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd=cwd,
        )


def spawn_piped(command: Sequence[str], cpu: str, nice: int = NICE) -> subprocess.Popen[str]:
    """Start a program as `spawn` does, to be talked to by its standard streams."""
    return subprocess.Popen(
        ["taskset", "-c", cpu, *command],
        preexec_fn=lambda: own_session(nice),  # noqa: PLW1509  (there are no threads here)
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(program: subprocess.Popen[bytes] | subprocess.Popen[str] | None, grace_s: float = 10) -> None:
    """End a program of `spawn` and all it started: SIGTERM, after `grace_s` SIGKILL."""
    if program is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)  # the group that own_session made
    try:
        program.wait(grace_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (proc(5): field 3 is index 0), None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            text = file.read()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """List a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    todo, found = [root], []
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def database_pids() -> list[int]:
    """List the processes of the database server whose pid file BENCH_DB_PIDFILE names (first line: pid)."""
    path = os.environ.get("BENCH_DB_PIDFILE")
    if not path or not os.path.exists(path):
        return []
    with open(path) as file:
        return tree(int(file.readline()))


@dataclass(frozen=True)
class Reading:
    """What the kernel has counted up to one moment."""

    at_s: float
    cpu_s: float
    """User + system time of the gateway's processes."""
    rss_mb: float
    """Resident memory of the gateway's processes, shared pages counted in each."""
    core_busy_s: float
    """Time that the gateway's core was not idle, whoever used it."""
    load_core_busy_s: float
    """The same of the load's core."""
    steal_s: float
    database_cpu_s: float


def _cpu_and_rss(pids: Sequence[int]) -> tuple[float, float]:
    ticks = pages = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return ticks / TICKS_A_SECOND, pages * PAGE_BYTES / 2**20


def read_counters(gateway: subprocess.Popen[bytes] | None, *, with_database: bool = False) -> Reading:
    """Read the counters of a gateway's processes, of its core and of the machine now."""
    busy: dict[str, int] = {}
    steal = 0
    with open("/proc/stat") as file:
        for line in file:
            name, *rest = line.split()
            if name.startswith("cpu"):
                ticks = [int(field) for field in rest[:8]]
                if name == "cpu":
                    steal = ticks[7]
                busy[name] = sum(ticks) - ticks[3] - ticks[4]
    cpu_s, rss_mb = _cpu_and_rss(tree(gateway.pid) if gateway else [])
    return Reading(
        at_s=time.monotonic(),
        cpu_s=cpu_s,
        rss_mb=rss_mb,
        core_busy_s=busy.get(f"cpu{GATEWAY_CPU}", 0) / TICKS_A_SECOND,
        load_core_busy_s=busy.get(f"cpu{LOAD_CPU}", 0) / TICKS_A_SECOND,
        steal_s=steal / TICKS_A_SECOND,
        database_cpu_s=_cpu_and_rss(database_pids())[0] if with_database else 0.0,
    )


def forget_peak(root: int) -> None:
    """Have the kernel count the most memory of a process and its descendants from now on (proc(5), clear_refs)."""
    for pid in tree(root):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")


def peak_mb(root: int) -> float:
    """The most resident memory that a process had, and its descendants had, since it was last forgotten."""
    kib = 0
    for pid in tree(root):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
            kib += sum(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    return kib / 1024
