"""The audit trail: who did what to which object, with opaque values before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from . import clock, db, ids, sql
from .db import Tx

_encode = msgspec.json.Encoder().encode
_LAST_ID = "aud_~"
_EVER_US = 2**62
PAGE = 500


def record(tx: Tx, *, actor: str, verb: str, object: str, before: Any = None, after: Any = None) -> None:  # noqa: A002
    """Add one event to the trail in the caller's transaction; `before` and `after` are JSON-able and hold no secret."""
    at_us = clock.now_us()
    tx.execute(
        sql.RECORD_AUDIT,
        (
            ids.new("aud", at_us),
            at_us,
            actor[:200],
            verb[:60],
            object[:200],
            "" if before is None else _encode(before).decode(),
            "" if after is None else _encode(after).decode(),
        ),
    )


@dataclass(frozen=True, slots=True)
class Search:
    """Which events are wanted: beginnings of actor, verb and object (empty for all), and a span of time.

    `or_actor` and `or_object` are other beginnings that will do, where a person or a thing has two names.
    """

    actor: str = ""
    verb: str = ""
    object: str = ""
    from_us: int = 0
    until_us: int = _EVER_US
    or_actor: str = ""
    or_object: str = ""


@dataclass(frozen=True, slots=True)
class TrailEvent:
    """One event of the trail; `before` and `after` are JSON texts, empty where there is nothing."""

    id: str
    at_us: int
    actor: str
    verb: str
    object: str
    before: str
    after: str


def search(tx: Tx, wanted: Search, *, before: str = "", limit: int = 50) -> list[TrailEvent]:
    """Events that are wanted, newest first, older than the id `before`."""
    params: tuple[Any, ...] = (before or _LAST_ID, wanted.from_us, min(wanted.until_us, _EVER_US))
    objects = (wanted.object, wanted.or_object or wanted.object)
    for text in (wanted.actor, wanted.or_actor or wanted.actor, wanted.verb, *objects):
        params += (text, text)
    return [TrailEvent(*row) for row in tx.all(sql.SEARCH_AUDIT, (*params, limit))]


def pages(wanted: Search) -> Iterator[list[TrailEvent]]:
    """All events that are wanted, newest first, a page at a time: for exports at constant memory."""
    last = ""
    while found := db.read(search, wanted, before=last, limit=PAGE):
        yield found
        last = found[-1].id
