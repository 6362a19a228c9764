"""The ground under a process: ballast, disk, clock, limits, file watch, schema (promises: F08, F37, F40 to F43)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pysqlite3.dbapi2 as sqlite
import pytest

from farebox.care import ready
from farebox.kit import clock, db, disk, epochs, ground, migrations, options, process_limits, secrets, shape
from farebox.kit.ballast import Ballast
from farebox.kit.errors import CommandError, StoreUnavailable
from farebox.kit.ground import Ground
from farebox.kit.lock import FileWatch
from farebox.kit.refusal import of as refusal_of
from kit import cli
from kit.damage import spoil

MIB = 1024 * 1024


# the ballast (F08)


def test_the_ballast_takes_its_blocks_and_gives_them_back(tmp_path):
    ballast = Ballast(tmp_path, size_bytes=2 * MIB)
    assert not ballast.free()
    assert ballast.make()
    assert ballast.path.stat().st_size == 2 * MIB
    assert ballast.path.stat().st_blocks * 512 >= 2 * MIB
    inode = ballast.path.stat().st_ino
    assert Ballast(tmp_path, size_bytes=2 * MIB).make()
    assert ballast.path.stat().st_ino == inode
    assert ballast.free()
    assert not ballast.there
    assert list(tmp_path.iterdir()) == []


def test_a_hollow_ballast_or_one_of_another_size_is_made_anew(tmp_path):
    with (tmp_path / "ballast").open("wb") as hollow:
        hollow.truncate(2 * MIB)
    ballast = Ballast(tmp_path, size_bytes=2 * MIB)
    assert ballast.path.stat().st_blocks * 512 < 2 * MIB
    assert ballast.make()
    assert ballast.path.stat().st_blocks * 512 >= 2 * MIB
    assert Ballast(tmp_path, size_bytes=MIB).make()
    assert ballast.path.stat().st_size == MIB


@contextlib.contextmanager
def files_of_at_most(size_bytes: int):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_ballast_that_finds_no_room_leaves_nothing(tmp_path):
    ballast = Ballast(tmp_path, size_bytes=4 * MIB)
    with files_of_at_most(MIB):
        assert not ballast.make()
    assert not ballast.there
    assert list(tmp_path.iterdir()) == []
    assert not Ballast(tmp_path / "nowhere", size_bytes=MIB).make()


def full_error(path: Path) -> Exception:
    """SQLite's own error on a database that may not grow."""
    line = sqlite.connect(str(path))
    line.execute("CREATE TABLE t (x BLOB)")
    line.commit()
    pages = line.execute("PRAGMA page_count").fetchone()[0]
    line.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite.OperationalError) as caught:
        line.execute("INSERT INTO t VALUES (zeroblob(100000))")
    line.close()
    return caught.value


def read_only_error(path: Path) -> Exception:
    sqlite.connect(str(path)).close()
    line = sqlite.connect(f"{path.as_uri()}?mode=ro", uri=True)
    with pytest.raises(sqlite.OperationalError) as caught:
        line.execute("CREATE TABLE u (x)")
    line.close()
    return caught.value


def test_what_says_that_the_disk_is_full(tmp_path):
    assert disk.trouble(full_error(tmp_path / "a.db")) == "full"
    assert disk.trouble(read_only_error(tmp_path / "b.db")) == "read-only"
    assert disk.trouble(OSError(errno.ENOSPC, "x")) == "full"
    assert disk.trouble(OSError(errno.EDQUOT, "x")) == "full"
    assert disk.trouble(OSError(errno.EROFS, "x")) == "read-only"
    assert disk.trouble(psycopg.errors.DiskFull("x")) == "server"
    assert disk.trouble(psycopg.errors.ReadOnlySqlTransaction("x")) == "server"
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = OSError(errno.ENOSPC, "x")
    assert disk.trouble(wrapped) == "full"
    for other in (None, OSError(errno.EIO, "x"), sqlite.OperationalError("database is locked"), psycopg.Error("x")):
        assert disk.trouble(other) == ""


