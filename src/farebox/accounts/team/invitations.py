"""Invitations: send, send again, take back, accept. Only the mail has the code; the store keeps its digest.

Whoever has the code has read the mailbox that it was sent to, so a person whom it creates needs no other
confirmation. The place is that mailbox's: a person with another address can't take it, whoever has passed the link
on. An existing person who has proved the mailbox keeps what they sign in with, and must be signed in.
"""

from __future__ import annotations

import secrets as random_
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from farebox.accounts import accounts, caps, projects
from farebox.accounts.caps import NO_CAPS, Caps
from farebox.accounts.keys import keys, rates
from farebox.accounts.keys.key_terms import KeyTerms
from farebox.accounts.models import Invitation, Member, Person
from farebox.accounts.people import mailboxes, people
from farebox.accounts.sign_in import first_proof
from farebox.kit import audit, ids, options, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import teams

CODE_BYTES = 16
DAYS_DEFAULT = 14
DAYS_MAX = 60
AT_ONCE_MAX = 200
OPEN_MAX = 1000
SENT_MAX = 5
_DAY_US = 86_400_000_000

Send = Callable[[Tx, Invitation, str], None]  # writes the mail that carries the code, in the same transaction


@dataclass(frozen=True, slots=True)
class Guest:
    """Whom to invite."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class InvitationTerms:
    """What the invited get: a role, in which project, with which cap, with a key at once or not; open for `days`."""

    role: str = "member"
    project: str | None = None
    caps: Caps = NO_CAPS
    with_key: bool = False
    days: int = DAYS_DEFAULT


@dataclass(frozen=True, slots=True)
class Sent:
    """Who was invited now, and who was left out: members, and those whose invitation is open."""

    invited: list[Invitation]
    known: list[str]


@dataclass(frozen=True, slots=True)
class Joined:
    """A new place, and the text of its key where the invitation promised one: it can't be shown again."""

    member: Member
    key: str
    plaintext: str


def invite(
    tx: Tx, account: str, guests: Sequence[Guest], terms: InvitationTerms, send: Send, *, now_us: int, actor: str
) -> Sent:
    """Invite all of them, in one transaction; `send` writes each mail. CommandError, and nobody is invited."""
    owner, project = _checked(account, terms)
    if not 0 < len(guests) <= AT_ONCE_MAX:
        raise CommandError("invitation.at_once", most=AT_ONCE_MAX)
    people.lock_places(owner.id)  # who is here or invited, and how many are, stays so until these are
    seats = Member.objects.filter(account=owner, state="active", project=terms.project)
    known = set(seats.values_list("person__email", flat=True))
    _expire(owner.id, now_us)
    waiting = Invitation.objects.filter(account=owner, state="open")
    known |= set(waiting.filter(project=terms.project).values_list("email", flat=True))
    fresh = {guest.email.strip().lower(): guest for guest in guests}
    known |= rates.full_mailboxes(tx, sorted(fresh), now_us=now_us)
    left_out = sorted(fresh.keys() & known)
    wanted = [(email, guest) for email, guest in fresh.items() if email not in known]
    if waiting.count() + len(wanted) > OPEN_MAX:
        raise CommandError("invitation.too_many", most=OPEN_MAX)
    rates.take_invitations(tx, owner.id, wanted=len(wanted), now_us=now_us, actor=actor)
    made = []
    for email, guest in wanted:
        if not people.is_email(email):
            raise CommandError("person.email", email=email[:254])
        code, digest = _mint()
        row = Invitation.objects.create(
            id=ids.new("inv", now_us), account=owner, project=project, role=terms.role, email=email,
            name=guest.name[: accounts.NAME_CHARS_MAX], with_key=terms.with_key, digest=digest, invited_by=actor,
            created_us=now_us, sent_us=now_us, **terms.caps.columns(),
            expires_us=now_us + terms.days * _DAY_US,
        )  # fmt: skip
        send(tx, row, code)
        audit.record(tx, actor=actor, verb="invitation.send", object=row.id, after=view(row))
        made.append(row)
    return Sent(made, left_out)


