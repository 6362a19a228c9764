"""`farebox doctor`: a sound instance is fit, every fault that is planted is found, nothing is changed by looking."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from farebox.care import keymarks
from farebox.care.doctor import machine, postgresql
from farebox.kit import appendlog, db, disk, options, secrets, settings
from kit import cli
from kit.shop import opened

HOUR_US = 3_600_000_000
SECRET = "sk-of-the-upstream-0123456789"


def now_us() -> int:
    return time.time_ns() // 1000


def look(*args: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the findings by check."""
    ran = cli.run("doctor", *args, "--json")
    assert ran.err == "", ran.err
    data = ran.json
    assert ran.code == (1 if data["wrong"] else 0)
    assert data["fit"] is (data["wrong"] == 0)
    for one in data["checks"]:
        assert one["seen"]
        assert (one["todo"] == "") == (one["verdict"] == "ok"), one
    return ran.code, {one["check"]: one for one in data["checks"]} | {"frozen": data["frozen"]}


def verdict(check: str, *args: str) -> str:
    return look(*args)[1][check]["verdict"]


def close_modes(instance: Any) -> None:
    for path in (instance.data, instance.data / "keys"):
        path.chmod(0o700)
    for path in (*instance.data.glob("farebox.db*"), *instance.data.glob("keys/*")):
        path.chmod(0o600)


def _sound() -> None:
    cli.ok("migrate")
    noted = {"marks": keymarks.fingerprints(options.current()), "at_us": now_us()}
    db.write(lambda tx: settings.keep(tx, settings.KEYS_COPIED, noted))
    db.write(lambda tx: settings.keep(tx, settings.RULES_2_FROM, 0))
    cli.ok("upstream", "add", "vendor")
    cli.ok(
        "channel", "add", "one", "vendor", "https://api.example.com/v1", "--secret-file", "-",
        stdin=SECRET,
    )  # fmt: skip
    for model in cli.ok("model", "list"):
        cli.ok("channel", "offer", "one", model["name"])
    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    cli.ok("grant", "Ada", "20.00", "--reason", "to begin with")
    cli.ok("key", "create", "Ada", "--name", "laptop")


@pytest.fixture
def fit(instance_after, monkeypatch, tmp_path):
    """An instance that is fit: migrated, closed to others, with a channel for all that is on sale, a customer and a key."""
    instance = instance_after(_sound)
    close_modes(instance)
    monkeypatch.setattr(machine, "_synchronised", lambda: True)
    mounts = tmp_path / "one-disk"
    mounts.write_text("36 35 98:0 / / rw - ext4 /dev/root rw\n")
    monkeypatch.setattr(disk, "MOUNTS", mounts)  # the instance may lie in memory
    return instance


def call(ident: str, **facts: Any) -> Any:
    """A row of the record as a call leaves it."""
    from farebox.calls.models import Call

    row = {
        "id": ident, "account": "acc_x", "project": "prj_x", "key": "key_x", "endpoint": "chat", "model": "gpt-4",
        "asked": "gpt-4", "stream": False, "epoch": "ep_x", "opened_us": now_us(), "ended_us": now_us(),
        "currency": "USD", "hold_micro": 100, "price_list": "official-usd", "price_version": 1,
        "prices": '{"input":1000000}', "outcome": "served", "rule": "R02", "status": 200, "charge_micro": 3,
        "usage": '{"input":3}', "usage_source": "reported",
    }  # fmt: skip
    return Call.objects.create(**(row | facts))


def attempt(n: int, outcome: str, at_us: int, channel: str = "one") -> None:
    from farebox.calls.models import Attempt

    Attempt.objects.create(
        id=f"call_{n:025d}.1", call_id=f"call_{n:025d}", n=1, upstream="vendor", channel=channel, model="gpt-4",
        outcome=outcome, started_us=at_us, ended_us=at_us,
    )  # fmt: skip


# a sound instance


