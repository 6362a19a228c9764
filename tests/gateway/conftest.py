"""What several files of the gateway's tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def option(shop: Any) -> Iterator[Callable[..., None]]:
    """Change options of the running shop for one test."""
    before: dict[str, Any] = {}

    def change(**changes: Any) -> None:
        for name, value in changes.items():
            before.setdefault(name, getattr(shop.options, name))
            setattr(shop.options, name, value)

    yield change
    for name, value in before.items():
        setattr(shop.options, name, value)


@pytest.fixture
def no_journal(shop, monkeypatch):
    """The disk of the journal takes nothing."""

    async def keep(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shop.server.ports.journal, "keep", keep)
