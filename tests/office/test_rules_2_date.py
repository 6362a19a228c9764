"""From when version 2 of the charging rules applies: chosen in the office or by a script, seen by customers until then."""

from __future__ import annotations

import pytest

from kit import people, post
from kit.visitor import Visitor
from office.test_proposals import decide, path_of
from office.test_settings import form

pytestmark = [pytest.mark.store, pytest.mark.slow]

DAY_US = 86_400_000_000
NAME = "rules_2_from"


@pytest.fixture
def old_shop(shop):
    """A shop of a release before: nobody has chosen a date."""

    def unset(tx):
        from farebox.kit import db, settings

        settings.forget(tx, NAME)
        settings.forget(tx, "rules_2_told")
        for version in ("settings", "shelf"):
            db.bump(tx, version)

    shop.write(unset)
    yield shop
    shop.write(unset)


def value(shop):
    from farebox.kit import settings

    return shop.read(settings.values)[NAME]


def test_two_people_choose_it_in_the_office_and_customers_hear_of_it(old_shop, two_people, option):
    from farebox.kit import clock

    shop, (first, second) = old_shop, [people.operator(old_shop, "admin") for _ in range(2)]
    owner = people.customer(shop, "1")
    member = people.customer(shop, role="member", of=owner)
    reader = people.customer(shop, "1", language="zh-hans")
    people.row(reader).__class__.objects.filter(id=reader.person).update(language="zh-hans")
    option(public_price_list="usd")
    for wrong in ("soon", "2001-01-01 00:00", "2026-13-01"):
        page = form(first, **{NAME: wrong})
        assert (page.status, 'aria-invalid="true"' in page.html) == (400, True)
    assert "at least 7 days from now" in form(first, **{NAME: "2001-01-01 00:00"}).text
    path = path_of(form(first, **{NAME: "2190-05-01 08:00"}))
    assert first.page(path).tables[0][1] == ["Charging rules version 2 apply from", "not set", "2190-05-01 08:00 UTC"]
    assert value(shop) is None
    assert "Another person must approve" in first.follow(first.send(f"{path}/approve", {})).text
    assert "Approved and in force" in decide(second, path)
    at_us = value(shop)
    assert at_us > clock.now_us() + 7 * DAY_US
    shop.refresh()
    assert shop.server.node.ports.shop.shelf.current.rules_2_from_us == at_us
    said = "Charging rules version 2 apply from 2190-05-01"
    for visitor, page in ((owner, "/console/"), (Visitor(shop), "/rules"), (Visitor(shop), "/estimate")):
        assert said in visitor.page(page).text
    assert "2190-05-01" in reader.page("/zh/console/").text
    _told(shop)
    mail = post.newest(shop, people.row(owner).email)
    assert mail["Subject"] == "Charging rules version 2 apply from 2190-05-01 08:00 UTC"
    assert f"{shop.options.origin}/rules" in mail.get_content()
    assert "扣费规则" in post.newest(shop, people.row(reader).email)["Subject"]
    assert not post.mails(shop, people.row(member).email)
    assert "No changes." in first.follow(form(first)).text
    assert first.page("/office/audit?verb=setting.put&object=" + NAME).tables[0][1][4]


def _told(shop):
    from farebox.jobs import new_rules

    while shop.read(new_rules.due):
        shop.write(new_rules.tell)


def test_what_has_come_stays(old_shop, monkeypatch):
    from farebox.kit import clock, settings

    shop, boss = old_shop, people.operator(old_shop, "admin")
    assert "in force" in boss.follow(form(boss, **{NAME: "2190-05-01 08:00"})).text
    assert "in force" in boss.follow(form(boss, **{NAME: "2190-06-01 08:00"})).text  # until it has come it moves
    moved = value(shop)
    assert form(boss, **{NAME: ""}).status == 400
    shop.write(settings.keep, NAME, clock.now_us())

    def bump(tx):
        from farebox.kit import db

        for version in ("settings", "shelf"):
            db.bump(tx, version)

    shop.write(bump)
    now = value(shop)
    assert now < moved
    answer = form(boss, **{NAME: "2190-05-01 08:00"})
    assert (answer.status, value(shop)) == (302, now)  # the page does not ask for it any more
    assert "readonly" in boss.page("/office/settings").html
    for visitor, page in ((Visitor(shop), "/rules"), (Visitor(shop), "/estimate")):
        assert "version 2 apply from" not in visitor.page(page).text


def test_a_script_proposes_it(old_shop, admin, scripts):
    from farebox.kit import clock

    shop, at_us = old_shop, clock.now_us() + 30 * DAY_US
    assert admin.get("settings").json[NAME] is None
    near = admin.post("settings", {NAME: clock.now_us() + DAY_US})
    assert (near.status, "at least 7 days" in near.json["error"]["message"]) == (400, True)
    made = admin.post("settings", {NAME: at_us})
    assert (made.status, made.json["two_people"], made.json["after"]) == (202, True, {NAME: at_us})
    assert value(shop) is None
    assert scripts["S"].post("settings", {NAME: at_us}).status == 404
    assert "Approved and in force" in decide(people.operator(shop, "admin"), f"/office/proposals/{made.json['id']}")
    assert admin.get("settings").json[NAME] == at_us
