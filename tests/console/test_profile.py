"""Settings: who I am, my sessions, what I am told, my data, and the end of the account."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from kit import post
from kit.people import PASSWORD, customer, operator
from kit.visitor import Visitor

pytestmark = pytest.mark.slow


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture(autouse=True)
def _fresh(shop: Any) -> None:
    from django.core.cache import cache

    del shop
    cache.clear()


def test_name_language_and_time_zone(shop):
    from farebox.accounts.models import Person

    me = customer(shop)
    done = me.fill(
        "/console/settings", to="/console/settings/person", name="李明", language="zh-hans", time_zone="Asia/Shanghai"
    )
    assert (done.status, done.headers["location"]) == (302, "/zh/console/settings")
    row = Person.objects.get(id=me.person)
    assert (row.name, row.language, row.time_zone) == ("李明", "zh-hans", "Asia/Shanghai")
    assert me.cookies["lang"] == "zh-hans"
    back = me.fill("/zh/console/settings", to="/zh/console/settings/person", name="", language="en", time_zone="UTC")
    assert back.headers["location"] == "/console/settings"
    from farebox.kit.models import AuditEvent

    assert AuditEvent.objects.filter(verb="person.set_profile", object=me.person).count() == 2


@pytest.mark.parametrize(
    "wrong",
    [{"time_zone": "Mars/Base"}, {"language": "xx"}, {"name": "x" * 101}, {"name": "a\x07b"}, {"time_zone": ""}],
)
def test_what_can_not_be_is_said(shop, wrong):
    from farebox.accounts.models import Person

    me = customer(shop)
    page = me.fill(
        "/console/settings",
        to="/console/settings/person",
        **({"name": "A", "language": "", "time_zone": "UTC"} | wrong),
    )
    assert page.status == 400
    assert 'class="error"' in page.html
    assert Person.objects.get(id=me.person).name != wrong.get("name", "-")


def test_the_page_shows_each_session_and_ends_them(shop):
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions

    me = customer(shop)
    person = Person.objects.get(id=me.person)
    keys = [
        sessions.sign_in(person, area="console", methods=[], where=("203.0.113.9", f"Browser {n}")) for n in range(3)
    ]
    page = me.page("/console/settings")
    assert "Browser 0" in page.text
    assert "203.0.113.9" in page.text
    other = customer(shop)
    ended = f"/console/settings/sessions/{sessions.digest(keys[0])}"
    assert other.send(ended, {}).status == 404
    assert me.send("/console/settings/sessions/absent", {}).status == 404
    assert me.send(ended, {}).status == 302
    visitor = Visitor(shop)
    visitor.cookies["__Host-s"] = keys[0]
    assert visitor.get("/console/settings").status == 302
    visitor.cookies["__Host-s"] = keys[1]
    assert visitor.get("/console/settings").status == 200
    assert me.send("/console/settings/sessions", {}).status == 302
    visitor.cookies["__Host-s"] = keys[1]
    assert visitor.get("/console/settings").status == 302
    assert me.get("/console/settings").status == 200
    assert other.get("/console/settings").status == 200


POSTS = ("person", "notices", "sessions", "sessions/x")


@pytest.mark.parametrize("path", POSTS)
def test_nothing_changes_by_looking_and_strangers_are_asked_in(shop, path):
    assert customer(shop).get(f"/console/settings/{path}").status == 405
    assert Visitor(shop).send(f"/console/settings/{path}", {}).headers["location"].startswith("/account/sign-in?next=")
    assert customer(shop).send(f"/console/settings/{path}", {"csrfmiddlewaretoken": "x"}).status == 403


@pytest.mark.parametrize("path", ["", "/data.json", "/close"])
def test_pages_are_for_those_who_are_signed_in(shop, path):
    address = f"/console/settings{path}"
    asked = Visitor(shop).get(address)
    assert (asked.status, asked.headers["location"]) == (302, f"/account/sign-in?next={address}")
    clerk = operator(shop)
    clerk.cookies["__Host-s"] = clerk.cookies.pop("__Host-o")
    assert clerk.get(address).status == 302


def wishes(**changes: Any) -> dict[str, Any]:
    return {"low": "", "low_days": "", "webhook_url": "", "by_mail": "on"} | changes


def test_what_to_be_told_and_the_webhooks_secret_once(shop):
    from farebox.accounts.models import Notice

    me = customer(shop)
    given = wishes(low="5.50", low_days="3", prices="on", keys="on", webhook_url="https://example.com/hook")
    page = me.through("/console/settings", to="/console/settings/notices", **given)
    secret = re.search(r"whsec_[\w-]{32}", page.html)[0]
    row = Notice.objects.get(person=me.person)
    assert (row.low_micro, row.low_days, row.prices, row.keys, row.by_mail) == (5_500_000, 3, True, True, True)
    assert secret not in row.webhook_secret
    assert secret in me.page("/zh/console/settings?secret=1").html  # another language is no other secret
    assert secret not in me.page("/console/settings").html
    again = me.fill("/console/settings", to="/console/settings/notices", **given)
    assert again.status == 302
    changed = me.through(
        "/console/settings", to="/console/settings/notices", **(given | {"webhook_url": "https://example.com/2"})
    )
    assert "whsec_" in changed.html
    me.fill("/console/settings", to="/console/settings/notices", **wishes())
    row.refresh_from_db()
    assert (row.webhook_url, row.webhook_secret, row.low_micro) == ("", "", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": "much"}, {"low": "-1"}, {"low": "0"}, {"low_days": "0"}, {"low_days": "366"},
        {"webhook_url": "http://example.com/"}, {"webhook_url": "https://example.com:22/"},
        {"webhook_url": "https://a:b@example.com/"}, {"webhook_url": "x" * 501},
    ],
)  # fmt: skip
def test_impossible_wishes_are_said(shop, wrong):
    from farebox.accounts.models import Notice

    me = customer(shop)
    page = me.fill("/console/settings", to="/console/settings/notices", **wishes(**wrong))
    assert page.status == 400
    assert 'class="error"' in page.html
    row = Notice.objects.get(person=me.person)
    assert (row.low_micro, row.low_days, row.webhook_url) == (None, 3, ""), "it is as an owner's is from the beginning"


def told(shop: Any, me: Any) -> int:
    from farebox.accounts.models import Notice
    from farebox.jobs import notices

    row = Notice.objects.get(person=me.person)
    assert row.id in shop.read(notices.due)
    return int(shop.write(notices.tell, row.id, now_us()))


def test_a_low_balance_is_told_once_and_again_after_it_rose(shop):
    from farebox.ledger import lots

    me = customer(shop, "1")
    me.fill("/console/settings", to="/console/settings/notices", **wishes(low="5"))
    assert [told(shop, me) for _ in range(3)] == [1, 0, 0]
    said = post.newest(shop, me.email)
    assert "$1.00 left" in str(said["Subject"])
    facts: dict[str, Any] = {
        "account": me.customer.account, "currency": "USD", "ref": f"t{now_us()}", "expires_us": None, "now_us": now_us(),
        "note": "t", "requester": "t", "single_person": True,
    }  # fmt: skip
    shop.write(lots.grant, amount_micro=9_000_000, **facts)
    assert told(shop, me) == 0
    me.fill("/console/settings", to="/console/settings/notices", **wishes(low="50"))
    assert told(shop, me) == 1


def test_few_days_left_are_told_at_the_pace_of_the_last_seven(shop):
    from farebox.calls.models import DayTotal
    from farebox.jobs import notices

    me = customer(shop, "1")
    me.fill("/console/settings", to="/console/settings/notices", **wishes(low_days="3"))
    assert told(shop, me) == 0
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    row = DayTotal.objects.create(
        id=f"{me.customer.account}|{yesterday}|t", day=yesterday, account=me.customer.account, currency="USD",
        calls=1, charge_micro=notices.PACE_DAYS * 500_000, cost_micro=0, input_tokens=0, output_tokens=0,
    )  # fmt: skip
    try:
        assert told(shop, me) == 1
    finally:
        row.delete()
    assert "about 2 days" in post.newest(shop, me.email).get_content()


def test_what_happens_to_keys_is_told_to_who_may_see_them(shop):
    from farebox.accounts.keys import keys

    me = customer(shop)
    mate = customer(shop, of=me, role="member")
    for each in (me, mate):
        each.fill("/console/settings", to="/console/settings/notices", **wishes(keys="on"))
        assert told(shop, each) == 0
    shop.write(keys.revoke, me.customer.key_id, now_us=now_us(), actor="test")
    assert (told(shop, me), told(shop, mate)) == (1, 0)
    assert "was revoked" in post.newest(shop, me.email).get_content()
    assert (told(shop, me), told(shop, mate)) == (0, 0)


def test_what_is_left_is_told_to_owners_alone(shop):
    from farebox.accounts.models import Member, Notice
    from farebox.accounts.people import notices
    from farebox.kit.errors import CommandError

    me = customer(shop, "1")
    mate = customer(shop, of=me, role="member")
    page = mate.page("/console/settings")
    assert "Notifications" in page.text
    assert "Balance below" not in page.text
    assert 'name="low' not in page.html
    mate.fill("/console/settings", to="/console/settings/notices", **wishes(low="5", low_days="3", keys="on"))
    row = Notice.objects.get(person=mate.person)
    assert (row.low_micro, row.low_days, row.keys) == (None, None, True)
    given: dict[str, Any] = {"person": mate.person, "account": me.customer.account, "actor": "test"}
    with pytest.raises(CommandError, match="notice.owners"):
        shop.write(notices.put, wanted=notices.Wishes(low_micro=5_000_000), **given)

    me.fill("/console/settings", to="/console/settings/notices", **wishes(low="5"))
    other = customer(shop, of=me)
    Member.objects.filter(id=me.member).update(role="member")  # he was an owner when he asked
    assert told(shop, me) == 0
    assert not post.mails(shop, me.email)
    Member.objects.filter(id=me.member).update(role="owner")
    assert told(shop, me) == 1
    assert not post.mails(shop, other.email)


def test_a_notice_that_was_off_begins_when_it_is_on_again(shop, publish):
    from farebox.accounts.keys import keys

    me = customer(shop, "1")
    settings = {"path": "/console/settings", "to": "/console/settings/notices"}
    publish("usd", {"gpt-4o-mini": {"input": "0.15"}}, "USD")
    me.fill(**settings, **wishes(keys="on", prices="on", low="5"))
    assert told(shop, me) == 1  # the balance
    me.fill(**settings, **wishes(low="5"))
    shop.write(keys.revoke, me.customer.key_id, now_us=now_us(), actor="test")
    publish("usd", {"gpt-4o-mini": {"input": "0.16"}}, "USD")
    assert told(shop, me) == 0
    me.fill(**settings, **wishes(keys="on", prices="on", low="5"))
    assert told(shop, me) == 0
    publish("usd", {"gpt-4o-mini": {"input": "0.15"}}, "USD")
    assert told(shop, me) == 1


def test_keys_of_the_playground_come_and_go_unsaid(shop):
    from farebox.accounts.models import Project

    me = customer(shop)
    me.fill("/console/settings", to="/console/settings/notices", **wishes(keys="on"))
    assert told(shop, me) == 0
    assert me.send("/console/playground/key", {}).status == 200
    assert told(shop, me) == 0
    project = Project.objects.get(account=me.customer.account, name="default").id
    me.fill("/console/keys/new", name="Laptop", project=project)
    assert told(shop, me) == 1
    assert "Key Laptop was created" in post.newest(shop, me.email).get_content()


def test_another_list_is_told_once(shop, publish):
    from farebox.accounts import accounts

    me = customer(shop)
    me.fill("/console/settings", to="/console/settings/notices", **wishes(prices="on"))
    assert told(shop, me) == 0
    for price_list, before in (("school", "usd"), ("usd", "school")):
        publish("school", {"gpt-4": {"input": "10", "output": "20"}}, "USD")
        shop.write(accounts.set_price_list, me.customer.account, price_list=price_list, actor="test")
        many = len(post.mails(shop, me.email))
        assert [told(shop, me) for _ in range(2)] == [1, 0]
        text = " ".join(post.newest(shop, me.email, after=many).get_content().split())
        assert f"now uses the price list {price_list} instead of {before}." in text


def test_changed_prices_are_told_in_the_persons_language(shop, publish):
    from farebox.accounts.people import people

    me = customer(shop)
    shop.write(people.set_profile, me.person, name="", language="zh-hans", time_zone="UTC", actor="test")
    me.fill("/console/settings", to="/console/settings/notices", **wishes(prices="on"))
    assert told(shop, me) == 0
    publish("usd", {"gpt-4o-mini": {"input": "0.20"}}, "USD")
    assert told(shop, me) == 1
    assert told(shop, me) == 0
    assert "价格" in str(post.newest(shop, me.email)["Subject"])


def test_a_webhook_carries_what_it_is_about(shop):
    from farebox.kit.models import Outbox

    me = customer(shop, "1")
    me.fill(
        "/console/settings", to="/console/settings/notices",
        low="5", low_days="", webhook_url="https://hook.invalid/x",
    )  # fmt: skip
    before = set(Outbox.objects.values_list("id", flat=True))
    assert told(shop, me) == 1
    (row,) = Outbox.objects.exclude(id__in=before)
    assert row.kind == "webhook"
    assert not post.mails(shop, me.email)


def test_my_data_is_mine_whole_and_without_secrets(shop):
    me = customer(shop, "1")
    mate = customer(shop, of=me, role="member")
    call = me.customer.chat("gpt-4o-mini").call
    me.customer.receipt(call)
    answer = me.get("/console/settings/data.json")
    assert answer.status == 200
    assert "attachment" in answer.headers["content-disposition"]
    facts = answer.json
    assert facts["person"]["email"] == me.email
    assert facts["account"]["id"] == me.customer.account
    assert [each["id"] for each in facts["keys"]] == [me.customer.key_id]
    assert [each["id"] for each in facts["calls"]] == [call]
    assert me.customer.key not in answer.body.decode()
    assert "digest" not in answer.body.decode()
    own = mate.get("/console/settings/data.json").json
    assert (own["calls"], own["keys"], "account" in own) == ([], [], False)


def test_data_has_a_limit_a_minute(shop, monkeypatch):
    from farebox.calls import export

    monkeypatch.setattr(export, "_MINUTE_US", 3_600_000_000_000)  # so that no minute ends in the middle
    me = customer(shop)
    assert [me.get("/console/settings/data.json").status for _ in range(7)] == [200] * 6 + [429]


def test_closing_needs_the_owner_the_name_and_a_proof(shop):
    from farebox.accounts.models import Account, ApiKey

    me = customer(shop, "1")
    mate = customer(shop, of=me, role="member")
    name = Account.objects.get(id=me.customer.account).name
    assert mate.get("/console/settings/close").status == 404
    assert mate.send("/console/settings/close", {"name": name}).status == 404
    page = me.page("/console/settings/close")
    assert name in page.text
    assert "$1.00 is left" in page.text
    assert me.fill("/console/settings/close", name="something else").status == 400
    assert Account.objects.get(id=me.customer.account).state == "active"
    done = me.fill("/console/settings/close", name=name)
    assert (done.status, done.headers["location"]) == (302, "/")
    account = Account.objects.get(id=me.customer.account)
    assert account.state == "closed"
    assert account.closed_us
    assert not ApiKey.objects.filter(account=account, state="active").exists()
    shop.refresh()
    assert me.customer.chat("gpt-4o-mini").status in {401, 403}
    assert me.get("/console/settings").status == 302
    assert not shop.findings()


def test_closing_asks_for_a_fresh_proof(shop):
    from farebox.accounts.sign_in import sessions

    me = customer(shop, password=PASSWORD)
    store = sessions.SessionStore(me.cookies["__Host-s"])
    store["account_authentication_methods"] = [{"method": "password", "at": time.time() - 301}]
    store.save()
    assert me.get("/console/settings/close").headers["location"].startswith("/account/again")


def test_an_account_with_calls_under_way_is_not_closed(shop):
    from farebox.accounts.models import Account
    from farebox.ledger.models import LedgerAccount

    me = customer(shop, "1")
    LedgerAccount.objects.filter(id=me.customer.account).update(held_micro=1000)
    try:
        page = me.page("/console/settings/close")
        assert "Running calls hold" in page.text
        name = Account.objects.get(id=me.customer.account).name
        assert me.fill("/console/settings/close", name=name).status == 400
        assert Account.objects.get(id=me.customer.account).state == "active"
    finally:
        LedgerAccount.objects.filter(id=me.customer.account).update(held_micro=0)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
            "Chrome · Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge · Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari · iPhone"),
        ("something/1", "something/1"),
        ("", ""),
    ],
)
def test_browsers_by_name(agent, name):
    from farebox.look import agents

    assert agents.browser(agent) == name


def test_json_is_json_also_without_calls(shop):
    assert json.loads(customer(shop).get("/console/settings/data.json").body)["calls"] == []
