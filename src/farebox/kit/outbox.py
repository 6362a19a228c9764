"""What leaves the shop after the commit: mail and webhooks, kept in the store until they are out.

`put` writes a message in the transaction of what it tells of, so that neither is there without the other. A serving
process takes what is due (`take` is a lease: who dies gives it back by doing nothing), hands it to `kit.mail` or
`kit.webhook`, and writes down how it went. A message may leave twice, never not at all; both kinds carry its id, by
which receivers know the second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from . import clock, ids, options, rewrapping, secrets
from .db import Tx
from .errors import CommandError
from .models import Outbox

TRIES = 12  # 30 s, then twice as long each time up to 6 h: two days in all
LEASE_US = 120_000_000
AT_ONCE = 20
KEEP_US = 7 * 86_400_000_000
_FIRST_WAIT_US = 30_000_000
_LONGEST_WAIT_US = 6 * 3_600_000_000
_encode = msgspec.json.Encoder().encode
PLACES = {"messages": rewrapping.column(Outbox, "payload")}


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message that was taken: its id, kind, content, and how many times it was tried, this one included."""

    id: str
    kind: str
    payload: dict[str, Any]
    tries: int


def put(tx: Tx, *, kind: str, payload: dict[str, Any], now_us: int | None = None) -> str:
    """Let a message leave after the commit; its id. Better use `mail` or `webhook`."""
    del tx  # the ORM writes in the same transaction
    at_us = clock.now_us() if now_us is None else now_us
    name = ids.new("out", at_us)
    sealed = secrets.seal(
        secrets.master_keys(options.current()),
        _encode(payload).decode(),
        table="kit_outbox",
        column="payload",
        row=name,
    )
    Outbox.objects.create(id=name, kind=kind, payload=sealed, due_us=at_us, created_us=at_us)
    return name


def mail(tx: Tx, *, to: str, subject: str, text: str) -> str:
    """Send a plain text to one address; the message's id. CommandError for what would break out of a header."""
    if not to.isprintable() or not subject.isprintable():
        raise CommandError("mail.one_line")
    return put(tx, kind="mail", payload={"to": to, "subject": subject, "text": text})


def webhook(tx: Tx, *, url: str, secret: str, event: str, data: dict[str, Any]) -> str:
    """POST `{id, event, at, data}` to a customer's address, signed with their secret; the message's id."""
    return put(tx, kind="webhook", payload={"url": url, "secret": secret, "event": event, "data": data})


def due(tx: Tx, now_us: int) -> list[str]:
    """Messages that wait for somebody to take them, oldest first."""
    del tx  # the ORM reads in the same transaction
    rows = Outbox.objects.filter(state="waiting", due_us__lte=now_us).order_by("due_us", "id")
    return list(rows.values_list("id", flat=True)[:AT_ONCE])


def take(tx: Tx, message: str, now_us: int) -> OutboxMessage | None:
    """Take one that is due, for `LEASE_US`; None if another has it, or it is unreadable and therefore dead."""
    del tx  # the ORM writes in the same transaction
    row = Outbox.objects.filter(id=message).first()
    if row is None:
        return None
    mine = Outbox.objects.filter(id=message, state="waiting", tries=row.tries, due_us__lte=now_us)
    if mine.update(tries=row.tries + 1, due_us=now_us + LEASE_US) != 1:
        return None
    try:
        text = secrets.unseal(
            secrets.master_keys(options.current()), row.payload, table="kit_outbox", column="payload", row=row.id
        )
    except CommandError:
        Outbox.objects.filter(id=message).update(state="dead", payload="", fault="its content can't be decrypted")
        return None
    return OutboxMessage(row.id, row.kind, msgspec.json.decode(text), row.tries + 1)


def sent(tx: Tx, message: str) -> None:
    """It has left: what it said is forgotten."""
    del tx  # the ORM writes in the same transaction
    Outbox.objects.filter(id=message, state="waiting").update(state="sent", payload="", fault="")


def failed(tx: Tx, message: OutboxMessage, *, fault: str, for_good: bool = False, now_us: int) -> None:
    """It did not leave: again later, or never where it was tried often enough, or can't (`for_good`)."""
    del tx  # the ORM writes in the same transaction
    row = Outbox.objects.filter(id=message.id, state="waiting")
    said = secrets.redact(fault)[:200]
    if for_good or message.tries >= TRIES:
        row.update(state="dead", payload="", fault=said)
    else:
        row.update(due_us=now_us + wait_us(message.tries), fault=said)


def wait_us(tries: int) -> int:
    """How long to wait after so many tries."""
    return int(min(_FIRST_WAIT_US << max(0, tries - 1), _LONGEST_WAIT_US))


def dead(tx: Tx) -> list[tuple[str, str]]:
    """Kind and fault of the messages that were given up, the newest first, until they are forgotten."""
    del tx  # the ORM reads in the same transaction
    return list(Outbox.objects.filter(state="dead").order_by("-created_us", "-id").values_list("kind", "fault"))


def forget(tx: Tx, *, now_us: int) -> int:
    """Forget what left or died more than a week ago; how many."""
    del tx  # the ORM writes in the same transaction
    gone, _ = Outbox.objects.exclude(state="waiting").filter(created_us__lt=now_us - KEEP_US).delete()
    return gone
