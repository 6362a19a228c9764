"""What a command makes ready: log lines without secrets, files for their owner alone, options that are refused."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest

from farebox.care import ready
from farebox.kit import options
from kit import cli

KEY = "sk-FBX1abcdefghijklmnopqrstuvwxyz"

LOGGING = f"""
import asyncio, gc, logging, warnings
from farebox.care import ready
ready.logs()
logging.getLogger("django").error("Bearer %s", "{KEY}")
logging.getLogger("asyncio").error("odd %d", "{KEY}")
logging.getLogger("x").info("quiet {KEY}")
warnings.warn("password={KEY}")
async def main():
    async def fails():
        raise RuntimeError("key {KEY}\\nsecond line")
    task = asyncio.get_running_loop().create_task(fails())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
asyncio.run(main())
import structlog
structlog.get_logger().error("ours {KEY}")
"""


@pytest.mark.slow
def test_log_lines_of_the_standard_library_are_json_without_secrets(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", LOGGING],
        env=cli.environment(FAREBOX_DATA_DIR=str(tmp_path), FAREBOX_LOG_LEVEL="warning"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "abcdefghijklm" not in ran.stderr
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line.get("logger") for line in lines] == ["django", "asyncio", "py.warnings", "asyncio", None]
    assert all(line["level"] in {"error", "warning"} and line["timestamp"].endswith("Z") for line in lines)
    assert lines[0]["event"] == "Bearer [redacted]"
    assert lines[1]["event"] == "odd %d"
    assert "Task exception was never retrieved" in lines[3]["event"]
    assert "RuntimeError: key [redacted]" in lines[3]["exception"]


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.slow
def test_what_commands_make_is_its_owners_alone(tmp_path):
    data = tmp_path / "deep" / "data"
    ran = cli.program("migrate", env={"FAREBOX_DATA_DIR": str(data)})
    assert (ran.code, ran.err) == (0, "")
    assert cli.program("backup", str(tmp_path / "copy.db"), env={"FAREBOX_DATA_DIR": str(data)}).code == 0
    for path in (data.parent, data, data / "keys"):
        assert mode(path) == 0o700, path
    for path in (data / "farebox.db", tmp_path / "copy.db", data / "keys" / "pepper"):
        assert mode(path) & 0o077 == 0, path
    # Wider modes are warned of in one line, and not refused.
    data.chmod(0o755)
    (data / "keys" / "master").chmod(0o444)
    ran = cli.program("migrate", env={"FAREBOX_DATA_DIR": str(data)})
    assert ran.code == 0
    (line,) = ran.err.splitlines()
    assert line.startswith("farebox: warning: ")
    assert "mode 0755): chmod 700" in line
    assert "master is open to others on this machine (mode 0444): chmod 400" in line
    assert "pepper" not in line
    assert mode(data) == 0o755


@pytest.mark.store
def test_on_any_store_the_modes_are_looked_at(instance, capsys):
    instance.data.chmod(0o700)
    for path in instance.data.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert ready.modes() == []
    options.current().pepper.chmod(0o640)
    ready.warn_of_modes()
    assert "pepper is open to others" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("value", ["10.0.0.1/8", "proxy", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "::1/200"])
def test_trusted_proxies_that_are_none_are_one_sentence(tmp_path, value):
    for command in ("options", "serve"):
        env = {"FAREBOX_DATA_DIR": str(tmp_path), "FAREBOX_TRUSTED_PROXIES": f"127.0.0.1, {value}"}
        ran = cli.program(command, env=env)
        assert ran.code == 1
        (line,) = ran.err.splitlines()
        assert line.startswith("farebox: trusted_proxies: ")
        assert repr(value) in line
    ran = cli.program("options", env={"FAREBOX_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1, fd00::/8"}, cwd=tmp_path)
    assert ran.code == 0


def test_the_reception_refuses_them_too(tmp_path):
    from farebox.gateway.http.wire import Reception
    from farebox.kit.errors import CommandError

    given = options.read({"FAREBOX_DATA_DIR": str(tmp_path), "FAREBOX_TRUSTED_PROXIES": "here"})
    with pytest.raises(CommandError, match="proxy.address"):
        Reception(None, options=given, clock=None, ids=None)


@pytest.mark.store
def test_refusals_are_shown(ready_instance):
    from farebox.calls import log
    from farebox.kit import db

    ada = cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")["id"]
    assert "No request was refused" in cli.run("usage", "--refusals").out
    counts = {
        ("2026-11-24", "", "invalid_api_key"): 3,
        ("2026-11-25", ada, "insufficient_quota"): 7,
        ("2026-11-26", ada, ""): 1,
    }
    db.write(log.add_refusals, counts)
    rows = cli.ok("usage", "--refusals")
    assert [(row["day"], row["account"], row["code"], row["refusals"]) for row in rows] == [
        (*key, number) for key, number in counts.items()
    ]
    assert [row["refusals"] for row in cli.ok("usage", "--refusals", "--account", "Ada")] == [7, 1]
    assert [
        row["refusals"] for row in cli.ok("usage", "--refusals", "--from", "2026-11-25", "--until", "2026-11-25")
    ] == [7]
    shown = cli.run("usage", "--refusals").out
    assert "invalid_api_key" in shown
    assert "(unknown)" in shown
