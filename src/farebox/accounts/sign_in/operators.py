"""Who works in the office, and the changes of that: each needs a second administrator (security 1 and 7).

In an installation of one person (the option `single_person`) no second one is needed; each change says so. An
approved role is an invitation of a mailbox: it binds when its one-time code is entered (`setup`), and nobody earlier.
The code goes there by `send`, in the same transaction: the administrator who approves never sees it, and so can't
take the place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from allauth.mfa.models import Authenticator
from django.db.models import Max

from farebox.accounts import accounts
from farebox.accounts.models import Member, OfficeCode, OperatorChange, Person, Session
from farebox.accounts.people import people
from farebox.kit import audit, ids, options
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import sessions, setup, tokens

VALID_US = 72 * 3_600_000_000
LANGUAGES = ("", "en", "zh-hans")
Send = Callable[[Tx, str, str, str], None]  # takes to an address, in a language, a code; in the same transaction
_KINDS = {"totp": "totp", "webauthn": "passkey"}


def listed(tx: Tx) -> list[dict[str, Any]]:
    """The operators by e-mail: what people.view says, second factors, whether there is a password, when last seen."""
    del tx  # the ORM reads in the same transaction
    seen = dict(
        Session.objects.filter(area="office", person__isnull=False)
        .values_list("person")
        .annotate(Max("seen_us"))
        .order_by()
    )
    factors: dict[str, set[str]] = {}
    for person, kind in Authenticator.objects.exclude(user__operator_role="").values_list("user_id", "type"):
        if kind in _KINDS:
            factors.setdefault(person, set()).add(_KINDS[kind])
    return [
        people.view(row)
        | {
            "factors": sorted(factors.get(row.id, ())),
            "has_password": row.has_usable_password(),
            "seen_us": seen.get(row.id),
        }
        for row in Person.objects.exclude(operator_role="").order_by("email")
    ]


def find(tx: Tx, person: str) -> Person | None:
    """The operator of this id, or None."""
    del tx
    return Person.objects.exclude(operator_role="").filter(id=person).first()


def propose(
    tx: Tx,
    *,
    kind: str,
    email: str,
    name: str = "",
    role: str = "",
    why: str = "",
    send: Send,
    now_us: int,
    actor: str,
    alone: bool | None = None,
    mailed: bool = True,
) -> tuple[OperatorChange, bool]:
    """A change of an operator, in force at once where one person may act `alone` (the option, unless said).

    The change, and whether it made a one-time code, which `send` got; `mailed` says that `send` mails it to the
    address, so that who enters it reads that mailbox. CommandError where it can't be.
    """
    address = email.strip().lower()
    person = Person.objects.filter(email=address).first()
    _check(kind, address, name, role, person)
    _forget_old(now_us)
    if OperatorChange.objects.filter(email=address, state="proposed").exists():
        raise CommandError("operator.change_waits", email=address)
    row = OperatorChange(
        id=ids.new("opc", now_us),
        kind=kind,
        email=address,
        name=name,
        role_before=person.operator_role if person else "",
        role_after=role if kind == "role" else "",
        why=why[:200],
        requester=actor,
        single_person=options.current().single_person if alone is None else alone,
        made_us=now_us,
    )
    row.save(force_insert=True)
    audit.record(tx, actor=actor, verb="operator.propose", object=address, after=view(row))
    return row, row.single_person and _approved(tx, row, send=send, mailed=mailed, now_us=now_us, actor=actor)


def approve(tx: Tx, change: str, *, send: Send, now_us: int, actor: str) -> tuple[OperatorChange, bool]:
    """Carry out what another administrator proposed, once; the change, and whether `send` got a one-time code."""
    row = _open(change, now_us)
    if actor in {row.requester, f"operator:{_id_of(row.email)}"}:
        raise CommandError("operator.second_person")
    return row, _approved(tx, row, send=send, mailed=True, now_us=now_us, actor=actor)


def refuse(tx: Tx, change: str, *, now_us: int, actor: str) -> OperatorChange:
    """Say no to a change, also to one's own."""
    row = _open(change, now_us)
    _decide(row, "refused", now_us=now_us, actor=actor)
    audit.record(tx, actor=actor, verb="operator.refuse", object=row.email, after=view(row))
    return row


def waiting(tx: Tx, *, now_us: int) -> list[dict[str, Any]]:
    """Changes that wait for their second person, oldest first."""
    del tx
    rows = OperatorChange.objects.filter(state="proposed", made_us__gt=now_us - VALID_US).order_by("made_us")
    return [view(row) for row in rows]


def waiting_one(tx: Tx, change: str, *, now_us: int) -> dict[str, Any] | None:
    """The waiting change of this id, or None."""
    return next((row for row in waiting(tx, now_us=now_us) if row["id"] == change), None)


def invited(tx: Tx, *, now_us: int) -> list[dict[str, Any]]:
    """Roles that wait for the code of their mailbox, oldest first: id of the change, email, name, role, times."""
    del tx
    rows = OfficeCode.objects.exclude(role="").filter(used_us=None, expires_us__gt=now_us).order_by("made_us")
    names = ("email", "name", "role", "made_us", "expires_us")
    return [{"id": row.change} | {name: getattr(row, name) for name in names} for row in rows]


