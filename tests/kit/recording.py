"""A client in a process of its own that keeps a journal of what it saw, and knows nothing of the books.

Each call carries a number: as the first words of its text, which the upstream's journal keeps, and in `max_tokens`
(`FIRST` + number, more than any model can put out), which the record of the call keeps. So the three can be compared
also where the client never got an answer.

Journal, one JSON object a line: `{"n", "begin": true, "stream", "key", "plan"}` before a call is sent, and
`{"n", "call", "status", "code", "end", "error", "bytes", "text", "left", "named", "again", "at"}` after it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

FIRST = 10_000_000
PATH = "/v1/chat/completions"
_CALL = re.compile(r"call_[0-9A-Za-z]+")


class Client:
    """The client's process. `pause` returns once no call is under way, `go` lets it call again."""

    def __init__(self, journal: Path, **config: Any) -> None:
        self.journal = journal
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps({"journal": str(journal), **config})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self) -> None:
        self._say("go")

    def pause(self) -> None:
        self._say("pause")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == word + "\n", "the client has died"


class _Recorder:
    """What the callers share: the journal, the numbers, whether to call."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.going = threading.Event()
        self.state = threading.Condition()
        self.busy = 0
        self._file = os.open(config["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._numbers = iter(range(1, 2**40))
        self._lock = threading.Lock()

    def number(self) -> int:
        with self._lock:
            return next(self._numbers)

    def write(self, **line: Any) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")

    @contextlib.contextmanager
    def call(self) -> Any:
        """Within this a caller counts as busy; waits while the client pauses."""
        while True:
            self.going.wait()
            with self.state:
                if self.going.is_set():
                    self.busy += 1
                    break
        try:
            yield
        finally:
            with self.state:
                self.busy -= 1
                self.state.notify_all()

    def pause(self) -> None:
        with self.state:
            self.going.clear()
            self.state.wait_for(lambda: not self.busy)


def plan(rng: random.Random, *, stream: bool) -> tuple[str, int]:
    """What the upstream shall do, and after how many pieces the client leaves (0: never)."""
    pace = rng.choice((0, 0, 1, 3, 8))
    words = f"tokens={rng.randint(1, 40)}" + (f"+pace={pace}" if pace else "")
    dice = rng.random()
    if dice < 0.05:
        return f"{words}+cut={rng.randint(1, 8)}", 0
    if dice < 0.08:
        return "status=500", 0
    if dice < 0.10:
        return f"{words}+error-event={rng.randint(1, 4)}", 0
    if dice < 0.13:
        return f"{words}+no-usage", 0
    if dice < 0.16:
        return f"tokens={rng.randint(30, 60)}+pace=5", rng.randint(1, 6) if stream else 1
    if dice < 0.20:
        return f"bytes={rng.randint(50_000, 400_000)}" if not stream else f"tokens=200+pace={rng.choice((1, 2))}", 0
    if dice < 0.24 and not stream:
        return f"{words}+slow=0.{rng.randint(1, 3)}", 0
    return words, 0


class _Caller(threading.Thread):
    """One caller: one call after the other, on a connection that it keeps while that works."""

    def __init__(self, shared: _Recorder, seed: int) -> None:
        super().__init__(daemon=True)
        self.shared = shared
        self.rng = random.Random(seed)
        self.lines: dict[int, http.client.HTTPConnection] = {}

    def run(self) -> None:
        while True:
            with self.shared.call():
                key = f"once-{self.shared.number()}" if self.rng.random() < 0.25 else ""
                stream = self.rng.random() < 0.5
                # A key is tried again until its call has ended, as a careful program does.
                for _ in range(6 if key else 1):
                    if self._once(key, stream) not in {"again", "lost"}:
                        break
                    time.sleep(0.05)
            time.sleep(self.rng.choice((0.0, 0.0, 0.01)))

    def _once(self, key: str, stream: bool) -> str:
        number = self.shared.number()
        asked, leaves = plan(self.rng, stream=stream)
        self.shared.write(n=number, begin=True, stream=stream, key=key, plan=asked)
        seen: dict[str, Any] = {
            "n": number, "call": "", "status": 0, "code": "", "end": False, "error": False, "bytes": 0, "text": 0,
            "left": False, "named": "", "again": None,
        }  # fmt: skip
        port = self.rng.choice(self.shared.config["ports"])
        try:
            self._talk(port, self._body(number, asked, stream), key, seen, leaves)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            seen["fault"] = type(fault).__name__
            self._drop(port)
        self.shared.write(at=time.time(), **seen)
        if not seen["status"] and seen.get("fault") == "ConnectionRefusedError":
            time.sleep(0.03)
        if seen["status"] == 503:
            time.sleep(0.02)
        if seen["end"] or seen["left"] or seen["again"] == "false":
            return "done"
        return "lost" if not seen["status"] or seen["status"] == 200 else "again"

    def _body(self, number: int, asked: str, stream: bool) -> bytes:
        text = f"sandbox: {asked}\n{number} " + "word " * self.rng.randint(0, 40)
        body = {"model": self.shared.config["model"], "messages": [{"role": "user", "content": text}]}
        return json.dumps(body | {"stream": stream, "max_tokens": FIRST + number}).encode()

    def _talk(self, port: int, body: bytes, key: str, seen: dict[str, Any], leaves: int) -> None:
        line = self.lines.get(port)
        if line is None:
            line = self.lines[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": f"Bearer {self.shared.config['key']}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        line.request("POST", PATH, body, headers)
        if leaves and b'"stream": false' in body:
            time.sleep(leaves / 100)
            seen["left"] = True
            self._drop(port)
            return
        response = line.getresponse()
        seen["status"] = response.status
        seen["call"] = response.getheader("x-request-id") or ""
        seen["again"] = response.getheader("x-should-retry")
        seen["wait"] = response.getheader("retry-after")
        if "event-stream" in (response.getheader("content-type") or ""):
            self._read_stream(response, seen, leaves)
        else:
            self._read_json(response.read(), seen)
        if seen["left"] or response.will_close:
            self._drop(port)

    def _read_stream(self, response: http.client.HTTPResponse, seen: dict[str, Any], leaves: int) -> None:
        pieces = 0
        while line := response.readline():
            seen["bytes"] += len(line)
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]\n":
                seen["end"] = True
                continue
            event = json.loads(line[6:])
            if "error" in event:
                self._read_error(event["error"], seen)
                continue
            for choice in event["choices"]:
                seen["text"] += len((choice["delta"].get("content") or "").encode())
            pieces += 1
            if leaves and pieces >= leaves:
                seen["left"] = True
                return

    def _read_json(self, body: bytes, seen: dict[str, Any]) -> None:
        seen["bytes"] = len(body)
        answer = json.loads(body)
        if "error" in answer:
            self._read_error(answer["error"], seen)
            return
        seen["text"] = len(answer["choices"][0]["message"]["content"].encode())
        seen["end"] = bool(answer["usage"])

    @staticmethod
    def _read_error(error: dict[str, Any], seen: dict[str, Any]) -> None:
        seen["error"] = True
        seen["code"] = error["code"] or error["type"]
        if named := _CALL.search(error["message"]):
            seen["named"] = named.group()

    def _drop(self, port: int) -> None:
        line = self.lines.pop(port, None)
        if line is not None:
            line.close()


def main() -> None:
    """Call until standard input ends; `go` and `pause` are said back when they are done."""
    config = json.loads(sys.argv[1])
    shared = _Recorder(config)
    for number in range(config["callers"]):
        _Caller(shared, config["seed"] * 1000 + number).start()
    for word in sys.stdin:
        if word.strip() == "go":
            shared.going.set()
        else:
            shared.pause()
        print(word.strip(), flush=True)


if __name__ == "__main__":
    main()
