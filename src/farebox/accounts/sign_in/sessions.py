"""Signed-in browsers: 256 random bits in the cookie, their SHA-256 in the store, limits of idleness and age.

What a session holds is sealed under the bits in the cookie (`sealed_sessions`): a reader of the store reads none.

Two areas that know nothing of each other: `console` for customers, `office` for operators (security 2). Django reads
and writes a session through `SessionStore`; what people may see of their own sessions, and end, is here too.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import connection

from farebox.accounts.keys import playground
from farebox.accounts.models import Person, Session
from farebox.kit import audit, clock, db
from farebox.kit.db import Tx

from . import sealed_sessions

KEY_BYTES = 32
TEXT_CHARS_MAX = 200
SEEN_EVERY_US = 60_000_000  # the time of the last page is written once a minute at most
_S_US = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds without a page, and from the sign-in, after which a session ends."""

    idle_s: int
    age_s: int


AREAS = {"console": SessionLimits(12 * 3600, 14 * 86_400), "office": SessionLimits(30 * 60, 12 * 3600)}


def digest(key: str) -> str:
    """What the store knows of a session's key."""
    return hashlib.sha256(key.encode()).hexdigest()


class SessionStore(SessionBase):
    """Django's session, kept in our table. `area` says whose rules hold; `where` is (address, agent) of the browser."""

    def __init__(
        self, session_key: str | None = None, *, area: str = "console", where: tuple[str, str] = ("", "")
    ) -> None:
        super().__init__(session_key)
        self.area = area
        self.where = where

    def _get_new_session_key(self) -> str:
        return secrets.token_urlsafe(KEY_BYTES)

    def exists(self, session_key: str) -> bool:
        """Whether there is such a session, alive or not."""
        return Session.objects.filter(id=digest(session_key)).exists()

    def load(self) -> dict[str, Any]:
        """What is in it; empty, and with no key, where it has ended."""
        row = _alive(self.session_key or "", self.area, clock.now_us())
        if row is None:
            self._session_key = None
            return {}
        if clock.now_us() - row.seen_us > SEEN_EVERY_US:
            Session.objects.filter(id=row.id, seen_us=row.seen_us).update(seen_us=clock.now_us())
        return self._opened(row)

    def create(self) -> None:
        """Another session under a new key."""
        self._session_key = self._get_new_session_key()
        self.save(must_create=True)
        self.modified = True

    def cycle_key(self) -> None:
        """Another key for the same session; its age counts from the sign-in all the same."""
        born_us: int | None = None
        old = self.session_key
        if old is not None and SESSION_KEY in self:
            born_us = Session.objects.filter(id=digest(old)).values_list("created_us", flat=True).first()
        data: dict[str, Any] = self._session  # type: ignore[attr-defined]  # the stubs leave it out
        self.create()
        self._session_cache = data
        if old is None:
            return
        if born_us is not None:
            Session.objects.filter(id=digest(self.session_key or "")).update(created_us=born_us)
            playground.move(digest(old), digest(self.session_key or ""))
        self.delete(old)

    def save(self, must_create: bool = False) -> None:
        """Write what is in it; UpdateError if it has ended meanwhile."""
        if self.session_key is None:
            self.create()
            return
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # the stubs leave it out
        now_us = clock.now_us()
        key = digest(self.session_key)
        kept = self._sealed(data, key)
        values: dict[str, Any] = {"data": kept, "person_id": data.get(SESSION_KEY), "seen_us": now_us}
        if must_create:
            _, made = Session.objects.get_or_create(
                id=key,
                defaults=values
                | {
                    "area": self.area,
                    "created_us": now_us,
                    "address": self.where[0][:64],
                    "agent": self.where[1][:TEXT_CHARS_MAX],
                },
            )
            if not made:
                raise CreateError
        elif not Session.objects.filter(id=key, area=self.area).update(**values):
            raise UpdateError

    def delete(self, session_key: str | None = None) -> None:
        """End it."""
        key = session_key or self.session_key
        if key is None:
            return
        if playground.has_keys([digest(key)]):
            if connection.in_atomic_block:
                playground.end(db.Tx(), [digest(key)], now_us=clock.now_us())
            else:
                db.write(playground.end, [digest(key)], now_us=clock.now_us())
        Session.objects.filter(id=digest(key)).delete()

    def _sealed(self, data: dict[str, Any], session: str) -> str:
        """The seal proves the text too: a signature under the master key beside it would end with that key."""
        text = self.serializer().dumps(data).decode("latin-1")
        return sealed_sessions.seal(text, key=self.session_key or "", session=session, area=self.area)

    def _opened(self, row: Session) -> dict[str, Any]:
        """What a row holds; nothing, as of one that has ended, where somebody has changed it."""
        if not sealed_sessions.is_sealed(row.data):  # from before sessions were sealed: it is from now on
            data: dict[str, Any] = self.decode(row.data)
            Session.objects.filter(id=row.id, data=row.data).update(data=self._sealed(data, row.id))
            return data
        text = sealed_sessions.unseal(row.data, key=self.session_key or "", session=row.id, area=row.area)
        if text is None:
            self._session_key = None
            return {}
        opened: dict[str, Any] = self.serializer().loads(text.encode("latin-1"))
        return opened

    def get_expiry_age(self, **_kwargs: Any) -> int:
        """Seconds that the cookie lives: as long as the session may."""
        return AREAS[self.area].age_s

    def get_expiry_date(self, **_kwargs: Any) -> datetime:
        """The same as a moment."""
        return datetime.fromtimestamp(clock.now_us() / _S_US + self.get_expiry_age(), UTC)

    @classmethod
    def clear_expired(cls) -> None:
        """Forget what has ended."""
        db.write(forget, now_us=clock.now_us())


