"""F38: a log that is full, slow or gone costs lines, and neither a wait nor an error."""

from __future__ import annotations

import fcntl
import io
import json
import os
import time
from pathlib import Path

import pytest

from farebox.care.logwriter import LogWriter
from kit.talk import PROMPTLY_S, wait_for

pytestmark = pytest.mark.fault("F38")


def test_lines_come_out_in_order():
    stream = io.StringIO()
    writer = LogWriter(stream)
    for number in range(500):
        assert writer.write(f"{number}\n") == len(f"{number}\n")
    writer.drain()
    assert stream.getvalue() == "".join(f"{number}\n" for number in range(500))
    assert writer.dropped == 0


def test_nobody_waits_for_a_full_pipe_and_what_is_lost_is_told():
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(write_end, "w") as stream:
        writer = LogWriter(stream, lines_max=10)
        line = "x" * 999 + "\n"
        since_s = time.monotonic()
        for _ in range(200):
            writer.write(line)
            time.sleep(0)
        assert time.monotonic() - since_s < PROMPTLY_S
        wait_for(lambda: writer.dropped > 150)
        got = b""
        while b"log.dropped" not in got or got.count(b"x\n") < 200 - writer.dropped:  # until there is room again
            got += os.read(read_end, 65_536)
        writer.write("after\n")
        while not got.endswith(b"after\n"):
            got += os.read(read_end, 65_536)
        writer.drain()
    os.close(read_end)
    lines = got.decode().splitlines()
    told = sum(json.loads(text)["lines"] for text in lines if "log.dropped" in text)
    assert told == writer.dropped
    assert lines.count("x" * 999) == 200 - writer.dropped


def test_a_stream_that_is_gone_costs_its_lines(tmp_path):
    path = tmp_path / "log"
    path.touch()
    with Path("/dev/full").open("w") as full, path.open("w") as closed:
        closed.close()
        for stream in (full, closed, None):
            writer = LogWriter(stream)
            for _ in range(3):
                writer.write("lost\n")
            wait_for(lambda writer=writer: writer.dropped == 3)
    assert path.read_text() == ""


def test_a_disk_that_has_room_again(tmp_path):
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    writer = LogWriter(disk)
    writer.write("one\n")
    wait_for(lambda: writer.dropped == 1)
    disk.full = False
    writer.write("two\n")
    writer.drain()
    assert disk.getvalue() == 'two\n{"event": "log.dropped", "lines": 1, "level": "warning"}\n'
