"""Signing in to the office: the first proof, the second, and again within the day (security 2 and 6)."""

from __future__ import annotations

from django.contrib.auth.hashers import check_password, make_password

from farebox.accounts.models import Person
from farebox.accounts.people import mailboxes
from farebox.kit import audit, clock, db
from farebox.kit.db import Tx

from . import attempts, browsers, refused


def by_password(email: str, password: str, *, address: str, known: str) -> Person | None:
    """The operator of this e-mail address and password, or None, in the same time for one who is none.

    `known` is what `browsers.mark` gave the browser when the person signed in there: who tries elsewhere can't keep it
    out. Who signed up at the counter and never proved the mailbox is none, whatever role the store has for them (such
    rows were made before a role took a code). Raises attempts.TooMany. The hash is computed outside of any transaction.
    """
    typed = email.strip().lower()
    person = Person.objects.filter(email=typed, is_active=True).exclude(operator_role="").first()
    name = f"office {browsers.counted(known, person=str(person.pk) if person else '', email=typed)}"
    facts = {"object": refused.mailbox(typed, person.pk if person else ""), "address": address}
    try:
        db.write(_take, name, address)
    except attempts.TooMany:
        refused.note("office.sign_in_failed", **facts)
        raise
    if person is None or not person.has_usable_password():
        make_password(password)
        refused.note("office.sign_in_failed", **facts)
        return None
    if not check_password(password, person.password) or mailboxes.is_claim(person):
        refused.note("office.sign_in_failed", **facts)
        return None
    db.write(attempts.forget, name)
    return person


def again(person: Person, password: str, *, address: str) -> bool:
    """Whether this is the password of the person who is signed in; raises attempts.TooMany."""
    name = f"again:{person.pk}"
    try:
        db.write(attempts.take, name, now_us=clock.now_us())
        right = check_password(password, person.password)
    except attempts.TooMany:
        refused.note("step_up.failed", object=str(person.pk), address=address)
        raise
    if not right:
        refused.note("step_up.failed", object=str(person.pk), address=address)
        return False
    db.write(attempts.forget, name)
    return True


def note_sign_in(tx: Tx, person: Person, *, how: str, address: str) -> None:
    """The trail says who came in, how and from where."""
    audit.record(
        tx, actor=f"operator:{person.pk}", verb="office.sign_in", object=str(person.pk), after=f"{how} {address}"
    )


def _take(tx: Tx, name: str, address: str) -> None:
    now_us = clock.now_us()
    attempts.take_address(tx, attempts.place(address), now_us=now_us)
    attempts.take(tx, name, now_us=now_us)
