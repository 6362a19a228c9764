"""The reference of the ledger: one account's books in plain ints, without SQL and without transactions.

What the store does one operation at a time, this does too; the tests compare the two. It knows nothing of the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# (purse, the cap that the caller believes in); None for the balance itself.
Purses = Sequence[tuple[str, int | None]]


class Refused(Exception):
    """Nothing was done; `reason`: `held` by other calls, `spent`, hold `ended`, entry `other` or `gone`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Pot:
    posted: int = 0
    held: int = 0
    floor: int = 0

    @property
    def available(self) -> int:
        return self.posted - self.held - self.floor


@dataclass
class Held:
    amount: int
    purses: Purses
    epoch: str
    state: str = "open"
    charge: int | None = None


@dataclass
class Books:
    """`entries` are {(kind, ref): what the account got}; the reference of a reversal is (kind, ref) in one text."""

    account: str
    pots: dict[str, Pot] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    entries: dict[tuple[str, str], int] = field(default_factory=dict)
    allowance: dict[str, Any] = field(default_factory=dict)  # the row beside the balance, where there is one

    def __post_init__(self) -> None:
        self.pots.setdefault(self.account, Pot())

    def grant(self, *, ref: str, amount: int) -> bool:
        """True if it was given now, False if before; another amount under the same reference is refused."""
        return self._enter(("grant", ref), amount)

    def reverse(self, kind: str, ref: str) -> bool:
        if (kind, ref) not in self.entries:
            raise Refused("gone")
        return self._enter(("reversal", f"{kind}:{ref}"), -self.entries[kind, ref])

    def _enter(self, name: tuple[str, str], amount: int) -> bool:
        if name in self.entries:
            if self.entries[name] != amount:
                raise Refused("other")
            return False
        if self.pots[self.account].available + amount < 0:
            raise Refused("spent")
        self.entries[name] = amount
        self.pots[self.account].posted += amount
        return True

    def place(self, hold: str, *, purses: Purses, want: int, least: int, epoch: str) -> int:
        if self._take(purses, want):
            amount = want
        else:
            amount = min([want, *(self._seen(purse, cap) for purse, cap in purses)])
            if amount < least:
                without_holds = min(self._seen(purse, cap) + self._pot(purse, cap).held for purse, cap in purses)
                raise Refused("held" if min(want, without_holds) >= least else "spent")
            assert self._take(purses, amount)
        self.holds[hold] = Held(amount, purses, epoch)
        return amount

    def extend(self, hold: str, *, want: int) -> int:
        return self._extend(self.holds[hold], want)

    def lower(self, hold: str, *, to: int) -> int:
        found = self.holds[hold]
        if found.state != "open":
            raise Refused("ended")
        back = max(0, found.amount - to)
        for purse, _cap in found.purses:
            self.pots[purse].held -= back
        found.amount -= back
        return found.amount

    def settle(self, hold: str, *, charge: int) -> tuple[str, int, int]:
        """(state, charge, what could not be charged)."""
        found = self.holds.get(hold)
        if found is None or found.state != "open":
            raise Refused("ended")
        short = 0
        missing = charge - found.amount
        if missing > 0:
            short = missing - self._extend(found, missing)
            charge -= short
        self._end(found, "settled" if charge else "voided", charge)
        if charge:
            self.entries["charge", hold] = -charge
        return found.state, charge, short

    def expire(self, epoch: str) -> list[str]:
        ended = [name for name, hold in self.holds.items() if hold.state == "open" and hold.epoch == epoch]
        for name in ended:
            self._end(self.holds[name], "expired", 0)
        return sorted(ended)

    def refund(self, hold: str) -> int:
        found = self.holds.get(hold)
        if found is None or found.state != "settled" or {("refund", hold), ("call_refund", hold)} & self.entries.keys():
            return 0
        charge = found.charge or 0
        self.entries["refund", hold] = charge
        for purse, _cap in found.purses:
            self.pots[purse].posted += charge
        return charge

    def give_by_hand(self, hold: str, *, amount: int) -> None:
        """A person's refund of a part of a charge."""
        found = self.holds.get(hold)
        if found is None or not found.charge or ("refund", hold) in self.entries:
            raise Refused("gone")
        before = self.entries.get(("call_refund", hold), 0)
        if amount + before > found.charge:
            raise Refused("spent")
        self.entries["call_refund", hold] = amount + before
        for purse, _cap in found.purses:
            self.pots[purse].posted += amount

    def set_cap(self, purse: str, cap: int) -> None:
        pot = self.pots.setdefault(purse, Pot())
        pot.floor = min(-cap, pot.posted - pot.held)

    def picture(self) -> dict[str, Any]:
        """All that the store must say of this account, in a form to compare."""
        return {
            "pots": {name: (pot.posted, pot.held, pot.floor) for name, pot in self.pots.items()},
            "holds": {name: (hold.state, hold.amount, hold.charge) for name, hold in self.holds.items()},
            "entries": dict(self.entries),
        } | ({"allowance": dict(self.allowance)} if self.allowance else {})

    def _pot(self, purse: str, cap: int | None) -> Pot:
        return self.pots.get(purse) or Pot(floor=-(cap or 0))

    def _seen(self, purse: str, cap: int | None) -> int:
        """What the caller sees as available: by the tighter of the cap that he believes in and the one in force."""
        pot = self._pot(purse, cap)
        return pot.posted - pot.held - (pot.floor if cap is None else max(-cap, pot.floor))

    def _take(self, purses: Purses, amount: int) -> bool:
        if any(amount > self._seen(purse, cap) for purse, cap in purses):
            return False
        for purse, cap in purses:
            self.pots.setdefault(purse, Pot(floor=-(cap or 0))).held += amount
        return True

    def _extend(self, hold: Held, want: int) -> int:
        amount = want
        if not self._take(hold.purses, amount):
            amount = min([want, *(self._seen(purse, cap) for purse, cap in hold.purses)])
            if amount <= 0 or not self._take(hold.purses, amount):
                return 0
        if hold.state != "open":
            for purse, _cap in hold.purses:
                self.pots[purse].held -= amount
            raise Refused("ended")
        hold.amount += amount
        return amount

    def _end(self, hold: Held, state: str, charge: int) -> None:
        for purse, _cap in hold.purses:
            self.pots[purse].held -= hold.amount
            self.pots[purse].posted -= charge
        hold.state, hold.charge = state, charge