@pytest.mark.store
@pytest.mark.slow
def test_a_sound_house_is_fit(fit):
    code, found = look()
    wrong = [one for one in found.values() if isinstance(one, dict) and one["verdict"] == "wrong"]
    if options.current().on_sqlite:
        assert wrong == []
        assert [name for name, one in found.items() if name != "frozen" and one["verdict"] != "ok"] == []
        assert {"SQLite", "file"} <= set(found)
    else:  # a server for tests may be set to lose a second, and has no standby; the doctor must say so
        assert [one["check"] for one in wrong] in ([], ["durability"])
        assert found["standby"]["verdict"] == "warning"
        assert {"PostgreSQL", "order of texts", "connections", "clock and database"} <= set(found)
    shown = cli.run("doctor")
    assert shown.code == code
    assert ("Fit to take money" in shown.out) is (code == 0)
    assert SECRET not in shown.out


@pytest.mark.store
@pytest.mark.slow
def test_looking_changes_nothing(fit):
    from django.apps import apps

    def rows() -> list[Any]:
        return [
            sorted(map(str, model.objects.values_list()))
            for model in apps.get_models()
            if model.__module__.startswith("farebox.")
        ]

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_mode for path in sorted(fit.data.rglob("*"))}

    before = rows(), files()
    look("--probe", "--backups", str(fit.data))
    assert (rows(), files()) == before


# the audit trail


def seal() -> Any:
    """As a serving process does every few seconds; the head."""
    from farebox.kit import chain

    while events := db.read(chain.unsealed, now_us()):
        db.write(chain.seal, events)
    return db.read(chain.head)


@pytest.mark.store
def test_a_changed_audit_trail_is_found(fit):
    seal()
    assert verdict("audit trail") == "ok"
    db.write(lambda tx: tx.execute("UPDATE kit_auditevent SET actor = 'nobody' WHERE verb = 'account.open'"))
    found = look()[1]["audit trail"]
    assert found["verdict"] == "wrong"
    assert "was changed" in found["seen"]


@pytest.mark.store
def test_a_noted_head_is_looked_for(fit):
    head = seal()
    found = look("--head", str(head))[1]["audit trail"]
    assert found["verdict"] == "ok"
    assert str(head) in found["seen"]
    assert verdict("audit trail", "--head", str(head), "--head", f"{head.n}:{'0' * 64}") == "wrong"
    assert "64 hexadecimal digits" in cli.refused("doctor", "--head", "latest")


@pytest.mark.store
def test_events_wait_for_their_seal_only_while_nobody_serves(fit):
    from farebox.kit import clock, epochs

    hour_ago = clock.now_us() - HOUR_US
    db.write(lambda tx: tx.execute("UPDATE kit_auditevent SET at_us = %s", (hour_ago,)))
    found = look()[1]["audit trail"]
    assert found["verdict"] == "ok"
    assert "are sealed at the next start" in found["seen"]
    db.write(epochs.begin, epoch="ep_one", node="here", now_us=clock.now_us())
    assert verdict("audit trail") == "warning"
    seal()
    assert verdict("audit trail") == "ok"


@pytest.mark.store
def test_there_must_be_a_store(tmp_path, monkeypatch):
    if options.current().on_sqlite:
        monkeypatch.setattr(options.current(), "data_dir", str(tmp_path))
        assert "no store" in cli.refused("doctor")


# machine and key files


def test_a_full_disk(fit, monkeypatch):
    monkeypatch.setattr(machine.os, "statvfs", lambda _path: SimpleNamespace(f_bavail=100, f_frsize=machine.MIB))
    assert verdict("disk") == "wrong"
    monkeypatch.setattr(machine.os, "statvfs", lambda _path: SimpleNamespace(f_bavail=500, f_frsize=machine.MIB))
    assert verdict("disk") == "warning"


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "on_sqlite", "else_"),
    [("nfs4", "wrong", "warning"), ("fuse.sshfs", "wrong", "warning"), ("tmpfs", "warning", "warning"), ("ext4", "ok", "ok")],
)  # fmt: skip
def test_the_kind_of_disk(fit, monkeypatch, tmp_path, kind, on_sqlite, else_):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 98:1 / {fit.data} rw - {kind} there rw\n")
    monkeypatch.setattr(disk, "MOUNTS", mounts)
    assert verdict("file system") == (on_sqlite if options.current().on_sqlite else else_)


