"""Write verbs on money itself: give credit, undo an entry. Both name who did it (I27)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farebox.accounts import accounts, days
from farebox.kit import audit, clock, money, options
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import chart, holds, lots, references
from farebox.ledger.models import Entry


def grant(
    tx: Tx,
    *,
    actor: str,
    account: str,
    amount_micro: int,
    reason: str,
    ref: str,
    source: str = "",
    expires_us: int | None = None,
    last_day: str = "",
) -> dict[str, Any]:
    """Give credit to an account, as one person alone; micro-units of its currency.

    The same `ref` gives once to an account, and with a `source` once at all: again the same is answered as `repeated`,
    another amount or account refused.
    """
    _one_person(reason)
    found = accounts.find(account)
    if found.state == "closed":
        raise CommandError(f"Account {found.id} is closed.")
    if found.kind == "house":
        raise CommandError("The house account needs no money: its calls are free.")
    expires_us = days.chosen(last_day, expires_us, found.time_zone)
    outside = references.named(references.MANUAL, source, ref) if source else None
    if outside is None:
        repeated = Entry.objects.filter(account=found.id, kind="grant", ref=ref).exists()
    else:
        ref, repeated = "", references.entry_of(tx, outside) is not None
    entry = lots.grant(
        tx,
        account=found.id,
        currency=found.currency,
        amount_micro=amount_micro,
        ref=ref,
        expires_us=expires_us,
        now_us=clock.now_us(),
        note=reason,
        requester=actor,
        single_person=True,
        outside=outside,
    )
    facts = {"entry": entry, "account": found.id, "amount_micro": amount_micro, "currency": found.currency}
    if not repeated:
        audit.record(
            tx,
            actor=actor,
            verb="money.grant",
            object=found.id,
            after=facts | _named(outside) | {"reason": reason, "expires_us": expires_us, "single_person": True},
        )
    return facts | {"repeated": repeated} | _balance(tx, found.id)


def reverse(tx: Tx, *, actor: str, entry: str, reason: str) -> dict[str, Any]:
    """Undo an entry by its mirror image, once; the new entry's id. CommandError if the money is gone.

    Again it is answered as `repeated`, and nothing is done.
    """
    _one_person(reason)
    head = Entry.objects.filter(id=entry).first()
    if head is None:
        raise CommandError(f"There is no entry {entry[:60]!r}. `farebox account entries` shows them.")
    if head.kind == "reversal":
        raise CommandError(f"Entry {entry} is itself a reversal. Grant the amount instead.")
    repeated = Entry.objects.filter(account=head.account, kind="reversal", ref=entry).exists()
    undone = lots.reverse(tx, entry=entry, at_us=clock.now_us(), note=reason, requester=actor, single_person=True)
    facts: dict[str, Any] = {"entry": undone, "reverses": entry, "account": head.account, "currency": head.currency}
    if not repeated:
        audit.record(
            tx,
            actor=actor,
            verb="money.reverse",
            object=entry,
            after=facts | {"reason": reason, "single_person": True},
        )
    facts["repeated"] = repeated
    return facts if chart.is_own(head.account) else facts | _balance(tx, head.account)


def _one_person(reason: str) -> None:
    if not options.current().single_person:
        raise CommandError(
            "This shop's option single_person is false: money moves only with the approval of a second person, "
            "which the office asks for. A command has one person."
        )
    if not reason.strip() or len(reason) > 300 or not reason.isprintable():
        raise CommandError("Say why, in one line of at most 300 characters: the books keep the reason forever.")


def _named(outside: references.Outside | None) -> dict[str, str]:
    return {"source": outside.source, "reference": outside.reference} if outside is not None else {}


def _balance(tx: Tx, account: str) -> dict[str, Any]:
    posted_micro, held_micro, available_micro = holds.balance(tx, account)
    return {
        "posted_micro": posted_micro,
        "held_micro": held_micro,
        "available_micro": available_micro,
        "balance": money.exact(posted_micro),
    }


RUNS: dict[str, Callable[..., Any]] = {"grant": grant, "reverse": reverse}
