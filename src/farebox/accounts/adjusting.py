"""Manual money on customers' accounts: who may propose and approve what, and for whom (security 1 and 7)."""

from __future__ import annotations

from typing import Any

from farebox.kit import money, options, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments, booking, references
from farebox.ledger.models import Adjustment

from .models import Account, Member, Person
from .people import people

PROPOSES = ("support", "finance", "admin")
APPROVES = ("finance",)


def person_of(actor: str) -> str:
    """Whose deed it is: an actor names the person first, then perhaps by what he acted."""
    return actor.partition(" ")[0]


def approves(role: str) -> bool:
    """Whether this role moves money: finance, and where one person runs the shop the administrator too."""
    return role in APPROVES or (role == "admin" and bool(options.current().single_person))


def propose(
    tx: Tx,
    *,
    account: str,
    kind: str,
    amount: str,
    reason: str,
    call: str = "",
    expires_us: int | None = None,
    source: str = "",
    reference: str = "",
    again: bool = False,
    role: str,
    actor: str,
    now_us: int,
) -> Adjustment:
    """Propose to move `amount`, a decimal text in the account's currency; CommandError with what is wrong.

    `source` and `reference` name it outside, once in the whole shop. With `again` the same proposal of the same person
    under the same reference is the row that he made before, as it stands now.
    """
    if role not in PROPOSES:
        raise CommandError("adjusting.propose")
    found = _customer(account)
    _not_own(found, actor)
    _fits(found, kind)
    try:
        amount_micro = money.parse(amount)
    except money.MoneyError as fault:
        raise CommandError(fault.refusal) from None
    _one_at_a_time(actor)
    outside = references.named(references.MANUAL, source, reference)
    says = {"account": found.id, "kind": kind, "amount_micro": amount_micro, "currency": found.currency}
    says |= {"call": call.strip() if kind == "refund" else "", "requester": person_of(actor)}
    if again and outside is not None:
        before = booking.repeated(tx, says, outside, after_us=now_us - adjustments.LAPSES_US)
        if before is not None:
            return before
    shop = settings.values(tx)
    return adjustments.propose(
        tx,
        account=found.id,
        currency=found.currency,
        kind=kind,
        amount_micro=amount_micro,
        reason=reason,
        call=call.strip(),
        expires_us=expires_us,
        day_max_micro=shop[f"money_day_{role}_micro"],
        two_above_micro=shop["money_two_approvers_above_micro"],
        outside=outside,
        requester=person_of(actor),
        actor=actor,
        now_us=now_us,
    )


def approve(tx: Tx, adjustment: str, *, role: str, actor: str, now_us: int) -> Adjustment:
    """Approve what another person proposed; the last approval that it needs books it.

    CommandError where the role or the person may not, or the account is no longer one for this.
    """
    if not approves(role):
        raise CommandError("adjusting.approve")
    row = adjustments.find(adjustment)
    _one_at_a_time(actor)
    # Nobody joins or closes this account until the transaction ends.
    people.lock_places(row.account)
    row = adjustments.find(adjustment)
    found = _customer(row.account)
    _not_own(found, actor)
    if _has_place(found, row.requester) or _has_place(found, row.first_approver):
        raise CommandError("adjusting.now_a_member")
    _fits(found, row.kind)
    return adjustments.approve(
        tx,
        row.id,
        approver=person_of(actor),
        single_person=bool(options.current().single_person),
        day_max_micro=settings.values(tx)[f"money_day_{role}_micro"],
        actor=actor,
        now_us=now_us,
    )


def decline(tx: Tx, adjustment: str, *, role: str, note: str = "", actor: str, now_us: int) -> Adjustment:
    """Decline what another proposed, as who may approve it, or withdraw what one has proposed oneself."""
    row = adjustments.find(adjustment)
    if not approves(role) and row.requester != person_of(actor):
        raise CommandError("adjusting.decline")
    return adjustments.decline(tx, row.id, decider=person_of(actor), note=note, actor=actor, now_us=now_us)


def shown(tx: Tx, adjustment: str, *, now_us: int) -> dict[str, Any]:
    """A row for who decides: what it is, the account's name, the balances before and after."""
    row = adjustments.find(adjustment)
    before_micro, moved_micro, after_micro = adjustments.effect(tx, row)
    account = Account.objects.get(id=row.account)
    return adjustments.view(row, now_us=now_us) | {
        "account_name": account.name,
        "before_micro": before_micro,
        "moved_micro": moved_micro,
        "after_micro": after_micro,
        "lapses_us": row.proposed_us + adjustments.LAPSES_US,
    }


def _customer(account: str) -> Account:
    found = Account.objects.filter(id=account, kind="customer").first()
    if found is None:
        raise CommandError("adjusting.no_account")
    return found


def _fits(account: Account, kind: str) -> None:
    """What is barred is written off as well; what is closed is written off alone."""
    if kind == "write_off" and account.state not in {"barred", "closed"}:
        raise CommandError("adjusting.write_off")
    if kind != "write_off" and account.state == "closed":
        raise CommandError("adjusting.closed")


def refuse_own(account: str, *actors: str) -> None:
    """CommandError where one of these persons has, or once had, a place in the account: others change what it pays."""
    for actor in actors:
        _not_own(_customer(account), actor)


def _not_own(account: Account, actor: str) -> None:
    """Nobody moves money on an account in which he has, or once had, a place (I27)."""
    if _has_place(account, actor):
        raise CommandError("adjusting.own_account")


def _has_place(account: Account, actor: str) -> bool:
    person = person_of(actor).rpartition(":")[2]
    return bool(person) and Member.objects.filter(account=account, person=person).exists()


def _one_at_a_time(actor: str) -> None:
    """What one person does at one time on two nodes comes one after the other, or neither would count for the day."""
    list(Person.objects.select_for_update(no_key=True).filter(id=person_of(actor).rpartition(":")[2]))
