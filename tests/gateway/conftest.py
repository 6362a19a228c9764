"""What several files of the gateway's tests use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.shop import opened, stock


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


@pytest.fixture
def me(shop):
    """A customer with one dollar."""
    return shop.account("1")


@pytest.fixture
def limits(shop):
    """Change the limits of a call at its upstream, for one test."""
    own = shop.server.ports.shop
    before = own.limits

    def change(**changes):
        own.limits = dataclasses.replace(before, **changes)

    yield change
    own.limits = before


@pytest.fixture
def shop_here(instance_after):
    """A shop of the test's own, to be stopped and started; the books are proved at the end."""
    with opened(instance_after(stock), settle_wait_s=1) as running:
        running.model("far", {"input": "0", "output": "10"})
        yield running
        assert running.findings() == []
