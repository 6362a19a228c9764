"""Pages are imported when the first of them is asked for, off the event loop; the office's only for the office.

The driver of PostgreSQL is not imported on SQLite.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, http.client, json, sys, threading
from farebox.kit import options
from farebox.care import ready
ready.logs(); ready.store()
from farebox.site.serve import Server

importers = {}

class Finder:
    def find_spec(self, name, path=None, target=None):
        importers.setdefault(name, threading.current_thread().name)

sys.meta_path.insert(0, Finder())

async def main():
    server = Server(options.current())
    await server.start()

    def get(path):
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        line.request("GET", path, headers={"Accept": "text/html"})
        return line.getresponse().status

    seen = []
    for path in (None, "/", "/office/sign-in"):
        status = await asyncio.to_thread(get, path) if path else 0
        seen.append([status, "farebox.console.urls" in sys.modules, "farebox.office.urls" in sys.modules])
    await server.stop()
    threads = [importers[name] for name in ("farebox.console.urls", "farebox.office.urls")]
    print(json.dumps([seen, threads, "psycopg" in sys.modules]))

asyncio.run(main())
"""


@pytest.mark.slow
def test_pages_are_imported_when_they_are_asked_for_and_not_on_the_event_loop(ready_instance):
    environ = {**os.environ, **ready_instance.environ, "FAREBOX_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    seen, threads, postgresql = json.loads(done.stdout.splitlines()[-1])
    assert seen == [[0, False, False], [200, True, False], [200, True, True]]
    assert all(name.startswith("pages") for name in threads), threads
    assert not postgresql, "a process on SQLite pays for the other driver"
