"""Every owner of an account hears by mail who becomes one, and who is invited to: nobody is put beside them unseen.

Whoever does it: other owners, operators in the office, and who has a shell on the server.
"""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _

from farebox.accounts.models import Invitation, Member, Person
from farebox.kit import options, outbox
from farebox.kit.db import Tx

from .letter_words import in_mail, letter
from .middleware import ENGLISH


def joined(tx: Tx, member: Member, *, actor: str) -> None:
    """Tell the owners of the account, the new one too, that `member` is one of them now; `actor` made them one."""
    for person in _of(member.account_id):
        words = words_of(
            person.language, account=member.account.name, email=member.person.email, by=_by(actor), invited=False
        )
        outbox.mail(tx, to=person.email, subject=words[0], text=words[1])


def invited(tx: Tx, row: Invitation, *, actor: str) -> None:
    """Tell the owners of the account that somebody is invited to be one."""
    for person in _of(row.account_id):
        words = words_of(person.language, account=row.account.name, email=row.email, by=_by(actor), invited=True)
        outbox.mail(tx, to=person.email, subject=words[0], text=words[1])


def words_of(language: str, *, account: str, email: str, by: str, invited: bool) -> tuple[str, str]:
    """Subject and text for a new owner of an account, or for one who is invited to be."""
    with translation.override(language or ENGLISH):
        facts = {"account": in_mail(account), "email": email, "by": by}
        if invited:
            subject = _("%(account)s: %(email)s was invited as an owner") % facts
            said = _("%(by)s invited %(email)s as an owner of the account %(account)s.") % facts
        else:
            subject = _("%(account)s: %(email)s is now an owner") % facts
            said = _("%(by)s made %(email)s an owner of the account %(account)s.") % facts
        means = _("An owner can see everything, create keys, spend the balance and remove other owners.")
        advice = _(
            "If you did not expect this, remove this person or revoke the invitation under Team now, and "
            "change your password."
        )
        return " ".join(subject.split()), letter([said, means, advice])


def _of(account: str) -> list[Person]:
    rows = Member.objects.select_related("person").filter(account=account, role="owner", state="active")
    return [row.person for row in rows.order_by("id")]


def _by(actor: str) -> str:
    """The e-mail address of the customer who did it; the shop's name for whoever acts for the shop."""
    deed = actor.partition(" ")[0]
    person = Person.objects.filter(id=deed.removeprefix("person:")).first() if deed.startswith("person:") else None
    return str(options.current().shop_name) if person is None else person.email
