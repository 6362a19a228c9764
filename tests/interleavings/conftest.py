"""Interleavings need two connections that write at once, so they run on PostgreSQL alone."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--db") == "postgresql":
        return
    here = [item for item in items if item.path.is_relative_to(HERE)]
    if here:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if not item.path.is_relative_to(HERE)]
