"""One-time links that sign in without a password: only for the demo, only from the same machine, for an hour.

A link counts as both factors (method `link`). It is 128 random bits, kept as their digest; using it removes it.
"""

from __future__ import annotations

import ipaddress
import secrets as random_

from farebox.accounts.models import Link, Person
from farebox.kit import audit, options, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError, NotFound
from farebox.kit.refusal import word

from . import people

DEMO = "demo"  # the shop setting that says: this store was filled by `farebox demo`
METHOD = "link"
LASTS_US = 3_600_000_000
AREAS = ("console", "office")


def mint(tx: Tx, person: str, area: str, now_us: int) -> str:
    """The code of a new link for this person; CommandError in a store that is not the demo's."""
    if not settings.get(tx, DEMO, default=False):
        raise CommandError("link.not_the_demo")
    found = people.find(person)
    if area not in AREAS or (area == "office") != bool(found.operator_role):
        raise CommandError("link.area", email=found.email, area=word("area", area[:16]))
    code = random_.token_urlsafe(16)
    Link.objects.create(id=_digest(code), person=found, area=area, expires_us=now_us + LASTS_US)
    audit.record(tx, actor="system", verb="link.mint", object=found.id, after=area)
    return code


def use(tx: Tx, code: str, area: str, *, address: str, now_us: int) -> Person:
    """The person whose link it is, once; NotFound for any other code, address or store: all look alike."""
    if not settings.get(tx, DEMO, default=False) or not _loopback(address):
        raise NotFound("There is no such page.")
    rows = Link.objects.filter(id__in=_digests(code), area=area, expires_us__gt=now_us)
    link = rows.select_related("person").first()
    if link is None or not link.person.is_active or Link.objects.filter(id=link.id).delete()[0] != 1:
        raise NotFound("There is no such page.")
    audit.record(tx, actor=f"person:{link.person_id}", verb="link.use", object=link.person_id, after=area)
    return link.person


def forget(tx: Tx, *, now_us: int) -> int:
    """Delete links that have expired; how many."""
    del tx  # the ORM writes in the same transaction
    gone, _ = Link.objects.filter(expires_us__lte=now_us).delete()
    return gone


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _digest(code: str) -> str:
    return secrets.digest_code(secrets.newest(secrets.peppers(options.current()))[1], code, label="sign-in")


def _digests(code: str) -> list[str]:
    return [
        secrets.digest_code(pepper, code, label="sign-in") for pepper in secrets.peppers(options.current()).values()
    ]
