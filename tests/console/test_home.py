"""Console home: balance, pace, spend, alerts, keys at a glance, first steps; each for whom it concerns."""

from __future__ import annotations

import re
import time

import pytest

from kit import minting, past, people

pytestmark = pytest.mark.slow

DAY = 86_400_000_000


def now_us() -> int:
    from farebox.kit import clock

    return clock.now_us()


def project_of(person) -> str:
    from farebox.accounts.models import Project

    return Project.objects.get(account=person.customer.account, name="default").id


def spend(shop, person, days_ago: int, micro: int, **facts) -> str:
    """A call that many whole UTC days ago (today: just now) with this charge."""
    at_us = now_us() // DAY * DAY - days_ago * DAY + 3_600_000_000 if days_ago else now_us() - 2_000_000
    own = {"key": person.customer.key_id, "project": project_of(person)} | facts
    return shop.write(
        past.call,
        person.customer.account,
        opened_us=at_us,
        usage={"output": micro},
        prices={"output": 1_000_000},
        **own,
    )


def key(shop, project: str, name: str, **facts) -> str:

    given = {"models": (), "addresses": (), "expires_us": None, "member": None}
    row, _ = shop.write(minting.issue, project=project, name=name, now_us=now_us(), actor="test", **given | facts)
    return row.id


def test_the_page_begins_at_the_sign_in(shop):
    answer = people.Visitor(shop).get("/console/")
    assert answer.status == 302
    assert answer.headers["location"].endswith("?next=/console/")
    assert people.customer(shop).send("/console/", {}).status == 405


def test_operators_and_persons_without_a_place_have_no_home(shop):
    stranger = people.signed_in(shop, people.person(shop), "console", "password")
    assert stranger.get("/console/").status in {302, 404}
    operator = people.signed_in(shop, people.person(shop, operator_role="admin"), "console", "password")
    assert operator.get("/console/").status == 404


def test_the_first_steps_tick_themselves(shop):
    person = people.customer(shop, "0")
    from farebox.ledger import lots

    def open_steps() -> list[str]:
        html = person.page("/console/").html
        steps = re.search(r'<ol class="checklist">(.*?)</ol>', html, re.DOTALL)
        return re.findall(r'<li><svg.*?<a href="[^"]+">([^<]+)</a>', steps[1], re.DOTALL) if steps else []

    assert open_steps() == ["Add credit", "Make your first call", "Check a receipt"]
    shop.write(
        lots.grant, account=person.customer.account, currency="USD", amount_micro=10**6, ref="x", expires_us=None,
        now_us=now_us(), note="", requester="test", single_person=True,
    )  # fmt: skip
    assert open_steps() == ["Make your first call", "Check a receipt"]
    call = spend(shop, person, 0, 100)
    assert open_steps() == ["Check a receipt"]
    assert person.get(f"/console/calls/{call}").status == 200
    assert "First steps" not in person.page("/console/").text


def test_balance_pace_and_spend(shop):
    person = people.customer(shop, "10")
    assert "Estimated to last" not in person.page("/console/").text
    for days_ago in range(1, 8):
        spend(shop, person, days_ago, 100_000 if days_ago == 1 else 200_000)
    spend(shop, person, 0, 30_000)
    spend(shop, person, 12, 500_000)
    text = person.page("/console/").text
    left_micro = 10_000_000 - 1_300_000 - 30_000 - 500_000
    assert f"Available ${left_micro / 1e6:.2f}" in text
    pace_micro = 1_300_000 // 7
    assert f"Estimated to last {left_micro // pace_micro} days" in text
    assert f"at ${pace_micro / 1e6:.6f} per day" in text
    assert "Spent today $0.03 1 call" in text
    assert "Spent yesterday $0.10" in text
    from datetime import UTC, datetime, timedelta

    today = datetime.fromtimestamp(now_us() / 1e6, UTC)
    charges = {0: 30_000, 1: 100_000, **dict.fromkeys(range(2, 8), 200_000), 12: 500_000}
    month = sum(micro for ago, micro in charges.items() if (today - timedelta(days=ago)).month == today.month)
    assert f"Spent this month ${month / 1e6:.2f}" in text
    table = person.page("/console/").tables[0]
    assert len(table) == 31
    assert table[1] == [f"{today:%Y-%m-%d}", "1", "0.030000"]
    assert table[13][2] == "0.500000"


