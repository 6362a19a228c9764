"""What of each cap is used: the counts of the memo accounts, with what is held. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farebox.kit.db import Tx
from farebox.ledger.models import LedgerAccount

from . import caps
from .caps import Capped


@dataclass(frozen=True, slots=True)
class Use:
    """One cap, and what is used of it in the period that runs now, in micro-units.

    `anew` is when it begins again in the account's time, `2026-12-01 00:00`; empty if it never does.
    """

    period: str
    cap_micro: int
    used_micro: int
    anew: str = ""

    @property
    def left_micro(self) -> int:
        """What may still be spent; 0 where a cap was lowered below what is spent already."""
        return max(0, self.cap_micro - self.used_micro)

    @property
    def share(self) -> int:
        """How much of it is used, in hundredths, 100 at most."""
        return min(100, self.used_micro * 100 // self.cap_micro) if self.cap_micro else 100


def of_rows(tx: Tx, rows: Sequence[Capped], *, time_zone: str, now_us: int) -> list[tuple[Use, ...]]:
    """The caps of each row, in the order of the rows; by one query for all of them."""
    del tx  # the ORM reads in the same transaction
    named = [
        [
            (period, cap, caps.memo(row.cap_scope, period, now_us=now_us, time_zone=time_zone))
            for period, cap in row.caps
        ]
        for row in rows
    ]
    wanted = [memo for each in named for _period, _cap, memo in each]
    counts = LedgerAccount.objects.filter(id__in=wanted).values_list("id", "held_micro", "posted_micro")
    used = {memo: held_micro - posted_micro for memo, held_micro, posted_micro in counts} if wanted else {}
    anew = {period: caps.anew_at(period, now_us=now_us, time_zone=time_zone) for period in caps.PERIODS}
    return [tuple(Use(period, cap, used.get(memo, 0), anew[period]) for period, cap, memo in each) for each in named]


def of(tx: Tx, row: Capped, *, time_zone: str, now_us: int) -> tuple[Use, ...]:
    """The caps of one row."""
    return of_rows(tx, [row], time_zone=time_zone, now_us=now_us)[0]
