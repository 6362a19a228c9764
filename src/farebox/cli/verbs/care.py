"""Write verbs of the doctor: stop the spending of ledger accounts that have drifted, allow it again, note a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Sum

from farebox.accounts import accounts as customers
from farebox.kit import audit, clock, money, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import proof
from farebox.ledger.models import LedgerAccount, Posting


def freeze(tx: Tx, *, actor: str, accounts: list[str]) -> dict[str, Any]:
    """Let these ledger accounts take no new hold (I04); those that are frozen already are left out of the answer."""
    frozen = []
    for name in sorted(set(accounts)):
        stored = LedgerAccount.objects.filter(id=name, frozen=False).exclude(kind="house")
        if stored.update(frozen=True) == 1:
            audit.record(tx, actor=actor, verb="ledger.freeze", object=name, after="its balance has drifted (I04)")
            frozen.append(name)
    return {"frozen": frozen}


def keys_copied(tx: Tx, *, actor: str, marks: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Note that a copy of the key files was looked at and found whole; `marks` are its fingerprints."""
    settings.keep(tx, settings.KEYS_COPIED, {"marks": marks, "at_us": clock.now_us()})
    audit.record(tx, actor=actor, verb="keys.copied", object="installation", after=marks)
    return {"copied": sum(len(numbers) for numbers in marks.values())}


def unfreeze(tx: Tx, *, actor: str, account: str) -> dict[str, Any]:
    """Let a ledger account, by its id or its customer's name, take holds again.

    CommandError while its balance is still not the sum of its postings, or a cap counts other than its calls cost.
    """
    row = LedgerAccount.objects.filter(id=account).first()
    if row is None:
        row = LedgerAccount.objects.get(id=customers.find(account).id)
    if not row.frozen:
        raise CommandError(f"The spending of {row.id} is not frozen.")
    if row.kind == "memo":
        due_micro, whose = -proof.capped_micro(tx)[row.id], "what its calls were charged comes to"
    else:
        summed = Posting.objects.filter(account=row.id).aggregate(total=Sum("amount_micro"))
        due_micro, whose = int(summed["total"] or 0), "its postings"
    if row.posted_micro != due_micro:
        raise CommandError(
            f"The balance of {row.id} says {money.exact(row.posted_micro)}, {whose} {money.exact(due_micro)}. "
            "Fix that first (docs/operate/incidents.md)."
        )
    if LedgerAccount.objects.filter(id=row.id, frozen=True).update(frozen=False) != 1:
        raise CommandError(f"The spending of {row.id} is not frozen.")
    audit.record(tx, actor=actor, verb="ledger.unfreeze", object=row.id)
    return {"account": row.id, "frozen": False}


RUNS: dict[str, Callable[..., Any]] = {
    "ledger.freeze": freeze,
    "ledger.unfreeze": unfreeze,
    "keys.copied": keys_copied,
}
