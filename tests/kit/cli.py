"""`farebox` as a test calls it: in this process on the store in force, or as a program of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("farebox")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: str, stdin: str = "") -> Ran:
    """One command in this process, as a terminal-less script would see it."""
    from farebox.cli.main import farebox

    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin, sys.argv
    sys.stdin, sys.argv = io.StringIO(stdin), ["farebox", *args]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                farebox.main(list(args), prog_name="farebox")
                code: Any = 0
            except SystemExit as ended:
                code = ended.code
    finally:
        sys.stdin, sys.argv = before
    return Ran(int(code or 0), out.getvalue(), err.getvalue())


def ok(*args: str, stdin: str = "") -> Any:
    """The JSON that a command prints; it must succeed."""
    ran = run(*args, "--json", stdin=stdin)
    assert ran.code == 0, f"{args}: {ran.err}{ran.out}"
    return ran.json


def refused(*args: str, stdin: str = "") -> str:
    """The sentence with which a command is refused."""
    ran = run(*args, stdin=stdin)
    assert ran.code == 1, (ran.code, ran.out, ran.err)
    assert ran.out == ""
    lines = ran.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("farebox: ")
    return lines[0].removeprefix("farebox: ")


def environment(**more: str) -> dict[str, str]:
    """The environment without options of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAREBOX_", "OPENAI_"))}
    return kept | more


def program(*args: str, env: dict[str, str], cwd: Path | None = None, stdin: str = "") -> Ran:
    """One command as a program."""
    done = subprocess.run(
        [PROGRAM, *args],
        env=environment(**env),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


async def with_store(job: Any, **more: Any) -> Any:
    """A job of the schedule, done once on a store port of its own."""
    from farebox.jobs import schedule
    from farebox.kit.db import Store

    store = Store()
    try:
        return await job(schedule.Context(store=store, **more))
    finally:
        await store.close()
