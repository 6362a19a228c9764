"""The filled house: twice is once, keys survive, what is missing on this machine is left out."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from farebox.demo import goods, people, run, smallmodel
from farebox.kit import options
from farebox.kit.errors import CommandError
from kit import cli

FULL = goods.Sources("http://127.0.0.1:9001/v1", "http://127.0.0.1:9002/v1")
NAMES = {
    "OPENAI_BASE_URL", "OPENAI_API_KEY", "FAREBOX_EMPTY_KEY", "FAREBOX_CHAT_MODEL", "FAREBOX_ECHO_MODEL",
    "FAREBOX_COMPLETION_MODEL", "FAREBOX_EMBED_MODEL",
}  # fmt: skip


def offered() -> dict[str, set[str]]:
    return {
        row["name"]: {found["model"] for found in row["models"]}
        for row in cli.ok("channel", "list")
        if row["state"] == "active"
    }


@pytest.mark.slow
@pytest.mark.store
def test_filled_twice_is_filled_once(ready_instance):
    first = run.fill(FULL)
    run.write_env(first, smallmodel.NAME)
    assert first.available_micro == 5_000_000
    counts = [cli.ok(*args) for args in (("account", "list"), ("key", "list"), ("prices", "show"), ("model", "list"))]
    second = run.fill(goods.Sources("http://127.0.0.1:9101/v1", "http://127.0.0.1:9102/v1"))
    assert second == first
    again = [cli.ok(*args) for args in (("account", "list"), ("key", "list"), ("prices", "show"), ("model", "list"))]
    assert again == counts
    addresses = {row["name"]: row["base_url"] for row in cli.ok("channel", "list")}
    assert addresses == {"sandbox": "http://127.0.0.1:9101/v1", "smollm2": "http://127.0.0.1:9102/v1"}
    sold = cli.ok("prices", "show", goods.LIST)["prices"]
    assert len(sold) == 10
    assert sold["gpt-4"] == {"input": "30.00", "output": "60.00"}
    assert offered()["smollm2"] == {smallmodel.NAME}
    assert offered()["sandbox"] == set(sold) - {smallmodel.NAME}
    assert cli.ok("prove")["clean"]


@pytest.mark.slow
def test_keys_survive_unless_their_file_is_gone(ready_instance):
    first = run.fill(FULL)
    path = run.write_env(first, smallmodel.NAME)
    assert path.stat().st_mode & 0o777 == 0o600
    sourced = subprocess.run(
        ["bash", "-c", f"source {path} && env"], capture_output=True, text=True, check=True, env=cli.environment()
    )
    values = dict(line.split("=", 1) for line in sourced.stdout.splitlines() if "=" in line)
    assert set(values) >= NAMES
    assert values["OPENAI_API_KEY"] == first.key
    assert values["OPENAI_BASE_URL"] == "http://127.0.0.1:8080/v1"
    # What it exports are no options, or every command after `source` would be refused.
    assert options.read({name: values[name] for name in NAMES}).port == 8080
    assert run.fill(FULL).key == first.key
    mine = cli.ok("key", "list", "--account", goods.CUSTOMER)
    cli.ok("key", "revoke", next(row["id"] for row in mine if row["name"] == "demo"))
    renewed = run.fill(FULL)
    assert renewed.key != first.key
    assert renewed.empty_key == first.empty_key
    path.unlink()
    assert run.fill(FULL).empty_key != first.empty_key


@pytest.mark.slow
def test_a_month_lies_behind_it(ready_instance):
    """Everything that a page could show is there, and the books add up."""
    from farebox.accounts.models import Invitation, Member, Person, Project
    from farebox.calls.models import Call
    from farebox.ledger.models import Entry

    first = run.fill(FULL)
    calls = Call.objects.filter(account__startswith="acc_")
    assert calls.count() > 500
    assert {"served", "failed", "refused", "broken", "left"} <= set(calls.values_list("outcome", flat=True))
    assert {"grant", "charge", "expiry"} <= set(Entry.objects.values_list("kind", flat=True))
    assert Project.objects.filter(name=people.CLASS).get().keys_end_us
    assert Member.objects.filter(role="owner").count() == 2
    assert set(Person.objects.exclude(operator_role="").values_list("operator_role", flat=True)) == {
        "admin", "finance", "support", "auditor",
    }  # fmt: skip
    assert Invitation.objects.get().state == "open"
    # Dearer, with the small model, cheaper; the fourth is announced.
    assert cli.ok("prices", "show", goods.LIST)["version"] == 3
    assert cli.ok("prove")["clean"]
    count = calls.count()
    second = run.fill(FULL)
    assert calls.count() == count
    assert set(second.links).isdisjoint(first.links)
    assert all(code in run.greeting(second, "m", Path("x")) for code in second.links)


@pytest.mark.slow
def test_prices_that_somebody_changed_stay(ready_instance):
    run.fill(FULL)
    cli.ok("prices", "publish", goods.LIST, "--set", "gpt-4", "input", "99.00")
    run.fill(FULL)
    assert cli.ok("prices", "show", goods.LIST)["prices"]["gpt-4"]["input"] == "99.00"


@pytest.mark.slow
def test_without_the_small_model_the_demo_goes_on(ready_instance):
    run.fill(FULL)
    run.fill(goods.Sources(FULL.sandbox, None))
    rows = {row["name"]: row for row in cli.ok("model", "list")}
    assert rows[smallmodel.NAME]["listed"] is False
    assert "smollm2" not in offered()
    run.fill(FULL)
    rows = {row["name"]: row for row in cli.ok("model", "list")}
    assert rows[smallmodel.NAME]["listed"] is True
    assert offered()["smollm2"] == {smallmodel.NAME}


@pytest.mark.slow
def test_the_real_openai_takes_the_sandboxs_place(ready_instance):
    run.fill(FULL)
    run.fill(goods.Sources(None, FULL.small, "sk-the-operators-own-key-0123456789"))
    assert set(offered()) == {"openai", "smollm2"}
    row = next(row for row in cli.ok("channel", "list") if row["name"] == "openai")
    assert row["base_url"] == goods.OPENAI
    assert row["secret"] == "set"
    assert {found["model"]: found["costs"] for found in row["models"]}["gpt-4"]["input"] == "30.000000"
    run.fill(FULL)
    assert set(offered()) == {"sandbox", "smollm2"}


@pytest.mark.slow
def test_the_real_thing_needs_its_own_key(instance, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.delenv(run.OPENAI_KEY, raising=False)
    with pytest.raises(CommandError, match="FAREBOX_DEMO_OPENAI_KEY"):
        run.run(pytest.fail, real=True)


@pytest.mark.slow
def test_make_run_in_miniature(tmp_path):
    """The program itself: it serves, answers, leaves no child behind, and goes on with the same store."""
    env = cli.environment(FAREBOX_DATA_DIR=str(tmp_path / "var"), FAREBOX_LOG_LEVEL="error")
    since_us = time.time_ns() // 1000
    first = _demo(env)
    try:
        values = run.read_env(tmp_path / "var" / "demo.env")
        assert set(values) == NAMES
        for model in (values["FAREBOX_CHAT_MODEL"], values["FAREBOX_ECHO_MODEL"]):
            answer = _chat(values, model)
            assert answer["choices"][0]["message"]["content"]
            assert answer["model"] == model
        paid = _since(env, since_us)
        assert len(paid) == 2
        assert all(row["outcome"] == "served" for row in paid)
        tested = cli.program("channel", "test", "sandbox", "gpt-4", env=env)
        assert tested.code == 0, tested.err
        busy = cli.program("migrate", env=env)
        assert busy.code == 1
        assert "works on the store" in busy.err
        assert cli.program("grant", goods.CUSTOMER, "1.00", "--reason", "more", env=env).code == 0
    finally:
        _stop(first)
    second = _demo(env)
    try:
        assert run.read_env(tmp_path / "var" / "demo.env")["OPENAI_API_KEY"] == values["OPENAI_API_KEY"]
        assert len(_since(env, since_us)) == 3
    finally:
        _stop(second)
    assert cli.program("prove", env=env).code == 0


def _since(env: dict[str, str], since_us: int) -> list[dict]:
    """The calls of this test: the demo has a month behind it."""
    return [row for row in cli.program("call", "list", "--json", env=env).json if row["opened_us"] > since_us]


def _demo(env: dict[str, str]) -> subprocess.Popen[str]:
    child = subprocess.Popen([cli.PROGRAM, "demo", "--port", "0"], env=env, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("What it cost"):
            return child
    raise AssertionError("the demo ended")


def _stop(child: subprocess.Popen[str]) -> None:
    kin = _children(child.pid)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    child.stdout.close()
    assert not [pid for pid in kin if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text() if Path(f"/proc/{pid}").is_dir() else ""
    return [int(number) for number in listed.split()]


def _chat(values: dict[str, str], model: str) -> dict:
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}
    request = urllib.request.Request(
        values["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {values['OPENAI_API_KEY']}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)
