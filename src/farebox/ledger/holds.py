"""Holds: money set aside for one call. Placed, extended or lowered, and ended once: settled, voided or expired.

A hold takes the same amount from each of its purses, the balance and the memo accounts that count caps, or from none
of them. Amounts are micro-units of the purses' one currency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farebox.kit import errors
from farebox.kit.db import Tx

from . import chart, journal, sql

# The rows that a write on holds changes, for the committer to lock in order.
LOCK_PURSES = sql.LOCK_PURSES


@dataclass(frozen=True, slots=True)
class Purse:
    """A ledger account that a hold takes from; `cap_micro` is None for the balance itself.

    `anew` says when a cap begins again, in words for the one whom it refuses.
    """

    id: str
    cap_micro: int | None = None
    anew: str = ""


class HoldEnded(Exception):
    """The hold is no longer open: somebody ended it before (R24)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How a hold ended: what it held at last, what was charged, and what could not be (`short_micro`)."""

    state: str
    held_micro: int
    charge_micro: int
    short_micro: int = 0
    repeated: bool = False


def place(
    tx: Tx,
    *,
    hold: str,
    purses: Sequence[Purse],
    currency: str,
    want_micro: int,
    fit: Callable[[int], int],
    epoch: str,
    now_us: int,
) -> int:
    """Set aside `want_micro`, or what `fit` makes of less, from every purse; the amount held.

    `fit(available_micro)` says how much of that a hold may be made for, or -1 if it is too little. Raises
    InsufficientFunds, RateLimited if the money would do but is held by other calls (promises 1.10), or
    StoreUnavailable if the epoch has ended.
    """
    if tx.again:
        found = tx.one(sql.READ_HOLD, (hold,))
        if found is not None:
            return int(found[1])
    amount_micro = want_micro
    if not _take(tx, purses, currency, amount_micro):
        # Looked at only now: nearly always the money is there, and then one statement a purse is all.
        amount_micro = _affordable(tx, purses, want_micro, fit)
        if not _take(tx, purses, currency, amount_micro):
            raise errors.StoreUnavailable  # frozen after a drift, or changed between two statements of a locked row
    account = next(purse.id for purse in purses if purse.cap_micro is None)
    joined = " ".join(purse.id for purse in purses)
    if tx.execute(sql.OPEN_HOLD, (hold, account, joined, amount_micro, epoch, now_us, epoch)) != 1:
        _give_back(tx, purses, amount_micro)
        raise errors.StoreUnavailable  # this process hung, and another one has ended its epoch
    return amount_micro


def extend(
    tx: Tx, *, hold: str, purses: Sequence[Purse], currency: str, want_micro: int, fit: Callable[[int], int]
) -> int:
    """Add `want_micro`, or what `fit` makes of less, to an open hold; what was added, 0 if the purses have too little.

    Raises HoldEnded. After an unknown commit a repeat may add twice: too much is held until the end, nothing charged.
    """
    amount_micro = want_micro
    if not _take(tx, purses, currency, amount_micro, more=True):
        available_micro = min(_available(tx, purse)[0] for purse in purses)
        amount_micro = fit(available_micro)
        if amount_micro <= 0 or not _take(tx, purses, currency, amount_micro, more=True):
            return 0
    # Ended meanwhile, as by expiry after a pause: what was just taken must not stay held for a hold that nobody ends.
    if tx.execute(sql.GROW_HOLD, (amount_micro, hold)) != 1:
        _give_back(tx, purses, amount_micro)
        raise HoldEnded(hold)
    return amount_micro


def lower(tx: Tx, *, hold: str, purses: Sequence[Purse], to_micro: int) -> int:
    """Give back what an open hold has above `to_micro`, to every purse; the micro-units that it holds from then on.

    The caller answers for `to_micro` being enough for what was delivered. A hold of less stays as it is, so a repeat
    after an unknown commit changes nothing, and says the same. Raises HoldEnded.
    """
    found = tx.one(sql.READ_HOLD, (hold,))
    while found is not None and found[0] == "open":
        amount_micro = int(found[1])
        if amount_micro <= to_micro:
            return amount_micro
        if tx.execute(sql.LOWER_HOLD, (to_micro, hold, amount_micro)) == 1:
            _give_back(tx, purses, amount_micro - to_micro)
            return to_micro
        found = tx.one(sql.READ_HOLD, (hold,))  # it grew, or ended, since it was looked at
    raise HoldEnded(hold)


def settle(tx: Tx, *, hold: str, purses: Sequence[Purse], currency: str, charge_micro: int, now_us: int) -> Settled:
    """End the hold with `charge_micro` (0 voids it), post the charge, release the rest.

    A charge above the hold first extends it as far as the purses pay; what is still above is not charged
    (`short_micro`). A hold that ended before stays as it is: HoldEnded, or, when this is a repeat of the same
    settlement, its outcome with `repeated`.
    """
    short_micro = 0
    # None: it is open no longer, or holds less than the charge. Then it is extended, or the charge lowered, so that
    # the next turn ends it unless somebody changed it in between.
    while (held_micro := _end(tx, hold, charge_micro, now_us)) is None:
        found = tx.one(sql.READ_HOLD, (hold,))
        if found is None or found[0] != "open":
            return _ended(tx, hold, found)
        missing_micro = _stretch(tx, hold, purses, currency, charge_micro - int(found[1]))
        charge_micro -= missing_micro
        short_micro += missing_micro
    state = "settled" if charge_micro else "voided"
    for purse in purses:
        # The same of each purse: a cap counts exactly what the balance pays.
        if tx.execute(sql.PAY, (held_micro, charge_micro, purse.id, held_micro)) != 1:
            raise AssertionError(f"ledger account {purse.id} holds less than its hold {hold}")
    if charge_micro:
        account = next(purse.id for purse in purses if purse.cap_micro is None)
        # A hold that is voided has no entry: in the books nothing has happened (I07).
        journal.write_charge(tx, account=account, ref=hold, currency=currency, amount_micro=charge_micro, at_us=now_us)
    return Settled(state, held_micro, charge_micro, short_micro)


def refund(tx: Tx, *, hold: str, currency: str, now_us: int) -> int:
    """Give back what a settled hold was charged, to the balance and to its caps, once.

    The micro-units given back now; 0 if nothing was charged, or it was given back before. Where people gave a part of
    it back by hand they have judged this call, and what they gave stays all of it.
    """
    found = tx.one(sql.READ_HOLD, (hold,))
    if found is None or found[0] != "settled" or not found[2]:
        return 0
    charge_micro, purses = int(found[2]), str(found[3]).split()
    account = next(purse for purse in purses if not chart.is_memo(purse))
    journal.lock(tx, account)
    # Looked for under the lock: a person, or another node, may be giving the same charge back at this moment.
    if tx.one(sql.FIND_ENTRY, (account, "refund", hold)) is not None:
        return 0
    if journal.given_by_hand_micro(tx, account, hold):
        return 0
    charged = tx.one(sql.FIND_ENTRY, (account, "charge", hold))
    if charged is not None and tx.one(sql.FIND_ENTRY, (account, "reversal", charged[0])) is not None:
        return 0
    journal.post(
        tx,
        account=account,
        kind="refund",
        ref=hold,
        currency=currency,
        lines=[(account, charge_micro), (chart.own("revenue", currency), -charge_micro)],
        at_us=now_us,
        note="refund:call",
    )
    for purse in purses:
        if purse != account and tx.execute(sql.REFUND_CAP, (charge_micro, purse)) != 1:
            raise AssertionError(f"there is no memo account {purse} of hold {hold}")
    return charge_micro


def expire(tx: Tx, *, epoch: str, now_us: int, at_most: int = 500) -> list[str]:
    """End open holds of a dead epoch with no charge; their ids, `at_most` of them. Ask again until none is left."""
    expired = []
    for hold, joined, _amount in tx.all(sql.OPEN_HOLDS_OF_EPOCH, (epoch, at_most)):
        row = tx.one(sql.END_HOLD, ("expired", 0, now_us, hold, 0))
        if row is None:
            continue
        amount_micro = int(row[0])  # it may have grown since it was looked for
        for purse in str(joined).split():
            if tx.execute(sql.GIVE_BACK, (amount_micro, purse, amount_micro)) != 1:
                raise AssertionError(f"ledger account {purse} holds less than its hold {hold}")
        expired.append(str(hold))
    return expired


def epochs(tx: Tx) -> list[str]:
    """The epochs that have open holds."""
    return [str(epoch) for (epoch,) in tx.all(sql.EPOCHS_WITH_HOLDS)]


def purses_of(tx: Tx, epoch: str, at_most: int) -> list[str]:
    """The purses of the first open holds of an epoch, which `expire` changes: for the committer to lock in order."""
    rows = tx.all(sql.OPEN_HOLDS_OF_EPOCH, (epoch, at_most))
    return sorted({purse for _hold, joined, _amount in rows for purse in str(joined).split()})


def purses(tx: Tx, hold: str) -> list[str]:
    """The purses of one hold, ascending; empty if there is no such hold."""
    row = tx.one(sql.READ_HOLD, (hold,))
    return sorted(str(row[3]).split()) if row is not None else []


def set_cap(tx: Tx, *, scope: str, period_id: str, cap_micro: int, currency: str) -> None:
    """Move the floor of the memo account of this period to the new cap; make it where there is none.

    Else a caller who does not know of the change yet would make it, with the floor of before. Below what is spent and
    held already the floor stops there; `place` compares with the cap itself as well.
    """
    memo = f"cap:{scope}:{period_id}"
    if tx.execute(sql.OPEN_ACCOUNT, (memo, "memo", currency, -cap_micro, False)) != 1:
        tx.execute(sql.MOVE_CAP, (-cap_micro, -cap_micro, memo))


def balance(tx: Tx, account: str) -> tuple[int, int, int]:
    """(posted, held, available) of a stored ledger account, in micro-units; KeyError if there is none."""
    row = tx.one(sql.READ_ACCOUNT, (account,))
    if row is None:
        raise KeyError(account)
    posted_micro, held_micro, floor_micro = int(row[0]), int(row[1]), row[2]
    return posted_micro, held_micro, posted_micro - held_micro - int(floor_micro or 0)


def unheld(tx: Tx, purses: Sequence[Purse]) -> int:
    """What all of the purses would have, in micro-units, if nothing were held."""
    return min(_available(tx, purse)[1] for purse in purses)


def _take(tx: Tx, purses: Sequence[Purse], currency: str, amount_micro: int, *, more: bool = False) -> bool:
    """Hold `amount_micro` in all purses or in none; `more` for a hold that is open, which frozen ones allow."""
    # In the order of their ids, as everybody takes them: two calls with the same purses can't end in a deadlock.
    for index, purse in enumerate(purses):
        if not _take_one(tx, purse, currency, amount_micro, more=more):
            _give_back(tx, purses[:index], amount_micro)
            return False
    return True


def _take_one(tx: Tx, purse: Purse, currency: str, amount_micro: int, *, more: bool) -> bool:
    plain, capped = sql.TAKE, sql.TAKE_CAPPED
    if more:
        plain, capped = sql.TAKE_MORE, sql.TAKE_MORE_CAPPED
    if purse.cap_micro is None:
        return tx.execute(plain, (amount_micro, purse.id, amount_micro)) == 1
    params = (amount_micro, purse.id, amount_micro, -purse.cap_micro, amount_micro)
    if tx.execute(capped, params) == 1:
        return True
    made = tx.execute(sql.OPEN_ACCOUNT, (purse.id, "memo", currency, -purse.cap_micro, False))
    return made == 1 and tx.execute(capped, params) == 1


def _give_back(tx: Tx, purses: Sequence[Purse], amount_micro: int) -> None:
    for purse in purses:
        if tx.execute(sql.GIVE_BACK, (amount_micro, purse.id, amount_micro)) != 1:
            raise AssertionError(f"ledger account {purse.id} holds less than one of its holds")


def _available(tx: Tx, purse: Purse) -> tuple[int, int]:
    """What the purse has now, and what it would have if nothing were held."""
    row = tx.one(sql.READ_ACCOUNT, (purse.id,))
    if row is None:
        if purse.cap_micro is None:
            raise AssertionError(f"no ledger account {purse.id}")
        # Nothing was spent in this period yet, so its memo account does not exist: all of the cap is left.
        return purse.cap_micro, purse.cap_micro
    posted_micro, held_micro = int(row[0]), int(row[1])
    if purse.cap_micro is not None:
        # The tighter of the cap that this caller knows and the floor of the account: one of them may be newer.
        floor_micro = max(-purse.cap_micro, -purse.cap_micro if row[2] is None else int(row[2]))
    elif row[2] is None:
        # No floor: the shop's own account, whose calls are never refused for money (promises 1.14).
        return 2**62, 2**62
    else:
        floor_micro = int(row[2])
    return posted_micro - held_micro - floor_micro, posted_micro - floor_micro


def _affordable(tx: Tx, purses: Sequence[Purse], want_micro: int, fit: Callable[[int], int]) -> int:
    now_micro = want_micro
    unheld_micro = want_micro
    tight: Purse | None = None
    for purse in purses:
        available_micro, without_holds_micro = _available(tx, purse)
        if without_holds_micro < unheld_micro:
            tight = purse
        now_micro = min(now_micro, available_micro)
        unheld_micro = min(unheld_micro, without_holds_micro)
    amount_micro = fit(now_micro)
    if amount_micro >= 0:
        return amount_micro
    # Would it fit were nothing held, then waiting helps and the client should retry; otherwise only money does
    # (promises 1.10).
    if fit(unheld_micro) >= 0:
        raise errors.RateLimited(
            "Rate limit reached: the rest of your balance is held by your other calls under way. "
            "Please try again in a moment."
        )
    if tight is not None and tight.cap_micro is not None:
        what = {"key": "API key", "prj": "project", "mem": "member"}.get(tight.id[4:7], "purse")
        raise errors.InsufficientFunds(f"The cap of this {what} is used up. {tight.anew}".rstrip())
    raise errors.InsufficientFunds


def _end(tx: Tx, hold: str, charge_micro: int, now_us: int) -> int | None:
    """End the open hold where it is enough for the charge; what it held, or None where it is not."""
    state = "settled" if charge_micro else "voided"
    row = tx.one(sql.END_HOLD, (state, charge_micro, now_us, hold, charge_micro))
    return None if row is None else int(row[0])


def _stretch(tx: Tx, hold: str, purses: Sequence[Purse], currency: str, missing_micro: int) -> int:
    """Extend the hold by what is missing, as far as the purses pay; what is still missing."""
    if missing_micro <= 0:
        return 0
    added_micro = extend(
        tx,
        hold=hold,
        purses=purses,
        currency=currency,
        want_micro=missing_micro,
        fit=lambda available_micro: min(missing_micro, available_micro),
    )
    return missing_micro - added_micro


def _ended(tx: Tx, hold: str, found: tuple[object, ...] | None) -> Settled:
    if found is None:
        raise HoldEnded(hold)
    state, amount_micro, charge_micro = str(found[0]), int(str(found[1])), int(str(found[2] or 0))
    if tx.again and state in {"settled", "voided"}:
        return Settled(state, amount_micro, charge_micro, repeated=True)
    raise HoldEnded(hold)
