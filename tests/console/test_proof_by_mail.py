"""Who has neither a password nor a second factor proves who he is by a code that goes to his proved mailbox."""

from __future__ import annotations

import time
import uuid

import pytest
from django.urls import reverse

from kit import people, post

pytestmark = pytest.mark.slow
HERE = "/account/again/code"


def aged(who, method="socialaccount"):
    """His session, whose proof is an hour old."""
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    proofs = [{"method": method, "at": time.time() - 3600}]
    who.cookies[COOKIES["console"]] = sessions.sign_in(
        Person.objects.get(id=who.person), area="console", methods=proofs
    )
    who.page("/console/keys")
    return who


def asks(who):
    """He wants a key: whether he is asked first, and the page that asks."""
    from farebox.accounts.models import Project

    name, project = uuid.uuid4().hex, Project.objects.get(account=who.customer.account).id
    answer = who.send(reverse("key.new"), {"name": name, "project": project})
    return name, answer.headers.get("location", "")


def made(name):
    from farebox.accounts.models import ApiKey

    return ApiKey.objects.filter(name=name).exists()


def sent(shop, who, **fields):
    """The code that he asks for."""
    before = len(post.mails(shop, who.email))
    assert who.fill(HERE, do="send", **fields).status == 302
    return post.code(shop, who.email, after=before)


@pytest.fixture
def who(shop):
    return aged(people.customer(shop))


def test_a_person_of_a_service_alone_is_asked_and_passes_with_the_mailed_code(shop, who):
    name, asked = asks(who)
    assert asked.startswith(f"{HERE}?next=")
    assert not made(name)
    before = len(post.mails(shop, who.email))
    assert "Send me a code" in who.page(asked).text
    assert len(post.mails(shop, who.email)) == before  # to look sends nothing
    code = sent(shop, who, next=reverse("key.new"))
    old = who.cookies.copy()
    wrong = who.fill(HERE, code="AAAA-AAAA", next=reverse("key.new"))
    assert "The code is wrong" in wrong.text
    assert not made(name)
    assert asks(who)[1].startswith(HERE)
    name, asked = asks(who)
    passed = who.fill(asked, code=code.lower(), next=reverse("key.new"))
    assert made(name), passed.text  # the form went on after the proof
    assert not asks(who)[1].startswith(HERE)
    assert who.cookies != old, "with the proof the session has another key"
    assert "has expired" in who.follow(who.fill(HERE, code=code)).text  # once


def test_a_code_is_of_one_mailbox_for_ten_minutes(shop, who, monkeypatch):
    from allauth.account.models import EmailAddress

    from farebox.accounts.models import Person
    from farebox.console.sign_in import again

    monkeypatch.setattr(again, "GOOD_S", -1)
    late = sent(shop, who)
    monkeypatch.undo()
    assert "has expired" in who.follow(who.fill(HERE, code=late)).text
    code, other = sent(shop, who), f"{uuid.uuid4().hex}@example.com"
    Person.objects.filter(id=who.person).update(email=other)
    EmailAddress.objects.filter(user_id=who.person).update(email=other)
    assert "has expired" in who.follow(who.fill(HERE, code=code)).text
    EmailAddress.objects.filter(user_id=who.person).update(verified=False)
    assert "not confirmed" in who.page(HERE).text
    assert who.send(HERE, {"do": "send"}).status == 403
    assert asks(who)[1].startswith(HERE)


def test_wrong_codes_wait_and_are_told_and_mails_are_counted(shop, who):
    code = sent(shop, who)
    before = len(post.mails(shop, who.email))
    for _ in range(5):
        assert "The code is wrong" in who.fill(HERE, code="AAAA-AAAA").text
    assert "Too many" in who.fill(HERE, code=code).text
    assert "wrong codes in one of your sessions" in post.newest(shop, who.email, after=before)["Subject"]
    assert asks(who)[1].startswith(HERE)
    for _ in range(4):
        sent(shop, who)
    before = len(post.mails(shop, who.email))
    assert "Too many attempts" in who.follow(who.fill(HERE, do="send")).text
    assert len(post.mails(shop, who.email)) == before


def test_who_has_more_to_show_is_asked_for_that(shop):
    who = aged(people.customer(shop, password=people.PASSWORD), "password")
    assert asks(who)[1].startswith("/account/again?")
    assert who.get(HERE).status == 403
    assert who.send(HERE, {"do": "send"}).status == 403
