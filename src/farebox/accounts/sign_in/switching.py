"""A person switched off everywhere in one step, and on again; sessions of others ended (security 1)."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from farebox.accounts.keys import playground
from farebox.accounts.models import ApiKey, Invitation, Link, Member, OfficeCode, OperatorChange, Person, Session
from farebox.accounts.people import people
from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import sessions, tokens


def off(tx: Tx, person: str, *, keys: bool = False, now_us: int, actor: str) -> dict[str, Any]:
    """End everything by which this person gets in, now and on every node: what ended, by kind.

    Sessions of both areas, links and codes that wait, invitations to the mailbox, tokens of the management API; with
    `keys` also the API keys of the memberships. CommandError for oneself, the last administrator, and one who is off.
    """
    found = people.find(person)
    if actor.split(maxsplit=1)[0] == f"operator:{found.id}":
        raise CommandError("operator.own_off")
    others = Person.objects.filter(operator_role="admin", is_active=True).exclude(id=found.id)
    if found.operator_role == "admin" and found.is_active and not others.exists():
        raise CommandError("operator.last_administrator", email=found.email)
    if Person.objects.filter(id=found.id, is_active=True).update(is_active=False) != 1:
        raise CommandError("person.off", email=found.email)
    ended = {
        "sessions": _end_sessions(tx, found.id, now_us=now_us),
        "links": Link.objects.filter(person=found).delete()[0] + _codes(found).delete()[0],
        "invitations": Invitation.objects.filter(email=found.email, state="open").update(state="revoked"),
        "tokens": tokens.revoke_all(tx, found.id, now_us=now_us, actor=actor),
        "keys": _revoke_keys(tx, found.id, now_us=now_us, actor=actor) if keys else 0,
    }
    OperatorChange.objects.filter(email=found.email, state="proposed").update(
        state="refused", approver=actor, decided_us=now_us
    )
    audit.record(tx, actor=actor, verb="person.off", object=found.id, after=ended)
    return people.view(Person.objects.get(id=found.id)) | {"ended": ended}


def on(tx: Tx, person: str, *, actor: str) -> dict[str, Any]:
    """Let a person in again, as before; what ended stays ended. CommandError for one who is on."""
    found = people.find(person)
    if Person.objects.filter(id=found.id, is_active=False).update(is_active=True) != 1:
        raise CommandError("person.not_off", email=found.email)
    audit.record(tx, actor=actor, verb="person.on", object=found.id)
    return people.view(Person.objects.get(id=found.id))


def sign_out(tx: Tx, person: str, *, session: str = "", now_us: int, actor: str) -> dict[str, Any]:
    """End all sessions of a person in both areas, or the one of this id; how many."""
    found = people.find(person)
    many = _end_sessions(tx, found.id, session=session, now_us=now_us)
    if session and not many:
        raise CommandError("session.ended")
    audit.record(tx, actor=actor, verb="session.end_by_operator", object=found.id, after={"sessions": many})
    return people.view(found) | {"ended": {"sessions": many}}


def sign_out_here(tx: Tx, member: str, *, now_us: int, actor: str) -> None:
    """End what the open sessions of a member's person may do in the member's account (docs/decisions/0030).

    None of them enters the account again without a fresh proof of who it is. Where the person has no other account,
    the sessions of the console end as a whole; the sessions' keys for the playground of this account end in any case.
    CommandError for oneself and for a member who was removed.
    """
    found = people.find_member(member)
    if found.state != "active":
        raise CommandError("member.removed", member=found.id)
    if actor == f"person:{found.person_id}":
        raise CommandError("session.own")
    places = Member.objects.filter(person=found.person, state="active").exclude(account__state="closed")
    places.filter(account=found.account).update(proved_from_us=now_us)
    if places.exclude(account=found.account).exists():
        rows = ApiKey.objects.filter(account=found.account, member__person=found.person, kind="playground")
        playground.end(tx, list(rows.values_list("session", flat=True)), account=found.account_id, now_us=now_us)
    else:
        _end_sessions(tx, found.person_id, now_us=now_us)
    audit.record(tx, actor=actor, verb="session.end_by_owner", object=found.id)


def about(tx: Tx, person: str, *, now_us: int) -> dict[str, Any] | None:
    """What people.view says of a person, and the living sessions by area; None if there is no such id."""
    del tx  # the ORM reads in the same transaction
    found = Person.objects.filter(id=person).first()
    if found is None:
        return None
    alive = [
        row | {"area": area}
        for area in sessions.AREAS
        for row in sessions.list_sessions(found.id, area=area, now_us=now_us)
    ]
    return people.view(found) | {"sessions": alive}


def _codes(person: Person) -> QuerySet[OfficeCode]:
    """Those of the person, and roles that were offered to the mailbox."""
    return OfficeCode.objects.filter(Q(person=person) | Q(email=person.email), used_us=None)


def _end_sessions(tx: Tx, person: str, *, session: str = "", now_us: int) -> int:
    rows = Session.objects.filter(person=person)
    if session:
        rows = rows.filter(id=session)
    playground.end(tx, list(rows.values_list("id", flat=True)), now_us=now_us)
    return int(rows.delete()[0])


def _revoke_keys(tx: Tx, person: str, *, now_us: int, actor: str) -> int:
    names = list(ApiKey.objects.filter(member__person=person, state="active").values_list("id", flat=True))
    ApiKey.objects.filter(id__in=names, state="active").update(state="revoked", revoked_us=now_us)
    for name in names:
        audit.record(tx, actor=actor, verb="key.revoke", object=name, after="its person was switched off")
    db.bump(tx, "keys")
    return len(names)