def test_files_that_others_may_read(fit):
    fit.data.chmod(0o755)
    assert verdict("modes of files") == "warning"
    (fit.data / "keys" / "master").chmod(0o444)
    code, found = look()
    assert code == 1
    assert "keys/master" in found["modes of files"]["seen"]


def test_the_clock_of_the_kernel(fit, monkeypatch):
    monkeypatch.setattr(machine, "_synchronised", lambda: False)
    assert verdict("clock discipline") == "warning"
    monkeypatch.setattr(machine, "_synchronised", lambda: None)
    assert verdict("clock discipline") == "ok"
    monkeypatch.undo()
    assert machine._synchronised() in {True, False, None}


def test_no_pepper(fit):
    (fit.data / "keys" / "pepper").unlink()
    code, found = look()
    assert code == 1
    assert (found["pepper"]["verdict"], found["keys"]["verdict"]) == ("wrong", "wrong")
    assert found["master key"]["verdict"] == "ok"
    assert found["proof"]["verdict"] == "ok"


def test_a_cut_pepper(fit):
    path = fit.data / "keys" / "pepper"
    path.write_text(path.read_text()[:-10])
    assert verdict("pepper") == "wrong"


@pytest.mark.store
@pytest.mark.slow
def test_a_pepper_that_keys_need_is_not_in_the_file(fit):
    from farebox.accounts.models import ApiKey

    ApiKey.objects.filter(name="laptop").update(pepper_n=7)
    _, found = look()
    assert found["keys"]["verdict"] == "wrong"
    assert "pepper 7" in found["keys"]["seen"]
    cli.ok("key", "revoke", "laptop")
    assert verdict("keys") == "ok"


def test_a_master_key_that_opens_nothing(fit):
    (fit.data / "keys" / "master").unlink()
    _, found = look()
    assert (found["master key"]["verdict"], found["sealed secrets"]["verdict"]) == ("wrong", "wrong")
    assert "one" in found["sealed secrets"]["seen"]


@pytest.mark.slow
def test_a_secret_moved_from_another_row(fit):
    from farebox.upstreams.models import Channel

    cli.ok(
        "channel", "add", "two", "vendor", "https://two.example.com/v1", "--secret-file", "-",
        stdin="sk-another-secret-0123456789",
    )  # fmt: skip
    Channel.objects.filter(name="two").update(secret=Channel.objects.get(name="one").secret)
    assert verdict("sealed secrets") == "wrong"
    Channel.objects.filter(name="two").update(state="disabled")
    assert verdict("sealed secrets") == "warning"


# the store


@pytest.mark.store
@pytest.mark.slow
def test_a_damaging_version_of_sqlite(fit, monkeypatch):
    if options.current().on_sqlite:
        import pysqlite3

        for number, due in (((3, 40, 1), "wrong"), ((3, 51, 2), "wrong"), ((3, 51, 3), "ok"), ((3, 53, 0), "ok")):
            monkeypatch.setattr(pysqlite3, "sqlite_version_info", number)
            assert verdict("SQLite") == due


@pytest.mark.store
def test_commits_that_may_be_lost(fit):
    from django.db import connection

    if options.current().on_sqlite:
        connection.cursor().execute("PRAGMA synchronous = NORMAL")
        _, found = look()
        assert "synchronous NORMAL" in found["durability"]["seen"]
    else:
        connection.cursor().execute("SET synchronous_commit = off")
        _, found = look()
        assert "synchronous_commit off" in found["durability"]["seen"]
    assert found["durability"]["verdict"] == "wrong"
    connection.close()


