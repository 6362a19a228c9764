"""Manual money above a limit, and what happens between its proposal and its approval (I27, security 7)."""

from __future__ import annotations

import time

import pytest

from kit import people
from kit.overlap import overlapped

pytestmark = [pytest.mark.store, pytest.mark.usefixtures("two_people"), pytest.mark.slow]


@pytest.fixture
def limit(shop):
    """Above 2.00 two approvers."""
    put(shop, money_two_approvers_above_micro=2_000_000)
    yield
    put(shop, money_two_approvers_above_micro=10_000_000_000)


@pytest.fixture
def account(shop):
    return shop.account("5")


def put(shop, **values):
    from farebox.kit import settings

    shop.write(settings.put_all, values, actor="test")


def propose(who, account, **fields):
    """The address of the proposal; the answer itself where it was refused."""
    answer = who.fill(f"/office/customers/{account.account}/money", **({"kind": "credit", "reason": "a test"} | fields))
    return answer.headers["location"] if answer.status == 302 else answer


def approve(who, here):
    return who.follow(who.fill(here, f"{here}/approve"))


def row_of(here):
    from farebox.ledger.models import Adjustment

    return Adjustment.objects.get(id=here.rpartition("/")[2])


def join(shop, account, person):
    """The person gets a place in the account; an operator has none, so the role rests meanwhile."""
    from farebox.accounts.models import Person
    from farebox.accounts.people import people as persons

    role = Person.objects.get(id=person).operator_role
    shop.write(persons.set_operator_role, person, operator_role="", actor="test")
    member = shop.write(persons.add_member, account=account.account, person=person, role="owner",
                        now_us=time.time_ns() // 1000, actor="test")  # fmt: skip
    shop.write(persons.remove_member, member.id, now_us=time.time_ns() // 1000, actor="test")
    shop.write(persons.set_operator_role, person, operator_role=role, actor="test")


def again(shop, who, role="finance"):
    """The same person signed in anew."""
    from farebox.accounts.models import Person

    row = Person.objects.get(id=who.person)
    assert row.operator_role == role
    return people.signed_in(shop, row, "office", "password", "mfa")


def test_the_page_of_two_approvers(shop, account, limit):
    support, one, two = (people.operator(shop, role) for role in ("support", "finance", "finance"))
    assert "More than $2.00 needs two approvers" in support.page(f"/office/customers/{account.account}/money").text
    here = propose(support, account, amount="2.50")
    assert "Two other people must approve it" in support.page(here).text
    page = one.page(here)
    assert "0 of 2" in page.text
    assert "two people must approve it" in page.text
    assert "Approve, as the first of two" in page.text
    said = approve(one, here)
    assert "Approval recorded, 1 of 2" in said.text
    assert account.balance == (5_000_000, 0)
    assert "It is booked after a second approval" in said.text
    assert "Approve and book" not in said.text
    assert "A second person must approve it too" in one.follow(one.send(f"{here}/approve", {})).text
    page = two.page(here)
    assert "1 of 2" in page.text
    assert one.email in page.text
    assert "$7.50" in page.text  # the balance afterwards
    assert "1 of 2" in two.page("/office/money?state=proposed").text
    said = approve(two, here)
    assert "Approved and booked" in said.text
    assert "2 of 2" in said.text
    assert one.email in said.text
    assert two.email in said.text
    assert account.balance == (7_500_000, 0)


def test_it_is_said_in_chinese(shop, account, limit):
    support = people.operator(shop, "support")
    finance = people.operator(shop, "finance", language="zh-hans")
    here = propose(support, account, amount="2.50")
    assert "批准（两人中的第一人）" in finance.page(here).text
    assert "还须另一人批准后入账" in finance.follow(finance.fill(here, f"{here}/approve")).text
    again = finance.follow(finance.send(f"{here}/approve", {})).text
    assert "你已经批准过" in again
    assert "second person" not in again


def test_the_trail_names_both(shop, account, limit):
    from farebox.kit.models import AuditEvent

    support, one, two = (people.operator(shop, role) for role in ("support", "finance", "finance"))
    here = propose(support, account, amount="2.50")
    approve(one, here)
    approve(two, here)
    events = AuditEvent.objects.filter(object=account.account, verb__startswith="money.").order_by("id")
    assert [(event.verb, event.actor) for event in events] == [
        ("money.propose", f"operator:{support.person}"),
        ("money.approve_first", f"operator:{one.person}"),
        ("money.approve", f"operator:{two.person}"),
    ]


def test_up_to_the_limit_one_is_enough_and_0_is_off(shop, account, limit):
    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    assert "Approved and booked" in approve(finance, propose(support, account, amount="2")).text
    put(shop, money_two_approvers_above_micro=0)
    assert "Approved and booked" in approve(finance, propose(support, account, amount="50")).text
    assert "needs two approvers" not in support.page(f"/office/customers/{account.account}/money").text


def test_the_limit_of_the_day_of_the_proposal_stays(shop, account, limit):
    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, account, amount="3")
    put(shop, money_two_approvers_above_micro=0)
    assert "1 of 2" in approve(finance, here).text
    assert account.balance == (5_000_000, 0)


def test_the_first_approver_takes_it_back(shop, account, limit):
    support, one, two = (people.operator(shop, role) for role in ("support", "finance", "finance"))
    here = propose(support, account, amount="3")
    approve(one, here)
    assert "Closed without booking" in one.follow(one.fill(here, f"{here}/decline", note="a mistake")).text
    assert "already declined" in two.follow(two.send(f"{here}/approve", {})).text
    assert "1 of 2" in two.page(here).text
    assert account.balance == (5_000_000, 0)


def test_one_person_alone_is_recorded_above_the_limit_too(shop, account, limit):
    shop.options.single_person = True
    admin = people.operator(shop, "admin")
    here = propose(admin, account, amount="3")
    page = admin.page(here)
    assert "Approve and book" in page.text
    assert "lets one person propose and approve" in page.text
    said = approve(admin, here)
    assert "approved by one person" in said.text
    assert "2 of 2" not in said.text
    assert (row_of(here).single_person, account.balance) == (True, (8_000_000, 0))


def test_the_setting_in_the_office(shop):
    from farebox.kit import settings

    shop.options.single_person = True  # else it waits for another administrator (test_proposals.py)
    admin = people.operator(shop, "admin")
    values = {known.name: settings_text(shop, known) for known in settings.KNOWN}
    for typed, micro in (("2500.50", 2_500_500_000), ("", 0), ("0", 0), ("10000", 10_000_000_000)):
        answer = admin.fill("/office/settings", **(values | {"money_two_approvers_above_micro": typed}))
        assert answer.status == 302, answer.text[:400]
        assert shop.read(settings.values)["money_two_approvers_above_micro"] == micro
    # A limit of a day is not optional: nothing typed is no amount.
    assert admin.fill("/office/settings", **(values | {"money_day_finance_micro": ""})).status == 400


def settings_text(shop, known):
    from farebox.kit import settings
    from farebox.office.pages.settings import write

    return write(known, shop.read(settings.values)[known.name])


@pytest.mark.parametrize("verb", ["freeze", "bar"])
def test_frozen_and_barred_accounts_can_be_corrected(shop, account, verb):
    from farebox.accounts import accounts

    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, account, amount="1")
    shop.write(getattr(accounts, verb), account.account, actor="test")
    assert "Approved and booked" in approve(finance, here).text
    assert account.balance == (6_000_000, 0)