def resend(tx: Tx, invitation: str, send: Send, *, now_us: int, actor: str) -> Invitation:
    """Send it again with a new code and a new end; the old code is void. CommandError for one that is not open."""
    people.lock_places(_find(invitation).account_id)
    row = _find(invitation)
    if row.sent_n >= SENT_MAX:
        raise CommandError("invitation.sent_often", most=SENT_MAX)
    rates.take_invitations(tx, row.account_id, wanted=1, now_us=now_us, actor=actor)
    if rates.full_mailboxes(tx, [row.email], now_us=now_us):
        raise CommandError("invitation.enough_today", email=row.email)
    code, row.digest = _mint()
    row.expires_us = now_us + max(_DAY_US, row.expires_us - row.sent_us)
    row.sent_us, row.sent_n = now_us, row.sent_n + 1
    row.save(update_fields=["digest", "sent_us", "sent_n", "expires_us"])
    send(tx, row, code)
    audit.record(tx, actor=actor, verb="invitation.resend", object=row.id, after={"expires_us": row.expires_us})
    return row


def revoke(tx: Tx, invitation: str, *, actor: str) -> Invitation:
    """Take it back: its link leads nowhere from now on."""
    row = _find(invitation)
    if Invitation.objects.filter(id=row.id, state="open").update(state="revoked") != 1:
        raise CommandError("invitation.not_open")
    row.state = "revoked"
    audit.record(tx, actor=actor, verb="invitation.revoke", object=row.id, before="open", after="revoked")
    return row


def transfer(tx: Tx, member: str, send: Send, *, now_us: int, actor: str) -> Invitation:
    """Ask a member to become an owner: he is one when he has entered the code that went to his mailbox. CommandError.

    An earlier question to him ends with this one.
    """
    people.lock_places(people.find_member(member).account_id)
    found = people.find_member(member)
    owner, _ = _checked(found.account_id, InvitationTerms(role="owner"))
    if found.state != "active" or found.role == "owner":
        raise CommandError("invitation.not_a_member", email=found.person.email)
    if Member.objects.filter(account=owner, person=found.person, project=None).exists():
        raise CommandError("invitation.has_place", email=found.person.email)
    email = found.person.email
    Invitation.objects.filter(account=owner, state="open", member=found).update(state="revoked")
    if Invitation.objects.filter(account=owner, state="open").count() >= OPEN_MAX:
        raise CommandError("invitation.too_many", most=OPEN_MAX)
    if rates.full_mailboxes(tx, [email], now_us=now_us):
        raise CommandError("invitation.enough_today", email=email)
    rates.take_invitations(tx, owner.id, wanted=1, now_us=now_us, actor=actor)
    code, digest = _mint()
    row = Invitation.objects.create(
        id=ids.new("inv", now_us), account=owner, role="owner", email=email, name=found.person.name, digest=digest,
        invited_by=actor, member=found, created_us=now_us, sent_us=now_us, expires_us=now_us + DAYS_DEFAULT * _DAY_US,
    )  # fmt: skip
    send(tx, row, code)
    audit.record(tx, actor=actor, verb="invitation.send", object=row.id, after=view(row))
    return row


def by_code(code: str, *, now_us: int) -> Invitation | None:
    """The open invitation of this code; used, revoked, ended and unknown are the same."""
    if not 0 < len(code) <= 64 or not code.isascii():
        return None
    digests = [secrets.digest_code(pepper, code, label="invite") for pepper in _peppers().values()]
    rows = Invitation.objects.select_related("account", "project", "member").filter(digest__in=digests, state="open")
    row = rows.filter(expires_us__gt=now_us).exclude(account__state="closed").first()
    return None if row is None or (row.project is not None and row.project.state != "active") else row


def open_ones(account: str, *, projects_: frozenset[str] | None, now_us: int) -> list[Invitation]:
    """The invitations of an account, or of some projects of it, that are open, the newest first."""
    rows = Invitation.objects.select_related("project").filter(account=account, state="open", expires_us__gt=now_us)
    if projects_ is not None:
        rows = rows.filter(project__in=projects_)
    return list(rows.order_by("-sent_us", "email"))


def accept(tx: Tx, code: str, *, person: str, now_us: int) -> Joined:
    """Give the person the place, and the key if one was promised; the code is used up. CommandError.

    The person is signed in, and has proved the mailbox that was invited: for another one the place is not.
    """
    row = by_code(code, now_us=now_us)
    who = people.find(person)
    if row is not None and not is_for(row, who):
        raise CommandError("invitation.other_address")
    if row is None or Invitation.objects.filter(id=row.id, state="open").update(state="used") != 1:
        raise CommandError("invitation.not_open")
    actor = f"person:{person}"
    if row.member is None:
        member = people.add_member(
            tx, account=row.account_id, person=person, role=row.role, project=row.project_id, caps=row.caps,
            now_us=now_us, actor=actor,
        )  # fmt: skip
    else:
        member = teams.set_role(tx, row.member.id, role="owner", project=None, now_us=now_us, actor=actor)
    Invitation.objects.filter(id=row.id).update(member=member)
    audit.record(tx, actor=actor, verb="invitation.accept", object=row.id, after={"member": member.id})
    if not row.with_key or row.project_id is None:
        return Joined(member, "", "")
    key, plaintext = keys.issue(
        tx, KeyTerms(name=(who.name or who.email)[: accounts.NAME_CHARS_MAX]), project=row.project_id,
        member=member.id, now_us=now_us, actor=actor,
    )  # fmt: skip
    return Joined(member, key.id, plaintext)


