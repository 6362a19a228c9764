"""Stores that a test may take away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def own_server(pytestconfig: pytest.Config) -> Iterator[Any]:
    """A PostgreSQL server that tests may stop and start; None on SQLite."""
    if pytestconfig.getoption("--db") != "postgresql":
        yield None
        return
    from kit import postgres

    folder = Path(tempfile.mkdtemp(prefix="farebox-own-"))
    server = postgres.own(folder)
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fragile_instance(request: pytest.FixtureRequest, own_server: Any, tmp_path: Path) -> Iterator[Any]:
    """A fresh store; on PostgreSQL on a server of its own, `instance.server`."""
    if own_server is None:
        yield request.getfixturevalue("instance")
        return
    from kit import postgres

    with postgres.opened(own_server, tmp_path / "data") as instance:
        yield instance
