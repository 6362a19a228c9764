"""The demo's small model is started again when it ends by itself, and not for ever."""

from __future__ import annotations

import subprocess
import sys
import time

from farebox.demo import smallmodel


def test_it_is_started_again_and_not_for_ever(tmp_path, monkeypatch):
    started: list[subprocess.Popen[bytes]] = []

    def start(port, log):
        started.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))
        return started[-1]

    monkeypatch.setattr(smallmodel, "_start", start)
    monkeypatch.setattr(smallmodel, "_LOOK_S", 0.01)
    said: list[str] = []
    model = smallmodel.SmallModel(start(1, tmp_path), 1, tmp_path / "log")
    model.keep(said.append)
    deadline_s = time.monotonic() + 60
    while len(said) <= smallmodel.RESTARTS_MAX and time.monotonic() < deadline_s:
        started[-1].kill()
        time.sleep(0.02)
    model.stop()
    assert len(started) == smallmodel.RESTARTS_MAX + 1
    assert [("stays down" in words) for words in said] == [False] * smallmodel.RESTARTS_MAX + [True]
    for child in started:
        child.wait(10)
        child.stdin.close()
