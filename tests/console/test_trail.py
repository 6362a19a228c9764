"""The changes of an account over HTTP: whose they are, in words, without what is the shop's; pages by cursor."""

from __future__ import annotations

import time

import pytest

from kit import minting, people

pytestmark = pytest.mark.slow

HERE = "/console/changes"


def stamp(person=None):
    return {"now_us": time.time_ns() // 1000, "actor": "test" if person is None else f"person:{person.person}"}


def project(shop, owner, name):
    from farebox.accounts import projects

    return shop.write(projects.create, account=owner.customer.account, name=name, **stamp(owner)).id


@pytest.fixture(scope="module")
def team(shop):
    """An account with two projects: its owner, an admin of `red` and one of `blue`, and the projects' ids."""
    owner = people.customer(shop, "5")
    red, blue = project(shop, owner, "red"), project(shop, owner, "blue")
    admin = people.customer(shop, role="admin", of=owner, project=red)
    other = people.customer(shop, role="admin", of=owner, project=blue)
    return owner, admin, other, red, blue


def rows(visitor, query=""):
    """(what, who, to what, facts) of each row."""
    page = visitor.page(HERE + query)
    return [(row[0], row[2], row[3], row[4]) for table in page.tables for row in table[1:]]


def test_who_what_before_after(shop, team):
    from farebox.accounts import projects
    from farebox.accounts.keys import key_line, keys

    owner, _admin, _other, red, _blue = team
    key, text = shop.write(minting.issue, project=red, name="robot", models=["gpt-4"], **stamp(owner))
    shop.write(key_line.set_caps, key.id, {"month": 5_000_000}, **stamp(owner))
    shop.write(keys.rename, key.id, name="machine", actor=stamp(owner)["actor"])
    shop.write(keys.set_limits, key.id, models=[], addresses=["10.0.0.0/8"], **stamp(owner))
    shop.write(keys.set_expiry, key.id, expires_us=4_102_444_800_000_000, **stamp(owner))
    shop.write(keys.set_expiry, key.id, expires_us=None, **stamp(owner))
    shop.write(keys.revoke, key.id, **stamp(owner))
    shop.write(projects.set_caps, red, {"day": 1_500_000}, **stamp())
    found = rows(owner)[:8]
    assert [row[0] for row in found] == [
        "Project caps changed", "Key revoked", "Expiry of the key changed", "Expiry of the key changed",
        "Models or addresses of the key changed", "Key renamed", "Key caps changed", "Key created",
    ]  # fmt: skip
    assert found[0][1:] == ("operator", "red", "Cap per day: no limit → $1.50")
    assert {row[1:3] for row in found[1:]} == {(owner.email, "machine")}
    assert found[1][3] == "–"
    assert found[2][3] == "Expires: 2100-01-01 00:00 → never"
    assert found[3][3] == "Expires: never → 2100-01-01 00:00"
    assert found[4][3].split() == "Models: gpt-4 → all IP addresses: all → 10.0.0.0/8".split()
    assert found[5][3] == "Name: robot → machine"
    assert found[6][3] == "Cap per month: no limit → $5.00"
    assert "Name: robot" in found[7][3]
    assert "Project: red" in found[7][3]
    assert text not in owner.page(HERE).html
    chinese = owner.page(f"/zh{HERE}")
    assert "密钥已吊销" in chinese.text
    assert "不限 → $5.00" in chinese.text


def test_an_admin_sees_his_projects(shop, team):
    from farebox.accounts.keys import rates

    owner, admin, other, red, blue = team
    shop.write(minting.issue, project=red, name="a red key", **stamp(owner))
    shop.write(minting.issue, project=blue, name="a blue key", **stamp(owner))
    shop.write(rates.limit, "account", owner.customer.account, rpm=7, tpm=None, concurrency=None, actor="test")
    assert next(row[2] for row in rows(admin)) == "a red key"
    assert next(row[2] for row in rows(other)) == "a blue key"
    assert "blue" not in admin.page(HERE).text
    assert "Limits of the account changed" not in admin.page(HERE).text
    assert rows(owner)[0] == ("Limits of the account changed", "operator", rows(owner)[0][2],
                              "Calls per minute: no limit → 7")  # fmt: skip


def test_who_moves_takes_no_past_along(shop, team):
    from farebox.accounts.people import people as persons
    from farebox.accounts.team import teams

    owner, admin, other, red, blue = team
    member = people.customer(shop, role="member", of=owner, project=blue)
    shop.write(persons.set_caps, member.member, {"day": 777_000_000}, **stamp(owner))
    assert "$777.00" in other.page(HERE).text
    shop.write(teams.set_role, member.member, role="member", project=red, **stamp(owner))
    assert "$777.00" not in admin.page(HERE).text
    assert rows(admin)[0][0] == "Member role changed"
    assert "Project: another project → red" in rows(admin)[0][3]
    assert "Project: blue → red" in rows(owner)[0][3]
    assert "$777.00" in owner.page(HERE).text


def test_what_is_the_houses_stays_there(shop, team):
    """What operators propose, their names, price lists, and where members are told are nothing for this page."""
    from farebox.accounts import adjusting
    from farebox.accounts.people import notices

    owner, *_rest = team
    account = owner.customer.account
    support = people.operator(shop, "support")
    row = shop.write(
        adjusting.propose, account=account, kind="credit", amount="3", reason="a promise kept", role="support",
        actor=f"operator:{support.person}", now_us=stamp()["now_us"],
    )  # fmt: skip
    before = owner.page(HERE)
    assert "a promise kept" not in before.text
    finance = people.operator(shop, "finance")
    shop.write(adjusting.approve, row.id, role="finance", actor=f"operator:{finance.person}", now_us=stamp()["now_us"])
    wanted = notices.Wishes(keys=True, webhook_url="https://93.184.216.34/secret-path")
    shop.write(notices.put, person=owner.person, account=account, wanted=wanted, actor=f"person:{owner.person}")
    support.page(f"/office/customers/{account}/calls")
    found = rows(owner)[:3]
    assert [each[:2] for each in found] == [
        ("Calls viewed", "operator"), ("Notifications changed", owner.email),
        ("Credit or correction booked", "operator"),
    ]  # fmt: skip
    assert "Amount: $3.00" in found[2][3]
    assert "Note: a promise kept" in found[2][3]
    page = owner.page(HERE)
    for secret in ("secret-path", support.email, finance.email, support.person, finance.person, "operator:"):
        assert secret not in page.html


def test_the_playgrounds_keys_are_left_out(shop, team):

    owner, _admin, _other, red, _blue = team
    shop.write(minting.issue, project=red, name="Playground", session="5" * 64, **stamp(owner))
    assert "Playground" not in {row[2] for row in rows(owner)}


def test_pages_by_cursor(shop):
    from farebox.accounts import accounts

    owner = people.customer(shop, "0")
    for n in range(60):
        shop.write(accounts.rename, owner.customer.account, name=f"name {n}", actor="test")
    first = owner.page(HERE)
    assert len(first.tables[0]) == 51
    following = first.html.split('rel="next" href="')[1].split('"')[0]
    second = owner.page(HERE + following)
    seen = [row[3] for row in (*rows(owner), *rows(owner, following)) if row[0] == "Account renamed"]
    assert [each.rpartition(" ")[2] for each in seen] == [str(n) for n in range(59, -1, -1)]
    assert "Newest" in second.text
    assert 'rel="next"' not in second.html
    for odd in ("aud_x", "'", "%00", "9" * 40):
        assert owner.get(f"{HERE}?before={odd}").status in {200, 400}


def test_owners_and_admins_alone(shop, team):
    owner, admin, _other, red, _blue = team
    assert people.customer(shop, role="member", of=owner, project=red).get(HERE).status == 404
    assert people.Visitor(shop).get(HERE).status == 302
    assert owner.send(HERE, {}).status == 405
    assert HERE in admin.page("/console/").html
    assert HERE not in people.customer(shop, role="member", of=owner, project=red).page("/console/").html
    stranger = people.customer(shop, "1")
    assert "red" not in {row[2] for row in rows(stranger)}
    assert owner.email not in stranger.page(HERE).html