def test_a_full_disk_closes_the_shop_until_there_is_room(tmp_path, monkeypatch):
    under = Ground(ballast=Ballast(tmp_path, size_bytes=MIB))
    under._begin()
    assert not under.short
    assert not under.full(ValueError("something else"))
    assert not under.short
    assert under.full(full_error(tmp_path / "a.db"))
    assert under.short
    assert not (tmp_path / "ballast").exists()
    under.look()
    assert under.short, "the trouble was a moment ago"
    monkeypatch.setattr(ground, "QUIET_S", 0)
    monkeypatch.setattr(Ballast, "room", lambda _: 2 * MIB)
    under.look()
    assert under.short, "twice the ballast is not free"
    monkeypatch.setattr(Ballast, "room", lambda _: 2 * MIB + 4096)
    under.look()
    assert not under.short
    assert (tmp_path / "ballast").exists()


def test_a_disk_that_may_not_be_written_costs_no_ballast(tmp_path, monkeypatch):
    under = Ground(ballast=Ballast(tmp_path, size_bytes=MIB))
    under._begin()
    assert under.full(read_only_error(tmp_path / "b.db"))
    assert under.short
    assert under.full(psycopg.errors.DiskFull("x"))
    assert (tmp_path / "ballast").exists()
    monkeypatch.setattr(ground, "QUIET_S", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Ballast, "room", lambda _: 0)  # what it says of a disk that is still read-only
        under.look()
        assert under.short
    under.look()
    assert not under.short


def test_damage_is_not_mended_by_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(ground, "QUIET_S", 0)
    under = Ground(ballast=Ballast(tmp_path, size_bytes=MIB))
    under._begin()
    under.damaged("page 3")
    under.look()
    assert under.short


def test_ground_without_anything_to_watch_never_gives_way():
    under = Ground()
    under.look()
    assert (under.short, under.shed, under.fault()) == (False, False, None)


# the clock (F37)


class Machine:
    """A machine's clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.us = 1_800_000_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: self.us * 1000)


HOUR_US = 3_600_000_000


def test_time_goes_on_from_the_mark_at_half_speed_until_the_machine_has_caught_up(monkeypatch):
    machine, told = Machine(monkeypatch), clock.SystemClock()
    mark_us = machine.us + HOUR_US
    assert told.not_before(mark_us) == HOUR_US
    assert told.now_us() == mark_us
    machine.us += 60_000_000
    assert told.now_us() == mark_us + 30_000_000
    for _ in range(1000):  # whoever asks often loses nothing by it
        machine.us += 1
        told.now_us()
    assert told.now_us() == mark_us + 30_000_500
    machine.us += 2 * HOUR_US
    assert told.now_us() == machine.us


def test_a_clock_that_is_right_is_left_alone(monkeypatch):
    machine, told = Machine(monkeypatch), clock.SystemClock()
    assert told.not_before(machine.us - 5) == 0
    assert told.not_before(0) == 0
    assert told.now_us() == machine.us


def test_time_never_goes_back_whatever_the_machine_does(monkeypatch):
    machine, told, rng = Machine(monkeypatch), clock.SystemClock(), random.Random(37)
    told.not_before(machine.us + 1000)
    last_us = 0
    for _ in range(5000):
        machine.us += rng.choice([1, 7, 1000, 60_000_000, HOUR_US, -HOUR_US, -60_000_000, -3])
        now_us = told.now_us()
        assert now_us >= max(last_us, machine.us)
        last_us = now_us


def test_a_clock_far_behind_the_books_is_refused(monkeypatch):
    machine, told = Machine(monkeypatch), clock.SystemClock()
    assert told.not_before(machine.us + 24 * HOUR_US) == 24 * HOUR_US
    with pytest.raises(CommandError, match="clock.behind hours=25"):
        told.not_before(machine.us + 25 * HOUR_US)
    assert told.not_before(machine.us + 25 * HOUR_US, behind_h_max=25) == 25 * HOUR_US


@pytest.mark.store
def test_the_books_know_the_newest_time(instance):
    assert db.read(epochs.newest_us) == 0
    db.write(epochs.begin, epoch="ep_a", node="a", now_us=1000)
    assert db.read(epochs.newest_us) == 1000
    assert db.write(epochs.beat, "ep_a", 5000, 5000)
    assert db.write(epochs.beat, "ep_a", 4000, 4000)
    db.write(epochs.begin, epoch="ep_b", node="b", now_us=2000)
    assert db.read(epochs.newest_us) == 5000
    db.write(epochs.end, epoch="ep_b", why="stopped", now_us=9000)
    assert db.read(epochs.newest_us) == 9000
    assert not db.write(epochs.beat, "ep_b", 9500, 9500)
    assert db.read(epochs.newest_us) == 9000


@pytest.mark.store
def test_the_drift_against_the_database_is_told(instance):
    now_us = time.time_ns() // 1000
    assert abs(db.read(epochs.drift_us, now_us)) < 30_000_000
    assert 3_500_000_000 < db.read(epochs.drift_us, now_us + HOUR_US) < 3_700_000_000


# the disk under SQLite (F40)

MOUNTS = """\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /srv rw shared:2 - nfs4 host:/export rw
31 30 0:41 / /srv/fast rw - xfs /dev/sdb rw
32 27 0:42 / /srv/my\\040shop rw - cifs //host/share rw
33 27 0:43 / /data rw - ext4 /dev/sdc rw
34 33 0:44 / /data rw - fuse.sshfs me@host: rw
35 27 0:45 / /data2 rw - fuse.mergerfs x rw
36 27 0:46 / /c rw - 9p drvfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "refused"),
    [
        ("/var/lib/shop", "ext4", False),
        ("/srv", "nfs4", True),
        ("/srv/shop/data", "nfs4", True),
        ("/srv/fast/data", "xfs", False),
        ("/srv/faster", "nfs4", True),
        ("/srv/my shop/data", "cifs", True),
        ("/data/x", "fuse.sshfs", True),
        ("/data2/x", "fuse.mergerfs", False),
        ("/c/shop", "9p", False),
    ],
)
def test_network_disks_are_known_by_the_longest_mount(tmp_path, monkeypatch, path, kind, refused):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "mountinfo")
    assert disk.file_system(Path(path)) == kind
    if refused:
        with pytest.raises(CommandError, match="store.network_disk"):
            disk.refuse_network(Path(path))
    else:
        disk.refuse_network(Path(path))


