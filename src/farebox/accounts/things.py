"""Names of what the audit trail speaks of: accounts, persons, projects and keys, by id and by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from farebox.kit.db import Tx

from .models import Account, ApiKey, Person, Project

_KINDS: tuple[Any, ...] = (Account, Person, Project, ApiKey)


def names(tx: Tx, idents: Iterable[str]) -> dict[str, str]:
    """The names of those of these ids that have one; of a person without, the e-mail address."""
    del tx  # the ORM reads in the same transaction
    wanted = set(idents)
    found: dict[str, str] = {}
    for kind in _KINDS:
        found |= {row.id: row.name or getattr(row, "email", "") for row in kind.objects.filter(id__in=wanted)}
    return {ident: name for ident, name in found.items() if name}


def called(tx: Tx, name: str) -> str | None:
    """The id of the account, person, project or key of this name, or of the person with this e-mail address, or None.

    Of several the newest, and an account before what is in it.
    """
    del tx  # the ORM reads in the same transaction
    given = name.strip()
    if "@" in given:
        return Person.objects.filter(email=given.lower()).values_list("id", flat=True).first()
    found = (kind.objects.filter(name__iexact=given).order_by("-id").first() for kind in _KINDS)
    return next((str(row.id) for row in found if row is not None), None) if given else None


def person(tx: Tx, name: str) -> str | None:
    """The id of the person of this name or e-mail address, or None; of several the newest."""
    del tx  # the ORM reads in the same transaction
    given = name.strip()
    rows = Person.objects.filter(email=given.lower()) if "@" in given else Person.objects.filter(name__iexact=given)
    return rows.order_by("-id").values_list("id", flat=True).first() if given else None
