"""A backup is one snapshot that can be trusted or says why not; what is restored is what was backed up (I30)."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farebox.care import elsewhere, scratch, sealed
from farebox.kit import db, options
from farebox.kit.errors import CommandError
from kit import cli
from kit.backups import database_or_nothing, keys_of, on_the_server, tools_on_path, written

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.fixture
def store(ready_instance, monkeypatch):
    """A store with an account, a key, money, and an upstream's secret; PostgreSQL's programs on PATH."""
    tools_on_path(monkeypatch)
    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    cli.ok("grant", "Ada", "20.00", "--reason", "test")
    cli.ok("upstream", "add", "lab", "--cancel-billing", "stops")
    monkeypatch.setenv("LAB_SECRET", "sk-upstreams-own-canary")
    cli.ok("channel", "add", "lab-1", "lab", "http://127.0.0.1:9/v1", "--local", "--secret-env", "LAB_SECRET")
    return ready_instance


@pytest.fixture
def place(tmp_path):
    """Where to restore to: the arguments of the command, and where the store then is."""
    if options.current().on_sqlite:
        yield ["--into", str(tmp_path / "new")], tmp_path / "new" / "farebox.db"
        return
    with on_the_server("restored_instance") as (address,):
        yield ["--database", address], address


def nothing_left(folder: Path) -> bool:
    """Whether no scratch folder is left there."""
    return not list(folder.glob(".farebox-scratch-*"))


def test_a_round_trip_is_the_same_store(store, tmp_path, place):
    from django.core.cache import cache

    from farebox.kit.models import Cache

    where, restored = place
    cache.set("attempts:canary", [5, 0], 600)
    made = cli.ok("backup", str(tmp_path / "shop.backup"))
    assert made["bytes"] == (tmp_path / "shop.backup").stat().st_size > 10_000
    assert (tmp_path / "shop.backup").stat().st_mode & 0o777 == 0o600
    assert made["manifest"]["trial_balance_micro"] == {"USD": 20_000_000}
    assert made["manifest"]["store"] == ("sqlite" if options.current().on_sqlite else "postgresql")
    assert nothing_left(store.data) and nothing_left(tmp_path)
    cli.ok("grant", "Ada", "7.00", "--reason", "after the backup")

    done = cli.ok("restore", str(tmp_path / "shop.backup"), *where, *keys_of(store))
    assert done["clean"] is True and done["keys"] == "fit"
    assert all(row["equal"] for row in done["compared"]) and len(done["compared"]) > 25
    assert set(done["findings"]) == {"ledger", "calls", "accounts", "catalog", "upstreams"}
    assert done["trial_balance_micro"] == {"USD": 20_000_000}
    with elsewhere.store(restored):
        from farebox.accounts.models import Account

        assert not Cache.objects.exists()
        if options.current().on_sqlite:
            assert b"attempts:canary" not in restored.read_bytes()
        assert sorted(Account.objects.values_list("name", flat=True)) == ["Ada", "House"]
        with pytest.raises(Exception, match="append|journal|refuse|never"), db.writing() as tx:
            tx.execute("DELETE FROM ledger_posting")  # the triggers came along
    assert cli.ok("prove")["trial_balance_micro"] == {"USD": 27_000_000}  # this process is back at its own store


def test_what_people_read(store, tmp_path):
    shown = cli.run("backup", str(tmp_path / "shop.backup"))
    assert shown.code == 0
    assert "trial balance USD  20.000000" in shown.out
    assert f"The key files are not in it. Keep copies of {options.current().pepper}" in shown.out
    ran = cli.run("restore", str(tmp_path / "shop.backup"), "--check", *database_or_nothing())
    assert ran.code == 0, ran.err
    assert "Key files: fit the backup." in ran.out  # the drill looks at the shop's own
    assert "restored for a check, proved, and removed; all is as recorded" in ran.out


def test_a_drill_leaves_nothing_and_disturbs_nothing(store, tmp_path):
    cli.ok("backup", str(tmp_path / "shop.backup"))
    (tmp_path / "drill").mkdir()
    arguments = ["restore", str(tmp_path / "shop.backup"), "--check", "--scratch", str(tmp_path / "drill")]
    if not options.current().on_sqlite:
        assert "name a server to try it on" in cli.refused(*arguments)
    done = cli.ok(*arguments, *database_or_nothing())
    assert done["clean"] is True and done["where"] == ""
    assert list((tmp_path / "drill").iterdir()) == []
    if not options.current().on_sqlite:
        import psycopg

        with psycopg.connect(os.environ["FAREBOX_DATABASE"]) as line:
            left = line.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'farebox_check%'").fetchone()
        assert left == (0,)


def test_writes_go_on_while_the_copy_is_made(store, tmp_path, place):
    from farebox.care import backup
    from farebox.kit import clock, settings
    from farebox.kit.models import AuditEvent

    AuditEvent.objects.bulk_create(
        AuditEvent(id=f"aud_{n:030d}", at_us=n, actor="test", verb="x", object="y" * 190, after="z" * 500)
        for n in range(20_000)
    )
    put: list[str] = []

    def say(sentence: str) -> None:
        if sentence.startswith(("Copied", "Dumped")):
            db.write(settings.put, f"during-{len(put)}", clock.now_us(), actor="test")
            put.append(sentence)

    if options.current().on_sqlite:
        made = backup.make(tmp_path / "shop.backup", say=say)
    else:
        from django.db import connection

        # The snapshot's own connection is in its transaction: write from another thread, as a server does.
        def beside(sentence: str) -> None:
            worker = threading.Thread(target=lambda: (say(sentence), connection.close()))
            worker.start()
            worker.join()

        made = backup.make(tmp_path / "shop.backup", say=beside)
    assert len(put) >= 1
    (after,) = db.read(lambda tx: tx.one("SELECT count(*) FROM kit_setting"))
    if options.current().on_sqlite:
        assert made.manifest["rows"]["kit_setting"] <= after
    else:
        assert made.manifest["rows"]["kit_setting"] == after - len(put)  # written after the snapshot
    where, _ = place
    assert cli.ok("restore", str(tmp_path / "shop.backup"), *where)["clean"] is True


def test_no_plaintext_of_a_secret_is_in_it(store, tmp_path):
    key = cli.ok("key", "create", "Ada", "--name", "canary")["plaintext"]
    canaries = [key.encode(), key[10:].encode(), b"sk-upstreams-own-canary"]
    for kind in ("pepper", "master"):
        canaries += [line.split()[1].encode() for line in (store.data / "keys" / kind).read_text().splitlines()[1:]]
    cli.ok("backup", str(tmp_path / "shop.backup"))
    payload = io.BytesIO()
    with sealed.opened(tmp_path / "shop.backup", None) as opened:
        opened.unpack(payload)
        text = json.dumps(opened.manifest).encode() + payload.getvalue()
    if not options.current().on_sqlite:
        (tmp_path / "dump").write_bytes(payload.getvalue())
        text += subprocess.run(
            ["pg_restore", "--file=-", str(tmp_path / "dump")], capture_output=True, check=True, timeout=60
        ).stdout
    assert b"Ada" in text  # it is the store, and readable
    assert len(canaries) == 5 and all(len(canary) > 20 for canary in canaries)
    for canary in canaries:
        assert canary not in text
        assert bytes.fromhex(canary.decode()) not in text if len(canary) == 64 else True
    assert (tmp_path / "shop.backup").read_bytes() != text


# encryption


def test_an_encrypted_backup_needs_its_key(store, tmp_path, place):
    where, _ = place
    file, key, other = str(tmp_path / "shop.backup"), str(tmp_path / "backup.key"), str(tmp_path / "other.key")
    name = cli.ok("backup", "--make-key", key)["key"]
    cli.ok("backup", "--make-key", other)
    assert (tmp_path / "backup.key").stat().st_mode & 0o777 == 0o400
    assert "exists already" in cli.refused("backup", "--make-key", key)
    made = cli.ok("backup", file, "--key-file", key)
    assert made["key"] == name
    raw = Path(file).read_bytes()
    # Long words: three letters come up by chance in a megabyte of ciphertext.
    for word in (b"trial_balance", b"SQLite format", b"PGDMP", b"official-usd"):
        assert word not in raw

    assert f"is encrypted with the key {name}" in cli.refused("restore", file, *where)
    assert f"is encrypted with the key {name}, and" in cli.refused("restore", file, *where, "--key-file", other)
    assert not (tmp_path / "new").exists()
    assert cli.ok("restore", file, *where, "--key-file", key)["clean"] is True

    (tmp_path / "bare.key").write_bytes(os.urandom(32))
    assert "is open to others" in cli.refused("backup", file + "2", "--key-file", str(tmp_path / "bare.key"))
    (tmp_path / "bare.key").chmod(0o600)
    cli.ok("backup", file + "2", "--key-file", str(tmp_path / "bare.key"))
    cli.ok("restore", file + "2", "--check", "--key-file", str(tmp_path / "bare.key"), *database_or_nothing())
    (tmp_path / "no.key").write_bytes(b"farebox backup-key 1 abc\n")
    (tmp_path / "no.key").chmod(0o400)
    assert "is not a key of backups" in cli.refused("backup", file + "3", "--key-file", str(tmp_path / "no.key"))
    assert "can't be read: No such file" in cli.refused("backup", file + "3", "--key-file", str(tmp_path / "gone"))
    assert not Path(file + "3").exists()
    cli.ok("backup", file + "4")
    assert "is not encrypted" in cli.refused("restore", file + "4", "--check", "--key-file", key)


# what is refused, and leaves nothing


def test_a_damaged_backup_leaves_nothing_behind(store, tmp_path, place):
    where, restored = place
    file = tmp_path / "shop.backup"
    cli.ok("backup", str(file))
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[-2000] ^= 1
    for text, said in (
        (bytes(changed), "was changed"),
        (whole[: len(whole) // 2], "is cut short"),
        (b"PGDMP" + whole, "is not a backup of Farebox"),
    ):
        file.write_bytes(text)
        assert said in cli.refused("restore", str(file), *where)
        assert not (tmp_path / "new").exists()
    file.write_bytes(whole)
    if not options.current().on_sqlite:
        assert tables(restored) == []
    assert cli.ok("restore", str(file), *where)["keys"] == "not checked"


def tables(address: str) -> list[str]:
    from django.db import connection

    with elsewhere.store(address):
        return connection.introspection.table_names()


def test_no_store_is_overwritten(store, tmp_path, place):
    where, _ = place
    file = tmp_path / "shop.backup"
    cli.ok("backup", str(file))
    before = file.read_bytes()
    assert "exists already" in cli.refused("backup", str(file))
    assert file.read_bytes() == before and nothing_left(tmp_path)
    cli.ok("restore", str(file), *where)
    if options.current().on_sqlite:
        assert "There is a store in" in cli.refused("restore", str(file), *where)
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "farebox.db-wal").touch()
        assert "farebox.db-wal" in cli.refused("restore", str(file), "--into", str(tmp_path / "old"))
        assert [path.name for path in (tmp_path / "old").iterdir()] == ["farebox.db-wal"]
        assert "restore it with --into" in cli.refused("restore", str(file), "--database", "postgresql://x@y/z")
    else:
        assert "is not empty: it has" in cli.refused("restore", str(file), *where)
        assert "restore it with --database" in cli.refused("restore", str(file), "--into", str(tmp_path / "new"))
        assert not (tmp_path / "new").exists()


def test_key_files_of_another_store_are_refused(store, tmp_path, place):
    where, _ = place
    cli.ok("backup", str(tmp_path / "shop.backup"))
    shutil.copytree(store.data / "keys", tmp_path / "keys")
    pepper = tmp_path / "keys" / "pepper"
    pepper.chmod(0o600)
    pepper.write_text(f"farebox pepper 1\n1 {os.urandom(32).hex()}\n")
    refusal = cli.refused("restore", str(tmp_path / "shop.backup"), *where, "--keys", str(tmp_path / "keys"))
    assert "is not the pepper file of this backup: it has another key 1" in refusal
    (tmp_path / "keys" / "master").unlink()
    pepper.write_bytes((store.data / "keys" / "pepper").read_bytes())
    refusal = cli.refused("restore", str(tmp_path / "shop.backup"), *where, "--keys", str(tmp_path / "keys"))
    assert "There is no master key file" in refusal
    assert not (tmp_path / "new").exists()


def test_a_store_of_another_schema_waits_for_its_program(store, tmp_path, place):
    where, _ = place
    cli.ok("backup", str(tmp_path / "shop.backup"))
    with sealed.opened(tmp_path / "shop.backup", None) as opened:
        said = opened.manifest
    for schema, word in ((said["schema"][:-1], "older"), ([*said["schema"], "kit 9999_later"], "newer")):
        other = written(tmp_path / word, b"x", None, **(said | {"schema": schema}))
        assert f"{word} schema" in cli.refused("restore", str(other), *where)
    assert not (tmp_path / "new").exists()


def test_what_differs_from_the_manifest_is_said_and_stays(store, tmp_path, place):
    where, restored = place
    cli.ok("backup", str(tmp_path / "shop.backup"))
    payload = io.BytesIO()
    with sealed.opened(tmp_path / "shop.backup", None) as opened:
        said = opened.manifest
        opened.unpack(payload)
    said["trial_balance_micro"]["USD"] += 1
    said["rows"]["accounts_account"] += 1
    other = written(tmp_path / "other", payload.getvalue(), None, **said)
    ran = cli.run("restore", str(other), *where)
    assert ran.code == 1
    assert "trial balance USD" in ran.out and "20.000001" in ran.out
    assert "rows of accounts_account" in ran.out
    assert "Take no money with it" in ran.out
    with elsewhere.store(restored):
        from farebox.accounts.models import Account

        assert Account.objects.count() == 2


def test_a_backup_of_books_that_are_off_is_made_and_says_so(store, tmp_path):
    from farebox.ledger.models import LedgerAccount

    LedgerAccount.objects.filter(kind="customer", posted_micro=20_000_000).update(posted_micro=19_000_000)
    ran = cli.run("backup", str(tmp_path / "shop.backup"))
    assert ran.code == 1
    assert "ledger: I04" in ran.out and "its books are not clean" in ran.out
    ran = cli.run("restore", str(tmp_path / "shop.backup"), "--check", "--json", *database_or_nothing())
    assert ran.code == 1
    assert ran.json["clean"] is False and any("I04" in found for found in ran.json["findings"]["ledger"])
    assert all(row["equal"] for row in ran.json["compared"])


def test_wrong_usage_is_told_from_refusals(store, tmp_path):
    for arguments in (
        ["backup"],
        ["backup", "x", "--make-key", "y"],
        ["restore", "x"],
        ["restore", "x", "--into", "y", "--check"],
        ["restore", "x", "--into", "y", "--database", "postgresql://x@y/z"],
    ):
        ran = cli.run(*arguments)
        assert ran.code == 2, arguments
    gone = str(tmp_path / "no" / "such" / "folder" / "shop.backup")
    assert "can be written" in cli.refused("backup", gone)


def test_a_disk_without_room_is_told_before(store, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    cli.ok("backup", str(tmp_path / "shop.backup"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    refusal = cli.refused("restore", str(tmp_path / "shop.backup"), "--check", *database_or_nothing())
    assert "1,000 are free there" in refusal
    if options.current().on_sqlite:
        assert "--scratch" in cli.refused("backup", str(tmp_path / "second"))
        assert not (tmp_path / "second").exists() and nothing_left(store.data)


def test_what_a_killed_backup_left_goes_with_the_next(store, tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom farebox.care import scratch\n"
        "with scratch.folder(Path(sys.argv[1])) as made:\n    (made / 'x').touch()\n    print(made, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(store.data)], stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    with scratch.folder(store.data):
        assert left.exists()  # it lives, so nobody touches it
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    assert left.exists()
    cli.ok("backup", str(tmp_path / "shop.backup"))
    assert not left.exists()


# PostgreSQL's programs


def test_without_pg_dump_it_says_what_to_do(store, tmp_path, monkeypatch):
    if options.current().on_sqlite:
        return
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "There is no pg_dump on PATH" in cli.refused("backup", str(tmp_path / "b"))
    assert "--pg-dump PATH" in cli.refused("backup", str(tmp_path / "b"), "--pg-dump", str(tmp_path / "gone"))
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o700)
    assert "of version 9 and can't dump a server of version" in cli.refused("backup", str(tmp_path / "b"))
    old.write_text("#!/bin/sh\necho 'GNU tar 1.34'\n")
    assert "is not a program of PostgreSQL" in cli.refused("backup", str(tmp_path / "b"))
    old.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 99.1' && exit\necho 'no luck' >&2; exit 1\n"
    )
    assert "can't be dumped: no luck." in cli.refused("backup", str(tmp_path / "b"))
    assert not (tmp_path / "b").exists() and nothing_left(tmp_path) and nothing_left(store.data)


def test_a_dump_may_take_longer_than_a_transaction_may_idle(store, tmp_path, monkeypatch):
    """A process that hangs in a transaction is thrown out; one that waits for pg_dump is not."""
    from django.db import connection

    if options.current().on_sqlite:
        return
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] || sleep 1\nexec {shutil.which("pg_dump")} "$@"\n')
    slow.chmod(0o700)
    connection.close()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c idle_in_transaction_session_timeout=200")
    cli.ok("backup", str(tmp_path / "shop.backup"), "--pg-dump", str(slow))
    connection.close()


def test_a_password_is_in_no_command_line(store, tmp_path, monkeypatch):
    from farebox.care import pgtools

    spy = tmp_path / "spy"
    spy.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > {tmp_path}/password\n')
    spy.chmod(0o700)
    pgtools.run(
        [str(spy)], address="postgresql://shop:hush@db:5433/shop?sslmode=require", log=tmp_path / "log", failed=""
    )
    said = (tmp_path / "arguments").read_text()
    assert "hush" not in said and "host=db" in said and "sslmode=require" in said and "port=5433" in said
    assert (tmp_path / "password").read_text() == "hush\n"
    for wrong in ("mysql://x", "postgresql://host", "postgresql://x@y/z?nonsense=1"):
        with pytest.raises(CommandError, match="database"):
            elsewhere.address(wrong)
    parts = elsewhere.address("postgresql://a:p%2Fw@h:1/n?sslmode=disable")
    assert parts["password"] == "p/w" and elsewhere.address(elsewhere.joined(parts)) == parts
