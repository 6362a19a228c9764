"""Set the limits a minute and at once of a key, a project, a member or an account; in force within a second."""

from __future__ import annotations

from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import accounts, keys, pace, people, projects
from .models import Account, ApiKey, Member, Project

KINDS = ("key", "project", "member", "account")


def limit(
    tx: Tx, kind: str, name: str, *, rpm: int | None, tpm: int | None, concurrency: int | None, actor: str
) -> Account | ApiKey | Member | Project:
    """Other limits for a `key`, `project`, `member` or `account`; None lifts one. Raises CommandError."""
    pace.check(rpm=rpm, tpm=tpm, concurrency=concurrency)
    found = _find(kind, name)
    before = shown(found)
    found.rpm, found.tpm, found.concurrency = rpm, tpm, concurrency
    found.save(update_fields=["rpm", "tpm", "concurrency"])
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb=f"{kind}.set_rates", object=found.id, before=before, after=shown(found))
    return found


def now(kind: str, name: str) -> dict[str, int | None]:
    """The limits in force of a `key`, `project`, `member` or `account`; CommandError."""
    return shown(_find(kind, name))


def shown(row: Account | ApiKey | Member | Project) -> dict[str, int | None]:
    """The limits of a row, JSON-able."""
    return {"rpm": row.rpm, "tpm": row.tpm, "concurrency": row.concurrency}


def _find(kind: str, name: str) -> Account | ApiKey | Member | Project:
    if kind == "key":
        return keys.living(name)
    if kind == "project":
        return projects.find(name)
    if kind == "member":
        return people.find_member(name)
    if kind == "account":
        found = accounts.find(name)
        if found.kind == "house":
            raise CommandError("The house's own account stays as it is.")
        return found
    raise CommandError(f"Limits are set for one of {', '.join(KINDS)}.")
