"""Tries at a second factor: slowed down as those at a password are, and told to the person whose password is known."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

from farebox.accounts.models import Person
from farebox.kit import clock, db
from farebox.kit.db import Tx

from . import attempts, browsers, refused

TOLD_EVERY_S = 86_400


@dataclass(frozen=True, slots=True)
class Try:
    """A try that is counted and not yet judged: under which name, and how many it makes in a row."""

    name: str
    tries: int


def begin(person: Person, *, known: str, address: str) -> Try:
    """Count a try before it is looked at; attempts.TooMany after five, for a minute, doubled up to 15 minutes.

    `known` is the cookie of a browser in which somebody has signed in before: the person's own is counted by itself, so
    that who knows the password can't keep its owner out.
    """
    name = f"second {browsers.counted(known, person=str(person.pk), email=person.email)}"
    try:
        return Try(name, db.write(attempts.take, name, now_us=clock.now_us()))
    except attempts.TooMany:
        _note(person, address)
        raise


def right(found: Try) -> None:
    """It was one: the count begins again."""
    db.write(attempts.forget, found.name)


def wrong(person: Person, found: Try, *, address: str) -> bool:
    """It was none; whether its person is to be told now: after five in a row, once a day."""
    _note(person, address)
    return found.tries >= attempts.FREE and db.write(_untold, person)


def _untold(tx: Tx, person: Person) -> bool:
    del tx  # the cache writes in the same transaction
    return bool(cache.add(f"second.told:{person.pk}", 1, TOLD_EVERY_S))


def _note(person: Person, address: str) -> None:
    refused.note("second.failed", object=str(person.pk), address=address)
