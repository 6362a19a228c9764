"""Tells the owners of an account that its allowance is down to a fifth: once, and again only after it has risen above.

Who was told is remembered in the transaction of the mails, by one process at a time.
"""

from __future__ import annotations

from farebox.accounts import forgiving
from farebox.accounts.models import Account, Member
from farebox.catalog import shelf
from farebox.console import telling
from farebox.kit import outbox, settings
from farebox.kit.db import Tx

TOLD = "allowance_told"  # the accounts that are down to a fifth, and whose owners know


def due(tx: Tx, now_us: int) -> bool:
    """Whether an account has come down to a fifth, or has risen again, since the last look."""
    told: list[str] = settings.get(tx, TOLD, [])
    return sorted(account.id for account, _left, _most in _low(tx, now_us)) != told


def tell(tx: Tx, now_us: int) -> int:
    """Mail the owners of those that have come down; how many mails."""
    told, found = settings.get(tx, TOLD), _low(tx, now_us)
    if not settings.swap(tx, TOLD, told, sorted(account.id for account, _left, _most in found)):
        return 0
    return sum(_mail(tx, *each) for each in found if each[0].id not in (told or []))


def _low(tx: Tx, now_us: int) -> list[tuple[Account, int, int]]:
    return forgiving.low(tx, shelf.load(tx, now_us), now_us)


def _mail(tx: Tx, account: Account, left_micro: int, most_micro: int) -> int:
    places = Member.objects.filter(account=account, role="owner", state="active", person__is_active=True)
    owners = [place.person for place in places.select_related("person").order_by("id")]
    for person in owners:
        subject, text = telling.allowance(
            person.language,
            account=account.name,
            left_micro=left_micro,
            most_micro=most_micro,
            currency=account.currency,
        )
        outbox.mail(tx, to=person.email, subject=subject, text=text)
    return len(owners)