def test_a_link_does_not_hide_a_network_disk(tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    (tmp_path / "link").symlink_to("/srv/shop")
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "mountinfo")
    assert disk.file_system(tmp_path / "link") == "nfs4"


def test_this_machine_names_its_file_systems(tmp_path):
    assert disk.file_system(Path("/proc/self")) == "proc"
    assert disk.file_system(tmp_path)
    disk.refuse_network(tmp_path)


def test_without_the_kernels_word_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "none")
    assert disk.file_system(tmp_path) == ""
    disk.refuse_network(tmp_path)


def test_a_file_that_is_gone_or_another_is_noticed(tmp_path):
    store, lock = tmp_path / "farebox.db", tmp_path / "serve.lock"
    store.write_text("a")
    lock.write_text("b")
    watch = FileWatch()
    for path in (store, lock, tmp_path / "absent"):
        watch.add(path)
    store.write_text("other words in the same file")
    assert watch.fault() is None
    (tmp_path / "new").write_text("a")
    (tmp_path / "new").replace(store)
    assert watch.fault() == refusal_of("store.replaced", file=str(store))
    lock.unlink()
    watch = FileWatch()
    watch.add(store)
    store.unlink()
    assert watch.fault() == refusal_of("store.deleted", file=str(store))


# a damaged file (F41)


def filled(path: Path) -> Path:
    line = sqlite.connect(str(path))
    line.execute("PRAGMA journal_mode = WAL")
    line.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
    line.execute("CREATE INDEX tx ON t (x)")
    line.executemany("INSERT INTO t (x) VALUES (?)", [(f"row {n} " * 10,) for n in range(5000)])
    line.commit()
    line.close()
    return path


def test_a_whole_file_is_whole_also_while_it_is_written(tmp_path):
    file = filled(tmp_path / "a.db")
    assert disk.FileCheck(file).run() == []
    writer = sqlite.connect(str(file))
    writer.execute("INSERT INTO t (x) VALUES ('in an open transaction')")
    assert disk.FileCheck(file).run() == []
    writer.rollback()
    writer.close()


