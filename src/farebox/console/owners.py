"""Every owner of an account hears by mail who becomes one, and who is invited to: nobody is put beside them unseen."""

from __future__ import annotations

from farebox.accounts.models import Invitation, Member, Person
from farebox.kit import outbox
from farebox.kit.db import Tx

from . import telling


def joined(tx: Tx, member: Member, *, actor: str) -> None:
    """Tell the owners of the account, the new one too, that `member` is one of them now; `actor` made him one."""
    for person in _of(member.account_id):
        words = telling.owner(
            person.language, account=member.account.name, email=member.person.email, by=_by(actor), invited=False
        )
        outbox.mail(tx, to=person.email, subject=words[0], text=words[1])


def invited(tx: Tx, row: Invitation, *, actor: str) -> None:
    """Tell the owners of the account that somebody is invited to be one."""
    for person in _of(row.account_id):
        words = telling.owner(person.language, account=row.account.name, email=row.email, by=_by(actor), invited=True)
        outbox.mail(tx, to=person.email, subject=words[0], text=words[1])


def _of(account: str) -> list[Person]:
    rows = Member.objects.select_related("person").filter(account=account, role="owner", state="active")
    return [row.person for row in rows.order_by("id")]


def _by(actor: str) -> str:
    """The e-mail address of who did it, or what did it."""
    person = Person.objects.filter(id=actor.partition(" ")[0].rpartition(":")[2]).first()
    return actor if person is None else person.email
