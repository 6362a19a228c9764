"""Settlements that the store could not take, on disk, until it can (R23, promises: F33).

An answer is complete and the store is away: its settlement is appended to the node's journal and synced; then the last
byte goes out. The journal is written into the store when that is back, each record as often as needed: a settlement
finds its own earlier work. What the store refuses by then (the hold has expired, R24) is counted, not charged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec
import structlog

from farebox.calls.log import CallEnd, CallStart
from farebox.kit import errors
from farebox.kit.failpoints import point
from farebox.ledger.holds import HoldEnded

from . import second_write
from .ports import StorePort

log = structlog.get_logger(__name__)

RECORDS_MAX = 1000  # more waiting than this: no new calls
_AT_ONCE = 100
_WITHIN_S = 10
STUCK_AGAIN_S = 60


class LogPort(Protocol):
    """The file below; see kit.appendlog. The simulator brings its own."""

    inherited: list[bytes]

    async def append(self, records: Sequence[bytes]) -> None:
        """Make the records durable; OSError, and then none of them is."""

    async def clear(self) -> None:
        """Forget all records."""


@dataclass(slots=True)
class WaitingSettlement:
    """One settlement that waits: the call, its end, and the model to unlist, or nothing."""

    # These names are on the disks of nodes that were stopped: another version must read them.
    opened: CallStart
    ended: CallEnd
    unlisted: str = ""


@dataclass(slots=True)
class _Batch:
    entries: list[WaitingSettlement] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    fault: OSError | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WaitingSettlement)


class Journal:
    """The settlements that wait for the store, in memory and in the log under it."""

    def __init__(self, log_: LogPort, *, on_fault: Callable[[BaseException], bool] = lambda _fault: False) -> None:
        self._log = log_
        self._on_fault = on_fault  # whether another try may find room on the disk
        self._batch = _Batch()
        self._writing = asyncio.Lock()
        self._replaying = asyncio.Lock()
        # Refused by the store for a mistake of ours; tried again a minute later.
        self._stuck: list[WaitingSettlement] = []
        self._stuck_until = 0.0  # loop time
        self.waiting: deque[WaitingSettlement] = deque(self._read(log_.inherited))
        self._dirty = bool(self.waiting)  # whether the log under it holds anything
        # The smallest id of a call of each dead epoch, for their refunds: the id is older than the time of the hold.
        self.inherited: dict[str, str] = {}
        for entry in self.waiting:
            epoch, call = entry.opened.epoch, entry.opened.id
            self.inherited[epoch] = min(call, self.inherited.get(epoch, call))
        self.late = 0

    @property
    def full(self) -> bool:
        """Whether so much waits that no new call may begin."""
        return len(self.waiting) > RECORDS_MAX

    def __len__(self) -> int:
        return len(self.waiting) + len(self._stuck)

    async def keep(self, start: CallStart, end: CallEnd, unlisted: str) -> None:
        """Put a settlement on the disk; those that come at one time share a sync. OSError."""
        batch, entry = self._batch, WaitingSettlement(start, end, unlisted)
        batch.records.append(_encoder.encode(entry))
        batch.entries.append(entry)
        async with self._writing:
            if batch is self._batch:  # nobody else has written it yet
                self._batch = _Batch()
                point("journal.before_write")
                # What the others are told if this writer is stopped: they may be on the disk, or not.
                batch.fault = OSError("the write of the journal was broken off")
                self._dirty = True
                try:
                    await self._append(batch.records)
                except OSError as fault:
                    batch.fault = fault
                else:
                    batch.fault = None
                    self.waiting.extend(batch.entries)
        if batch.fault is not None:
            raise batch.fault
        point("journal.written")

    async def _append(self, records: Sequence[bytes]) -> None:
        try:
            await self._log.append(records)
        except OSError as fault:
            if not self._on_fault(fault):
                raise
            await self._log.append(records)

    async def replay(self, store: StorePort) -> int:
        """Write what waits into the store, oldest first; how many are done. Stops where the store is away.

        One that the store refuses for a mistake of ours (a right that was taken away, say) waits for a minute.
        """
        done = 0
        async with self._replaying:
            if self._stuck and asyncio.get_running_loop().time() >= self._stuck_until:
                stuck, self._stuck = self._stuck, []
                self.waiting.extend(stuck)
            while self.waiting:
                some = [self.waiting[place] for place in range(min(_AT_ONCE, len(self.waiting)))]
                results = await asyncio.gather(*(self._settle(store, entry) for entry in some))
                for entry, result in zip(some, results, strict=True):
                    if result is None:
                        self.waiting.remove(entry)
                        done += 1
                if not all(result is None for result in results):
                    break
            async with self._writing:
                if self._dirty and not self.waiting and not self._stuck:
                    point("journal.replayed")
                    await self._log.clear()
                    self._dirty = False
        if done:
            log.info("journal.replayed", settlements=done, waiting=len(self.waiting))
        return done

    async def _settle(self, store: StorePort, entry: WaitingSettlement) -> Exception | None:
        """Write one; what kept it from the store, or None where it is done with."""
        locks = [purse.id for purse in entry.opened.purses]
        try:
            await store.write(
                second_write.end_call,
                entry.opened,
                entry.ended,
                entry.unlisted,
                locks=locks,
                patient=True,
                within_s=_WITHIN_S,
                again=True,
            )
        except HoldEnded:
            self.late += 1
            log.warning("settle.late", call=entry.opened.id, journalled=True)
            await second_write.note_late(store, entry.opened, entry.ended)
        except errors.StoreUnavailable as trouble:
            return trouble
        except Exception:
            log.exception("journal.stuck", call=entry.opened.id)
            self._stuck.append(entry)
            self._stuck_until = asyncio.get_running_loop().time() + STUCK_AGAIN_S
        return None

    @staticmethod
    def _read(records: Sequence[bytes]) -> list[WaitingSettlement]:
        entries = []
        for record in records:
            try:
                entries.append(_decoder.decode(record))
            except msgspec.ValidationError as fault:
                raise errors.CommandError("journal.other_version", why=str(fault)) from None
        return entries


def journalled(end: CallEnd, now_us: int) -> CallEnd:
    """The end, now, as it stands on the receipt of a call whose settlement went through the journal (R23)."""
    rule = "R23" if end.rule == "R02" else end.rule
    return replace(end, rule=rule, flags=[*end.flags, "journalled"], ended_us=max(end.ended_us, now_us))