@pytest.mark.slow
def test_overwritten_pages_are_found(tmp_path):
    for seed in range(8):
        file = filled(tmp_path / f"{seed}.db")
        spoil(file, seed=seed)
        before = hashlib.sha256(file.read_bytes()).digest()
        found = disk.FileCheck(file).run()
        assert found
        assert hashlib.sha256(file.read_bytes()).digest() == before
        with pytest.raises(CommandError, match="store.damaged"):
            ground.check(file)


def test_a_file_that_can_not_be_opened_is_no_damage(tmp_path):
    with pytest.raises(sqlite.Error):
        disk.FileCheck(tmp_path / "absent.db").run()
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(CommandError, match="store.unchecked"):
        ground.check(tmp_path / "folder.db")


def test_a_stopped_check_says_nothing(tmp_path):
    file = filled(tmp_path / "a.db")
    spoil(file)
    check = disk.FileCheck(file)
    check.stop()
    assert check.run() == []


def test_a_large_file_is_left_to_the_night(tmp_path, monkeypatch):
    file = filled(tmp_path / "a.db")
    spoil(file)
    monkeypatch.setattr(ground, "CHECK_BYTES_MAX", file.stat().st_size - 1)
    ground.check(file)


# whose store it is, and whether it is as this version makes it (F42)


def run_sql(*texts: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for text in texts:
            cursor.execute(text)


def refusal() -> str:
    with pytest.raises(CommandError) as caught:
        ready.schema()
    return caught.value.message


@pytest.mark.store
def test_a_fresh_store_is_as_it_should_be_and_that_is_found_out_fast(instance):
    from django.db import connection

    ready.foreign()
    ready.schema()
    took_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        assert shape.differences(shape.real(connection), shape.meant(connection.vendor)) == []
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.05
    wanted = shape.meant(connection.vendor)
    assert len(wanted.triggers) >= 4
    assert len(wanted.rules) > 20


@pytest.mark.store
def test_a_process_of_its_own_misses_the_triggers(instance):
    from django.db import connection

    on = "" if connection.vendor == "sqlite" else " ON ledger_posting"
    name = "ledger_posting_no_delete" if connection.vendor == "sqlite" else "ledger_posting_no_change"
    run_sql(f"DROP TRIGGER {name}{on}")
    connection.close()
    ran = subprocess.run(
        [cli.PROGRAM, "doctor", "--json"],
        env=cli.environment(**instance.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert f"trigger {name} is missing or off" in ran.stdout


@pytest.mark.store
def test_books_without_their_triggers_are_refused(instance):
    from django.db import connection

    if connection.vendor == "sqlite":
        # What SQLite does to a table that is rebuilt: the trigger is dropped with it.
        run_sql("DROP TRIGGER ledger_posting_no_delete")
        assert "trigger ledger_posting_no_delete is missing or off" in refusal()
        return
    run_sql("ALTER TABLE ledger_posting DISABLE TRIGGER ledger_posting_no_change")
    assert "trigger ledger_posting_no_change is missing or off" in refusal()
    run_sql("ALTER TABLE ledger_posting ENABLE TRIGGER ledger_posting_no_change")
    ready.schema()
    run_sql("DROP TRIGGER ledger_posting_no_change ON ledger_posting")
    assert "trigger ledger_posting_no_change is missing or off" in refusal()


@pytest.mark.store
def test_a_rebuilt_table_is_refused(instance):
    """As SQLite's own instructions for ALTER TABLE do it: a new table, the rows over, the old one dropped."""
    run_sql(
        "CREATE TABLE rebuilt AS SELECT * FROM ledger_posting",
        "DROP TABLE ledger_posting",
        "ALTER TABLE rebuilt RENAME TO ledger_posting",
    )
    words = refusal()
    assert "constraint ledger_posting_bounds is missing" in words
    assert "Take no money with it" in words


@pytest.mark.store
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE kit_epoch DROP COLUMN seen_us", "column kit_epoch.seen_us is missing"),
        ("ALTER TABLE kit_epoch ADD COLUMN odd INTEGER", "column kit_epoch.odd is not known"),
        ("ALTER TABLE kit_setting RENAME TO kit_settings", "table kit_setting is missing"),
    ],
)
@pytest.mark.fault("F42")
def test_changed_tables_are_refused(instance, change, says):
    run_sql(change)
    assert says in refusal()


@pytest.mark.store
@pytest.mark.fault("F42")
def test_a_store_migrated_halfway_is_refused(instance):
    run_sql("DELETE FROM django_migrations WHERE app = 'ledger' AND name = '0002_append_only'")
    words = refusal()
    assert words.startswith("The store was migrated halfway: ")
    assert "ledger.0003_bounds" in words


@pytest.mark.store
@pytest.mark.fault("F42")
def test_an_older_and_a_newer_store_are_refused(instance):
    newest = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))
    run_sql(f"DELETE FROM django_migrations WHERE app = 'kit' AND name = '{newest}'")
    assert "is of an older version (1 migrations to do). Run `farebox migrate` first." in refusal()
    run_sql(f"INSERT INTO django_migrations (app, name, applied) VALUES ('kit', '{newest}', CURRENT_TIMESTAMP)")
    ready.schema()
    run_sql("INSERT INTO django_migrations (app, name, applied) VALUES ('kit', '0999_future', CURRENT_TIMESTAMP)")
    assert "is of a newer version than this program: it knows kit 0999_future" in refusal()