def sign_up(
    tx: Tx, code: str, *, name: str, password_hash: str, language: str = "", now_us: int
) -> tuple[Person, Joined]:
    """A new person by an invitation, without an account of their own, and their place; CommandError.

    Where somebody has signed up with the address and never proved it, the person is who has the code: all that the
    other one signs in with ends. Whoever has proved it signs in instead.
    """
    row = by_code(code, now_us=now_us)
    if row is None:
        raise CommandError("invitation.not_open")
    actor = f"invitation:{row.id}"
    person = Person.objects.filter(email=row.email).first()
    if person is None:
        person = people.create(tx, email=row.email, name=name, password_hash=password_hash, now_us=now_us, actor=actor)
        mailboxes.mark(tx, person)
    elif is_known(row):
        raise CommandError("invitation.sign_in")
    else:
        first_proof.prove(tx, person, actor=actor)
        person = people.set_password(tx, person.id, password_hash=password_hash, actor=actor)
    person.name, person.language = name, language
    person.save(update_fields=["name", "language"])
    return person, accept(tx, code, person=person.id, now_us=now_us)


def is_for(row: Invitation, person: Person) -> bool:
    """Whether this person has proved the mailbox that the invitation went to, and is the member whom it asks."""
    if row.member is not None and row.member.person_id != person.id:
        return False  # the member has another address by now, and somebody else has his
    return person.email == row.email and mailboxes.is_proved(person)


def is_known(row: Invitation) -> bool:
    """Whether the invited address is a person's whom no code makes anew: an operator, who is off, who has proved it."""
    person = Person.objects.filter(email=row.email).first()
    if person is None:
        return False
    return bool(person.operator_role) or not person.is_active or mailboxes.is_proved(person)


def find_within(account: str, invitation: str, *, projects_: frozenset[str] | None) -> Invitation | None:
    """The open invitation of this id in this account, or in some projects of it; foreign and absent are the same."""
    rows = Invitation.objects.filter(id=invitation, account=account, state="open")
    return (rows if projects_ is None else rows.filter(project__in=projects_)).first()


def view(row: Invitation) -> dict[str, Any]:
    """What may be shown of an invitation, JSON-able: never its code."""
    return {
        "id": row.id, "account": row.account_id, "project": row.project_id, "role": row.role, "email": row.email,
        "name": row.name, "with_key": row.with_key, "caps_micro": row.caps.view(),
        "expires_us": row.expires_us,
    }  # fmt: skip


def _checked(account: str, terms: InvitationTerms) -> tuple[Any, Any]:
    owner = accounts.find(account)
    if owner.state == "closed":
        raise CommandError("account.closed", account=owner.id)
    if terms.role not in people.MEMBER_ROLES:
        raise CommandError("member.role", roles=people.MEMBER_ROLES)
    caps.check(terms.caps.view())
    if not 1 <= terms.days <= DAYS_MAX:
        raise CommandError("invitation.days", most=DAYS_MAX)
    if (terms.role == "owner") == (terms.project is not None):
        raise CommandError("invitation.place")
    if terms.project is None:
        return owner, None
    project = projects.find(terms.project)
    if project.account_id != owner.id or project.state != "active":
        raise CommandError("project.not_in_use", project=project.id, account=owner.id)
    return owner, project


def _expire(account: str, now_us: int) -> None:
    """An invitation that has ended no longer keeps its address from being invited."""
    Invitation.objects.filter(account=account, state="open", expires_us__lte=now_us).update(state="revoked")


def _find(invitation: str) -> Invitation:
    row = Invitation.objects.select_related("account", "project").filter(id=invitation, state="open").first()
    if row is None:
        raise CommandError("invitation.not_open")
    return row


def _mint() -> tuple[str, str]:
    code = random_.token_urlsafe(CODE_BYTES)
    return code, secrets.digest_code(secrets.newest(_peppers())[1], code, label="invite")


def _peppers() -> Any:
    return secrets.peppers(options.current())
