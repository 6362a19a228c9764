"""Who is refused leaves a trace: second factors slow down and their owner is told, log and trail know, no flood fills them."""

from __future__ import annotations

import json
import secrets

import pytest

from kit import post
from kit.people import PASSWORD, customer, operator, person
from kit.visitor import Visitor
from office import totp
from office.script import Script

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fresh(option, shop):
    from django.core.cache import cache

    from farebox.accounts.sign_in import refused

    del shop
    option(sign_ups_per_h=1000)
    cache.clear()
    refused.forget()


def trail(verb, about=""):
    """Events of a verb, oldest first: actor, object, and what is told beside."""
    from farebox.kit.models import AuditEvent

    rows = AuditEvent.objects.filter(verb=verb, object__startswith=about).order_by("id")
    return [(row.actor, row.object, json.loads(row.after)) for row in rows]


@pytest.fixture
def me(shop):
    """A customer with an authenticator, and its seed."""
    from allauth.mfa.totp.internal import auth

    from farebox.accounts.models import Person

    made = customer(shop, password=PASSWORD)
    made.seed = auth.generate_totp_secret()
    auth.TOTP.activate(Person.objects.get(pk=made.person), made.seed)
    return made


def begun(shop, email):
    """A visitor who has given the right password."""
    visitor = Visitor(shop, "en")
    assert visitor.fill("/account/sign-in", login=email, password=PASSWORD).status == 302
    return visitor


