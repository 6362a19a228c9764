"""The post: takes messages out of the outbox and brings them to their mail server or webhook."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from farebox.kit import clock, mail, options, outbox, webhook
from farebox.kit.errors import CommandError
from farebox.kit.fetch import AddressRefused, Fetch, FetchError
from farebox.kit.outbox import OutboxMessage
from farebox.look import refusals

log = structlog.get_logger(__name__)


class Store(Protocol):
    """The store port of the serving process (kit.db.Store)."""

    async def write(self, fn: Callable[..., Any], *args: Any, locks: Sequence[str] = (), patient: bool = False) -> Any:
        """`fn(tx, *args)` in the next commit."""

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` for reading."""


class Context(Protocol):
    """What this job needs."""

    @property
    def store(self) -> Store:
        """Where the outbox is."""


async def send_outbox(context: Context) -> None:
    """Send what is due, all at once; what fails comes again by itself."""
    store = context.store
    due = await store.read(outbox.due, clock.now_us())
    if not due:
        return
    fetch = Fetch()
    try:
        await asyncio.gather(*(_send(store, fetch, name) for name in due))
    finally:
        await fetch.close()


async def _send(store: Store, fetch: Fetch, name: str) -> None:
    message = await store.write(outbox.take, name, clock.now_us())
    if message is None:
        return
    try:
        await _bring(fetch, message)
    except (mail.MailRefused, AddressRefused) as fault:
        await _failed(store, message, fault, for_good=True)
    except (OSError, smtplib.SMTPException, FetchError, webhook.NotTaken, CommandError) as fault:
        await _failed(store, message, fault, for_good=False)
    else:
        await store.write(outbox.sent, message.id)


async def _bring(fetch: Fetch, message: OutboxMessage) -> None:
    if message.kind == "mail":
        await asyncio.to_thread(mail.send, options.current(), message.payload, ident=message.id)
    else:
        await webhook.post(fetch, message.payload, ident=message.id, at_s=clock.now_us() // 1_000_000)


async def _failed(store: Store, message: OutboxMessage, fault: Exception, *, for_good: bool) -> None:
    said = refusals.of(fault, "cli") if isinstance(fault, CommandError) else str(fault)
    log.warning("outbox.failed", message=message.id, tries=message.tries, fault=said[:200])
    await store.write(_write_down, message, said, for_good)


def _write_down(tx: Any, message: OutboxMessage, fault: str, for_good: bool) -> None:
    outbox.failed(tx, message, fault=fault, for_good=for_good, now_us=clock.now_us())
