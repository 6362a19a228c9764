"""`farebox serve` in a process of its own, to be killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

PROGRAM = """
import os, sys
from farebox.kit import options
from farebox.care import ready
ready.logs(); ready.store()
from farebox.site import serve
serve.run(options.current(), ready=lambda port: print(port, flush=True))
"""


class Serving:
    """`farebox serve` in a process of its own."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), f"the server did not start: {line!r}"
        self.port = int(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
