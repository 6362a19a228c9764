"""The hold of a call: how it is placed, what it covers, how it grows ahead of need (promises 1.10)."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farebox.calls import log
from farebox.calls.log import CallStart
from farebox.kit import errors

from .ports import Ports, StorePort
from .purse import Need
from .voiding import void_later

if TYPE_CHECKING:
    from farebox.protocol.dialect import Event

    from .meter import Meter, Reads

NOTHING: Final = nullcontext()
GROW_S = 8  # a store that is silent for longer ends the answer, which is free then


async def place(ports: Ports, start: CallStart, need: Need) -> int:
    """First write: hold the money and open the record; the micro-units held. Refuses as `holds.place` does.

    Where nobody can say whether it was done, the hold is voided as soon as the store can be asked.
    """
    locks = [purse.id for purse in start.purses]
    try:
        return await ports.store.write(log.open_call, start, need.first_micro, need.fit, locks=locks)
    except errors.StoreUnavailable as trouble:
        if trouble.__cause__ is not None:  # it was tried, and the database failed: perhaps after the commit
            void_later(ports, start)
        raise
    except asyncio.CancelledError:
        void_later(ports, start)
        raise


@dataclass(slots=True)
class Cover:
    """What is held for one call, in micro-units, and the output that this pays for.

    A token is one byte of text at least, so output is covered by its bytes, or by the limit where the limit is. Up to
    `sure_bytes`, `beside_bytes` among them, `covers` need not be asked, unless it is `attentive` or text comes beside.
    """

    store: StorePort
    start: CallStart
    need: Need
    held_micro: int
    echoed_bytes: int = 0
    covered_tokens: int = 0
    lowered: bool = False
    sure_bytes: int = -1  # so much is covered without being asked for
    beside_bytes: int = 0  # of text beside the output, as far as that is covered too
    attentive: bool = False  # whether it must see each event, whatever is sure

    def __post_init__(self) -> None:
        self.covered_tokens = max(0, self.need.pays_for(self.held_micro))
        self.lowered = not self.need.grows and 0 < self.covered_tokens < self.need.whole_tokens

    @property
    def limit_tokens(self) -> int:
        """The most output tokens that one answer may have: the limit, or what the money lowered it to."""
        if self.lowered:
            return self.covered_tokens // self.need.outputs
        return self.need.limit_tokens

    @property
    def most_micro(self) -> int:
        """The most that the call may be charged: its ceiling, or the hold where that was placed whole."""
        return self.need.price(self.need.whole_tokens) if self.need.grows else self.held_micro

    def ahead(self, reads: Reads) -> AbstractContextManager[None]:  # noqa: ARG002 - see stepped.py
        """While this lasts the hold is kept right for what nobody sees, by what `reads` makes of reports on the way.

        Nothing to do in version 1.
        """
        return NOTHING

    async def covers(self, output_bytes: int, seen: Meter, coming: Event) -> bool:  # noqa: ARG002 - bytes alone decide
        """Whether so many bytes of output are covered, after growing the hold if that is needed and can be paid.

        `seen` has what came before, `coming` makes it so many.
        """
        if not self.need.grows or self.covered_tokens >= self.need.whole_tokens:
            self.sure_bytes = sys.maxsize
            return True
        wanted = output_bytes - self.echoed_bytes
        step = self.need.first_tokens
        if wanted + step // 4 <= self.covered_tokens:
            self.sure_bytes = self.covered_tokens - step // 4 + self.echoed_bytes
            return True
        await self._grow(max(self.covered_tokens + step, wanted + step))
        return wanted <= self.covered_tokens or self.covered_tokens >= self.need.whole_tokens

    async def _grow(self, want_tokens: int) -> None:
        """Hold more, as far as the purses pay, so that it is enough for `want_tokens` in total."""
        missing_micro, fit = self.need.more(self.held_micro, want_tokens)
        if missing_micro:
            added_micro = await self.store.write(
                log.extend_hold,
                self.start,
                missing_micro,
                fit,
                locks=[purse.id for purse in self.start.purses],
                patient=True,
                within_s=GROW_S,
            )
            self.held_micro += added_micro
            self.covered_tokens = max(self.covered_tokens, self.need.pays_for(self.held_micro))
        else:
            self.covered_tokens = max(self.covered_tokens, min(want_tokens, self.need.whole_tokens))
