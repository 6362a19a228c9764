"""Tokens of the management API: a script's secret with a role, an end and addresses; shown once, kept as digest.

A token acts for the person who made it, so that nobody approves by script what they have proposed by hand.
"""

from __future__ import annotations

import ipaddress
import secrets as random_
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from farebox.accounts import accounts
from farebox.accounts.keys.caller import check_networks, networks
from farebox.accounts.models import OfficeToken, Person
from farebox.accounts.people import people
from farebox.kit import audit, ids, options, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

PREFIX = "fbo-"
LABEL = "office token"
DIGITS = 43  # 256 bits in base 62
DAYS_MAX = 366
MANY_MAX = 50
ADDRESSES_MAX = 20
_DAY_US = 86_400_000_000
_USED_EVERY_US = 60_000_000
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who calls the management API: the token, its role, and the person for whom it acts."""

    token: str
    name: str
    role: str
    person: str
    email: str
    used_us: int | None
    fresh_digest: str = ""  # under the pepper of now, where the store has it under another

    @property
    def actor(self) -> str:
        """How the audit trail names this: the person first, then the token."""
        return f"operator:{self.person} token:{self.token}"


def make(
    tx: Tx, *, person: str, name: str, role: str, addresses: Sequence[str] = (), days: int, now_us: int, actor: str
) -> tuple[OfficeToken, str]:
    """A new token for the scripts of an operator, and its text, which is nowhere kept. CommandError.

    Its role is the operator's own; an administrator's may be `auditor`, which reads only.
    """
    accounts.checked_name(name)
    owner = people.find(person)
    if role not in roles(owner.operator_role):
        raise CommandError("token.rights")
    if not 1 <= days <= DAYS_MAX:
        raise CommandError("token.days", most=DAYS_MAX)
    if len(addresses) > ADDRESSES_MAX:
        raise CommandError("token.too_many_addresses", most=ADDRESSES_MAX)
    check_networks(addresses)
    if OfficeToken.objects.filter(person=owner, revoked_us=None, expires_us__gt=now_us).count() >= MANY_MAX:
        raise CommandError("token.too_many", most=MANY_MAX)
    plaintext = PREFIX + "".join(random_.choice(ids.ALPHABET) for _ in range(DIGITS))
    row = OfficeToken.objects.create(
        id=ids.new("tok", now_us),
        person=owner,
        name=name,
        role=role,
        digest=_digests(plaintext)[0],
        pepper_n=secrets.newest(secrets.peppers(options.current()))[0],
        hint=f"{PREFIX}…{plaintext[-4:]}",
        addresses=_encode(list(addresses)).decode(),
        made_us=now_us,
        expires_us=now_us + days * _DAY_US,
    )
    audit.record(tx, actor=actor, verb="token.make", object=row.id, after=view(row, now_us=now_us))
    return row, plaintext


def roles(own: str) -> tuple[str, ...]:
    """Which roles the tokens of an operator of this role may have: an auditor sees what support and finance do not."""
    return {"": (), "admin": ("admin", "auditor")}.get(own, (own,))


def revoke_all(tx: Tx, person: str, *, now_us: int, actor: str) -> int:
    """Switch off every token of a person whose place in the office has changed; how many."""
    rows = OfficeToken.objects.filter(person=person, revoked_us=None)
    names = list(rows.values_list("id", flat=True))
    rows.update(revoked_us=now_us)
    for name in names:
        audit.record(tx, actor=actor, verb="token.revoke", object=name, after="the operator's place has changed")
    return len(names)


def revoke(tx: Tx, token: str, *, person: str | None, now_us: int, actor: str) -> OfficeToken:
    """Switch a token off permanently; with `person`, only one of his. CommandError if there is none or it is off."""
    rows = OfficeToken.objects.filter(id=token, revoked_us=None)
    if person is not None:
        rows = rows.filter(person=person)
    if rows.update(revoked_us=now_us) != 1:
        raise CommandError("token.unknown")
    row = OfficeToken.objects.get(id=token)
    audit.record(tx, actor=actor, verb="token.revoke", object=row.id, after=view(row, now_us=now_us))
    return row


def authenticate(tx: Tx, plaintext: str, *, address: str, now_us: int) -> Bearer | None:
    """Whose token this is; None for one that is unknown, off, expired, out of role, or from another address."""
    del tx  # the ORM reads in the same transaction
    if not plaintext.startswith(PREFIX) or not plaintext.isascii() or len(plaintext) != len(PREFIX) + DIGITS:
        return None
    digests = _digests(plaintext)
    row = OfficeToken.objects.select_related("person").filter(digest__in=digests).first()
    if row is None or row.revoked_us is not None or row.expires_us <= now_us:
        return None
    owner: Person = row.person
    if not owner.is_active or row.role not in roles(owner.operator_role):
        return None
    if not _may_come_from(msgspec.json.decode(row.addresses, type=list[str]), address):
        return None
    fresh = digests[0] if row.digest != digests[0] else ""
    return Bearer(row.id, row.name, row.role, owner.id, owner.email, row.used_us, fresh)


def is_due(bearer: Bearer, *, now_us: int) -> bool:
    """Whether its last use is to be written down, once a minute, or its digest under another pepper."""
    return bool(bearer.fresh_digest) or bearer.used_us is None or now_us - bearer.used_us > _USED_EVERY_US


def note_use(tx: Tx, bearer: Bearer, *, now_us: int) -> None:
    """Write down that a token was used; its digest moves to the pepper of now."""
    del tx
    changes: dict[str, Any] = {"used_us": now_us}
    if bearer.fresh_digest:
        changes["digest"] = bearer.fresh_digest
        changes["pepper_n"] = secrets.newest(secrets.peppers(options.current()))[0]
    OfficeToken.objects.filter(id=bearer.token).update(**changes)


def listed(tx: Tx, *, person: str | None, now_us: int) -> list[dict[str, Any]]:
    """Tokens of a person, or of all, the newest first; those that ended a month ago are left out."""
    del tx
    rows = OfficeToken.objects.select_related("person").filter(expires_us__gt=now_us - 30 * _DAY_US).order_by("-id")
    if person is not None:
        rows = rows.filter(person=person)
    return [view(row, now_us=now_us) | {"email": row.person.email} for row in rows[:500]]


def view(row: OfficeToken, *, now_us: int) -> dict[str, Any]:
    """What may be shown of a token, JSON-able: never its text or digest."""
    if row.revoked_us is not None:
        state = "revoked"
    else:
        state = "active" if row.expires_us > now_us else "expired"
    return {
        "id": row.id,
        "person": row.person_id,
        "name": row.name,
        "role": row.role,
        "hint": row.hint,
        "addresses": msgspec.json.decode(row.addresses),
        "made_us": row.made_us,
        "expires_us": row.expires_us,
        "used_us": row.used_us,
        "state": state,
    }


def _digests(plaintext: str) -> list[str]:
    """Its digest under every pepper, that of now first."""
    peppers = secrets.in_order(secrets.peppers(options.current()))
    return [secrets.digest_code(pepper, plaintext, label=LABEL) for pepper in peppers]


def _may_come_from(addresses: Sequence[str], address: str) -> bool:
    if not addresses:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks(tuple(addresses)))
