"""Clients that run beside the tests, and what a test asks about the calls that they made."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The tests are imported by path, so modules beside them are too.
_SPEC = importlib.util.spec_from_file_location("clients_environments", Path(__file__).with_name("environments.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
environments = importlib.util.module_from_spec(_SPEC)
sys.modules["clients_environments"] = environments
_SPEC.loader.exec_module(environments)


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A client by the name of its environment; each is started once."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Any] = {}

        def client(name: str) -> Any:
            if name not in running:
                try:
                    environments.python(name)
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


class Buyer:
    """A customer of this test alone, with the calls that were made with his key."""

    def __init__(self, customer: Any) -> None:
        self._customer = customer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._customer, name)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """All calls of the key, oldest first, ended."""
        listed = self.get("/v1/calls?limit=100").json["data"]
        return [self.receipt(row["id"]) for row in reversed(listed)]

    @property
    def only(self) -> dict[str, Any]:
        """The receipt of the one call that was made; its charge is what left the balance."""
        found = self.calls
        assert len(found) == 1, [(row["id"], row["model"], row["rule"]) for row in found]
        return found[0]

    @property
    def asked(self) -> dict[str, Any]:
        """The body that the sandbox got last."""
        return self.shop.sandbox.requests[-1].body

    def refusals(self, code: str) -> int:
        """How often this account was refused with this code."""
        counts = self.shop.server.ports.shop.refusals
        return sum(count for (_, account, found), count in counts.items() if (account, found) == (self.account, code))


@pytest.fixture
def me(shop: Any) -> Iterator[Buyer]:
    """A customer with 1 USD; afterwards nothing is held, and what left the balance is what the receipts say."""
    shop.reset_health()
    buyer = Buyer(shop.account("1"))
    yield buyer
    charged_micro = sum(row["charge_micro"] for row in buyer.calls)
    assert buyer.balance == (1_000_000 - charged_micro, 0)
    shop.reset_health()
