"""Clients that run beside the tests, and what a test asks about the calls that they made."""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clients import environments
from clients.buyer import Buyer, Doorman

_NONE = types.SimpleNamespace(params={})
# Between the oldest and the newest that we promise: they run at night, with CLIENTS=all.
BETWEEN = frozenset({"openai2", "openai6"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The versions between are left out, not skipped."""
    if os.environ.get("CLIENTS") == "all":
        return
    between = {id(item) for item in items if getattr(item, "callspec", _NONE).params.get("client") in BETWEEN}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in between])
    items[:] = [item for item in items if id(item) not in between]


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A client by the name of its environment; each is started once."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Any] = {}

        def client(name: str) -> Any:
            if name not in running:
                try:
                    environments.command(name)
                except environments.NoEnvironment as missing:
                    pytest.fail(str(missing), pytrace=False)
                scratch = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(environments.opened(name, scratch))
            return running[name]

        yield client


@pytest.fixture
def client(request: pytest.FixtureRequest, clients: Callable[[str], Any]) -> Any:
    """The client that this test is for: modules parametrize it with the names of environments."""
    return clients(request.param)


@pytest.fixture
def me(shop: Any) -> Iterator[Buyer]:
    """A customer with 1 USD; afterwards nothing is held, and what left the balance is what the receipts say."""
    shop.reset_health()
    buyer = Buyer(shop.account("1"))
    yield buyer
    charged_micro = sum(row["charge_micro"] for row in buyer.calls)
    assert buyer.balance == (1_000_000 - charged_micro, 0)
    shop.reset_health()


@pytest.fixture
def door(shop: Any) -> Iterator[Doorman]:
    """Who counts the requests that come in."""
    doorman = Doorman(shop)
    yield doorman
    doorman.close()
