"""Persons and their places: operators, and members of accounts.

One person model: an operator is a person with an operator role and no membership (security 2), so nobody
has both. Whatever names a person takes the id or the e-mail address.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from farebox.accounts import accounts, projects
from farebox.accounts.caps import NO_CAPS, Caps, move_floors
from farebox.accounts.caps import change as change_caps
from farebox.accounts.caps import check as check_caps
from farebox.accounts.models import Account, ApiKey, Invitation, Member, Person
from farebox.kit import audit, db, ids
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import mailboxes, notices
from . import own_words as own

OPERATOR_ROLES = ("", "support", "finance", "admin", "auditor")
MEMBER_ROLES = ("owner", "admin", "member")
LANGUAGES = ("", "en", "zh-hans")
PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256
EMAIL_CHARS_MAX = 254
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")


@functools.cache
def _commonest() -> CommonPasswordValidator:
    """Django's 20,000; its file is read once."""
    return CommonPasswordValidator()


def is_email(text: str) -> bool:
    """Whether this looks like an e-mail address, without spaces around it."""
    return len(text) <= EMAIL_CHARS_MAX and _EMAIL.fullmatch(text) is not None


def hashed(password: str, *, own_words: tuple[str, ...] = ()) -> str:
    """The Argon2id hash of a password that will do; CommandError for one that will not.

    Takes tens of milliseconds on purpose: hash before the transaction, or every other write waits.
    `own_words` are the person's and the shop's names and the e-mail address: what is made of them alone is refused.
    """
    check_password(password, own_words=own_words)
    return make_password(password)


def check_password(password: str, *, own_words: tuple[str, ...] = ()) -> None:
    """CommandError for a password that will not do."""
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise CommandError("password.length", least=PASSWORD_CHARS_MIN, most=PASSWORD_CHARS_MAX)
    try:
        _commonest().validate(password)
    except ValidationError:
        raise CommandError("password.common") from None
    if own.is_own(password, own_words):
        raise CommandError("password.name")


def create(
    tx: Tx,
    *,
    email: str,
    name: str = "",
    password_hash: str | None = None,
    operator_role: str = "",
    now_us: int,
    actor: str,
) -> Person:
    """A new person; the e-mail address is kept in lower case and is unique.

    `password_hash` comes from `hashed`; without it the person can't sign in by password. Raises CommandError.
    """
    address = email.strip().lower()
    if not is_email(address):
        raise CommandError("person.email", email=email[:254])
    _checked_role(operator_role)
    if name:
        accounts.checked_name(name)
    if Person.objects.filter(email=address).exists():
        raise CommandError("person.exists", email=address)
    person = Person(id=ids.new("per", now_us), email=address, name=name, operator_role=operator_role, created_us=now_us)
    person.password = password_hash if password_hash is not None else make_password(None)
    person.save(force_insert=True)
    audit.record(tx, actor=actor, verb="person.create", object=person.id, after=view(person))
    return person


def set_operator_role(tx: Tx, person: str, *, operator_role: str, actor: str) -> Person:
    """Make a person an operator of this shop, or none of them (``); CommandError for an account's member."""
    _checked_role(operator_role)
    found = find(person)
    if operator_role and Member.objects.filter(person=found, state="active").exists():
        raise CommandError("operator.is_member", email=found.email)
    before, found.operator_role = found.operator_role, operator_role
    found.save(update_fields=["operator_role"])
    audit.record(tx, actor=actor, verb="person.set_role", object=found.id, before=before, after=operator_role)
    return found


def set_password(tx: Tx, person: str, *, password_hash: str, actor: str) -> Person:
    """Another password, hashed before by `hashed`."""
    found = find(person)
    found.password = password_hash
    found.save(update_fields=["password"])
    audit.record(tx, actor=actor, verb="person.set_password", object=found.id)
    return found


def set_profile(tx: Tx, person: str, *, name: str, language: str, time_zone: str, actor: str) -> Person:
    """What a person is called, and in which language and time zone he reads; CommandError for what can't be."""
    found = find(person)
    if name:
        accounts.checked_name(name)
    if language not in LANGUAGES:
        raise CommandError("person.language", languages=tuple(each for each in LANGUAGES if each))
    accounts.checked_zone(time_zone)
    before = (found.name, found.language, found.time_zone)
    found.name, found.language, found.time_zone = name, language, time_zone
    found.save(update_fields=["name", "language", "time_zone"])
    audit.record(
        tx,
        actor=actor,
        verb="person.set_profile",
        object=found.id,
        before=list(before),
        after=[name, language, time_zone],
    )
    return found


