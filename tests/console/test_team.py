"""Teams by their pages: projects, caps, the end of keys, members and their roles, invitations, a class of sixty."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import unquote

import pytest

from farebox.accounts.caps import Caps
from farebox.console.team import pasted
from kit import letters, minting, people
from kit.talk import PROMPTLY_S, wait_for
from kit.visitor import Page, Visitor

pytestmark = pytest.mark.slow

CLASS = int(os.environ.get("CLASS", "12"))
PASSWORD = people.PASSWORD


@pytest.fixture(scope="module", autouse=True)
def _open(shop):
    shop.options.public_price_list = "usd"


def tomorrow(days=1):
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def project(owner, name, **fields):
    """A new project; its id."""
    answer = owner.fill("/console/team", "/console/team/projects", name=name, **fields)
    assert answer.status == 302, answer.text
    return answer.headers["location"].rpartition("/")[2]


def invite(owner, addresses, project="", **fields):
    return owner.fill(
        "/console/team/invite",
        people=addresses,
        project=project,
        role=fields.pop("role", "member"),
        days="14",
        **fields,
    )


def code(shop, email, n=1):
    return letters.link(letters.letters(shop, email, n=n)[-1], "/join/")


def fresh():
    return f"s{time.time_ns()}@class.example"


def join(shop, path, name="Student"):
    """Somebody new comes by a link; the visitor and the page after it."""
    guest = Visitor(shop, "en")
    return guest, guest.through(path, name=name, password=PASSWORD)


def key_of(page):
    return re.search(r"sk-[A-Za-z0-9]{48}", page.html)[0]


def test_a_project_with_a_cap_and_its_page(shop):
    owner = people.customer(shop, "5")
    made = project(owner, "Physics", cap_day="0.50", cap_month="2.50")
    page = owner.page(f"/console/team/projects/{made}")
    assert page.status == 200
    assert "Physics" in page.text and "$2.50" in page.text and "per month" in page.text
    assert re.search(
        r"Cap per day \$0\.50 \$0\.00 used · resets at \d{4}-\d\d-\d\d 00:00 "
        r"Cap per month \$2\.50 \$0\.00 used · resets at \d{4}-\d\d-01 00:00",
        page.text,
    )
    assert owner.page("/console/team").rows()["Physics"][2] == "$0.00 / $0.50 per day $0.00 / $2.50 per month"
    changed = f"/console/team/projects/{made}"
    assert 'name="cap_day" value="0.50"' in page.html
    assert owner.fill(changed, f"{changed}/cap", cap_day="", cap_month="2.50", cap_ever="9").status == 302
    from farebox.accounts.models import Project

    assert Project.objects.get(id=made).caps == Caps(None, 2_500_000, 9_000_000)
    assert "累计上限" in owner.page("/zh" + changed).text


def test_a_project_needs_a_name_of_its_own_and_an_amount_that_is_one(shop):
    owner = people.customer(shop)
    project(owner, "Twice")
    for fields, said in (
        ({"name": "Twice"}, "A project with this name already exists."),
        ({"name": "a/b"}, "A name can't contain slashes"),
        ({"name": ""}, "This field is required."),
        ({"name": "New", "cap_day": "lots"}, "Enter an amount such as 12.50"),
        ({"name": "New", "cap_ever": "-1"}, "Enter an amount such as 12.50"),
    ):
        answer = owner.fill("/console/team", "/console/team/projects", **fields)
        assert (answer.status, said in answer.text) == (400, True), answer.text


def test_a_cap_changes_and_holds(shop):
    owner = people.customer(shop, "5")
    made = project(owner, "Capped")
    assert owner.fill(f"/console/team/projects/{made}", f"/console/team/projects/{made}/cap", cap_day="0").status == 302
    invite(owner, email := fresh(), made, with_key="on")
    _, page = join(shop, code(shop, email))
    member = owner.customer.__class__(shop, owner.customer.account, "", key_of(page))
    assert member.chat("gpt-4o-mini").status == 429
    assert owner.fill(f"/console/team/projects/{made}", f"/console/team/projects/{made}/cap", cap_day="").status == 302
    shop.refresh()
    assert member.chat("gpt-4o-mini").status == 200


@pytest.mark.parametrize("kind", ["project", "member"])
def test_limits_a_minute_are_set_here_and_hold_at_once(shop, kind):
    from farebox.accounts.models import Member, Project
    from farebox.kit.models import AuditEvent

    owner = people.customer(shop, "5")
    made = project(owner, "Paced")
    admin = people.customer(shop, role="admin", of=owner, project=made)
    invite(owner, email := fresh(), made, with_key="on")
    guest, page = join(shop, code(shop, email))
    caller = owner.customer.__class__(shop, owner.customer.account, "", key_of(page))
    member = Member.objects.get(person__email=email).id
    setter, table, one = {"project": (owner, Project, made), "member": (admin, Member, member)}[kind]
    where = f"/console/team/{kind}s/{one}"
    answer = setter.fill(where, f"{where}/cap", cap_month="4", rpm="1", tpm="90000", concurrency="3")
    begun = time.monotonic()
    assert answer.status == 302
    wait_for(lambda: caller.chat("gpt-4o-mini").headers["x-ratelimit-limit-requests"] == "1")
    assert time.monotonic() - begun < PROMPTLY_S
    assert caller.chat("gpt-4o-mini").status == 429
    row = table.objects.get(id=one)
    assert (row.caps, row.rpm, row.tpm, row.concurrency) == (Caps(None, 4_000_000, None), 1, 90_000, 3)
    assert "Calls per minute 1 Tokens per minute 90,000 Concurrent calls 3" in setter.page(where).text
    assert 'name="rpm" value="1"' in setter.page(where).html
    events = AuditEvent.objects.filter(object=one, verb__in=[f"{kind}.cap", f"{kind}.set_rates"])
    assert events.count() == 2
    same = {"cap_month": "4", "rpm": "1", "tpm": "90000", "concurrency": "3"}
    assert setter.fill(where, f"{where}/cap", **same).status == 302
    assert events.count() == 2  # only what differs is written
    wrong = setter.fill(where, f"{where}/cap", cap_month="5", rpm="0")
    assert (wrong.status, "greater than or equal to 1" in wrong.text) == (400, True)
    assert table.objects.get(id=one).caps == Caps(None, 4_000_000, None)
    assert guest.send(f"{where}/cap", {"rpm": "9"}).status == 404
    assert ("Calls per minute 1" in guest.page("/console/team").text) == (kind == "member")
    assert setter.fill(where, f"{where}/cap", rpm="", tpm="", concurrency="").status == 302
    assert "Calls per minute no limit" in setter.page(where).text
    assert "每分钟调用次数" in setter.page("/zh" + where).text


def test_keys_of_a_project_end_at_its_date(shop):
    from farebox.accounts.models import ApiKey, Project

    owner = people.customer(shop, "5")
    made = project(owner, "Term")
    invite(owner, first := fresh(), made, with_key="on")
    join(shop, code(shop, first))
    where = f"/console/team/projects/{made}"
    assert owner.fill(where, f"{where}/keys-end", day=tomorrow(30)).status == 302
    ends = Project.objects.get(id=made).keys_end_us
    assert datetime.fromtimestamp(ends / 1e6, UTC).strftime("%Y-%m-%d %H:%M") == tomorrow(31) + " 00:00"
    invite(owner, second := fresh(), made, with_key="on")
    join(shop, code(shop, second))
    assert [row.expires_us for row in ApiKey.objects.filter(project=made)] == [ends, ends]
    assert tomorrow(30) in owner.page(where).text
    assert owner.fill(where, f"{where}/keys-end", day=tomorrow(40)).status == 302
    assert {row.expires_us for row in ApiKey.objects.filter(project=made)} == {ends + 10 * 86_400_000_000}
    assert owner.fill(where, f"{where}/keys-end", day=tomorrow(-3)).status == 400
    assert owner.fill(where, f"{where}/keys-end", day="").status == 302
    assert {row.expires_us for row in ApiKey.objects.filter(project=made)} == {None}


def test_archiving_asks_for_the_name_and_revokes_the_keys(shop):
    from farebox.accounts.models import ApiKey, Project

    owner = people.customer(shop, "5")
    made = project(owner, "Over")
    invite(owner, email := fresh(), made, with_key="on")
    _, joined = join(shop, code(shop, email))
    where = f"/console/team/projects/{made}"
    owner.fill(where, f"{where}/archive", name="over")
    assert Project.objects.get(id=made).state == "active"
    owner.fill(where, f"{where}/archive", name="Over")
    assert Project.objects.get(id=made).state == "archived"
    assert ApiKey.objects.get(project=made).state == "revoked"
    shop.refresh()
    assert owner.customer.__class__(shop, owner.customer.account, "", key_of(joined)).chat("gpt-4o-mini").status == 401
    assert owner.page(where).status == 200


def test_joining_makes_a_person_a_place_and_a_key_but_no_account(shop):
    from farebox.accounts.models import Account, Member

    owner = people.customer(shop, "5")
    made = project(owner, "Lab")
    answer = invite(owner, f"Ada Lovelace <{(email := fresh())}>", made, with_key="on", cap_day="1", cap_month="9")
    assert answer.headers["location"].endswith(made)
    [mail] = letters.letters(shop, email)
    assert "Hello Ada Lovelace," in letters.text(mail) and "Lab" in letters.text(mail)
    before = Account.objects.count()
    path = letters.link(mail, "/join/")
    assert "Your cap $1.00 per day Your cap $9.00 per month" in Visitor(shop, "en").page(path).text
    guest, page = join(shop, path, "Ada")
    assert page.status == 200
    assert Account.objects.count() == before
    member = Member.objects.get(person__email=email)
    assert (member.role, member.project_id, member.caps) == ("member", made, Caps(1_000_000, 9_000_000, None))
    called = owner.customer.__class__(shop, owner.customer.account, "", key_of(page))
    assert called.chat("gpt-4o-mini").status == 200
    assert guest.page("/console/team").status == 200
    assert "Lab" in guest.page("/console/team").text
    assert Visitor(shop).get(path).status == 404  # used up


def test_who_joins_keeps_the_language_of_the_page(shop):
    from farebox.accounts.models import Person

    owner = people.customer(shop, "5")
    made = project(owner, "Lab")
    for prefix, language in (("/zh", "zh-hans"), ("", "en")):
        invite(owner, email := fresh(), made)
        assert join(shop, prefix + code(shop, email))[1].status == 200
        assert Person.objects.get(email=email).language == language


def test_the_page_after_joining_offers_what_the_page_of_a_key_does(shop):
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    owner = people.customer(shop, "5")
    shop.write(price_lists.create_list, "of-a-school", "USD", actor="test")
    rows = [sheets.row(name, each, "1") for name in ("gpt-4", "gpt-4-32k") for each in ("input", "output")]
    shop.write(price_lists.publish, "of-a-school", rows, actor="test", now_us=clock.now_us())
    Account.objects.filter(id=owner.customer.account).update(price_list="of-a-school")
    shop.refresh()
    invite(owner, email := fresh(), project(owner, "Set up"), with_key="on")
    _, page = join(shop, code(shop, email))
    assert set(re.findall(r"<option[^>]*>([^<]+)", page.html)) == {"gpt-4", "gpt-4-32k"}  # not those of the public list
    assert "gpt-4o-mini" not in page.html
    link = unescape(re.search(r'id="nextchat-import" href="([^"]+)"', page.html)[1])
    assert json.loads(unquote(link.partition("settings=")[2]))["key"] == key_of(page)
    assert 'id="try-go"' in page.html and "console/key_made" in page.html
    assert f'<pre id="key-text">{key_of(page)}</pre>' in page.html  # where the script looks for it


def test_who_signs_in_here_already_joins_with_that(shop):
    owner, other = people.customer(shop, "5"), people.customer(shop, "1")
    made = project(owner, "Shared")
    invite(owner, other.email, made)
    path = code(shop, other.email)
    page = Visitor(shop, "en").page(path)
    assert "already has an account" in page.text and 'type="password"' not in page.html
    assert Visitor(shop, "en").fill(path.replace("/join/", "/join/"), "/theme").status in {302, 303}
    assert other.through(path).status == 200
    assert "Shared" in other.page("/console/team").text
    mine = other.customer.account
    assert other.fill("/console/team", "/console/team/account", account=mine).status == 302
    assert "Shared" not in other.page("/console/team").rows()
    assert (
        other.fill("/console/team", "/console/team/account", account=people.customer(shop).customer.account).status
        == 404
    )


def test_a_known_address_needs_its_own_sign_in(shop):
    from farebox.accounts.models import Member

    owner, other = people.customer(shop, "5"), people.customer(shop, "1")
    made = project(owner, "Guarded")
    invite(owner, other.email, made)
    stranger = Visitor(shop, "en")
    path = code(shop, other.email)
    stranger.page(path)
    answer = Page(stranger.send(path, {"name": "Me", "password": PASSWORD}))
    assert answer.status == 400
    assert not Member.objects.filter(project=made).exists()


@pytest.mark.parametrize("password", ["short", "password", "12345678"])
def test_a_password_must_do(shop, password):
    owner = people.customer(shop, "5")
    invite(owner, email := fresh(), project(owner, f"P{password}"))
    guest = Visitor(shop, "en")
    assert guest.fill(path := code(shop, email), name="Someone", password=password).status == 400
    assert guest.through(path, name="Someone", password=PASSWORD).status == 200


def test_faults_of_a_list_are_named_by_line_and_nobody_is_invited(shop):
    from farebox.accounts.models import Invitation

    owner = people.customer(shop)
    made = project(owner, "Faulty")
    answer = invite(owner, f"{fresh()}\nnot an address\nx@\n{fresh()}", made)
    assert answer.status == 400
    for said in (
        "Line 2: not an address is not an e-mail address.",
        "Line 3: x@ is not an e-mail address.",
        "No invitations were sent.",
    ):
        assert said in answer.text
    assert not Invitation.objects.filter(project=made).exists()
    assert invite(owner, " \n,", made).status == 400
    assert invite(owner, fresh(), "").status == 400  # a member has a project
    assert invite(owner, fresh(), made, role="pope").status == 400
    many = "\n".join(f"m{n}@class.example" for n in range(201))
    assert "people at a time" in invite(owner, many, made).text


def test_members_and_invited_are_left_out_the_second_time(shop):
    owner = people.customer(shop)
    made = project(owner, "Again")
    first, second = fresh(), fresh()
    invite(owner, first, made)
    page = owner.follow(invite(owner, f"{first}, {second}", made))
    assert "1 person invited." in page.text and "1 address skipped" in page.text


def test_sending_again_voids_the_old_link_and_revoking_the_new(shop):
    from farebox.accounts.models import Invitation

    owner = people.customer(shop)
    made = project(owner, "Post")
    invite(owner, email := fresh(), made)
    old = code(shop, email)
    row = Invitation.objects.get(email=email)
    where = f"/console/team/projects/{made}"
    assert owner.fill(where, f"/console/team/invitations/{row.id}/resend").status == 302
    new = code(shop, email, n=2)
    assert new != old
    assert Visitor(shop).get(old).status == 404
    assert Visitor(shop).get(new).status == 200
    for _ in range(5):
        owner.fill(where, f"/console/team/invitations/{row.id}/resend")
    assert Invitation.objects.get(id=row.id).sent_n == 5
    assert owner.fill(where, f"/console/team/invitations/{row.id}/revoke").status == 302
    assert Visitor(shop).get(code(shop, email, n=5)).status == 404
    assert owner.fill(where, f"/console/team/invitations/{row.id}/revoke").status == 404


def test_an_invitation_ends(shop):
    from farebox.accounts.models import Invitation

    owner = people.customer(shop)
    made = project(owner, "Late")
    invite(owner, email := fresh(), made)
    path = code(shop, email)
    Invitation.objects.filter(email=email).update(expires_us=1)
    assert Visitor(shop).get(path).status == 404
    assert invite(owner, email, made).status == 302  # and its address can be invited anew
    assert Visitor(shop).get(code(shop, email, n=2)).status == 200


def test_roles_and_removal(shop):
    from farebox.accounts.models import ApiKey, Member

    owner = people.customer(shop, "5")
    made = project(owner, "Roles")
    invite(owner, email := fresh(), made, with_key="on")
    guest, _ = join(shop, code(shop, email))
    member = Member.objects.get(person__email=email).id
    where = f"/console/team/members/{member}"
    assert guest.page("/console/team/invite").status == 404
    assert owner.fill(where, f"{where}/role", role="admin", project="").status == 400
    assert owner.fill(where, f"{where}/role", role="admin", project=made).status == 302
    assert guest.page(f"/console/team/projects/{made}").status == 200
    assert guest.page(where).status == 200
    assert guest.send(f"{where}/remove", {}).status == 404  # an admin does not remove admins
    assert owner.fill(where, f"{where}/cap", cap_ever="3").status == 302
    assert "$3.00" in owner.page(where).text
    own = f"/console/team/members/{owner.member}"
    assert "is the last owner of the account" in owner.fill(own, f"{own}/role", role="member", project=made).text
    owner.fill(own, f"{own}/remove")
    assert Member.objects.get(id=owner.member).state == "active"
    assert owner.fill(where, f"{where}/remove").status == 302
    assert Member.objects.get(id=member).state == "removed"
    assert ApiKey.objects.get(member=member).state == "revoked"
    assert owner.page(where).status == 404
    assert "You are no longer a member of" in guest.follow(guest.page("/console/team")).text


def test_an_owner_signs_a_member_out_of_the_account(shop):
    owner = people.customer(shop, "5")
    member = people.customer(shop, role="member", of=owner)
    page = f"/console/team/members/{member.member}"
    assert owner.fill(page, f"{page}/sign-out").status == 302
    assert "was signed out of this account" in owner.page(page).text
    assert member.get("/console/").headers["location"].startswith("/account/sign-in"), "no other account: it has ended"
    assert "Member signed out" in owner.page("/console/changes").text
    again = people.signed_in(shop, people.row(member), "console", "password")
    assert again.get("/console/").status == 200, "who signs in again is in"


def test_an_owner_signs_nobody_out_of_other_accounts(shop):
    from farebox.accounts.models import ApiKey

    owner, guest = people.customer(shop, "5"), people.customer(shop, "5")
    place = people.place(shop, guest, of=owner)
    here, there = owner.customer.account, guest.customer.account
    keys = {}
    for account in (here, there):
        assert guest.send("/console/team/account", {"account": account}).status == 302
        assert guest.send("/console/playground/key", {}).status == 200
        keys[account] = ApiKey.objects.get(account=account, kind="playground").id
        ApiKey.objects.filter(id=keys[account]).update(state="active")
    guest.send("/console/team/account", {"account": here})
    page = f"/console/team/members/{place}"
    assert owner.fill(page, f"{page}/sign-out").status == 302
    assert ApiKey.objects.get(id=keys[here]).state == "revoked"
    assert ApiKey.objects.get(id=keys[there]).state == "active"
    assert guest.get("/console/").status == 200, "the other account is as it was"
    assert guest.page("/console/keys").status == 200
    asked = guest.send("/console/team/account", {"account": here})
    assert asked.headers["location"].startswith("/account/again"), "back here only with a proof"
    fresh_one = people.signed_in(shop, people.row(guest), "console", "password")
    assert fresh_one.send("/console/team/account", {"account": here}).status == 302
    assert fresh_one.page("/console/team").status == 200


def test_nobody_is_signed_out_by_admins_or_himself(shop):
    owner = people.customer(shop, "5")
    admin = people.customer(shop, role="admin", of=owner)
    member = people.customer(shop, role="member", of=owner)
    assert admin.send(f"/console/team/members/{member.member}/sign-out", {}).status == 404
    own = f"/console/team/members/{owner.member}"
    assert "/sign-out" not in owner.page(own).html
    assert owner.send(f"{own}/sign-out", {}).status == 302
    assert "End your own sessions in your settings." in owner.page(own).text
    assert owner.get("/console/").status == 200


def test_only_living_keys_of_programs_count(shop):
    from farebox.accounts.keys import keys, playground
    from farebox.accounts.models import ApiKey
    from farebox.kit import clock

    owner, now_us = people.customer(shop, "5"), clock.now_us()
    made = project(owner, "Counted")
    member = people.customer(shop, role="member", of=owner, project=made)
    facts = {"project": made, "member": member.member, "now_us": now_us, "actor": "test"}
    for name in ("living", "over", "dead"):
        row, _ = shop.write(minting.issue, name=name, **facts)
    shop.write(keys.revoke, row.id, now_us=now_us, actor="test")
    ApiKey.objects.filter(project=made, name="over").update(expires_us=now_us - 1)
    own = {"session": "s", "member": member.member, "now_us": now_us, "actor": "test"}
    minted, text = shop.write(playground.mint, **own)
    team, where = owner.page("/console/team"), f"/console/team/members/{member.member}"
    [of_member] = [row for row in team.tables[1] if member.email in row[0]]
    assert (team.rows()["Counted"][1], of_member[3]) == ("1", "1")
    assert "Keys 1" in owner.page(f"/console/team/projects/{made}").text
    assert "Keys 1" in member.page("/console/team").text
    rows = {row[0]: row[2] for row in owner.page(where).tables[0][1:]}
    assert rows == {"living": "active", "dead": "revoked", "over": "expired"}
    assert next(iter(rows)) == "living"
    caller = owner.customer.__class__(shop, owner.customer.account, minted.id, text)
    charge_micro = caller.receipt(caller.chat("gpt-4"))["charge_micro"]
    from farebox.look.templatetags.look import exact

    assert owner.page("/console/team").rows()["Counted"][3] == exact(charge_micro)  # its calls are spent all the same


def test_an_admin_sees_and_invites_for_his_project_alone(shop):
    from farebox.accounts.models import Member

    owner = people.customer(shop, "5")
    mine, other = project(owner, "Mine"), project(owner, "Other")
    admin = people.customer(shop, role="admin", of=owner, project=mine)
    people.customer(shop, role="member", of=owner, project=other)
    assert list(admin.page("/console/team").rows()) == ["Mine"]
    assert admin.page(f"/console/team/projects/{other}").status == 404
    stranger = Member.objects.get(project=other)
    assert admin.page(f"/console/team/members/{stranger.id}").status == 404
    assert admin.page(f"/console/team/members/{owner.member}").status == 404
    assert invite(admin, fresh(), other).status == 400
    assert invite(admin, fresh(), mine, role="owner").status == 400
    assert invite(admin, fresh(), mine).status == 302
    assert admin.send(f"/console/team/projects/{mine}/cap", {"cap_day": "9"}).status == 404
    assert admin.send(f"/console/team/projects/{mine}/archive", {"name": "Mine"}).status == 404
    assert admin.send("/console/team/projects", {"name": "New"}).status == 404


def test_a_member_sees_himself_alone(shop):
    owner = people.customer(shop, "5")
    made = project(owner, "Quiet")
    one = people.customer(shop, role="member", of=owner, project=made)
    two = people.customer(shop, role="member", of=owner, project=made)
    page = one.page("/console/team")
    assert page.status == 200
    assert two.email not in page.html and owner.email not in page.html
    for path in (f"projects/{made}", f"members/{one.member}", f"members/{two.member}", "invite"):
        assert one.page(f"/console/team/{path}").status == 404


def test_foreign_and_absent_are_the_same(shop):
    from farebox.accounts.models import Invitation

    owner, other = people.customer(shop), people.customer(shop)
    made = project(other, "Foreign")
    invite(other, email := fresh(), made)
    row = Invitation.objects.get(email=email)
    owner.page("/console/team")
    for path in (
        f"projects/{made}/cap", f"projects/{made}/keys-end", f"projects/{made}/archive", f"members/{other.member}/cap",
        f"members/{other.member}/role", f"members/{other.member}/remove", f"invitations/{row.id}/resend",
        f"invitations/{row.id}/revoke", "projects/prj_none/cap", "members/mem_none/cap", "invitations/inv_none/resend",
    ):  # fmt: skip
        assert (
            owner.send(f"/console/team/{path}", {"name": "Foreign", "cap_day": "1", "role": "owner"}).status == 404
        ), path
    for path in (f"projects/{made}", "projects/prj_none", f"members/{other.member}", "members/mem_none"):
        assert owner.page(f"/console/team/{path}").status == 404
    for absent in ("nothing", "x" * 65, "é"):
        assert Visitor(shop).get(f"/join/{absent.encode().hex() if absent == 'é' else absent}").status == 404


def test_operators_do_not_join(shop):
    owner, operator = people.customer(shop), people.person(shop, operator_role="support")
    made = project(owner, "No operators")
    invite(owner, operator.email, made)
    assert Visitor(shop, "en").page(code(shop, operator.email)).status == 200
    walker = people.signed_in(shop, operator, "console", "password")
    assert walker.fill(code(shop, operator.email)).status == 404


def test_an_account_on_trial_invites_few_and_a_funded_one_a_class(shop, monkeypatch):
    from farebox.accounts import trial
    from farebox.accounts.keys import rates
    from farebox.accounts.models import Account, Invitation
    from farebox.kit import clock, settings
    from farebox.ledger import lots

    owner = people.customer(shop, "0")
    account = Account.objects.get(id=owner.customer.account)
    shop.write(settings.put, "trial_micro", {"USD": 1_000_000}, actor="test")
    facts = {"account": account, "email": owner.email, "address": "203.0.113.9", "now_us": clock.now_us()}
    assert shop.write(trial.grant, **facts) == 1_000_000
    shop.write(settings.put, "trial_micro", {}, actor="test")
    made = project(owner, "On trial")
    page = invite(owner, "\n".join(fresh() for _ in range(rates.INVITATIONS_A_DAY_ON_TRIAL + 1)), made)
    assert (page.status, "at most 20 invitations a day. Add credit" in page.text) == (400, True)
    assert invite(owner, "\n".join(fresh() for _ in range(rates.INVITATIONS_A_DAY_ON_TRIAL)), made).status == 302
    # Each mail counts, also to the same person, and what was revoked.
    row = Invitation.objects.filter(account=account).first()
    where = f"/console/team/projects/{made}"
    page = owner.follow(owner.fill(where, f"/console/team/invitations/{row.id}/resend"))
    assert "Add credit, or try again tomorrow" in page.text
    assert Invitation.objects.get(id=row.id).sent_n == 1
    owner.fill(where, f"/console/team/invitations/{row.id}/revoke")
    assert invite(owner, fresh(), made).status == 400
    # An operator's credit is money that somebody has put in.
    shop.write(
        lots.grant, account=account.id, currency="USD", amount_micro=5_000_000, ref=owner.email, expires_us=None,
        now_us=clock.now_us(), note="test", requester="test", single_person=True,
    )  # fmt: skip
    assert invite(owner, "\n".join(fresh() for _ in range(60)), made).status == 302
    monkeypatch.setattr(rates, "INVITATIONS_A_DAY", 80)
    page = invite(owner, fresh(), made)
    assert "An account can send at most 80 invitations a day" in page.text
    Invitation.objects.filter(account=account).update(sent_us=clock.now_us() - 86_400_000_001)
    assert invite(owner, fresh(), made).status == 302


def test_a_person_counts_over_all_his_accounts(shop, monkeypatch):
    from farebox.accounts.keys import rates
    from farebox.accounts.people import people as persons
    from farebox.kit import clock

    owner, other = people.customer(shop), people.customer(shop)
    shop.write(
        persons.add_member, account=other.customer.account, person=owner.person, role="owner",
        now_us=clock.now_us(), actor="test",
    )  # fmt: skip
    monkeypatch.setattr(rates, "INVITATIONS_A_DAY", 3)
    assert invite(owner, f"{fresh()}, {fresh()}, {fresh()}", project(owner, "One")).status == 302
    assert owner.fill("/console/team", "/console/team/account", account=other.customer.account).status == 302
    made = project(owner, "Two")
    page = invite(owner, fresh(), made)
    assert (page.status, "A person can send at most 3 invitations a day" in page.text) == (400, True)
    assert invite(other, fresh(), made).status == 302


def test_nobody_is_mailed_without_end_by_many_accounts(shop):
    from farebox.accounts.keys import rates

    email = fresh()
    for _ in range(rates.MAILS_A_DAY_TO_ONE):
        owner = people.customer(shop)
        assert "1 person invited" in owner.follow(invite(owner, email, project(owner, "Again"))).text
    last = people.customer(shop)
    assert "1 address skipped" in last.follow(invite(last, email, project(last, "Again"))).text
    assert len(letters.letters(shop, email, n=rates.MAILS_A_DAY_TO_ONE)) == rates.MAILS_A_DAY_TO_ONE


def test_a_mail_carries_no_advertising(shop):
    from farebox.accounts.models import Account, Person

    owner = people.customer(shop)
    Person.objects.filter(id=owner.person).update(name="Prince of http://evil.example/claim?x=1")
    Account.objects.filter(id=owner.customer.account).update(
        name="Your parcel waits at evil.example/pay " + "now " * 15
    )
    made = project(owner, "Click www.evil.example today")
    email = fresh()
    assert invite(owner, f"Dear winner of evil.example <{email}>", made).status == 302
    mail = letters.letters(shop, email)[-1]
    text = letters.text(mail)
    assert "evil" not in text + mail["Subject"]
    assert "Prince of invites you to join the project Click today of Your parcel waits at now now" in " ".join(
        text.split()
    )
    assert "\n" not in mail["Subject"] and len(mail["Subject"]) < 80
    assert text.count("http") == 1


def test_a_class_in_five_minutes(shop):
    """Project, cap, last day, a pasted list, all who join, each with a call: far below the time of one lesson.

    CLASS=60 at night; what costs time is the same for each.
    """
    owner = people.customer(shop, "60")
    begin = time.monotonic()
    made = project(owner, "Class 7b", cap_month="60")
    owner.fill(f"/console/team/projects/{made}", f"/console/team/projects/{made}/keys-end", day=tomorrow(90))
    stamp = time.time_ns()
    students = [f"s{n:02d}.{stamp}@school.example" for n in range(CLASS)]
    pasted_list = "\n".join(f"Student {n:02d}\t{email}" for n, email in enumerate(students))
    page = owner.follow(invite(owner, pasted_list, made, with_key="on", cap_month="1"))
    assert f"{CLASS} people invited." in page.text
    invited_s = time.monotonic() - begin
    for email in students:
        _, page = join(shop, code(shop, email), email[:3])
        answer = owner.customer.__class__(shop, owner.customer.account, "", key_of(page)).chat("gpt-4o-mini", "Hi")
        assert answer.status == 200
    all_s = time.monotonic() - begin
    assert len(owner.page(f"/console/team/projects/{made}").rows(0)) >= 1
    print(f"\n{CLASS} invited in {invited_s:.1f} s, all have called after {all_s:.1f} s")
    assert all_s < 5 * CLASS


def test_lists_as_programs_write_them():
    guests, faults = pasted.read(
        'a@x.org, b@x.org\n"Lee, Ann" <c@x.org>\nWang\td@x.org\n王小明，e@x.org\nF F <f@x.org>; G@X.org Gee\n\nA@x.org\n'
    )
    assert [(guest.email, guest.name) for guest in guests] == [
        ("a@x.org", ""), ("b@x.org", ""), ("c@x.org", "Lee Ann"), ("d@x.org", "Wang"), ("e@x.org", "王小明"),
        ("f@x.org", "F F"), ("g@x.org", "Gee"),
    ]  # fmt: skip
    assert faults == []
    _, faults = pasted.read("nobody\na@x.org, b@x.org, Bee\nx@@y.org\nroot@localhost\n")
    assert [(fault.line, fault.part) for fault in faults] == [
        (1, "nobody"),
        (2, "Bee"),
        (3, "x@@y.org"),
        (4, "root@localhost"),
    ]


def test_the_page_after_joining_can_be_read_again(shop):
    owner = people.customer(shop, "5")
    invite(owner, email := fresh(), project(owner, "Again"), with_key="on")
    guest = Visitor(shop, "en")
    path = code(shop, email)
    here = guest.fill(path, name="Student", password=PASSWORD).headers["location"]
    assert key_of(guest.page(here)) == key_of(guest.page("/zh" + here))
    assert guest.page(path).status == 404  # the link itself is used up
    assert owner.page(here).status == 404


def test_a_form_that_is_refused_keeps_what_was_typed(shop):
    """The language and the theme then lead to the page of the form, for its own address takes forms only."""
    owner = people.customer(shop, "5")
    page = owner.fill("/console/team", "/console/team/projects", name="Typed", cap_day="lots", cap_month="7.25")
    assert page.status == 400 and 'value="lots"' in page.html and 'value="7.25"' in page.html
    assert 'href="/language/zh-hans?next=/console/team"' in page.html
    assert 'name="next" value="/console/team"' in page.html
    here = f"/console/team/projects/{project(owner, 'Once')}"
    page = owner.fill(here, f"{here}/cap", cap_day="x", rpm="9")
    assert 'value="9"' in page.html and f"next={here}" in page.html
