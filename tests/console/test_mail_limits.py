"""How many mails strangers may cause: by address and mailbox together, by each of both, and never in a known browser."""

from __future__ import annotations

import secrets

import pytest

from kit.people import PASSWORD, customer
from kit.visitor import Visitor

pytestmark = pytest.mark.slow

KINDS = {
    "reset": ("/account/password/forgotten", "/account/password/code"),
    "sign-up": ("/account/sign-up", "/account/confirm"),
    "change": ("/account/email", "/account/confirm"),
}


@pytest.fixture(autouse=True)
def _behind_a_proxy(shop, option, monkeypatch):
    from django.core.cache import cache

    from farebox.gateway.http.head import Networks

    option(sign_ups_per_h=1000)
    monkeypatch.setattr(shop.server.reception, "trusted", Networks("127.0.0.1"))
    cache.clear()


@pytest.fixture
def asked(shop):
    """Ask for a mail of a kind from an address; the status of the answer. Changing an address takes who is signed in."""
    me = customer(shop, password=PASSWORD)

    def ask(kind, email, address="203.0.113.1", known=None):
        visitor = Visitor(shop) if kind != "change" else me
        visitor.headers["X-Forwarded-For"] = address
        if known:
            visitor.cookies["__Host-known"] = known
        path, leads = KINDS[kind]
        fields = {"email": email} | ({"password1": PASSWORD} if kind == "sign-up" else {})
        done = visitor.fill(path, **fields, **({"action_add": "1"} if kind == "change" else {}))
        if done.status == 302:
            assert done.headers["location"] == leads
        return done.status

    return ask


def mailbox():
    return f"{secrets.token_hex(5)}@example.com"


@pytest.mark.store
@pytest.mark.parametrize("kind", KINDS)
def test_one_stranger_keeps_nobody_from_his_mail(asked, kind):
    email = mailbox()
    assert [asked(kind, email) for _ in range(6)] == [302] * 5 + [429]
    assert asked(kind, email, "203.0.113.2") == 302
    assert asked(kind, email.replace("@", "+x@")) == 429  # the same mailbox
    assert asked(kind, mailbox()) == 302


@pytest.mark.parametrize("kind", ["reset", "sign-up"])
def test_a_mailbox_gets_so_many_an_hour_and_an_address_sends_so_many(asked, kind, monkeypatch):
    from farebox.accounts.sign_in import attempts
    from farebox.kit import clock

    monkeypatch.setattr(attempts, "PER_MAILBOX_H", 7)
    monkeypatch.setattr(attempts, "PER_ADDRESS_H", 6)
    email = mailbox()
    told = [asked(kind, email, f"198.51.100.{number}") for number in range(8)]
    assert told == [302] * 7 + [429]
    assert [asked(kind, mailbox(), "198.51.100.99") for _ in range(7)] == [302] * 6 + [429]
    assert [asked(kind, mailbox(), f"2001:db8:1:2::{number:x}") for number in range(7)] == [302] * 6 + [429]
    # An hour later all is forgotten, by the second.
    later_us = clock.now_us() + 3_601_000_000
    monkeypatch.setattr(clock, "now_us", lambda: later_us)
    assert asked(kind, email, "198.51.100.9") == 302


def test_the_numbers_are_those_that_were_decided():
    from farebox.accounts.sign_in import attempts

    assert (attempts.PER_PAIR_H, attempts.PER_ADDRESS_H, attempts.PER_MAILBOX_H) == (5, 30, 20)


def test_a_browser_known_to_the_mailbox_is_not_counted_and_strangers_learn_nothing(shop, asked):
    from farebox.accounts.sign_in import browsers

    me, other = customer(shop, password=PASSWORD), customer(shop, password=PASSWORD)
    told = {}
    for email in (me.email, mailbox()):
        told[email] = [asked("reset", email) for _ in range(6)]
    assert told[me.email] == [302] * 5 + [429]
    assert len({str(each) for each in told.values()}) == 1
    assert [asked("reset", me.email, known=browsers.mark(me.person)) for _ in range(7)] == [302] * 7
    assert asked("reset", me.email, known=browsers.mark(other.person)) == 429
    assert asked("reset", me.email, known="forged") == 429
    assert asked("reset", mailbox(), known=browsers.mark("")) == 302


def test_a_sign_up_that_is_refused_leaves_no_person(shop, asked):
    from farebox.accounts.models import Person

    email = mailbox()
    for _ in range(5):
        asked("sign-up", email)
    Person.objects.filter(email=email).delete()
    assert asked("sign-up", email) == 429
    assert not Person.objects.filter(email=email).exists()
