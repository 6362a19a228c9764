"""An account whose money people move by hand, for tests of the books."""

from __future__ import annotations

import itertools
from typing import Any

from farebox.kit import clock, db, epochs
from farebox.ledger import adjustments, chart, holds, journal, lots, proof
from farebox.ledger.holds import Purse
from farebox.ledger.models import Adjustment, Entry

CHARGE_MICRO = 600
CAP_MICRO = 1000
PLENTY_MICRO = 10**9
numbers = itertools.count(1)


class Books:
    """An account with 10,000 micro-units and one call that was charged 600; `caps` are the memo accounts it names."""

    def __init__(self, *caps: str) -> None:
        self.account, self.call = f"acc_adj{next(numbers)}", f"call_adj{next(numbers)}"
        self.now_us = clock.now_us()
        self.caps = [f"cap:{name}:{self.account}" for name in caps]
        db.write(self._open)

    def _open(self, tx: Any) -> None:
        journal.open_account(tx, id=self.account, kind="customer", currency="USD", floor_micro=0)
        lines = [(self.account, 10_000), (chart.own("clearing", "USD"), -10_000)]
        journal.post(tx, account=self.account, kind="payment", ref="p", currency="USD", lines=lines, at_us=self.now_us)
        epochs.begin(tx, epoch=f"ep_{self.call}", node="n", now_us=self.now_us)
        purses = [Purse(self.account), *(Purse(cap, CAP_MICRO) for cap in self.caps)]
        holds.place(tx, hold=self.call, purses=purses, currency="USD", want_micro=1000, fit=lambda _: -1,
                    epoch=f"ep_{self.call}", now_us=self.now_us)  # fmt: skip
        holds.settle(tx, hold=self.call, purses=purses, currency="USD", charge_micro=CHARGE_MICRO, now_us=self.now_us)

    @property
    def posted_micro(self) -> int:
        return db.read(holds.balance, self.account)[0]

    @property
    def counted_micro(self) -> list[int]:
        """What each cap counts as spent."""
        return [-db.read(holds.balance, cap)[0] for cap in self.caps]

    @property
    def charge(self) -> str:
        return str(Entry.objects.get(account=self.account, kind="charge").id)

    def propose(self, tx: Any, kind: str, amount_micro: int, **facts: Any) -> Adjustment:
        given = {"reason": "r", "requester": "one", "actor": "one", "now_us": self.now_us, "currency": "USD"}
        return adjustments.propose(
            tx, account=self.account, kind=kind, amount_micro=amount_micro, day_max_micro=PLENTY_MICRO,
            call=self.call if kind == "refund" else "", **(given | facts),
        )  # fmt: skip

    def approve(self, tx: Any, row: Adjustment, approver: str = "two", **facts: Any) -> Adjustment:
        given = {"single_person": False, "day_max_micro": PLENTY_MICRO, "actor": approver, "now_us": self.now_us}
        return adjustments.approve(tx, row.id, approver=approver, **(given | facts))

    def decline(self, tx: Any, row: Adjustment, decider: str) -> Adjustment:
        return adjustments.decline(tx, row.id, decider=decider, actor=decider, now_us=self.now_us)

    def refund(self, tx: Any) -> int:
        return holds.refund(tx, hold=self.call, currency="USD", now_us=self.now_us)

    def reverse(self, tx: Any, entry: str) -> str:
        return lots.reverse(tx, entry=entry, at_us=self.now_us, note="n", requester="one", single_person=True)

    def findings(self) -> list[str]:
        with db.reading() as tx:
            found = proof.prove(tx, now_us=self.now_us, grace_us=10**12).findings
        return [finding for finding in found if finding[:3] in {"I04", "I20", "I27"}]
