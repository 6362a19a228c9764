"""A scratch shop: a temporary data folder, processes of the program itself, a sandbox upstream, a client over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from farebox import sandbox as sandboxes
from farebox.kit.errors import CommandError

from . import inside

START_S = 30
PACE_MS = 20
STOP_S = 20
COMMAND_S = 120
CALL_S = 20
_SERVES_ON = re.compile(r"serves on http://127\.0\.0\.1:(\d+)")
# A lease that ends at once and no grace: what a dead process held is free again within a second, on PostgreSQL too.
_HASTE = {
    "FAREBOX_LOG_LEVEL": "error",
    "FAREBOX_PORT": "0",
    "FAREBOX_DRAIN_S": "5",
    "FAREBOX_HOLD_GRACE_S": "0",
    "FAREBOX_LEASE_BEAT_MS": "50",
    "FAREBOX_LEASE_BEATS_MISSED": "5",
    "FAREBOX_STORE_WAIT_MS": "10000",
}


class Serving:
    """`farebox serve` on the scratch store, in a process of its own; `port` is where it listens."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "farebox.cli.main", "serve"],
            env=dict(environment),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the self-test, which stops it
        )
        self.port = self._port()

    def kill(self) -> None:
        """Kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """Order it to stop, wait, and give its exit code; twice is once."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._ended()

    def _ended(self) -> int:
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _port(self) -> int:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline().decode() if selector.select(START_S) else ""
        found = _SERVES_ON.search(line)
        if found is None:
            self.stop()
            raise CommandError("The scratch server did not start. `farebox serve` on a store of its own may say why.")
        return int(found[1])


class Scratch:
    """The scratch store while it exists; `keys` are those of its two accounts, `race` and `load`."""

    def __init__(self, folder: Path, database: str, sandbox: str) -> None:
        self.folder = folder
        self.data = folder / "var"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FAREBOX_", "OPENAI_", "DJANGO_"))
        }
        self.environment = kept | _HASTE | {"FAREBOX_DATA_DIR": str(self.data), "FAREBOX_DATABASE": database}
        made = self.inside("fill", sandbox)
        self.keys = {name: str(customer["key"]) for name, customer in made.items()}

    def inside(self, *words: str) -> dict[str, Any]:
        """What `inside` says to these words, in a process of its own."""
        ran = self._ran("farebox.care.selftest.inside", *words)
        if ran.returncode:
            raise CommandError(
                ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else "The scratch store failed."
            )
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    def farebox(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the program on the scratch store."""
        return self._ran("farebox.cli.main", *words, **environment)

    def serve(self) -> Serving:
        """Start the server; CommandError if it does not come up."""
        return Serving(self.environment, self.folder)

    def _ran(self, module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program under our own interpreter
            [sys.executable, "-m", module, *words],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )


@contextlib.contextmanager
def opened(database: str = "") -> Iterator[Scratch]:
    """A filled scratch shop; its folder is gone afterwards. `database` is an empty PostgreSQL database, or SQLite."""
    with (
        tempfile.TemporaryDirectory(prefix="farebox-selftest-") as made,
        sandboxes.in_thread(pace_ms=PACE_MS) as sandbox,
    ):
        yield Scratch(Path(made), database, sandbox)


def post(port: int, key: str, said: str, *, stream: bool = False) -> tuple[int, str, bool, str]:
    """One chat: (status, call id, whether the end was seen, error code); OSError or HTTPException where it breaks."""
    body = {
        "model": inside.MODEL,
        "max_tokens": inside.LIMIT_TOKENS,
        "stream": stream,
        "messages": [{"role": "user", "content": said}],
    }
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S)) as line:
        line.request("POST", "/v1/chat/completions", json.dumps(body), _head(key))
        response = line.getresponse()
        data = response.read()
        call = response.getheader("x-request-id") or ""
    if response.status != 200:
        return response.status, call, False, str(json.loads(data)["error"]["code"])
    whole = data.endswith(b"data: [DONE]\n\n") if stream else bool(json.loads(data).get("usage"))
    return 200, call, whole, ""


def balance(port: int, key: str) -> dict[str, Any]:
    """What the API says of the account's balance, in micro-units."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S)) as line:
        line.request("GET", "/v1/balance", headers=_head(key))
        found: dict[str, Any] = json.loads(line.getresponse().read())
    return found


def held(port: int, key: str, *, within_s: float, something: bool) -> bool:
    """Wait until the account holds something, or nothing; whether that came within the time."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            if (balance(port, key)["held_micro"] > 0) is something:
                return True
        time.sleep(0.02)
    return False


def _head(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