def test_the_pace_of_a_young_account_is_that_of_its_days(shop):
    person = people.customer(shop, "10")
    spend(shop, person, 2, 400_000)
    assert (
        "at $0.20 per day" in person.page("/console/").text
    )  # two whole days since the first charge, one of them idle


def test_credit_that_expires_is_shown_with_its_last_day(shop):
    """On Home, on the statement, and by a mail a week before; once."""
    from farebox.accounts.models import Notice
    from farebox.accounts.people import notices
    from farebox.jobs import notices as telling
    from farebox.ledger import lots
    from kit import post

    person = people.customer(shop, "3")
    end_us = (now_us() // DAY + 6) * DAY
    facts = {
        "account": person.customer.account,
        "currency": "USD",
        "now_us": now_us(),
        "note": "trial credit",
        "requester": "t",
        "single_person": True,
    }
    shop.write(lots.grant, amount_micro=2_000_000, ref=f"t{end_us}", expires_us=end_us, **facts)
    last = time.strftime("%Y-%m-%d", time.gmtime(end_us // 1_000_000 - 1))
    assert f"$2.00 of it is granted credit, valid until {last}" in person.page("/console/").text
    assert "其中 $2.00 为赠送额度" in person.page("/zh/console/").text
    month = time.strftime("%Y-%m", time.gmtime())
    ended = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end_us // 1_000_000))
    assert f"the unused part expires on {ended}" in person.page(f"/console/statements/{month}").text
    for who, path in (
        (person, f"/zh/console/statements/{month}"),
        (people.operator(shop), f"/zh/office/customers/{person.customer.account}"),
    ):
        assert "试用额度" in who.page(path).text
        assert "trial credit" not in who.page(path).text
    shop.write(notices.begin, person=person.person, account=person.customer.account, now_us=now_us())
    row = Notice.objects.get(person=person.person)
    assert [shop.write(telling.tell, row.id, now_us()) for _ in range(3)] == [1, 0, 0]
    assert "$2.00 expires on" in str(post.newest(shop, person.email)["Subject"])
    # What was spent is left of no lot, and what never expires is not spoken of.
    spend(shop, person, 0, 1_500_000)
    assert "granted credit" in person.page("/console/").text
    assert "granted credit" not in people.customer(shop, "3").page("/console/").text


def test_alerts(shop):
    from farebox.accounts import accounts
    from farebox.ledger.models import LedgerAccount

    person = people.customer(shop, "1")
    assert 'class="flash' not in person.page("/console/").html
    spend(shop, person, 1, 900_000)
    assert "Low balance" in person.page("/console/").text
    key(shop, project_of(person), "short-lived", expires_us=now_us() + 2 * DAY)
    key(shop, project_of(person), "long-lived", expires_us=now_us() + 20 * DAY)
    text = person.page("/console/").text
    assert "The key “short-lived” expires within a week." in text
    assert "“long-lived” expires" not in text
    spend(shop, person, 0, 100_000, hold_micro=100_000)
    text = person.page("/console/").text
    assert "The balance is used up." in text
    assert "Low balance" not in text
    shop.write(accounts.freeze, person.customer.account, actor="test")
    assert "This account is frozen" in person.page("/console/").text
    shop.write(accounts.unfreeze, person.customer.account, actor="test")
    LedgerAccount.objects.filter(id=person.customer.account).update(frozen=True)
    assert "The balance is being verified" in person.page("/console/").text
    LedgerAccount.objects.filter(id=person.customer.account).update(frozen=False)


def test_keys_of_the_playground_are_nobodys_keys(shop):
    from farebox.accounts.keys import playground
    from farebox.accounts.models import ApiKey

    person = people.customer(shop, "1")
    ApiKey.objects.filter(account=person.customer.account).update(kind="playground")  # an account without a key
    facts = {"session": "s1", "member": person.member, "now_us": now_us(), "actor": "test"}
    minted, _ = shop.write(playground.mint, **facts)
    spend(shop, person, 0, 1_000, key=minted.id, member=person.member)
    page = person.page("/console/")
    steps = re.search(r'<ol class="checklist">(.*?)</ol>', page.html, re.DOTALL)[1]
    assert re.findall(r'<li><svg.*?<a href="[^"]+">([^<]+)</a>', steps, re.DOTALL) == [
        "Create a key",
        "Check a receipt",
    ]
    assert "Playground” expires" not in page.text
    assert minted.id not in page.html
    key(shop, project_of(person), "own")
    page = person.page("/console/")
    assert [row[0].split()[0] for row in page.tables[-1][1:]] == ["own"]


def test_announcements_in_both_languages(shop):
    from farebox.kit import announcements

    person = people.customer(shop)
    made = shop.write(
        announcements.add, en="We move <b>tonight</b>.", zh="今晚搬家。", from_us=now_us() - DAY, until_us=None,
        now_us=now_us(), actor="test",
    )  # fmt: skip
    assert "We move &lt;b&gt;tonight&lt;/b&gt;." in person.page("/console/").html
    assert "今晚搬家。" in person.page("/zh/console/").text
    shop.write(announcements.end, made["id"], actor="test")
    assert "今晚搬家。" not in person.page("/zh/console/").text


def test_members_and_admins_see_their_own_figures(shop):
    owner = people.customer(shop, "10")
    project = project_of(owner)
    member = people.customer(shop, role="member", of=owner)
    admin = people.customer(shop, role="admin", of=owner)
    key(shop, project, "mine", member=member.member)
    from farebox.accounts.models import ApiKey
    from farebox.accounts.people import people as persons

    mine = ApiKey.objects.get(account=owner.customer.account, name="mine").id
    spend(shop, owner, 0, 70_000, key=mine, member=member.member)
    spend(shop, owner, 0, 5_000)
    text = member.page("/console/").text
    assert "Your spend this month $0.07" in text
    assert "Available" not in text
    assert "Statements" not in text
    assert [row[0].split()[0] for row in member.page("/console/").tables[-1][1:]] == ["mine"]
    assert "Your project this month $0.075" in admin.page("/console/").text
    shop.write(persons.set_caps, member.member, {"month": 1_000_000}, now_us=now_us(), actor="test")
    assert "Cap left this month" in member.page("/console/").text
    shop.write(persons.set_caps, member.member, {"day": 500_000, "ever": 9_000_000}, now_us=now_us(), actor="test")
    assert "Cap left today $0.50 The cap is $0.50." in member.page("/console/").text
    from farebox.accounts import projects

    shop.write(projects.set_caps, project, {"ever": 200_000}, now_us=now_us(), actor="test")  # it binds more tightly
    assert "Cap left $0.20 The cap is $0.20." in member.page("/console/").text
    assert "Cap left $0.20" in admin.page("/console/").text


def test_it_is_quick(shop):
    import time

    person = people.customer(shop, "10")
    for days_ago in range(20):
        spend(shop, person, days_ago, 10_000)
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        assert person.get("/console/").status == 200
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.25  # 20 ms on an idle machine


@pytest.mark.parametrize("path", ["/console/", "/console/usage", "/console/calls", "/console/statements"])
def test_it_says_no_english_on_chinese_pages(shop, path):
    person = people.customer(shop, "10")
    spend(shop, person, 0, 10_000)
    text = person.page("/zh" + path).text
    for word in ("Spent", "Charged", "Calls", "Period", "Balance", "Month", "Outcome"):
        assert word not in text, word


def test_who_needs_money_is_told_how(shop):
    from farebox.kit import settings

    poor = people.customer(shop, "0")
    page = poor.page("/console/")
    assert "Add credit" in page.text and poor.customer.account in page.text
    before = shop.read(settings.values)["support_contact"]
    shop.write(settings.put_all, {"support_contact": "help@shop.example"}, actor="test")
    assert "Contact help@shop.example with your account ID:" in poor.page("/console/").text
    shop.write(settings.put_all, {"support_contact": before}, actor="test")
    member = people.customer(shop, role="member", of=poor, project=project_of(poor))
    assert "Ask the owner of the account to add credit." in member.page("/console/").text
    assert "充值" in poor.page("/zh/console/").text
    assert "your account ID" not in people.customer(shop, "1").page("/console/").text