def invited_one(tx: Tx, change: str, *, now_us: int) -> dict[str, Any] | None:
    """The invitation that this change made, or None."""
    return next((row for row in invited(tx, now_us=now_us) if row["id"] == change), None)


def withdraw(tx: Tx, change: str, *, now_us: int, actor: str) -> dict[str, Any]:
    """Take back a role that nobody has taken yet; its link leads nowhere. CommandError if it was taken or has ended."""
    found = invited_one(tx, change, now_us=now_us)
    if found is None or not OfficeCode.objects.filter(change=change, used_us=None).exclude(role="").delete()[0]:
        raise CommandError("operator.link")
    audit.record(tx, actor=actor, verb="operator.withdraw", object=found["email"], before=found["role"])
    return found


def change_profile(tx: Tx, person: str, *, name: str, language: str, time_zone: str, actor: str) -> Person:
    """How a person is called, in which language and by which clock he reads."""
    found = people.find(person)
    if name:
        accounts.checked_name(name)
    if language not in LANGUAGES or time_zone not in available_timezones():
        raise CommandError("operator.language")
    ZoneInfo(time_zone)
    before = {"name": found.name, "language": found.language, "time_zone": found.time_zone}
    found.name, found.language, found.time_zone = name, language, time_zone
    found.save(update_fields=list(before))
    after = {"name": name, "language": language, "time_zone": time_zone}
    audit.record(tx, actor=actor, verb="person.profile", object=found.id, before=before, after=after)
    return found


def view(row: OperatorChange) -> dict[str, Any]:
    """What may be shown of a change, JSON-able."""
    names = "id kind email name role_before role_after why state requester approver single_person made_us".split()
    return {name: getattr(row, name) for name in names}


def _check(kind: str, address: str, name: str, role: str, person: Person | None) -> None:
    now = person.operator_role if person else ""
    if kind not in {"role", "reset"}:
        raise CommandError("operator.change_kind")
    if kind == "reset":
        if not now:
            raise CommandError("operator.unknown", email=address[:254])
        return
    if person is None and not people.is_email(address):
        raise CommandError("person.email", email=address[:254])
    people._checked_role(role)
    if name:
        accounts.checked_name(name)
    if role == now:
        raise CommandError("operator.has_role", email=address[:254])
    if person is not None and Member.objects.filter(person=person, state="active").exists():
        raise CommandError("operator.is_member", email=address)
    others = Person.objects.filter(operator_role="admin", is_active=True).exclude(email=address)
    if now == "admin" and role != "admin" and not others.exists():
        raise CommandError("operator.last_administrator", email=address)


def _approved(tx: Tx, row: OperatorChange, *, send: Send, mailed: bool, now_us: int, actor: str) -> bool:
    person = Person.objects.filter(email=row.email).first()
    _check(row.kind, row.email, row.name, row.role_after, person)  # the world may have changed while it waited
    _decide(row, "approved", now_us=now_us, actor=actor)
    audit.record(tx, actor=actor, verb="operator.approve", object=row.email, after=view(row))
    before = person.operator_role if person else ""
    if before:
        assert person is not None  # noqa: S101 - for the type
        _changed(tx, row, person, now_us=now_us, actor=actor)
    # Who works here and has a password keeps it: he signs in anew, and that proves him for the new role.
    if before and row.kind == "role" and (not row.role_after or (person and person.has_usable_password())):
        return False
    what = setup.CodePurpose("", person, row.email, row.name, "" if before else row.role_after, mailed)
    code = setup.invite(tx, what, change=row.id, now_us=now_us, actor=actor)
    send(tx, row.email, person.language if person else "", code)
    return True


def _changed(tx: Tx, row: OperatorChange, person: Person, *, now_us: int, actor: str) -> None:
    """Another role, none, or a fresh start for an operator: their sessions and tokens end with each."""
    if row.kind == "role":
        people.set_operator_role(tx, person.id, operator_role=row.role_after, actor=actor)
    else:
        setup.shut(tx, person)
        Authenticator.objects.filter(user=person).delete()
    if not row.role_after:
        setup.withdraw(tx, person.email)
    sessions.end_others(tx, person.id, keep="", actor=actor)
    tokens.revoke_all(tx, person.id, now_us=now_us, actor=actor)


def _decide(row: OperatorChange, state: str, *, now_us: int, actor: str) -> None:
    decided = {"state": state, "approver": actor, "decided_us": now_us}
    if OperatorChange.objects.filter(id=row.id, state="proposed").update(**decided) != 1:
        raise CommandError("operator.decided")
    row.state, row.approver, row.decided_us = state, actor, now_us


def _open(change: str, now_us: int) -> OperatorChange:
    row = OperatorChange.objects.filter(id=change, state="proposed", made_us__gt=now_us - VALID_US).first()
    if row is None:
        raise CommandError("operator.lapsed")
    return row


def _forget_old(now_us: int) -> None:
    old = OperatorChange.objects.filter(state="proposed", made_us__lte=now_us - VALID_US)
    old.update(state="refused", approver="system", decided_us=now_us)


def _id_of(email: str) -> str:
    return str(Person.objects.filter(email=email).values_list("id", flat=True).first() or "")
