"""What the office mails: an operator's link to a password and a second factor; the audit trail's head to auditors."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _

from farebox.accounts.models import Person
from farebox.kit import options, outbox, settings
from farebox.kit.chain import Head
from farebox.kit.db import Tx

PATH = "/office/set-up?code="


def way_in(tx: Tx, person: Person, code: str) -> None:
    """Send an operator his one-time link, in his language, or else in that of the page of who lets him in."""
    chosen = options.current()
    with translation.override(person.language or translation.get_language()):
        facts = {"shop": settings.values(tx)["shop_name"] or chosen.shop_name, "email": person.email}
        lines = [
            _("You work in the office of %(shop)s, as %(email)s. Choose a password and a second factor here:") % facts,
            chosen.origin + PATH + code,
            _("The link is yours alone and works once, within 72 hours. Give it to nobody, also not to a colleague."),
            _("If you expect nothing of the kind, leave it alone and tell an administrator of the shop."),
        ]
        subject = _("Your way into the office of %(shop)s") % facts
    outbox.mail(tx, to=person.email, subject=" ".join(subject.split()), text="\n\n".join(lines) + "\n")


def head(tx: Tx, person: Person, newest: Head, day: str) -> None:
    """Send an auditor the head of the audit trail's chain on a UTC day (ISO), to be kept where the shop is not."""
    chosen = options.current()
    with translation.override(person.language or "en"):
        facts = {"shop": settings.values(tx)["shop_name"] or chosen.shop_name, "day": day}
        lines = [
            _("The head of the audit trail of %(shop)s on %(day)s:") % facts,
            str(newest),
            _(
                "Keep this message. If the trail is ever in doubt, enter the line above in the office under "
                "Audit trail, Check the chain, or give it to `farebox doctor --head`: what was changed before it, or "
                "cut off, will show."
            ),
        ]
        subject = _("Head of the audit trail of %(shop)s, %(day)s") % facts
    outbox.mail(tx, to=person.email, subject=" ".join(subject.split()), text="\n\n".join(lines) + "\n")
