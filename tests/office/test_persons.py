"""A person is switched off everywhere at once, sessions of others are ended, each by those who may (security 1)."""

from __future__ import annotations

import pytest

from farebox.kit.errors import CommandError
from kit import cli, minting, people
from kit.people import PASSWORD, customer, person
from kit.visitor import Visitor
from office.script import Script


def press(worker, path: str, **fields: str):
    return worker.send(path, fields)


@pytest.mark.slow
def test_a_customer_is_off_everywhere_and_may_come_back(shop, operator):
    from farebox.accounts.models import ApiKey, Invitation
    from farebox.kit.models import AuditEvent

    known = customer(shop, password=PASSWORD)
    elsewhere = people.signed_in(shop, _row(known), "console", "password")
    own = shop.write(_key, known)
    worker = operator("support")
    page = worker.page(f"/office/people/{known.person}")
    assert page.status == 200 and known.email in page.text and len(page.tables[0]) == 3
    invite(shop, known.email)
    assert press(worker, f"/office/people/{known.person}/off", keys="on").status == 302
    for visitor in (known, elsewhere):
        assert visitor.get("/console/keys").status == 302  # to the sign-in page
    assert Visitor(shop, "en").fill("/account/sign-in", login=known.email, password=PASSWORD).status != 302
    assert ApiKey.objects.get(id=own).state == "revoked"
    assert not Invitation.objects.filter(email=known.email, state="open").exists()
    assert known.customer.get("/v1/models").status == 200  # a key of the account's, not of the person's
    assert "deactivated" in worker.page(f"/office/people/{known.person}").text
    event = AuditEvent.objects.get(verb="person.off", object=known.person)
    assert event.actor == f"operator:{worker.person}" and '"sessions":2' in event.after
    assert press(worker, f"/office/people/{known.person}/on").status == 302
    assert Visitor(shop, "en").fill("/account/sign-in", login=known.email, password=PASSWORD).status == 302


def test_an_operator_is_off_with_his_tokens_and_codes(shop, operator):
    from farebox.accounts.models import OfficeCode

    admin = operator("admin")
    script = Script(shop, "support")
    other = _person_of(script)
    OfficeCode.objects.create(id="reset", person=other, made_us=1, expires_us=2**60)
    OfficeCode.objects.create(id="offer", email=other.email, role="admin", made_us=1, expires_us=2**60)
    session = people.signed_in(shop, other, "office", "password", "mfa")
    assert session.get("/office/").status == 200
    assert press(admin, f"/office/people/{other.id}/off").status == 302
    assert session.get("/office/").status == 302
    assert script.get("customers").status == 401
    assert not OfficeCode.objects.filter(id__in=["reset", "offer"]).exists()


def test_sessions_are_ended_one_or_all(shop, operator):
    from farebox.accounts.models import Session

    known = customer(shop)
    second = people.signed_in(shop, _row(known), "console", "password")
    worker = operator("support")
    one = Session.objects.filter(person=known.person).order_by("-seen_us").first()
    where = f"/office/people/{known.person}/sign-out"
    assert press(worker, where, session=one.id).status == 302
    assert sorted(each.get("/console/keys").status for each in (known, second)) == [200, 302]
    assert press(worker, where).status == 302
    assert not Session.objects.filter(person=known.person).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("role", "status"), [("finance", 404), ("auditor", 404)])
def test_who_may_not(shop, operator, role, status):
    known = customer(shop)
    for what in ("off", "on", "sign-out"):
        assert press(operator(role), f"/office/people/{known.person}/{what}").status == status
    assert known.get("/console/keys").status == 200


def test_support_touches_no_operator_and_nobody_himself(shop, operator):
    worker, admin = operator("support"), operator("admin")
    assert worker.get(f"/office/people/{admin.person}").status == 404
    assert press(worker, f"/office/people/{admin.person}/off").status == 404
    press(admin, f"/office/people/{admin.person}/off")
    assert admin.get("/office/").status == 200


@pytest.mark.slow
def test_by_command(shop):
    known = customer(shop)
    assert perform("person.sign-out", known.email)["ended"]["sessions"] == 1
    assert known.get("/console/keys").status == 302
    env = shop.instance.environ
    ran = cli.program("person", "off", known.email, env=env)  # by the server, over its socket
    assert ran.code == 0 and f"{known.email} is switched off" in ran.out, ran.err
    with pytest.raises(CommandError, match="person.off"):
        perform("person.off", known.email)
    assert perform("person.on", known.email)["is_active"] is True
    with pytest.raises(CommandError, match="person.not_off"):
        perform("person.on", known.email)


def perform(verb, person):
    from farebox.cli.verbs import VERBS

    return VERBS[verb].perform({"person": person}, actor="test")


def _row(known):
    from farebox.accounts.models import Person

    return Person.objects.get(id=known.person)


def _person_of(script):
    from farebox.accounts.models import OfficeToken

    return OfficeToken.objects.select_related("person").latest("made_us").person


def _key(tx, known):
    from farebox.kit import clock

    key, _ = minting.issue(
        tx, project=known.customer.account, name="own", member=known.member, now_us=clock.now_us(), actor="test"
    )
    return key.id


def invite(shop, email):
    from farebox.accounts.models import Account, Invitation

    account = Account.objects.exclude(kind="house").latest("created_us")
    Invitation.objects.create(
        id=f"inv_{email[:10]}", account=account, role="member", email=email, digest=email, invited_by="test",
        created_us=1, sent_us=1, expires_us=2**60,
    )  # fmt: skip


def test_the_last_administrator_stays(shop):
    from farebox.accounts.models import Person

    Person.objects.filter(operator_role="admin").update(operator_role="support")
    last = person(shop, operator_role="admin")
    with pytest.raises(CommandError, match="operator.last_administrator"):
        perform("person.off", last.email)
