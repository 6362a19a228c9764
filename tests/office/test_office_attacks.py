"""What somebody with bad intentions tries at the office: more rights by a token, a secret sent elsewhere, old sessions."""

from __future__ import annotations

import re
import uuid

import pytest

from kit import people
from kit.visitor import Visitor


def token(person, **fields):
    """The answer to making a token by the form, and the token itself if there is one."""
    page = person.through("/office/tokens/new", name="script", days="7", **fields)
    found = re.search(r"fbo-[0-9A-Za-z]{43}", page.html)
    return page, found[0] if found else ""


def asked(shop, text, path="me"):
    visitor = Visitor(shop, Accept="application/json", Authorization=f"Bearer {text}")
    return visitor.get(f"/office/api/{path}")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["support", "finance"])
def test_a_token_sees_no_more_than_its_person(shop, role):
    """An auditor reads what support and finance do not: the whole trail, costs, keys."""
    person = people.operator(shop, role)
    page, text = token(person, role="auditor")
    assert (page.status, text) == (400, "")
    assert "more rights than you have" in page.text
    page, text = token(person, role=role)
    assert asked(shop, text).json["role"] == role


def test_a_token_of_before_is_no_way_around_it(shop):
    from farebox.accounts.models import OfficeToken, Person

    admin = people.operator(shop, "admin")
    _page, text = token(admin, role="auditor")
    assert asked(shop, text).json["role"] == "auditor"
    Person.objects.filter(id=admin.person).update(operator_role="support")
    assert asked(shop, text).status == 401
    assert OfficeToken.objects.get(person=admin.person).revoked_us is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["role", "reset"])
def test_tokens_end_with_the_place_of_their_person(shop, kind):
    """Nor do they come to life when he gets the role back."""
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import operators
    from farebox.kit import clock
    from farebox.kit.models import AuditEvent

    people.operator(shop, "admin")
    admin = people.operator(shop, "admin")
    _page, text = token(admin, role="admin")
    assert asked(shop, text).status == 200

    def change(**facts):
        shop.write(
            operators.propose, email=admin.email, why="w", send=lambda *_: None, now_us=clock.now_us(), actor="test",
            alone=True, **facts,
        )  # fmt: skip

    change(kind=kind, role="support" if kind == "role" else "")
    assert asked(shop, text).status == 401
    if kind == "role":
        change(kind="role", role="admin")
    assert Person.objects.get(id=admin.person).operator_role == "admin"
    assert asked(shop, text).status == 401
    assert AuditEvent.objects.filter(verb="token.revoke", actor="test").exists()


def test_an_operator_without_an_address_is_not_proposed(shop):
    """Or the second administrator would be the one who hears of it."""
    from farebox.accounts.models import OperatorChange
    from farebox.accounts.sign_in import operators
    from farebox.kit import clock
    from farebox.kit.errors import CommandError

    facts = {"why": "w", "send": lambda *_: None, "now_us": clock.now_us(), "actor": "test", "alone": False}
    with pytest.raises(CommandError, match="person.email"):
        shop.write(operators.propose, kind="role", email="nobody at all", role="admin", **facts)
    assert not OperatorChange.objects.filter(email="nobody at all").exists()


@pytest.mark.slow
def test_a_key_of_an_upstream_goes_nowhere_else_than_it_was_given_for(shop):
    """Who may write a key but never read it can't have it sent to a server of his own."""
    from farebox.upstreams import channels
    from farebox.upstreams.models import Channel

    admin = people.operator(shop, "admin")
    name = f"ch-{uuid.uuid4().hex[:8]}"
    made = admin.fill(
        "/office/upstreams/new?vendor=other", upstream=name, name=name, base_url=shop.sandbox.base_url,
        secret="sk-kept-4711", local="on", models="", currency="usd", cancel_billing="stops", tier="3", weight="1",
    )  # fmt: skip
    assert made.status == 302, made.text
    here = f"{made.headers['location']}/edit"
    before = Channel.objects.get(name=name)
    given = {"local": "on", "secret": "", "tier": "3", "weight": "1", "concurrency_max": "0"}
    for elsewhere in ("http://127.0.0.1:1/v1", "https://thief.example/v1"):
        page = admin.fill(here, base_url=elsewhere, **given)
        assert page.status == 200
        assert "enter the upstream's key again" in page.text
        after = Channel.objects.get(name=name)
        assert (after.base_url, after.secret) == (before.base_url, before.secret)
    assert admin.fill(here, base_url=f"{shop.sandbox.base_url}/more", **given).status == 302
    assert admin.fill(here, **given | {"base_url": "http://127.0.0.1:1/v1", "secret": "sk-for-there"}).status == 302
    assert Channel.objects.get(name=name).secret != before.secret
    shop.write(channels.set_state, channel=name, state="disabled", actor="test")
    shop.refresh()


def test_a_session_grows_no_younger_by_a_proof(shop):
    """Twelve hours after the sign-in it ends, however often the password was typed in between."""
    from farebox.accounts.models import Session
    from farebox.accounts.sign_in.sessions import digest

    row = people.person(shop, operator_role="admin", password=people.PASSWORD)
    admin = people.signed_in(shop, row, "office", "password", "mfa")
    old = admin.cookies["__Host-o"]
    Session.objects.filter(id=digest(old)).update(created_us=Session.objects.get(id=digest(old)).created_us - 10**10)
    born_us = Session.objects.get(id=digest(old)).created_us
    assert admin.fill("/office/step-up", password=people.PASSWORD).status == 302
    new = admin.cookies["__Host-o"]
    assert new != old
    assert Session.objects.get(id=digest(new)).created_us == born_us
    assert not Session.objects.filter(id=digest(old)).exists()


def test_an_office_without_its_store_says_so(shop, monkeypatch):
    """A page with 503, for who is signed in as for a stranger; never a trace of where it broke."""
    from django.db import OperationalError

    from farebox.accounts.sign_in import sessions

    admin = people.operator(shop, "admin")

    def away(*_args):
        raise OperationalError("could not connect to server")

    monkeypatch.setattr(sessions, "_alive", away)
    for path in ("/office/", "/zh/office/operators", "/office/sign-in", "/office/step-up"):
        answer = admin.get(path)
        assert answer.status == 503, path
        assert answer.headers["content-type"].startswith("text/html")
        assert int(answer.headers["retry-after"]) >= 1
        for word in (b"Traceback", b"connect to server", b"OperationalError"):
            assert word not in answer.body
    monkeypatch.undo()
    assert admin.get("/office/").status == 200