@pytest.mark.store
def test_wrong_second_factors_wait_ever_longer_and_their_person_is_told(shop, me, monkeypatch):
    from farebox.kit import clock

    thief = begun(shop, me.email)
    for _ in range(5):
        assert "wrong or was already used" in thief.fill("/account/factors/sign-in", code="000000").text
    waits = []
    start_us = clock.now_us()
    for _ in range(3):
        wait_s = 0
        while True:
            monkeypatch.setattr(clock, "now_us", lambda at_us=start_us + wait_s * 1_000_000: at_us)
            if "Too many failed attempts" not in thief.fill("/account/factors/sign-in", code="000000").text:
                break
            wait_s += 61
        waits.append(wait_s // 61)
        start_us += wait_s * 1_000_000
    monkeypatch.undo()
    assert waits == [1, 2, 4]  # minutes: twice as long each time
    told = post.newest(shop, me.email)
    text = " ".join(told.get_content().split())
    assert "failed second factors" in told["Subject"]
    assert "entered a wrong second factor five times" in text
    assert "127.0.0.1" in text
    assert "/account/password" in text
    assert len(post.mails(shop, me.email)) == 1  # once a day, however many
    actor, about, facts = trail("second.failed", me.person)[0]
    assert (actor, about, facts) == ("visitor", me.person, {"address": "127.0.0.1", "tries": 1})
    assert [facts["tries"] for *_, facts in trail("second.failed", me.person)] == [1, 5]


def test_who_knows_the_password_keeps_nobody_out_of_his_own_browser(shop, me):
    home = begun(shop, me.email)
    assert home.fill("/account/factors/sign-in", code=totp.code(me.seed)).status == 302
    home.send("/account/sign-out", {})
    thief = begun(shop, me.email)
    for _ in range(5):
        thief.fill("/account/factors/sign-in", code="000000")
    assert "Too many failed attempts" in thief.fill("/account/factors/sign-in", code=totp.code(me.seed, 1)).text
    other = begun(shop, me.email)
    assert "Too many failed attempts" in other.fill("/account/factors/sign-in", code=totp.code(me.seed, 1)).text
    assert home.fill("/account/sign-in", login=me.email, password=PASSWORD).status == 302
    assert home.fill("/account/factors/sign-in", code=totp.code(me.seed, 1)).status == 302
    assert home.get("/console/").status == 200


def test_an_operators_second_factor_is_counted_whichever_it_is_and_he_is_told(shop):
    from allauth.mfa.totp.internal import auth

    row = person(shop, operator_role="support", password=PASSWORD)
    auth.TOTP.activate(row, auth.generate_totp_secret())
    thief = Visitor(shop, "en")
    thief.fill("/office/sign-in", email=row.email, password=PASSWORD)
    for answer in ({"code": "1"}, {"answer": "{}"}, {"code": "2"}, {"answer": "x"}, {"code": "3"}):
        assert thief.send("/office/second-factor", answer).status == 200
    assert "Too many attempts" in thief.fill("/office/second-factor", code="4").text
    assert "Too many attempts" in thief.send("/office/second-factor", {"answer": "{}"}).body.decode()
    text = " ".join(post.newest(shop, row.email).get_content().split())
    assert "wrong second factor five times" in text
    assert [facts["tries"] for *_, facts in trail("second.failed", row.pk)] == [1, 5]


@pytest.mark.store
def test_failed_sign_ins_stand_in_the_trail_and_never_what_was_typed(shop, me, capsys):
    from farebox.kit.models import AuditEvent

    clerk = person(shop, operator_role="finance", password=PASSWORD)
    typed = f"my-password-{secrets.token_hex(4)}"
    for path, name, verb in (
        ("/account/sign-in", "login", "sign_in.failed"), ("/office/sign-in", "email", "office.sign_in_failed"),
    ):  # fmt: skip
        for email in (me.email, clerk.email, f"{typed}@example.com"):
            Visitor(shop).fill(path, **{name: email, "password": typed})
        told = trail(verb)
        # The office knows operators alone.
        assert [told[0][1] == me.person, told[1][1] == clerk.pk] == [path.startswith("/account"), True]
        assert told[2][1].startswith("mailbox:")
        assert len(told) == 3
        assert all(facts == {"address": "127.0.0.1", "tries": 1} for *_, facts in told)
    me.fill("/account/again", password=typed)
    assert trail("step_up.failed", me.person)
    assert not [row for row in AuditEvent.objects.all() if typed in f"{row.object}{row.after}{row.actor}"]
    logged = capsys.readouterr().out
    assert logged.count("sign_in.failed") == 3
    assert typed not in logged


def test_refused_access_stands_in_the_trail(shop):
    clerk, mine = operator(shop, "support"), customer(shop)
    member = customer(shop, role="member", of=mine)
    assert clerk.get("/office/operators").status == 404
    assert member.get("/console/team/invite").status == 404
    asked = Script(shop, "auditor")
    assert asked.post("announcements", {"text": "x"}).status == 404
    asked.token = "fbo-" + "x" * 43
    assert asked.get("me").status == 401
    stranger = Visitor(shop)
    assert stranger.get("/office/set-up?code=" + "y" * 22).status == 404
    assert stranger.send("/theme", {"theme": "dark"}, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert stranger.send("/theme", {"theme": "dark", "csrfmiddlewaretoken": "x"}).status == 403
    assert trail("access.refused")[0][:2] == (f"operator:{clerk.person}", "office:operators")
    assert (f"person:{member.person}", "invite") in [(actor, about) for actor, about, _ in trail("access.refused")]
    assert any(" token:" in actor for actor, *_ in trail("access.refused"))
    assert len(trail("access.refused")) == 3
    assert trail("token.refused")
    assert trail("link.refused")
    assert {about for _, about, _ in trail("form.refused")} == {"another site", "theme"}
    assert not [each for each in trail("link.refused") if "yyyy" in str(each)]


@pytest.mark.store
def test_wrong_mailed_codes_and_links_of_invitations_stand_in_the_trail(shop, me, capsys):
    lost = Visitor(shop, "en")
    lost.fill("/account/password/forgotten", email=me.email)
    assert lost.fill("/account/password/code", code="AAAA-AAAA").status == 200
    new = f"{secrets.token_hex(4)}@example.com"
    guest = Visitor(shop, "en")
    guest.fill("/account/sign-up", email=new, password1=PASSWORD)
    for _ in range(2):
        guest.fill("/account/confirm", action="verify", code="AAAA-AAAA")
    assert me.fill("/account/password", oldpassword="wrong", password1=PASSWORD, password2=PASSWORD).status == 200
    stranger = Visitor(shop, "en")
    for number in range(4):
        assert stranger.get(f"/join/{secrets.token_hex(8)}{number}").status == 404
    told = trail("code.failed")
    assert told[0] == ("visitor", me.person, {"address": "127.0.0.1", "tries": 1})
    assert len(told) == 2, "the second wrong one of the same person is counted, not written"
    assert trail("step_up.failed", me.person)
    assert [facts["tries"] for *_, facts in trail("link.refused", "join")] == [1], "whatever code was tried"
    assert "AAAA" not in capsys.readouterr().out


def test_a_flood_fills_neither_log_nor_trail(shop):
    from farebox.accounts.sign_in import refused
    from farebox.kit.models import AuditEvent

    before = AuditEvent.objects.count()
    for _ in range(700):
        refused.note("sign_in.failed", object="mailbox:one", address="203.0.113.9")
    assert [facts["tries"] for *_, facts in trail("sign_in.failed", "mailbox:one")] == [1, 5, 25, 125, 625]
    for number in range(3000):
        refused.note("sign_in.failed", object=f"mailbox:{number}", address=f"198.51.{number // 250}.{number % 250}")
    assert AuditEvent.objects.count() - before <= refused.LINES_PER_H + 10
    many = trail("sign_in.failed", refused.MANY)
    assert many[-1][2]["tries"] == 625
    assert len(refused._seen) <= refused.KEYS_MAX
