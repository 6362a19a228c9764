"""A process that has imported everything, and forks a serving process on demand: a start costs a tenth of a second.

The child does what `farebox serve` does, under a pid of its own. The nursery has no threads and no open database.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


class Child:
    """A serving process. `port` is 0 until it listens; `status` is None until it has ended, else as waitpid says it."""

    def __init__(self, nursery: Nursery, pid: int, failpoint: str) -> None:
        self.pid = pid
        self.failpoint = failpoint
        self.port = 0
        self.status: int | None = None
        self.killed = False  # by us, not at a failpoint
        self.started_s = time.monotonic()
        self._nursery = nursery

    @property
    def alive(self) -> bool:
        return self.status is None

    @property
    def hit(self) -> bool:
        """Whether the failpoint killed it."""
        return self.status is not None and os.WIFSIGNALED(self.status) and not self.killed

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def wait_ready(self, timeout_s: float = 30) -> bool:
        """Whether it listens now; False if it has died before."""
        self._nursery.wait(lambda: self.port or self.status is not None, timeout_s, "a server neither listens nor ends")
        return self.status is None

    def wait_ended(self, timeout_s: float) -> bool:
        """Whether it ended within so many seconds."""
        return self._nursery.wait(lambda: self.status is not None, timeout_s)

    def signal(self, number: int) -> None:
        # The nursery reaps what has ended, and says so later: a pid may be gone by now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, unless it has ended by itself; returns once it is gone."""
        with self._nursery.heard:
            if self.status is not None:
                return
            self.killed = True
        self.signal(signal.SIGKILL)
        assert self.wait_ended(10), "a killed process did not end"

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        assert self.wait_ended(timeout_s), "a server did not end on SIGTERM"
        assert self.code is not None
        return self.code


class Nursery:
    """The parent of serving processes on one store. `log` takes what they write to standard error."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        self.heard = threading.Condition()
        self._children: dict[int, Child] = {}
        self._forked: list[int] = []
        with log.open("ab") as err:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env={**os.environ, **environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def start(self, failpoint: str = "", **changes: str) -> Child:
        """Fork a serving process; `changes` are environment variables, `failpoint` is armed as failpoints.from_text."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"failpoint": failpoint, "environ": changes}) + "\n")
        self._process.stdin.flush()
        with self.heard:
            assert self.heard.wait_for(lambda: self._forked or self._gone, 30), "the nursery does not answer"
            assert self._forked, f"the nursery has died:\n{self.said}"
            pid = self._forked.pop(0)
            child = self._children[pid]
            child.failpoint = failpoint
            return child

    def wait(self, condition: Any, timeout_s: float, complaint: str = "") -> bool:
        """Wait for something that the nursery tells; what it last was. AssertionError with the complaint, if any."""
        with self.heard:
            done = bool(self.heard.wait_for(condition, timeout_s))
        assert done or not complaint, f"{complaint}\n{self.said}"
        return done

    @property
    def said(self) -> str:
        """The end of what the processes wrote to standard error."""
        return self.log.read_text(errors="replace")[-4000:]

    def close(self) -> None:
        """End the nursery; its children are killed with it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()

    @property
    def _gone(self) -> bool:
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            with self.heard:
                if "forked" in line:
                    self._children[line["forked"]] = Child(self, line["forked"], "")
                    self._forked.append(line["forked"])
                elif "port" in line:
                    self._children[line["pid"]].port = line["port"]
                else:
                    self._children.pop(line["ended"]).status = line["status"]
                self.heard.notify_all()
        with self.heard:
            self.heard.notify_all()


def _tell(**line: int) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")  # short enough to be written in one piece


def _serve(order: dict[str, Any], sockets: list[int]) -> None:
    """What `farebox serve` does, in a child that has just been forked."""
    from farebox.care import ready
    from farebox.kit import failpoints, options
    from farebox.site import serve

    for number in sockets:
        os.close(number)
    os.environ.update(order["environ"])
    options.use(options.read())
    if order["failpoint"]:
        failpoints.arm(failpoints.from_text(order["failpoint"]))
    ready.logs()
    ready.store()
    pid = os.getpid()
    serve.run(options.current(), ready=lambda port: _tell(pid=pid, port=port))


def _fork(order: dict[str, Any], sockets: list[int]) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        _tell(forked=pid)
        return pid
    code = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() == nursery:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            faulthandler.register(signal.SIGUSR1)  # says where it hangs, if it does
            _serve(order, sockets)
            code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap(living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        living.discard(pid)
        _tell(ended=pid, status=status)


def main() -> None:
    """Fork on each line of standard input until its end; tell of each child that it was made, listens, has ended."""
    from farebox.care import ready

    ready.django()
    from django.db.migrations.loader import MigrationLoader

    from farebox.calls import retention  # noqa: F401
    from farebox.protocol import kinds  # noqa: F401
    from farebox.site import serve  # noqa: F401

    MigrationLoader(None)  # imports all migrations, which each start compares with the store

    told, tells = os.pipe()
    os.set_blocking(told, False)
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: set[int] = set()
    orders = b""
    while True:
        readable, _, _ = select.select([0, told], [], [])
        if told in readable:
            os.read(told, 4096)
        if 0 in readable:
            piece = os.read(0, 65_536)
            if not piece:
                break
            *lines, orders = (orders + piece).split(b"\n")
            for line in lines:
                living.add(_fork(json.loads(line), [told, tells]))
        _reap(living)
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