def sign_in(person: Person, *, area: str, methods: list[dict[str, Any]], where: tuple[str, str] = ("", "")) -> str:
    """A new session of this person, for a one-time link and for tests; the value of its cookie.

    `methods` are what the person has proved, as allauth's `account_authentication_methods` lists them.
    """
    store = SessionStore(area=area, where=where)
    store[SESSION_KEY] = str(person.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store["account_authentication_methods"] = methods
    store.create()
    assert store.session_key is not None  # noqa: S101 - create gives it one
    return store.session_key


def has_person(tx: Tx, key: str, *, area: str) -> bool:
    """Whether somebody is signed in by the session with this key."""
    del tx  # the ORM reads in the same transaction
    row = _alive(key, area, clock.now_us())
    return row is not None and row.person_id is not None


def list_sessions(person: str, *, area: str, now_us: int) -> list[dict[str, Any]]:
    """The living sessions of a person, the one used last first: id, address, agent, created_us, seen_us."""
    limits = AREAS[area]
    rows = Session.objects.filter(
        person=person,
        area=area,
        seen_us__gt=now_us - limits.idle_s * _S_US,
        created_us__gt=now_us - limits.age_s * _S_US,
    ).order_by("-seen_us")
    return [dict(row) for row in rows.values("id", "address", "agent", "created_us", "seen_us")]


def end(tx: Tx, person: str, *, session: str, actor: str) -> bool:
    """End one session of a person by its id; whether there was one."""
    gone, _ = Session.objects.filter(person=person, id=session).delete()
    if gone:
        playground.end(tx, [session], now_us=clock.now_us())
        audit.record(tx, actor=actor, verb="session.end", object=person)
    return bool(gone)


def end_others(tx: Tx, person: str, *, keep: str, actor: str) -> int:
    """End all sessions of a person in both areas but the one whose key is `keep`; how many."""
    rows = Session.objects.filter(person=person).exclude(id=digest(keep))
    playground.end(tx, list(rows.values_list("id", flat=True)), now_us=clock.now_us())
    gone, _ = rows.delete()
    if gone:
        audit.record(tx, actor=actor, verb="session.end_others", object=person, after=gone)
    return gone


def forget(tx: Tx, *, now_us: int) -> int:
    """Delete the sessions that have ended by themselves; how many."""
    del tx  # the ORM writes in the same transaction
    gone = 0
    for area, limits in AREAS.items():
        rows = Session.objects.filter(area=area)
        gone += rows.filter(seen_us__lt=now_us - limits.idle_s * _S_US).delete()[0]
        gone += rows.filter(created_us__lt=now_us - limits.age_s * _S_US).delete()[0]
    return gone


def _alive(key: str, area: str, now_us: int) -> Session | None:
    row = Session.objects.filter(id=digest(key), area=area).first() if key else None
    if row is None:
        return None
    limits = AREAS[area]
    young = now_us - row.created_us < limits.age_s * _S_US and now_us - row.seen_us < limits.idle_s * _S_US
    return row if young else None