@pytest.mark.store
def test_a_damaged_page(fit):
    if not options.current().on_sqlite:
        return
    from django.db import connection

    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    path = fit.data / "farebox.db"
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(pages // 2, pages // 2 + 20):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    code, found = look()
    assert code == 1
    assert found["file"]["verdict"] == "wrong"


@pytest.mark.store
def test_a_schema_of_another_version(fit):
    from django.db.migrations.recorder import MigrationRecorder

    MigrationRecorder.Migration.objects.create(app="ledger", name="0999_from_the_future")
    _, found = look()
    assert found["schema"]["verdict"] == "wrong"
    assert "proof" not in found


@pytest.mark.store
def test_what_postgresql_may_lack(fit, monkeypatch):
    if options.current().on_sqlite:
        return
    monkeypatch.setattr(postgresql, "CONNECTIONS_PER_NODE", 1000)
    monkeypatch.setattr(postgresql, "VERSION_MIN", 990_000)
    monkeypatch.setattr(options.current(), "database", "postgresql://shop@db.example.org/shop")
    _, found = look()
    for check in ("connections", "PostgreSQL", "link to the database"):
        assert found[check]["verdict"] == "wrong", check


# time


@pytest.mark.store
def test_a_clock_that_went_back(fit):
    from farebox.kit.models import AuditEvent, Epoch

    Epoch.objects.create(id="ep_future", node="n", started_us=now_us() + 3_000_000)
    assert verdict("clock") == "warning"
    AuditEvent.objects.create(id="aud_future", at_us=now_us() + HOUR_US, actor="a", verb="v", object="o")
    _, found = look()
    assert found["clock"]["verdict"] == "wrong"
    assert "59 min" in found["clock"]["seen"]


@pytest.mark.store
def test_a_clock_apart_from_the_databases(fit, monkeypatch):
    if options.current().on_sqlite:
        return
    from farebox.kit import epochs

    for off_us, due in ((10, "ok"), (5_000_000, "warning"), (-70_000_000, "wrong")):
        monkeypatch.setattr(epochs, "drift_us", lambda _tx, _now_us, off_us=off_us: off_us)
        assert verdict("clock and database") == due


# the books


def drift(micro: int) -> str:
    from django.db.models import F

    from farebox.ledger.models import LedgerAccount

    name = cli.ok("account", "show", "Ada")["id"]
    LedgerAccount.objects.filter(id=name).update(posted_micro=F("posted_micro") + micro)
    return name


@pytest.mark.store
@pytest.mark.slow
def test_drift_is_found_frozen_and_let_go_once_it_is_mended(fit):
    from farebox.kit.models import AuditEvent
    from farebox.ledger.models import LedgerAccount

    account = drift(5)
    _, found = look()
    assert found["balances"]["verdict"] == "wrong"
    assert account in found["balances"]["seen"]
    assert found["proof"]["verdict"] == "ok"  # the drift stands in its own row
    assert LedgerAccount.objects.get(id=account).frozen is False
    code, found = look("--freeze")
    assert (code, found["frozen"]) == (1, [account])
    assert LedgerAccount.objects.get(id=account).frozen is True
    assert look("--freeze")[1]["frozen"] == []  # it is already
    assert verdict("frozen accounts") == "warning"
    assert "Fix that first" in cli.refused("doctor", "--unfreeze", "Ada")
    drift(-5)
    assert cli.ok("doctor", "--unfreeze", "Ada") == {"account": account, "frozen": False}
    assert "not frozen" in cli.refused("doctor", "--unfreeze", "Ada")
    _, found = look()
    assert (found["balances"]["verdict"], found["frozen accounts"]["verdict"]) == ("ok", "ok")
    verbs = list(AuditEvent.objects.filter(object=account, verb__startswith="ledger.").values_list("verb", "actor"))
    assert [verb for verb, _ in verbs] == ["ledger.freeze", "ledger.unfreeze"]
    assert all(actor.startswith("cli:") for _, actor in verbs)
    assert cli.run("doctor", "--unfreeze", "Ada", "--freeze").code == 2


@pytest.mark.store
def test_a_cap_that_counts_wrong_is_frozen_too(fit):
    from farebox.ledger.models import LedgerAccount

    memo = "cap:key_x:2026-11"
    LedgerAccount.objects.create(id=memo, kind="memo", currency="USD", posted_micro=-7, floor_micro=-100)
    code, found = look("--freeze")
    assert (code, found["frozen"]) == (1, [memo])
    assert "what its calls were charged comes to 0.00" in cli.refused("doctor", "--unfreeze", memo)
    LedgerAccount.objects.filter(id=memo).update(posted_micro=0)
    assert cli.ok("doctor", "--unfreeze", memo)["frozen"] is False


@pytest.mark.store
def test_a_frozen_account_places_no_hold_neither_on_its_balance_nor_on_a_cap(fit):
    from farebox.kit.errors import StoreUnavailable
    from farebox.ledger import holds
    from farebox.ledger.models import LedgerAccount

    account = cli.ok("account", "show", "Ada")["id"]
    purses = [holds.Purse(account), holds.Purse("cap:key_x:ever", 1_000_000)]

    def place(tx: Any, n: int) -> int:
        return holds.place(
            tx, hold=f"call_{n}", purses=purses, currency="USD", want_micro=10, fit=lambda micro: micro, epoch="ep",
            now_us=now_us(),
        )  # fmt: skip

    assert db.write(place, 1) == 10
    for name in (account, "cap:key_x:ever"):
        LedgerAccount.objects.filter(id=name).update(frozen=True)
        with pytest.raises(StoreUnavailable):
            db.write(place, 2)
        # What is under way goes on, and its hold may grow.
        more = {"hold": "call_1", "purses": purses, "currency": "USD", "want_micro": 5, "fit": lambda micro: micro}
        assert db.write(lambda tx, more=more: holds.extend(tx, **more)) == 5
        LedgerAccount.objects.filter(id=name).update(frozen=False)
    assert db.write(place, 3) == 10


def test_what_held_the_loop_up(fit):
    from farebox.kit import loopwatch

    assert verdict("event loop") == "ok"
    file = options.current().data / loopwatch.NAME
    for cpu_ms, expected in ((120, "ok"), (1200, "warning")):
        file.write_text(
            json.dumps({"at_s": time.time() - 3600, "cpu_ms": cpu_ms, "place": "protocol/body.py:40 fields"})
        )
        found = look()[1]["event loop"]
        assert found["verdict"] == expected and "protocol/body.py:40" in found["seen"]
    file.write_text(json.dumps({"at_s": time.time() - 90_000, "cpu_ms": 1200, "place": "x"}))
    assert verdict("event loop") == "ok"


@pytest.mark.store
def test_a_receipt_that_recomputes_otherwise(fit):
    call("call_1", charge_micro=4)
    _, found = look()
    assert found["receipts"]["verdict"] == "wrong"
    assert "recomputes to 3" in found["receipts"]["seen"]


@pytest.mark.store
def test_an_entry_that_does_not_balance(fit):
    from farebox.ledger.models import Entry

    Entry.objects.create(id="ent_1", account="acc_x", kind="grant", ref="r", currency="USD", at_us=now_us())
    _, found = look()
    assert found["proof"]["verdict"] == "wrong"
    assert "I01" in found["proof"]["seen"]


@pytest.mark.store
@pytest.mark.slow
def test_holds_that_a_dead_process_left(fit):
    from farebox.kit.models import Epoch
    from farebox.ledger.models import Hold

    Hold.objects.create(id="call_1", account="acc_x", purses="acc_x", amount_micro=5, epoch="ep_1", placed_us=now_us())
    _, found = look()
    assert found["holds"]["verdict"] == "wrong"
    assert "ep_1" in found["holds"]["seen"]
    Epoch.objects.create(id="ep_1", node="n", started_us=now_us())
    assert verdict("holds") == "ok"
    Hold.objects.filter(id="call_1").update(placed_us=now_us() - 3 * HOUR_US)
    _, found = look()
    assert found["holds"]["verdict"] == "warning"
    assert "3 h" in found["holds"]["seen"]
    Epoch.objects.filter(id="ep_1").update(ended_us=now_us())
    assert verdict("holds") == "warning"  # in its grace
    Epoch.objects.filter(id="ep_1").update(ended_us=now_us() - HOUR_US)
    assert verdict("holds") == "wrong"


@pytest.mark.store
@pytest.mark.slow
def test_a_dead_process_that_nobody_looked_after(fit):
    from farebox.kit.models import Epoch

    long_ago_us = now_us() - 2 * HOUR_US
    dead = Epoch.objects.create(id="ep_1", node="a", started_us=long_ago_us, seen_us=long_ago_us, ended_us=long_ago_us)
    assert verdict("processes") == "ok"  # nobody serves: the next start looks after it
    Epoch.objects.create(id="ep_2", node="b", started_us=now_us())
    _, found = look()
    assert found["processes"]["verdict"] == "warning"
    assert found["processes"]["seen"] == "1 serve, on b; ep_1 ended and were not looked after"
    Epoch.objects.filter(id=dead.id).update(cleared_us=now_us())
    assert verdict("processes") == "ok"


@pytest.mark.slow
def test_settlements_that_wait_on_the_disk(fit):
    (fit.data / "journal").mkdir(mode=0o700)
    file = fit.data / "journal" / "ep_1.log"
    file.write_bytes(appendlog.line(b'{"a":1}') + appendlog.line(b'{"a":2}'))
    file.chmod(0o600)
    _, found = look()
    assert found["journal"]["verdict"] == "warning"
    assert found["journal"]["seen"] == "2 settlements in 1 files"
    file.write_bytes(file.read_bytes() + b'00000000 {"a"')
    assert "1 lines are cut" in look()[1]["journal"]["seen"]
    file.write_bytes(appendlog.line(b"{}") * 1001)
    assert verdict("journal") == "wrong"


# what is on sale


@pytest.mark.slow
def test_a_model_without_a_price_for_all_that_it_produces(fit):
    from farebox.catalog.models import Model

    Model.objects.filter(name="gpt-4").update(classes='["input","output","reasoning"]')
    _, found = look()
    assert found["prices"]["verdict"] == "wrong"
    assert "gpt-4 on official-usd without reasoning" in found["prices"]["seen"]


def test_a_model_without_any_price_and_one_without_a_channel(fit):
    cli.ok(
        "model", "define", "new", "--kind", "chat", "--class", "input", "--class", "output", "--context", "1000",
        "--output-max", "100",
    )  # fmt: skip
    _, found = look()
    assert (found["prices"]["verdict"], found["prices"]["seen"]) == ("warning", "on the shelf without any price: new")
    cli.ok("channel", "withdraw", "one", "gpt-4")
    _, found = look()
    assert (found["models"]["verdict"], found["models"]["seen"]) == ("warning", "no active channel answers gpt-4")


@pytest.mark.store
@pytest.mark.slow
def test_a_dead_channel(fit):
    at_us = now_us()
    attempt(1, "served", at_us - 30 * HOUR_US)
    for n in (2, 3):
        attempt(n, "failed", at_us)
    assert verdict("dead channels") == "ok"  # too few to tell
    attempt(4, "unknown", at_us)
    _, found = look()
    assert found["dead channels"]["verdict"] == "warning"
    assert "one (the last 3)" in found["dead channels"]["seen"]
    attempt(5, "served", at_us)
    assert verdict("dead channels") == "ok"
    cli.ok("channel", "state", "one", "disabled")
    assert "no channel is active" in look()[1]["dead channels"]["seen"]


@pytest.mark.slow
def test_messages_that_were_given_up(fit):
    from farebox.kit import outbox

    for send, facts in (
        (outbox.mail, {"to": "a@example.com", "subject": "A", "text": "A"}),
        (outbox.webhook, {"url": "https://example.com/", "secret": "s", "event": "e", "data": {}}),
    ):
        assert verdict("outbox") == "ok"
        name = db.write(send, **facts)
        message = db.write(outbox.take, name, now_us() + HOUR_US)
        db.write(outbox.failed, message, fault="550 nobody here", for_good=True, now_us=now_us())
        _, found = look()
        assert found["outbox"]["verdict"] == "warning"
        assert f"1 given up of kind {message.kind}, the last for: 550 nobody here" in found["outbox"]["seen"]
        db.write(outbox.forget, now_us=now_us() + outbox.KEEP_US + HOUR_US)


@pytest.mark.slow
def test_a_channel_that_takes_no_connection(fit):
    assert "reachable" not in look()[1]
    cli.ok("channel", "state", "one", "disabled")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        cli.ok("channel", "add", "near", "vendor", url, "--local")
        assert verdict("reachable", "--probe") == "ok"
    _, found = look("--probe")
    assert found["reachable"]["verdict"] == "warning"
    assert "near" in found["reachable"]["seen"]


@pytest.mark.store
@pytest.mark.slow
def test_backups(fit, tmp_path):
    assert "backups" not in look()[1]
    assert "can't be read" in look("--backups", str(tmp_path / "none"))[1]["backups"]["seen"]
    assert verdict("backups", "--backups", str(tmp_path)) == "wrong"
    file = tmp_path / "hour" / "shop.fbk"
    file.parent.mkdir()
    file.touch()
    assert verdict("backups", "--backups", str(tmp_path)) == "ok"
    os.utime(file, (time.time() - 27 * 3600,) * 2)
    _, found = look("--backups", str(tmp_path))
    assert (found["backups"]["verdict"], found["backups"]["seen"]) == ("wrong", "shop.fbk is 27 h old")


# beside a server, and as a program


@pytest.mark.store
@pytest.mark.slow
def test_beside_a_server_freezing_goes_through_it(instance):
    with opened(instance) as shop:
        close_modes(instance)
        me = shop.account("5.00")
        assert me.chat("gpt-4", max_tokens=5).status == 200
        assert look()[1]["balances"]["verdict"] == "ok"
        from django.db.models import F

        from farebox.ledger.models import LedgerAccount

        row = LedgerAccount.objects.filter(id=me.account)
        db.write(lambda _tx: row.update(posted_micro=F("posted_micro") + 1))
        assert look("--freeze")[1]["frozen"] == [me.account]
        answer = me.chat("gpt-4", max_tokens=5)
        assert answer.status == 503
        db.write(lambda _tx: row.update(posted_micro=F("posted_micro") - 1))
        cli.ok("doctor", "--unfreeze", me.account)
        assert me.chat("gpt-4", max_tokens=5).status == 200


def administrator(email):
    from farebox.accounts.people import people
    from farebox.kit import clock

    facts = {"email": email, "operator_role": "admin", "now_us": clock.now_us(), "actor": "test"}
    db.write(people.create, **facts)


@pytest.mark.store
@pytest.mark.slow
def test_once_a_day_a_server_looks_freezes_and_tells_the_administrators(fit, monkeypatch, capsys):
    from farebox.jobs import daily, schedule
    from farebox.kit.models import AuditEvent, Outbox
    from farebox.ledger.models import LedgerAccount

    for name, value in fit.environ.items():
        monkeypatch.setenv(name, value)
    administrator("una@example.com")
    account, before = drift(5), Outbox.objects.count()
    asyncio.run(cli.with_store(schedule.look))
    assert LedgerAccount.objects.get(id=account).frozen is True
    assert "ledger_drift" in "".join(capsys.readouterr())
    found = db.read(daily.found)
    assert "balances" in [row["check"] for row in found["wrong"]]
    assert AuditEvent.objects.filter(verb="doctor.found").count() == 1
    mails = Outbox.objects.count()
    assert mails == before + 1
    asyncio.run(cli.with_store(schedule.look))  # today nobody looks again
    assert db.read(daily.found) == found
    db.write(lambda tx: settings.keep(tx, "doctor_day", "2001-01-01"))
    asyncio.run(cli.with_store(schedule.look))  # tomorrow the same is still wrong, and told already
    assert db.read(daily.found)["at_us"] > found["at_us"]
    assert Outbox.objects.count() == mails
    other = cli.ok("account", "open", "Bob", "--currency", "USD", "--price-list", "official-usd")["id"]
    LedgerAccount.objects.filter(id=other).update(posted_micro=3)
    db.write(lambda tx: settings.keep(tx, "doctor_day", "2001-01-01"))
    asyncio.run(cli.with_store(schedule.look))  # one more is news, though it stands in the same row
    assert LedgerAccount.objects.get(id=other).frozen is True
    assert Outbox.objects.count() == mails + 1


@pytest.mark.store
@pytest.mark.slow
def test_a_look_that_does_not_end_is_told_and_one_that_is_stopped_is_done_again(instance, monkeypatch):
    from farebox.jobs import daily, schedule
    from farebox.kit.models import Outbox

    cli.ok("migrate")
    administrator("una@example.com")
    mails, looks = Outbox.objects.count(), []

    async def examine() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(daily, "_examine", examine)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cli.with_store(schedule.look))
    asyncio.run(cli.with_store(schedule.look))
    asyncio.run(cli.with_store(schedule.look))  # today nobody looks again
    assert len(looks) == 2
    assert [row["check"] for row in db.read(daily.found)["wrong"]] == ["doctor"]
    assert Outbox.objects.count() == mails + 1


