"""`farebox prove`: each room proves its own on one snapshot; this puts the proofs together (promises 2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from farebox.kit.refusal import Refusal
from farebox.look import refusals

# Within so many seconds a server that lives ends the holds of one that died.
SWEEP_S = 60
ROOMS = ("ledger", "calls", "accounts", "catalog", "upstreams")


@dataclass(slots=True)
class Proof:
    """What was looked at and what was found: no finding is the proof. Amounts in micro-units by currency or account."""

    findings: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # nothing is wrong in the books, a person should look
    trial_balance: dict[str, int] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)
    postings: int = 0

    @property
    def clean(self) -> bool:
        """Whether every room found nothing."""
        return not any(self.findings.values())


def prove(
    tell: Callable[[str], None] = lambda _room: None,
    *,
    now_us: int | None = None,
    grace_us: int | None = None,
    peppers: Collection[int] | None = None,
) -> Proof:
    """Prove every room on one snapshot of the store; `tell` hears which room is looked at.

    A restored store is proved as of the time of its backup: `now_us`, the `grace_us` of then, and the numbers of the
    peppers that it had. Without them: now, and as the options and the pepper file say.
    """
    from farebox.kit import clock, db, options, secrets

    proof = Proof()
    now_us = clock.now_us() if now_us is None else now_us
    grace_us = hold_grace_us() if grace_us is None else grace_us
    peppers = secrets.peppers(options.current()).keys() if peppers is None else peppers
    with db.reading() as tx:
        for room, found in _rooms(tx, proof, tell, now_us=now_us, grace_us=grace_us, peppers=peppers):
            proof.findings[room] = found
    return proof


def hold_grace_us() -> int:
    """How long after the end of its process a hold may stay open, in microseconds."""
    from farebox.kit import options

    chosen = options.current()
    return (SWEEP_S if chosen.on_sqlite else chosen.hold_grace_s + SWEEP_S) * 1_000_000


def _rooms(
    tx: Any, proof: Proof, tell: Callable[[str], None], *, now_us: int, grace_us: int, peppers: Collection[int]
) -> Iterator[tuple[str, list[str]]]:
    from farebox.accounts import proof as accounts
    from farebox.calls import proof as calls
    from farebox.catalog import proof as catalog
    from farebox.ledger import proof as ledger
    from farebox.upstreams import proof as upstreams

    tell("ledger")
    books = ledger.prove(tx, now_us=now_us, grace_us=grace_us)
    proof.trial_balance, proof.own, proof.postings = books.trial_balance, books.own, books.entries
    proof.warnings += books.warnings
    yield "ledger", books.findings
    tell("calls")
    yield "calls", calls.prove(tx)
    tell("accounts")
    yield "accounts", accounts.prove(tx, pepper_numbers=peppers)
    tell("catalog")
    yield "catalog", _said(catalog.prove(tx))
    tell("upstreams")
    yield "upstreams", _said(upstreams.prove(tx))


def _said(found: Sequence[str | Refusal]) -> list[str]:
    return [each if isinstance(each, str) else refusals.said(each, "cli") for each in found]
