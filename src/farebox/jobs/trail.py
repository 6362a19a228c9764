"""The care of the audit trail: its events are sealed within seconds, its head is told once a day (security 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import structlog

from farebox.accounts.models import Person
from farebox.calls.log import day_of
from farebox.kit import chain, clock, settings
from farebox.kit.db import Tx
from farebox.office import letters

log = structlog.get_logger(__name__)

_NAME = "audit_head_told"


class Store(Protocol):
    """The store port of the serving process (kit.db.Store)."""

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` in the next commit."""

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` for reading."""


async def seal(store: Store) -> None:
    """Seal what has no seal."""
    while events := await store.read(chain.unsealed, clock.now_us()):
        await store.write(chain.seal, events)


async def tell_head(store: Store) -> None:
    """Once a UTC day, after a look at the whole trail: its head to the log, and by mail to each auditor."""
    now_us = clock.now_us()
    if await store.read(_told, now_us):
        return
    while events := await store.read(chain.unsealed):
        await store.write(chain.seal, events)
    told = await store.write(_tell, now_us)
    if told is not None:
        # For whoever keeps it elsewhere: `farebox doctor --head` looks for it in the chain.
        log.info("audit.head", head=str(told))


def _told(tx: Tx, now_us: int) -> bool:
    return bool(settings.get(tx, _NAME, "") >= day_of(now_us))


def _tell(tx: Tx, now_us: int) -> chain.Head | None:
    newest, day = chain.head(tx), day_of(now_us)
    if not newest.n or not settings.once_a_day(tx, _NAME, day):
        return None
    for person in Person.objects.filter(operator_role="auditor", is_active=True).order_by("id"):
        letters.head(tx, person, newest, day)
    return newest
