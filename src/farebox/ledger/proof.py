"""Proof that the books add up (promises 2). Each finding is one sentence; no finding is the proof."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from farebox.kit import epochs, money
from farebox.kit.db import Tx

from . import allowance, sql


@dataclass(slots=True)
class LedgerProof:
    """What was looked at, and what was found wrong."""

    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # nothing is wrong in the books, a person should look
    trial_balance: dict[str, int] = field(default_factory=dict)  # currency -> micro-units that changed hands
    own: dict[str, int] = field(default_factory=dict)
    entries: int = 0


def prove(tx: Tx, *, now_us: int, grace_us: int) -> LedgerProof:
    """Check I01 to I07, I17, I20 and I27 of the ledger on one snapshot.

    A hold may stay open for `grace_us` after the end of its epoch; `now_us` is the time of the snapshot.
    """
    proof = LedgerProof()
    _journal(tx, proof)
    _balances(tx, proof)
    _holds(tx, proof)
    _orphans(tx, proof, now_us - grace_us)
    _manual(tx, proof)
    _references(tx, proof)
    proof.findings += allowance.prove(tx)
    for (lot,) in tx.all(sql.OVERDRAWN_LOTS):
        proof.findings.append(f"credit lot {lot} has no entry or expired more than was granted")
    return proof


def _journal(tx: Tx, proof: LedgerProof) -> None:
    for (entry,) in tx.all(sql.UNBALANCED):
        proof.findings.append(f"I01 entry {entry} does not add up to 0 or has fewer than two postings")
    for (posting,) in tx.all(sql.ORPHAN_POSTINGS):
        proof.findings.append(f"I01 posting {posting} belongs to no entry")
    for (posting,) in tx.all(sql.FOREIGN_POSTINGS):
        proof.findings.append(f"I01 posting {posting} names no ledger account of its entry's currency")
    for currency, total, moved, count in tx.all(sql.TRIAL_BALANCE):
        proof.entries += int(count)
        proof.trial_balance[str(currency)] = int(moved)
        if total:
            proof.findings.append(f"I22 the trial balance of {currency} is off by {money.exact(int(total))}")
    proof.own = {str(name): int(total) for name, total in tx.all(sql.OWN_SUMS)}


def _balances(tx: Tx, proof: LedgerProof) -> None:
    for (account,) in tx.all(sql.BELOW_FLOOR):
        proof.findings.append(f"I03 ledger account {account} lies below its floor")
    for account, posted, summed in tx.all(sql.DRIFT):
        proof.findings.append(
            f"I04 ledger account {account} says {money.exact(int(posted))}, its postings {money.exact(int(summed))}"
        )
    spent = capped_micro(tx)
    for account, posted in tx.all(sql.MEMO_POSTED):
        if int(posted) != -spent[str(account)]:
            proof.findings.append(f"I04 memo account {account} does not count what its calls were charged")


def capped_micro(tx: Tx) -> dict[str, int]:
    """What the calls of each cap were charged net of what was given back, by memo account; 0 for others."""
    spent: dict[str, int] = defaultdict(int)
    for joined, charge in tx.all(sql.CAPPED_HOLDS):
        for purse in str(joined).split():
            spent[purse] += int(charge)
    for joined, given in tx.all(sql.GIVEN_BACK_TO_CAPS):
        for purse in str(joined).split():
            spent[purse] -= int(given)
    return spent


def _holds(tx: Tx, proof: LedgerProof) -> None:
    held: dict[str, int] = defaultdict(int)
    for _hold, joined, amount, _epoch, _placed in tx.all(sql.OPEN_HOLDS):
        for purse in str(joined).split():
            held[purse] += int(amount)
    for account, amount in tx.all(sql.HELD):
        if held.pop(str(account), 0) != int(amount):
            proof.findings.append(f"I05 ledger account {account} holds other than the sum of its open holds")
    for account, amount in sorted(held.items()):
        if amount:
            proof.findings.append(f"I05 open holds on ledger account {account} that it does not hold")
    for (hold,) in tx.all(sql.CHARGES_WITHOUT_ENTRY):
        proof.findings.append(f"I07 hold {hold} and its charge entry disagree")
    for (entry,) in tx.all(sql.ENTRIES_WITHOUT_HOLD):
        proof.findings.append(f"I07 charge entry {entry} belongs to no settled hold")
    for (entry,) in tx.all(sql.REFUNDS_OTHERWISE):
        proof.findings.append(f"I07 refund entry {entry} gives back other than what its call was charged")


def _orphans(tx: Tx, proof: LedgerProof, ended_before_us: int) -> None:
    """Open holds whose process is gone: nobody will end them."""
    lives: dict[str, bool] = {}
    for hold, _joined, _amount, epoch, _placed in tx.all(sql.OPEN_HOLDS):
        if epoch not in lives:
            ended_us = epochs.ended_us(tx, epoch)
            lives[epoch] = ended_us is None or ended_us > ended_before_us
        if not lives[epoch]:
            proof.findings.append(f"I06 hold {hold} is open, and its process {epoch} has ended")


def _manual(tx: Tx, proof: LedgerProof) -> None:
    """Manual money: each row that was booked has its entry, each such entry its row, and no charge goes back twice."""
    for (adjustment,) in tx.all(sql.ADJUSTMENTS_OTHERWISE):
        proof.findings.append(f"I27 adjustment {adjustment} and its entry disagree")
    for (entry,) in tx.all(sql.ENTRIES_WITHOUT_ADJUSTMENT):
        proof.findings.append(f"I27 entry {entry} is manual money that no adjustment has booked")
    for (call,) in tx.all(sql.GIVEN_TWICE):
        proof.findings.append(f"I20 of call {call} more was given back than it was charged")


def _references(tx: Tx, proof: LedgerProof) -> None:
    """Each reference from outside has its entry, and each entry that has one alone its reference (promises 4.8)."""
    for source, reference in tx.all(sql.REFERENCES_OTHERWISE):
        proof.findings.append(f"I17 reference {reference} of {source} and its entry disagree")
    for (entry,) in tx.all(sql.ENTRIES_WITHOUT_REFERENCE):
        proof.findings.append(f"I17 entry {entry} has lost its reference from outside")
    for (adjustment,) in tx.all(sql.ADJUSTMENTS_WITHOUT_REFERENCE):
        proof.findings.append(f"I17 adjustment {adjustment} is booked, and its reference from outside is not")
    for reference, many in tx.all(sql.REPEATED_REFERENCES):
        proof.warnings.append(
            f"reference {reference} was granted on {int(many)} accounts: with --source a reference is booked once"
        )
