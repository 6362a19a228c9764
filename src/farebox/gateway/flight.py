"""Bytes in flight: what the requests of this process hold in memory, and whose share of it that is.

A request's bytes count from their arrival until it is answered. Nobody is known before their credential has been
looked at: until then bytes count as a stranger's, as those of pages always do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakValueDictionary

from farebox.kit import process_limits
from farebox.kit.errors import FareboxError, Overloaded
from farebox.kit.options import Options
from farebox.kit.shares import hogs

from . import shares

STRANGERS_BYTES_MAX: Final = 32 * process_limits.MIB
# A head of so many bytes is no weight; what is above counts.
HEAD_BYTES_FREE: Final = 4096
# Where nobody says how much memory there is, bodies may have what a quarter of a gigabyte's ceiling would give them.
_UNKNOWN_CEILING_BYTES: Final = 1024 * process_limits.MIB
_BODIES: Final = "Too many requests are being read at the same time. Please try again in a moment."
_ANSWERS: Final = (
    "Too many large answers are being sent at the same time. Please try again in a moment, or ask for a stream."
)


class Share:
    """So many bytes that may be held at once, part of another share or of none."""

    __slots__ = ("__weakref__", "bytes_max", "full", "held_bytes", "within")

    def __init__(self, bytes_max: int, within: Share | None = None, *, full: str = _BODIES) -> None:
        self.bytes_max = bytes_max
        self.full = full
        self.within = within
        self.held_bytes = 0

    def take(self, count_bytes: int, own_bytes: int = 0) -> bool:  # noqa: ARG002 - whose part it is counts elsewhere
        """Hold so many bytes more, here and in what this is a part of; False, and nothing is held, if one is full.

        `own_bytes` are what the same request holds already.
        """
        if self.held_bytes + count_bytes > self.bytes_max:
            return False
        if self.within is not None and not self.within.take(count_bytes):
            return False
        self.held_bytes += count_bytes
        return True

    def give(self, count_bytes: int) -> None:
        """Hold so many bytes less."""
        self.held_bytes -= count_bytes
        if self.within is not None:
            self.within.give(count_bytes)

    def refusal(self) -> FareboxError:
        """What to say to one for whom there is no room."""
        return Overloaded(self.full)


class AccountShare(Share):
    """What one account holds of the callers' share: while that is nearly full, no more than a quarter of it."""

    __slots__ = ("_within",)

    def __init__(self, within: Share) -> None:
        super().__init__(within.bytes_max, within, full=within.full)
        self._within = within

    def take(self, count_bytes: int, own_bytes: int = 0) -> bool:
        """Hold so many bytes more; False where others need the room more, or there is none.

        A request is no hog by itself: one that has as many bytes as it may is taken even where there is little memory.
        """
        whole = self._within
        if hogs(whole.held_bytes, self.held_bytes - own_bytes, whole.bytes_max):
            return False
        if not whole.take(count_bytes):
            return False
        self.held_bytes += count_bytes
        return True

    def refusal(self) -> FareboxError:
        """Who has a good part of it himself is told so."""
        whole = self._within
        his = 4 * self.held_bytes >= whole.bytes_max
        return shares.crowded() if his else super().refusal()


class AccountShares:
    """The parts that accounts have of a share."""

    __slots__ = ("_by", "whole")

    def __init__(self, whole: Share) -> None:
        self.whole = whole
        self._by: WeakValueDictionary[str, AccountShare] = WeakValueDictionary()

    def of(self, account: str) -> Share:
        """The part of an account, kept for as long as somebody counts in it."""
        share = self._by.get(account)
        if share is None:
            share = self._by[account] = AccountShare(self.whole)
        return share

    @contextmanager
    def keep(self, account: str, count_bytes: int) -> Iterator[None]:
        """Hold so many bytes for an account while a block lasts. Overloaded, or RateLimited where it is a hog."""
        share = self.of(account)
        if not share.take(count_bytes):
            raise share.refusal()
        try:
            yield
        finally:
            share.give(count_bytes)


class Flight:
    """The shares of one process: `strangers` with all pages, of it `texts` (what is more than a form), and `callers`.

    Callers cannot take the strangers' part, nor strangers theirs: the office opens while /v1 is full, and the reverse.
    """

    def __init__(self, options: Options) -> None:
        whole = bytes_max(options)
        self.strangers = Share(min(STRANGERS_BYTES_MAX, whole // 2))
        self.texts = Share(self.strangers.bytes_max // 2, self.strangers)
        self.callers = Share(max(whole - self.strangers.bytes_max, options.body_bytes_max))
        self._accounts = AccountShares(self.callers)

    def of(self, account: str) -> Share:
        """The share that the requests of an account count in."""
        return self._accounts.of(account)

    @property
    def held_bytes(self) -> int:
        """All that is held now."""
        return self.strangers.held_bytes + self.callers.held_bytes


def answers(options: Options) -> AccountShares:
    """Room for answers that may be large and have to be whole before they are sent: as much as for bodies again."""
    return AccountShares(Share(max(bytes_max(options), options.answer_bytes_max), full=_ANSWERS))


def bytes_max(options: Options) -> int:
    """The most bytes of requests that a process holds: the option's, or a quarter of the memory that it may use."""
    if options.bodies_mb_max:
        return int(options.bodies_mb_max) * process_limits.MIB
    return (process_limits.rss_max_bytes(options.rss_max_mb) or _UNKNOWN_CEILING_BYTES) // 4
