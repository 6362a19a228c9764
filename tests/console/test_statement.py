"""The statements over HTTP: for owners alone, adding up on the page itself, and saying who approved."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from kit import past, people

DAY = 86_400_000_000


def now_us() -> int:
    from farebox.kit import clock

    return clock.now_us()


def month_of(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m")


def micro(text: str) -> int:
    return round(float(text.replace(",", "").replace("−", "-").replace("+", "")) * 1_000_000)


@pytest.fixture(scope="module")
def owner(shop):
    """An account that opened 40 days ago, with calls, a refund and credit since."""
    from farebox.accounts.models import Account, Project
    from farebox.calls import log

    person = people.customer(shop, "5")
    account = person.customer.account
    Account.objects.filter(id=account).update(created_us=now_us() - 40 * DAY)
    project = Project.objects.get(account=account).id
    for ago in (35, 34, 3, 2, 1):
        call = shop.write(
            past.call, account, opened_us=now_us() - ago * DAY, project=project, key=person.customer.key_id,
            model="gpt-4" if ago % 2 else "gpt-4o-mini",
        )  # fmt: skip
    shop.write(log.give_back, call, account, now_us=now_us() - 1000)
    return person


@pytest.mark.slow
def test_every_month_adds_up_on_the_page(owner):
    months = owner.page("/console/statements").tables[0][1:]
    names = [row[0].split()[0] for row in months]
    assert names[0] == month_of(now_us())
    assert names[-1] == month_of(now_us() - 40 * DAY)
    for name, row in zip(names, months, strict=True):
        opening, booked, charged, closing = micro(row[1]), micro(row[2]), micro(row[4]), micro(row[5])
        assert opening + booked - charged == closing
        page = owner.page(f"/console/statements/{name}")
        assert page.status == 200
        balance = [micro(cells[1]) for cells in page.tables[0]]
        assert sum(balance[:-1]) == balance[-1] == closing
        assert balance[0] == opening
        assert "match this statement" in page.text
        assert "That is our mistake" not in page.text
        for table in page.tables[1:]:
            if table[-1][0] == "Total":
                assert sum(micro(cells[2]) for cells in table[1:-1]) == micro(table[-1][2]) == charged
                assert sum(int(cells[1]) for cells in table[1:-1]) == int(table[-1][1])
    assert micro(months[0][5]) == owner.customer.balance[0]
    assert [micro(after[1]) for after in months[:-1]] == [micro(before[5]) for before in months[1:]]


def test_it_says_what_came_and_who_approved(owner, option):
    page = owner.page(f"/console/statements/{month_of(now_us())}")
    assert "Granted credit ¹" in page.text
    assert "Call refund" in page.text
    assert re.search(r'href="/console/calls/call_\w{25}"', page.html)
    assert "without a second person's approval." in page.text
    option(single_person=False)
    page = owner.page(f"/console/statements/{month_of(now_us())}")
    assert "Entries marked with ¹ were booked by one person" in page.text


def test_months_that_are_none(owner):
    for name in ("2020-01", "2999-01", "2026-13", "2026-1", "now", "2026-11-01", "'"):
        assert owner.get(f"/console/statements/{name}").status == 404, name


@pytest.mark.slow
def test_owners_alone(shop, owner):
    this = f"/console/statements/{month_of(now_us())}"
    for path in ("/console/statements", this):
        assert owner.get(path).status == 200
        assert people.customer(shop, role="member", of=owner).get(path).status == 404
        assert people.customer(shop, role="admin", of=owner).get(path).status == 404
        assert people.Visitor(shop).get(path).status == 302
        assert owner.send(path, {}).status == 405
    stranger = people.customer(shop, "1").page(this)
    assert owner.customer.account not in stranger.html
    assert micro(stranger.tables[0][-1][1]) == 1_000_000


def test_a_statement_that_does_not_add_up_says_so(shop):
    from farebox.calls.models import DayTotal

    person = people.customer(shop, "1")
    shop.write(past.call, person.customer.account, opened_us=now_us() - 3_000_000)
    path = f"/console/statements/{month_of(now_us())}"
    assert "match this statement" in person.page(path).text
    totals = DayTotal.objects.filter(account=person.customer.account)
    before = totals.get().charge_micro
    totals.update(charge_micro=before + 5)
    try:
        assert "That is our mistake" in person.page(path).text
    finally:
        totals.update(charge_micro=before)


def test_in_chinese(owner):
    page = owner.page(f"/zh/console/statements/{month_of(now_us())}")
    assert "期初余额" in page.text
    assert "与本对账单一致" in page.text
