"""The hold of a call under way: what it covers, and how it grows ahead of need (money.md 1.10)."""

from __future__ import annotations

from dataclasses import dataclass

from farebox.calls import log
from farebox.calls.log import Opened

from .ports import StorePort
from .purse import Need


@dataclass(slots=True)
class Cover:
    """What is held for one call, in micro-units, and the output that this pays for.

    A token is one byte of text at least, so output is covered by its bytes, or by the limit where the limit is.
    """

    store: StorePort
    opened: Opened
    need: Need
    held_micro: int
    echoed_bytes: int = 0
    covered_tokens: int = 0
    lowered: bool = False

    def __post_init__(self) -> None:
        self.covered_tokens = max(0, self.need.pays_for(self.held_micro))
        self.lowered = not self.need.grows and 0 < self.covered_tokens < self.need.whole_tokens

    @property
    def limit_tokens(self) -> int:
        """The most output tokens that one answer may have: the limit, or what the money lowered it to."""
        if self.lowered:
            return self.covered_tokens // self.need.outputs
        return self.need.limit_tokens

    async def covers(self, output_bytes: int) -> bool:
        """Whether so many bytes of output are covered, after growing the hold if that is needed and can be paid."""
        if not self.need.grows or self.covered_tokens >= self.need.whole_tokens:
            return True
        wanted = output_bytes - self.echoed_bytes
        step = self.need.first_tokens
        if wanted + step // 4 <= self.covered_tokens:
            return True
        await self._grow(max(self.covered_tokens + step, wanted + step))
        return wanted <= self.covered_tokens or self.covered_tokens >= self.need.whole_tokens

    async def _grow(self, want_tokens: int) -> None:
        missing_micro, fit = self.need.more(self.held_micro, want_tokens)
        if missing_micro:
            added_micro = await self.store.write(
                log.extend_hold,
                self.opened,
                missing_micro,
                fit,
                locks=[purse.id for purse in self.opened.purses],
                patient=True,
            )
            self.held_micro += added_micro
            self.covered_tokens = max(self.covered_tokens, self.need.pays_for(self.held_micro))
        else:
            self.covered_tokens = min(want_tokens, self.need.whole_tokens)