@pytest.mark.slow
def test_a_copy_of_the_key_files_is_looked_at_and_noted(fit, tmp_path):
    db.write(lambda tx: settings.keep(tx, settings.KEYS_COPIED, None))
    assert verdict("copy of the keys") == "warning"
    copy = tmp_path / "safe"
    shutil.copytree(fit.data / "keys", copy)
    assert look("--keys", str(copy))[1]["copy of the keys"]["verdict"] == "ok"
    assert verdict("copy of the keys") == "ok"
    secrets.add("pepper", options.current())
    secrets.activate("pepper", options.current())
    assert verdict("copy of the keys") == "warning"
    assert "lacks key 2" in cli.refused("doctor", "--keys", str(copy))
    (copy / "pepper").unlink()
    shutil.copy(fit.data / "keys" / "pepper", copy / "pepper")
    assert look("--keys", str(copy))[1]["copy of the keys"]["verdict"] == "ok"
    (copy / "pepper").chmod(0o600)
    (copy / "pepper").write_text("something else")
    assert "not a pepper file" in cli.refused("doctor", "--keys", str(copy))


def test_key_files_of_another_store_are_told_and_refused(fit):
    kept = (fit.data / "keys" / "pepper").read_bytes()
    (fit.data / "keys" / "pepper").unlink()
    (fit.data / "keys" / "pepper").write_text(f"farebox pepper 1\n1 {'ab' * 32}\n")
    found = look()[1]["keys"]
    assert found["verdict"] == "wrong"
    assert "key 1 of the pepper file is not the one" in found["seen"]
    for command in (("account", "list"), ("migrate",)):
        assert "Key 1 of the pepper file is not the one" in cli.refused(*command)
    (fit.data / "keys" / "pepper").write_bytes(kept)
    assert cli.ok("account", "list")
    secrets.add("master", options.current())  # one more is no other
    assert cli.ok("account", "list")


