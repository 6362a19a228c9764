"""`farebox prove`: each room proves its own on one snapshot; this puts the proofs together (money.md 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Within so many seconds a server that lives ends the holds of one that died.
SWEEP_S = 60
ROOMS = ("ledger", "calls", "accounts", "catalog", "upstreams")


@dataclass(slots=True)
class Proof:
    """What was looked at and what was found: no finding is the proof. Amounts in micro-units by currency or account."""

    findings: dict[str, list[str]] = field(default_factory=dict)
    trial_balance: dict[str, int] = field(default_factory=dict)
    house: dict[str, int] = field(default_factory=dict)
    postings: int = 0

    @property
    def clean(self) -> bool:
        """Whether every room found nothing."""
        return not any(self.findings.values())


def prove(tell: Callable[[str], None] = lambda _room: None) -> Proof:
    """Prove every room on one snapshot of the store; `tell` hears which room is looked at."""
    from farebox.kit import db

    proof = Proof()
    with db.reading() as tx:
        for room, found in _rooms(tx, proof, tell):
            proof.findings[room] = found
    return proof


def _rooms(tx: Any, proof: Proof, tell: Callable[[str], None]) -> Iterator[tuple[str, list[str]]]:
    from farebox.accounts import proof as accounts
    from farebox.calls import proof as calls
    from farebox.catalog import proof as catalog
    from farebox.kit import clock, options, secrets
    from farebox.ledger import proof as ledger
    from farebox.upstreams import proof as upstreams

    tell("ledger")
    chosen = options.current()
    grace_s = SWEEP_S if chosen.on_sqlite else chosen.hold_grace_s + SWEEP_S
    books = ledger.prove(tx, now_us=clock.now_us(), grace_us=grace_s * 1_000_000)
    proof.trial_balance, proof.house, proof.postings = books.trial_balance, books.house, books.entries
    yield "ledger", books.findings
    tell("calls")
    yield "calls", calls.prove(tx)
    tell("accounts")
    yield "accounts", accounts.prove(tx, pepper_numbers=secrets.peppers(chosen).keys())
    tell("catalog")
    yield "catalog", catalog.prove(tx)
    tell("upstreams")
    yield "upstreams", upstreams.prove(tx)
