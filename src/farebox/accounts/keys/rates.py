"""Limits per minute and of concurrency, of keys, projects, members, accounts; daily limits of invitations.

The former are set here and in force within a second. The latter keep a shop from being a way to mail strangers.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Sum

from farebox.accounts import accounts, projects
from farebox.accounts.models import Account, ApiKey, Invitation, Member, Person, Project
from farebox.accounts.people import people
from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger.models import Entry

from . import keys, pace

KINDS = ("key", "project", "member", "account")
INVITATIONS_A_DAY = 200  # mails of an account, and of a person over all accounts
INVITATIONS_A_DAY_ON_TRIAL = 20  # where nobody has put money in but the shop's own trial credit
MAILS_A_DAY_TO_ONE = 5  # invitations into one mailbox, whoever sends them
_FUNDS = ("grant", "credit", "topup", "payment")
_DAY_US = 86_400_000_000


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
            raise CommandError("account.house")
        return found
    raise CommandError("limit.kind", kinds=KINDS)


def take_invitations(tx: Tx, account: str, *, wanted: int, now_us: int, actor: str) -> None:
    """CommandError if this account, or the person `actor`, may not send so many invitations more within 24 hours.

    Who sends at one time comes one after the other, so that both are counted.
    """
    del tx  # the ORM reads in the same transaction
    list(Account.objects.select_for_update(no_key=True).filter(id=account).values_list("id"))
    person = actor.partition(" ")[0].removeprefix("person:")
    list(Person.objects.select_for_update(no_key=True).filter(id=person).values_list("id"))
    funded = is_funded(account)
    most = INVITATIONS_A_DAY if funded else INVITATIONS_A_DAY_ON_TRIAL
    today = Invitation.objects.filter(sent_us__gt=now_us - _DAY_US)
    by_account = today.filter(account=account).aggregate(n=Sum("sent_n"))["n"] or 0
    if by_account + wanted > most and not funded:
        raise CommandError("invitation.unpaid_day", most=most)
    if by_account + wanted > most:
        raise CommandError("invitation.account_day", most=most)
    by_person = today.filter(invited_by=f"person:{person}").aggregate(n=Sum("sent_n"))["n"] or 0
    if by_person + wanted > most:
        raise CommandError("invitation.person_day", most=most)


def full_mailboxes(tx: Tx, emails: Sequence[str], *, now_us: int) -> set[str]:
    """Those of `emails` to which no more invitations go today, whoever sends them."""
    del tx
    today = Invitation.objects.filter(sent_us__gt=now_us - _DAY_US, email__in=emails)
    # Two accounts that invite the same people at one time: the second one waits here, and counts what the first sent.
    list(today.select_for_update(no_key=True).order_by("id").values_list("id"))
    rows = today.values("email").annotate(n=Sum("sent_n")).filter(n__gte=MAILS_A_DAY_TO_ONE).order_by()
    return set(rows.values_list("email", flat=True))


def is_funded(account: str) -> bool:
    """Whether somebody has ever put money into this account: a payment or an operator, not the trial credit."""
    return Entry.objects.filter(account=account, kind__in=_FUNDS).exclude(ref=f"trial.{account}").exists()
