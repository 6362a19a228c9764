"""The chain of the audit trail: each seal commits to its event and to all before it (security 7).

`h(n) = SHA-256(h(n-1) + event)`, `h(0)` 32 zero bytes, the event as the JSON array of its columns in UTF-8. Seals are
made beside the writes that they seal, in the order in which they are found, so no write waits for another. A chain in
the same store proves that nothing was changed. It does not show a cut end, or that all of it was made again: for that
its head is kept elsewhere, from time to time, and given to `verify`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from . import db, ids, sql
from .db import Row, Tx
from .errors import CommandError

AT_MOST = 500
# How much later than its id says an event may be committed, and still be found without a look at the whole trail.
LATE_US = 15 * 60 * 1_000_000
# How old an event may be without a seal.
UNSEALED_US = 60 * 1_000_000
TROUBLES_MAX = 20
_BEGIN = bytes(32).hex()
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_encode = msgspec.json.Encoder().encode

Kind = Literal["changed", "gone", "gap", "head"]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal: its number, from 1 (0: nothing is sealed yet), and its hash in 64 hexadecimal digits."""

    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.n}:{self.hash}"


@dataclass(frozen=True, slots=True)
class BrokenSeal:
    """One thing that is not as it was sealed.

    `changed`: event `event`, or seal `n` itself, is not what was sealed. `gone`: the event of seal `n` is missing.
    `gap`: seal `n` is missing. `head`: the chain does not hold the head that was noted at `n`.
    """

    kind: Kind
    n: int = 0
    event: str = ""


@dataclass(slots=True)
class ChainVerdict:
    """What `verify` has seen: the head, and what is wrong (the first `TROUBLES_MAX`, and how many in total).

    `waiting` events, at most `AT_MOST` are counted, have had no seal for longer than `UNSEALED_US`.
    """

    head: Head = field(default_factory=lambda: Head(0, _BEGIN))
    troubles: list[BrokenSeal] = field(default_factory=list)
    many: int = 0
    waiting: int = 0

    def add(self, trouble: BrokenSeal) -> None:
        """One more."""
        self.many += 1
        if len(self.troubles) < TROUBLES_MAX:
            self.troubles.append(trouble)


def parse(text: str) -> Head:
    """The head that somebody has noted as `number:hash`; CommandError if it is not one."""
    found = _HEAD.match(text.strip())
    if found is None or int(found[1]) == 0:
        raise CommandError("chain.head")
    return Head(int(found[1]), found[2])


def head(tx: Tx) -> Head:
    """The newest seal."""
    row = tx.one(sql.CHAIN_HEAD)
    return Head(0, _BEGIN) if row is None else Head(int(row[0]), str(row[1]))


def unsealed(tx: Tx, now_us: int | None = None) -> list[Row]:
    """The oldest events without a seal, at most `AT_MOST`, as `seal` takes them.

    With `now_us` it looks from `LATE_US` before the newest sealed event, or before now, else at the whole trail.
    """
    row = None if now_us is None else tx.one(sql.NEWEST_SEALED)
    floor = ""
    if now_us is not None and row is not None and row[0] is not None:
        floor_us = min(now_us, ids.time_us(row[0])) - LATE_US
        floor = f"aud_{ids.base62(max(0, floor_us), ids.TIME_DIGITS)}"
    return tx.all(sql.UNSEALED, (floor, AT_MOST))


def seal(tx: Tx, events: Sequence[Row]) -> int:
    """Add these events to the chain; how many. It stops where another process was faster: ask for what is left."""
    newest = head(tx)
    n, last = newest.n, newest.hash
    for many, event in enumerate(events):
        n, last = n + 1, _link(last, event)
        if not tx.execute(sql.SEAL, (n, event[0], last)):
            return many
    return len(events)


def verify(noted: Sequence[Head] = (), *, now_us: int, tell: Callable[[int], None] = lambda _n: None) -> ChainVerdict:
    """Recompute the whole chain, and look for the noted heads in it; `tell` hears how far it is."""
    verdict, wanted = ChainVerdict(), {(one.n, one.hash) for one in noted}
    n, last = 0, _BEGIN
    while rows := db.read(_page, n):
        for at, sealed, name, *event in rows:
            meant = _link(last, event)
            if at != n + 1:
                verdict.add(BrokenSeal("gap", n + 1))
            elif event[0] is None:
                verdict.add(BrokenSeal("gone", at, name))
            elif meant != sealed:
                verdict.add(BrokenSeal("changed", at, name))
            # On from what stands there, so that one change is one finding.
            n, last = at, sealed if _HASH.match(sealed) else meant
            wanted.discard((n, sealed))
        tell(n)
    verdict.head = Head(n, last)
    for at, _hash in sorted(wanted):
        verdict.add(BrokenSeal("head", at))
    verdict.waiting = sum(event[1] < now_us - UNSEALED_US for event in db.read(unsealed))
    return verdict


def _page(tx: Tx, after: int) -> list[Row]:
    return tx.all(sql.SEALED, (after, AT_MOST))


def _link(before: str, event: Sequence[Any]) -> str:
    return hashlib.sha256(bytes.fromhex(before) + _encode(list(event))).hexdigest()
