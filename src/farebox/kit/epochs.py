"""Epochs: one life of one process each, with a heartbeat that is its lease (promises 1.5).

An observer counts, by its own ticks, how long another's heartbeat has not moved; no clock decides. On SQLite the lock
on the data folder proves every older epoch dead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from . import sql
from .db import Tx

# A condition for the statements of other rooms: nobody has ended this epoch. Its parameter is the epoch.
GOES_ON = "NOT EXISTS (SELECT 1 FROM kit_epoch WHERE id = %s AND ended_us IS NOT NULL)"


def begin(tx: Tx, *, epoch: str, node: str, now_us: int) -> None:
    """Begin an epoch."""
    tx.execute(sql.BEGIN_EPOCH, (epoch, node[:100], now_us, now_us, now_us))


def beat(tx: Tx, epoch: str, now_us: int, oldest_us: int) -> bool:
    """Prolong the lease; False if somebody has ended the epoch: then it is lost.

    Writes down `now_us`, and `oldest_us`, when the oldest of the requests that are being answered had begun.
    """
    return tx.execute(sql.BEAT, (oldest_us, now_us, now_us, epoch)) == 1


def newest_us(tx: Tx) -> int:
    """The newest time that any epoch wrote down, 0 before the first: no clock begins before it (promises: F37)."""
    times = tx.one(sql.NEWEST_TIMES) or ()
    return max((int(time_us) for time_us in times if time_us is not None), default=0)


def drift_us(tx: Tx, now_us: int) -> int:
    """By how much `now_us` is ahead of the database's clock, in microseconds; for a report only.

    SQLite has the machine's clock, in whole seconds.
    """
    row = tx.one(sql.DATABASE_TIME)
    given = row[0] if row is not None else ""
    at = given if isinstance(given, datetime) else datetime.fromisoformat(str(given)).replace(tzinfo=UTC)
    return now_us - int(at.timestamp() * 1_000_000)


def beats(tx: Tx) -> dict[str, int]:
    """How often each open epoch has beaten so far."""
    return {str(epoch): int(beats) for epoch, beats in tx.all(sql.OPEN_EPOCHS)}


def move_back(tx: Tx, to_us: int) -> None:
    """Put every time of every epoch that is later than `to_us` there: the clock that wrote it had run ahead."""
    tx.execute(sql.MOVE_TIMES_BACK, (to_us,) * 13)


def end(tx: Tx, *, epoch: str, why: str, now_us: int) -> None:
    """End an epoch of one's own."""
    tx.execute(sql.END_EPOCH, (now_us, why[:32], epoch, 2**62))


def end_others(tx: Tx, *, epoch: str, now_us: int) -> None:
    """End all epochs but this one: the caller holds the lock that no other process can hold."""
    tx.execute(sql.END_OTHER_EPOCHS, (now_us, "its process is gone", epoch))


def ended_us(tx: Tx, epoch: str) -> int | None:
    """When an epoch ended; None while it lives. An unknown epoch ended at 0."""
    row = tx.one(sql.ENDED_EPOCH, (epoch,))
    return 0 if row is None else row[0]


def uncleared(tx: Tx) -> list[tuple[str, int, int, int]]:
    """(epoch, its end, its last sign of life, the oldest request then) of ended epochs that need looking after."""
    rows = tx.all(sql.UNCLEARED_EPOCHS)
    return [(str(epoch), int(ended_us), int(seen_us), int(oldest_us)) for epoch, ended_us, seen_us, oldest_us in rows]


def clear(tx: Tx, *, epoch: str, now_us: int) -> None:
    """Note that nothing of an ended epoch is left to do."""
    tx.execute(sql.CLEAR_EPOCH, (now_us, epoch))


@dataclass(slots=True)
class Observer:
    """Ends epochs whose heartbeat has not moved for `missed_max` of its own ticks.

    What it remembers changes after the commit alone: a transaction that is tried again counts no tick twice.
    """

    missed_max: int
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def tick(self, tx: Tx, *, own: str, now_us: int) -> tuple[list[str], dict[str, tuple[int, int]]]:
        """Look once; the epochs that were ended by this look, and what to remember as `seen` once it is committed."""
        seen: dict[str, tuple[int, int]] = {}
        ended = []
        for epoch, beats in tx.all(sql.OPEN_EPOCHS):
            if epoch == own:
                continue
            before, missed = self.seen.get(epoch, (-1, 0))
            missed = missed + 1 if before == beats else 0
            if missed >= self.missed_max:
                if tx.execute(sql.END_EPOCH, (now_us, "its heartbeat stopped", epoch, beats)) == 1:
                    ended.append(str(epoch))
                continue
            seen[str(epoch)] = (int(beats), missed)
        return ended, seen
