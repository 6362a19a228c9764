"""Tells the owners of all accounts from when another version of the charging rules applies; again if that is moved."""

from __future__ import annotations

from typing import Any

from farebox.accounts.models import Person
from farebox.console import telling
from farebox.kit import outbox, settings
from farebox.kit.db import Tx

TOLD = "rules_2_told"  # [the moment that is told of, the last person who was told]
AT_ONCE = 50


def due(tx: Tx) -> bool:
    """Whether there is anybody to tell."""
    return bool(_next(tx)[2])


def tell(tx: Tx) -> bool:
    """Tell some owners, each once for each moment that was chosen; whether this process may go on.

    Who was told is written down in the transaction of their mails, by one process at a time.
    """
    from_us, told, owners = _next(tx)
    if not owners or not settings.swap(tx, TOLD, told, [from_us, owners[-1].id]):
        return False
    for person in owners:
        subject, text = telling.rules(person.language, from_us=from_us, zone=person.time_zone)
        outbox.mail(tx, to=person.email, subject=subject, text=text)
    return True


def _next(tx: Tx) -> tuple[int, list[Any] | None, list[Person]]:
    """The moment that was chosen, what was told before, and who is told next; nobody where no moment was chosen."""
    from_us, told = settings.values(tx)[settings.RULES_2_FROM], settings.get(tx, TOLD)
    if not from_us:  # not set, or a shop that never had others
        return 0, told, []
    last = told[1] if told is not None and told[0] == from_us else ""
    rows = Person.objects.filter(
        id__gt=last,
        is_active=True,
        member__role="owner",
        member__state="active",
        member__account__state__in=["active", "frozen"],
    )
    return from_us, told, list(rows.order_by("id").distinct()[:AT_ONCE])