@pytest.mark.store
@pytest.mark.slow
def test_books_that_have_drifted_are_not_upgraded(fit, monkeypatch):
    from django.db.migrations.executor import MigrationExecutor

    account = drift(5)
    assert look("--freeze")[1]["frozen"] == [account]
    assert cli.ok("migrate")["applied"] == 0  # nothing is to be done
    with monkeypatch.context() as later:
        later.setattr(MigrationExecutor, "migration_plan", lambda *_args, **_more: [("a migration", False)])
        assert account in cli.refused("migrate")
    assert cli.ok("migrate", "--despite-drift")["applied"] == 0


@pytest.mark.slow
def test_as_a_program_with_a_broken_key_file(fit):
    env = fit.environ
    assert cli.program("doctor", env=env).code == look()[0]
    shutil.copy(fit.data / "keys" / "pepper", fit.data / "master")  # a pepper is no master key
    (fit.data / "master").chmod(0o400)
    ran = cli.program("doctor", "--json", env=env | {"FAREBOX_MASTER_KEY_FILE": str(fit.data / "master")})
    assert ran.code == 1, ran.err
    found = {one["check"]: one for one in ran.json["checks"]}
    assert found["master key"]["verdict"] == "wrong"
    assert found["schema"]["verdict"] == "wrong"  # the program itself can't start with it


def test_a_check_that_breaks_stops_no_other(fit, monkeypatch):
    from farebox.care import proof

    def broken(*_args: Any, **_more: Callable[..., Any]) -> None:
        raise RuntimeError("a row that nobody expected")

    monkeypatch.setattr(proof, "prove", broken)
    code, found = look()
    assert code == 1
    assert "RuntimeError: a row that nobody expected" in found["proof"]["seen"]
    assert found["holds"]["verdict"] == "ok"