def add_member(
    tx: Tx,
    *,
    account: str,
    person: str,
    role: str,
    project: str | None = None,
    caps: Caps = NO_CAPS,
    now_us: int,
    actor: str,
) -> Member:
    """Give a person a place in an account, or in one project of it, which `admin` needs; CommandError."""
    if role not in MEMBER_ROLES:
        raise CommandError("member.role", roles=MEMBER_ROLES)
    check_caps(caps.view())
    owner = accounts.find(account)
    lock_places(owner.id)  # who approves money on it must not miss that he gets a place
    who = find(person)
    where = None if project is None else projects.find(project)
    if where is not None and where.account_id != owner.id:
        raise CommandError("project.other_account", project=where.id, account=owner.id)
    if owner.state == "closed":
        raise CommandError("account.closed", account=owner.id)
    if role == "admin" and where is None:
        raise CommandError("member.admin_of")
    if who.operator_role:
        raise CommandError("member.is_operator", email=who.email)
    if mailboxes.is_claim(who):
        raise CommandError("member.unconfirmed", email=who.email)
    member = Member.objects.filter(account=owner, person=who, project=where).first()
    if member is not None and member.state == "active":
        raise CommandError("member.exists", email=who.email, member=member.id)
    if member is None:
        member = Member(id=ids.new("mem", now_us), account=owner, person=who, project=where, created_us=now_us)
    member.role, member.state = role, "active"
    for name, cap_micro in caps.columns().items():
        setattr(member, name, cap_micro)
    member.save()
    move_floors(tx, member, caps.view(), now_us=now_us)  # he may have been here before
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb="member.add", object=member.id, after=view_member(member))
    if role == "owner":
        notices.begin(tx, person=who.id, account=owner.id, now_us=now_us)
    return member


def set_caps(tx: Tx, member: str, caps_micro: Mapping[str, int | None], *, now_us: int, actor: str) -> Member:
    """Limit what calls of this member's keys may cost per `day`, `month` or `ever`; None lifts that limit.

    Amounts in micro-units; periods left out stay as they are.
    """
    found = find_member(member)
    change_caps(tx, [found], caps_micro, now_us=now_us, verb="member.cap", actor=actor)
    return found


def remove_member(tx: Tx, member: str, *, now_us: int, actor: str) -> Member:
    """Take a member out; their keys are revoked. CommandError for the last owner while others are left."""
    lock_places(find_member(member).account_id)
    found = find_member(member)
    others = Member.objects.filter(account=found.account, state="active").exclude(id=found.id)
    if found.state != "active":
        raise CommandError("member.removed", member=found.id)
    if found.role == "owner" and others.exists() and not others.filter(role="owner").exists():
        raise CommandError("member.last_owner", email=found.person.email)
    found.state = "removed"
    found.save(update_fields=["state"])
    withdraw_invitations(found)
    dead = ApiKey.objects.filter(member=found, state="active").update(state="revoked", revoked_us=now_us)
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb="member.remove", object=found.id, after={"keys_revoked": dead})
    return found


def withdraw_invitations(found: Member) -> None:
    """End what was offered to this member, and what he as an owner has offered to others who would manage here."""
    open_ones = Invitation.objects.filter(account=found.account, state="open")
    open_ones.filter(member=found).update(state="revoked")
    by_him = open_ones.filter(invited_by=f"person:{found.person_id}", role__in=("owner", "admin"))
    if found.role == "owner":
        by_him.update(state="revoked")


def lock_places(account: str) -> None:
    """Let places in this account change one after the other: of two owners who leave at one time one is the last."""
    list(Account.objects.select_for_update(no_key=True).filter(id=account))


def find(person: str) -> Person:
    """The person of this id or e-mail address; CommandError otherwise."""
    found = Person.objects.filter(id=person).first() or Person.objects.filter(email=person.strip().lower()).first()
    if found is None:
        raise CommandError("person.unknown", person=person[:254])
    return found


def find_member(member: str) -> Member:
    """The member of this id; CommandError otherwise."""
    found = Member.objects.select_related("account", "person").filter(id=member).first()
    if found is None:
        raise CommandError("member.unknown", member=member[:40])
    return found


def list_members(tx: Tx, *, account: str) -> list[dict[str, Any]]:
    """The members of an account, oldest first, removed ones included."""
    del tx  # the ORM reads in the same transaction
    rows = Member.objects.filter(account=accounts.find(account)).order_by("created_us", "id")
    return [view_member(member) for member in rows]


def view(person: Person) -> dict[str, Any]:
    """What may be shown of a person, JSON-able."""
    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "operator_role": person.operator_role,
        "is_active": person.is_active,
        "created_us": person.created_us,
    }


def view_member(member: Member) -> dict[str, Any]:
    """What may be shown of a member, JSON-able."""
    return {
        "id": member.id,
        "account": member.account_id,
        "person": member.person_id,
        "project": member.project_id,
        "role": member.role,
        "state": member.state,
        "caps_micro": member.caps.view(),
        "created_us": member.created_us,
    }


def _checked_role(operator_role: str) -> None:
    if operator_role not in OPERATOR_ROLES:
        roles = tuple(role for role in OPERATOR_ROLES if role)
        raise CommandError("operator.role", roles=roles)