@pytest.mark.fault("F07")
@pytest.mark.parametrize(("patience_s", "tries"), [(0.1, 1), (60, 3)])
def test_nobody_waits_twice_for_a_lock_that_another_program_keeps(instance, monkeypatch, patience_s, tries):
    from django.db import connection

    monkeypatch.setattr(db, "_PATIENCE_S", patience_s)
    paused = []
    monkeypatch.setattr(db, "_pause", paused.append)
    other = sqlite.connect(instance.data / "farebox.db", isolation_level=None)
    connection.ensure_connection()
    connection.connection.execute("PRAGMA busy_timeout = 200")
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnavailable, match="locked"):
            db.write(db.bump, "t1")
    finally:
        other.execute("ROLLBACK")
        other.close()
        connection.close()
    assert len(paused) == tries - 1
    db.write(db.bump, "t1")


@pytest.mark.store
def test_tables_of_others_beside_ours_do_not_matter(instance):
    run_sql("CREATE TABLE report (x INTEGER)")
    ready.foreign()
    ready.schema()


@pytest.mark.store
def test_the_database_of_another_program_is_refused(instance):
    run_sql("ALTER TABLE kit_version RENAME TO blog_post")
    with pytest.raises(CommandError, match="belongs to another program: it has blog_post, and no table of Farebox"):
        ready.foreign()


@pytest.mark.slow
def test_no_command_touches_the_file_of_another_program(tmp_path):
    env = {"FAREBOX_DATA_DIR": str(tmp_path)}
    secrets.ensure(options.read(env))
    file = tmp_path / "farebox.db"
    line = sqlite.connect(str(file))
    line.execute("CREATE TABLE song (title TEXT)")
    line.execute("CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied TEXT)")
    line.commit()
    line.close()
    for make, says in (
        (None, "belongs to another program: it has song"),
        (b"These are notes, and no database at all.\n" * 100, "can't be opened as a store: file is not a database"),
    ):
        if make is not None:
            file.write_bytes(make)
        before = file.read_bytes()
        for command in (("migrate",), ("serve", "--port", "0")) if make is None else (("account", "list"),):
            ran = cli.program(*command, env=env)
            assert ran.code == 1, command
            assert says in ran.err, command
            assert len(ran.err.splitlines()) == 1, ran.err
            assert file.read_bytes() == before


@pytest.mark.slow
def test_an_empty_file_is_nobodys(tmp_path):
    (tmp_path / "farebox.db").touch()
    ran = cli.program("account", "list", env={"FAREBOX_DATA_DIR": str(tmp_path)})
    assert ran.code == 1
    assert "another program" not in ran.err


# memory and open files (F43)