@pytest.mark.parametrize("kind", ["credit", "grant", "debit"])
def test_an_account_that_was_closed_meanwhile(shop, account, kind):
    from farebox.accounts import accounts

    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, account, kind=kind, amount="1")
    shop.write(accounts.close, account.account, leave_money=True, now_us=time.time_ns() // 1000, actor="test")
    assert "This account is closed" in approve(finance, here).text
    assert (row_of(here).state, account.balance) == ("proposed", (5_000_000, 0))
    assert "Closed without booking" in finance.follow(finance.fill(here, f"{here}/decline")).text


def test_a_write_off_of_an_account_that_was_let_in_again(shop, account):
    from farebox.accounts import accounts

    one, two = people.operator(shop, "finance"), people.operator(shop, "finance")
    shop.write(accounts.bar, account.account, actor="test")
    here = propose(one, account, kind="write_off", amount="1")
    shop.write(accounts.unbar, account.account, actor="test")
    assert "banned or closed account" in approve(two, here).text
    assert (row_of(here).state, account.balance) == ("proposed", (5_000_000, 0))


def test_closing_and_approving_at_once(shop, account):
    from farebox.accounts import accounts, adjusting
    from farebox.kit.errors import CommandError

    row = proposed(shop, account)
    facts = {"role": "finance", "actor": "operator:per_two", "now_us": time.time_ns() // 1000}
    said = overlapped(
        lambda tx: accounts.close(tx, account.account, leave_money=True, now_us=facts["now_us"], actor="test"),
        lambda tx: adjusting.approve(tx, row.id, **facts),
    )
    assert isinstance(said[1], CommandError), said
    assert said[1].is_("adjusting.closed")
    assert account.balance == (5_000_000, 0)


def test_approving_and_closing_at_once_leaves_no_money_behind(shop):
    from farebox.accounts import accounts, adjusting
    from farebox.accounts.models import Account
    from farebox.kit.errors import CommandError

    empty = shop.account("0")
    row = proposed(shop, empty)
    facts = {"role": "finance", "actor": "operator:per_two", "now_us": time.time_ns() // 1000}
    said = overlapped(
        lambda tx: adjusting.approve(tx, row.id, **facts),
        lambda tx: accounts.close(tx, empty.account, now_us=facts["now_us"], actor="test"),
    )
    assert isinstance(said[1], CommandError), said
    assert said[1].is_("account.money_left")
    assert Account.objects.get(id=empty.account).state == "active"
    assert empty.balance == (1_000_000, 0)


def proposed(shop, account, amount="1", actor="operator:per_one"):
    from farebox.accounts import adjusting

    return shop.write(adjusting.propose, account=account.account, kind="credit", amount=amount, reason="x",
                      role="finance", actor=actor, now_us=time.time_ns() // 1000)  # fmt: skip


@pytest.mark.parametrize("who", ["requester", "first", "second"])
def test_who_got_a_place_in_the_account_meanwhile(shop, account, limit, who):
    one, two, three = (people.operator(shop, "finance") for _ in range(3))
    here = propose(one, account, amount="3")
    approve(two, here)
    joined = {"requester": one, "first": two, "second": three}[who]
    join(shop, account, joined.person)
    last = again(shop, three) if who == "second" else three
    why = "You are a member of this account" if who == "second" else "is now a member of the account"
    assert why in approve(last, here).text
    assert (row_of(here).state, account.balance) == ("proposed", (5_000_000, 0))


def test_joining_and_approving_at_once(shop, account):
    from farebox.accounts import adjusting
    from farebox.accounts.people import people as persons
    from farebox.kit.errors import CommandError

    row = proposed(shop, account)
    person = people.person(shop)
    now_us = time.time_ns() // 1000
    said = overlapped(
        lambda tx: persons.add_member(
            tx, account=account.account, person=person.id, role="owner", now_us=now_us, actor="test"
        ),
        lambda tx: adjusting.approve(tx, row.id, role="finance", actor=f"operator:{person.id}", now_us=now_us),
    )
    assert isinstance(said[1], CommandError), said
    assert said[1].is_("adjusting.own_account")
    assert account.balance == (5_000_000, 0)


def test_two_approvals_at_once_that_pass_the_limit_of_the_day(shop, account):
    """On two accounts, so that nothing else makes one wait for the other."""
    from farebox.accounts import adjusting
    from farebox.kit.errors import CommandError

    other = shop.account("5")
    finance = people.person(shop, operator_role="finance")
    rows = [proposed(shop, each, amount="2") for each in (account, other)]
    put(shop, money_day_finance_micro=3_000_000)
    facts = {"role": "finance", "actor": f"operator:{finance.id}", "now_us": time.time_ns() // 1000}
    try:
        said = overlapped(
            lambda tx: adjusting.approve(tx, rows[0].id, **facts), lambda tx: adjusting.approve(tx, rows[1].id, **facts)
        )
    finally:
        put(shop, money_day_finance_micro=100_000_000_000)
    assert said[0].state == "booked"
    assert isinstance(said[1], CommandError), said
    assert said[1].is_("adjustment.approve_day_max")
    assert (account.balance, other.balance) == ((7_000_000, 0), (5_000_000, 0))


def test_a_proposal_that_lapsed_between_two_approvals(shop, account, limit):
    from farebox.ledger import adjustments

    one, two, three = (people.operator(shop, "finance") for _ in range(3))
    here = propose(one, account, amount="3")
    approve(two, here)
    row = row_of(here)
    type(row).objects.filter(id=row.id).update(proposed_us=row.proposed_us - adjustments.LAPSES_US)
    assert "lapsed" in three.page(here).text
    assert "already expired" in three.follow(three.send(f"{here}/approve", {})).text
    assert account.balance == (5_000_000, 0)


def test_a_refunded_call_no_longer_counts_for_the_caps_of_its_key(shop):
    from farebox.accounts.caps import Caps
    from farebox.accounts.keys import key_line
    from farebox.ledger.models import Hold

    me = shop.account("5", caps=Caps(day_micro=10**6, month_micro=10**6))
    call = me.chat("gpt-4o-mini", "Hello", max_tokens=16)
    # As much as one such call holds: after one no other is let in.
    limit_micro = Hold.objects.get(id=call.call).amount_micro
    shop.write(key_line.set_caps, me.key_id, {"day": limit_micro, "month": 10**6}, now_us=time.time_ns() // 1000,
               actor="test")  # fmt: skip
    shop.refresh()
    refused = me.chat("gpt-4o-mini", "Hello", max_tokens=16)
    assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")
    amount = f"{me.receipt(call)['charge_micro'] / 1_000_000:.6f}"
    here = propose(people.operator(shop, "support"), me, kind="refund", amount=amount, call=call.call)
    assert "Approved and booked" in approve(people.operator(shop, "finance"), here).text
    assert me.chat("gpt-4o-mini", "Hello", max_tokens=16).status == 200
    assert shop.findings() == []