@pytest.mark.parametrize(
    ("files", "wanted", "calls", "allowed"),
    [
        (20_000, 4000, 1500, 4000),
        (1_048_576, 100_000, 100_000, 100_000),
        (4096, 4000, 1500, 2212),
        (1024, 4000, 1500, 320),
        (256, 4000, 1500, 64),
        (8, 4000, 1500, 2),
        (1024, 100, 1500, 100),
    ],
)
def test_connections_fit_into_the_open_files(files, wanted, calls, allowed):
    assert process_limits.connections_max(files, wanted=wanted, calls_max=calls) == allowed


def test_the_limit_of_open_files_is_raised():
    program = "from farebox.kit import process_limits as limits; import resource; print(limits.raise_open_files()); "
    program += "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    ran = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -S -n 256; ulimit -H -n 1000; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == ["1000", "1000", "1000"]


def test_memory_in_use_is_seen():
    before = process_limits.rss_bytes()
    big = bytearray(os.urandom(1)) * (64 * MIB)
    assert process_limits.rss_bytes() - before > 48 * MIB
    del big
    assert process_limits.rss_bytes() - before < 32 * MIB


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "536870912"}, 512 * MIB),
        ("0::/\n", {"memory.max": "max"}, 8192 * MIB),
        ("0::/shop/web\n", {"shop/web/memory.max": "max", "shop/memory.max": "1073741824"}, 1024 * MIB),
        ("4:memory:/docker/1\n0::/\n", {"memory/memory.limit_in_bytes": "268435456"}, 256 * MIB),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 8192 * MIB),
        ("3:cpu,cpuacct:/x\n", {}, 8192 * MIB),
    ],
)
def test_the_memory_that_there_is(tmp_path, cgroup, files, limit):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree: 5 kB\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text + "\n")
    assert process_limits.memory_bytes(proc=proc, cgroups=groups) == limit


def test_the_limit_of_memory(monkeypatch):
    assert process_limits.rss_max_bytes(700) == 700 * MIB
    for total, limit in ((8192 * MIB, 4096 * MIB), (300 * MIB, 256 * MIB), (0, 0)):
        monkeypatch.setattr(process_limits, "memory_bytes", lambda total=total: total)
        assert process_limits.rss_max_bytes(0) == limit


def test_calls_are_shed_until_memory_falls(monkeypatch):
    under = Ground(rss_max_bytes=100 * MIB)
    gave_back = []
    monkeypatch.setattr(process_limits, "give_back", lambda: gave_back.append(1))
    for used_mib, shed in ((90, False), (101, True), (99, True), (96, True), (94, False), (99, False), (200, True)):
        monkeypatch.setattr(process_limits, "rss_bytes", lambda used_mib=used_mib: used_mib * MIB)
        under.look()
        assert under.shed is shed, used_mib
    assert gave_back == [1], "at most once in ten seconds"


@pytest.mark.slow
def test_memory_can_be_given_back():
    process_limits.give_back()


def test_what_says_that_the_machine_is_used_up():
    assert process_limits.exhausted(OSError(errno.EMFILE, "x"))
    assert process_limits.exhausted(MemoryError())
    assert process_limits.exhausted(RuntimeError("can't start new thread"))
    outer = ValueError("x")
    outer.__cause__ = OSError(errno.ENFILE, "x")
    assert process_limits.exhausted(outer)
    assert not process_limits.exhausted(RuntimeError("else"))
    assert not process_limits.exhausted(OSError(errno.ENOENT, "x"))
    assert not process_limits.exhausted(None)


def test_the_ground_of_a_store(tmp_path):
    given = options.read({"FAREBOX_DATA_DIR": str(tmp_path), "FAREBOX_BALLAST_MB": "1", "FAREBOX_CONNECTIONS_MAX": "9"})
    filled(given.sqlite_file)
    (tmp_path / "serve.lock").touch()
    under = Ground.under(given)
    assert under.connections_max == 9
    assert (tmp_path / "ballast").stat().st_size == MIB
    assert (under.short, under.shed, under.fault()) == (False, False, None)
    wal = tmp_path / "farebox.db-wal"
    wal.touch()
    under.look()
    assert under.fault() is None
    wal.unlink()
    assert under.fault() == refusal_of("store.deleted", file=str(wal))
