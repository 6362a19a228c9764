"""Manual money: proposed by one person, approved by another, booked exactly once, never below zero (I27)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit import people

pytestmark = [pytest.mark.store, pytest.mark.slow]
HOUR_US = 3_600_000_000


@pytest.fixture
def account(shop):
    return shop.account("5")


def propose(who, account, **fields):
    """The address of the proposal; the answer itself where it was refused."""
    answer = who.fill(f"/office/customers/{account.account}/money", **({"kind": "credit", "reason": "a test"} | fields))
    return answer.headers["location"] if answer.status == 302 else answer


def approve(who, here):
    return who.follow(who.fill(here, f"{here}/approve"))


def test_two_people(shop, account, two_people):
    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, account, kind="grant", amount="2.50")
    assert account.balance == (5_000_000, 0)
    page = finance.page(here)
    assert "$7.50" in page.text
    assert support.email in page.text
    assert support.send(f"{here}/approve", {}).status == 404
    assert "Approved and booked" in approve(finance, here).text
    assert account.balance == (7_500_000, 0)
    assert "already booked" in approve(finance, here).text
    assert account.balance == (7_500_000, 0)
    entry = entries(account)[-1]
    assert (entry.kind, entry.requester, entry.approver, entry.single_person) == (
        "grant", f"operator:{support.person}", f"operator:{finance.person}", False,
    )  # fmt: skip
    assert entry.ref == here.rpartition("/")[2]


def entries(account):
    from farebox.ledger.models import Entry

    return list(Entry.objects.filter(account=account.account).order_by("at_us", "id"))


def test_nobody_approves_his_own(shop, account, two_people):
    finance = people.operator(shop, "finance")
    here = propose(finance, account, amount="1")
    assert "Another person must approve it" in finance.page(here).text
    assert "Another person must approve it" in approve(finance, here).text
    # An administrator proposes, and approves nothing.
    admin = people.operator(shop, "admin")
    assert "Your role can't approve adjustments" in approve(admin, here).text
    assert account.balance == (5_000_000, 0)
    assert "Approved and booked" in approve(people.operator(shop, "finance"), here).text


def test_one_person_alone_is_recorded(shop, account):
    assert shop.options.single_person
    admin = people.operator(shop, "admin")
    here = propose(admin, account, amount="1")
    assert "lets one person propose and approve" in admin.page(here).text
    assert "approved by one person" in approve(admin, here).text
    entry = entries(account)[-1]
    assert (entry.single_person, entry.approver) == (True, None)
    assert "by one person" in admin.page(f"/office/customers/{account.account}").text
    support = people.operator(shop, "support")
    mine = propose(support, account, amount="1")
    assert support.send(f"{mine}/approve", {}).status == 404


def test_never_below_zero(shop, account):
    finance = people.operator(shop, "finance")
    here = propose(finance, account, kind="debit", amount="8")
    assert "Only the available part is taken" in finance.page(here).text
    assert "−$5.00" in approve(finance, here).text
    assert account.balance == (0, 0)
    again = propose(finance, account, kind="debit", amount="1")
    assert "no available balance" in approve(finance, again).text
    assert "pending approval" in finance.page(again).text
    assert "withdrawn" in finance.follow(finance.fill(again, f"{again}/decline", note="empty")).text


def test_what_is_held_is_not_taken(shop, account):
    """A debit takes what is available, not what a call has set aside."""
    from farebox.accounts import adjusting
    from farebox.kit import clock
    from farebox.ledger import holds
    from farebox.ledger.models import Hold

    now_us = clock.now_us()
    epoch = shop.server.ports.shop.epoch
    purses = [holds.Purse(account.account)]
    shop.write(holds.place, hold="call_held_for_test", purses=purses, currency="USD", want_micro=4_000_000,
               fit=lambda available: available, epoch=epoch, now_us=now_us)  # fmt: skip
    facts = {"role": "finance", "now_us": now_us}
    row = shop.write(adjusting.propose, account=account.account, kind="debit", amount="5", reason="x",
                     actor="operator:per_one", **facts)  # fmt: skip
    done = shop.write(adjusting.approve, row.id, actor="operator:per_two", **facts)
    assert done.booked_micro == 1_000_000
    assert account.balance == (4_000_000, 4_000_000)
    shop.write(holds.settle, hold="call_held_for_test", purses=purses, currency="USD", charge_micro=0, now_us=now_us)
    Hold.objects.filter(id="call_held_for_test").delete()  # it belongs to no call of the record


def test_two_approvals_at_once_book_once(shop, account):
    from farebox.accounts import adjusting
    from farebox.kit import clock, db
    from farebox.kit.errors import CommandError

    row = shop.write(adjusting.propose, account=account.account, kind="credit", amount="1", reason="x",
                     role="finance", actor="operator:per_one", now_us=clock.now_us())  # fmt: skip
    said: list[str] = []
    begin = threading.Barrier(2)

    def run(person):
        from django.db import connection

        begin.wait()
        try:
            db.write(adjusting.approve, row.id, role="finance", actor=f"operator:{person}", now_us=clock.now_us())
            said.append("booked")
        except CommandError:
            said.append("late")
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(person,)) for person in ("per_two", "per_three")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(said) == ["booked", "late"]
    assert account.balance == (6_000_000, 0)


def test_it_lapses_after_three_days(shop, account, two_people):
    from farebox.accounts.models import Account
    from farebox.kit import clock
    from farebox.ledger import adjustments
    from farebox.ledger.models import Adjustment

    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, account, amount="1")
    old_us = clock.now_us() - 72 * HOUR_US
    Adjustment.objects.filter(id=here.rpartition("/")[2]).update(proposed_us=old_us)
    assert "lapsed" in finance.page(here).text
    assert "already expired" in approve(finance, here).text
    assert "already expired" in finance.follow(finance.fill(here, f"{here}/decline")).text
    listed = finance.page("/office/money?state=lapsed")
    assert here.rpartition("/")[2] in listed.html
    assert Account.objects.get(id=account.account).name in listed.column(1)
    assert here.rpartition("/")[2] not in finance.page("/office/money?state=proposed").html
    assert adjustments.LAPSES_US == 72 * HOUR_US
    assert account.balance == (5_000_000, 0)


def test_a_refund_of_a_call(shop, account):
    finance = people.operator(shop, "finance")
    call = account.chat("gpt-4o-mini", "Hello")
    charge_micro = account.receipt(call)["charge_micro"]
    before = account.balance[0]
    much = propose(finance, account, kind="refund", amount="1", call=call.call)
    assert "was charged" in much.text
    assert "no charge for that call" in propose(finance, account, kind="refund", amount="1").text
    other = shop.account("1")
    assert "no charge for that call" in propose(finance, other, kind="refund", amount="0.000001", call=call.call).text
    text = f"{charge_micro / 1_000_000:.6f}"
    here = propose(finance, account, kind="refund", amount=text, call=call.call)
    assert "was charged" in propose(finance, account, kind="refund", amount=text, call=call.call).text
    assert "Approved and booked" in approve(finance, here).text
    assert account.balance[0] == before + charge_micro


def test_a_refund_by_hand_is_seen_wherever_the_charge_is(shop):
    owner, finance = people.customer(shop, "5"), people.operator(shop, "finance")
    admin = people.operator(shop)
    account = owner.customer
    answer = account.chat("gpt-4o-mini", "Hello")
    charge_micro = account.receipt(answer)["charge_micro"]

    def margin(by="day"):
        import time

        from farebox.calls import margins

        day = time.strftime("%Y-%m-%d", time.gmtime())
        return margins.total(shop.read(margins.read, by, from_day=day, until_day=day, rates={})["USD"].values())

    before = {by: margin(by).charge_micro for by in ("day", "account", "model", "channel")}
    part_micro = charge_micro - 1
    here = propose(finance, account, kind="refund", amount=f"{part_micro / 1_000_000:.6f}", call=answer.call)
    approve(finance, here)
    path = f"/console/calls/{answer.call}"
    text = owner.page(path).text
    assert "partly refunded" in text and "$0.000001" in text
    assert f"Refunded −{part_micro / 1_000_000:.6f}" in text
    assert "部分退款" in owner.page("/zh" + path).text
    assert "partly refunded" in owner.page("/console/calls").text
    assert account.receipt(answer)["charge"]["refunded_micro"] == part_micro
    assert f'"refunded_micro":{part_micro}' in owner.get("/console/calls.json").body.decode().replace(" ", "")
    assert {by: before[by] - margin(by).charge_micro for by in before} == dict.fromkeys(before, part_micro)
    assert "refunded" in admin.page("/office/").text
    assert "Refunded" in admin.page(f"/office/customers/{account.account}/calls/{answer.call}").text
    assert "refunded" in admin.page(f"/office/customers/{account.account}/calls").text


def test_a_refund_by_hand_is_off_every_sum_that_a_customer_sees(shop):
    owner, finance = people.customer(shop, "5"), people.operator(shop, "finance")
    account = owner.customer
    first, second = (account.chat("gpt-4o-mini", "Hello") for _ in range(2))
    charges = [account.receipt(each)["charge_micro"] for each in (first, second)]
    part_micro = charges[0] - 1

    def sums():
        """What each page and each answer of the API says was spent, in micro-units."""
        bill = account.get("/v1/dashboard/billing/usage").json["total_usage"]
        pages = {
            name: owner.page(path).html
            for name, path in (
                ("usage", "/console/usage"), ("hours", "/console/usage?span=24h"), ("keys", "/console/keys"),
                ("key", f"/console/keys/{account.key_id}"), ("home", "/console/"), ("team", "/console/team"),
                ("projects", "/console/usage?by=project"), ("hourly keys", "/console/usage?span=24h&by=key"),
            )
        }  # fmt: skip
        return round(bill * 10_000), pages

    whole_micro, left_micro = sum(charges), sum(charges) - part_micro
    before, pages = sums()
    assert before == whole_micro
    limit = account.get("/v1/dashboard/billing/subscription").json["hard_limit_usd"]
    spelled = [f"{micro / 1_000_000:.6f}" for micro in (whole_micro, left_micro)]
    shown = {name for name, html in pages.items() if spelled[0] in html}
    assert {"usage", "hours"} <= shown, shown
    here = propose(finance, account, kind="refund", amount=f"{part_micro / 1_000_000:.6f}", call=first.call)
    approve(finance, here)
    after, pages = sums()
    assert after == left_micro
    assert account.get("/v1/dashboard/billing/subscription").json["hard_limit_usd"] == limit
    assert [name for name, html in pages.items() if spelled[0] in html] == []
    assert {name for name, html in pages.items() if spelled[1] in html} >= shown


def test_the_docs_name_every_field_of_an_answer_about_ones_own(shop, account):
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    call = account.chat("gpt-4o-mini", "Hello").call
    free = {"prices", "usage", "reported", "diagnostics"}  # their names are classes, models and upstreams' words

    def names(found):
        for each in found if isinstance(found, list) else [found]:
            for name, value in each.items() if isinstance(each, dict) else ():
                yield name
                if name not in free:
                    yield from names(value)

    paths = ("balance", "calls", f"calls/{call}", "dashboard/billing/usage", "dashboard/billing/subscription")
    found = {name for path in paths for name in names(account.get(f"/v1/{path}").json)} - {"object"}
    assert "refunded_micro" in found
    assert [name for name in sorted(found) if f"`{name}`" not in text] == []


def test_limits_a_day(shop, account):
    from farebox.kit import settings

    shop.write(settings.put_all, {"money_day_support_micro": 3_000_000}, actor="test")
    support = people.operator(shop, "support")
    here = propose(support, account, amount="2")
    assert "more than you may propose today" in propose(support, account, amount="2").text
    support.fill(here, f"{here}/decline")  # what came to nothing does not count
    assert isinstance(propose(support, account, amount="2"), str)
    assert isinstance(propose(people.operator(shop, "support"), account, amount="2"), str)


def test_own_accounts_are_barred(shop, account):
    """Who has, or once had, a place in an account moves no money on it."""
    from farebox.accounts.models import Account
    from farebox.accounts.people import people as persons
    from farebox.kit import clock

    row = people.person(shop)
    member = shop.write(persons.add_member, account=account.account, person=row.id, role="owner",
                        now_us=clock.now_us(), actor="test")  # fmt: skip
    shop.write(persons.remove_member, member.id, now_us=clock.now_us(), actor="test")
    shop.write(persons.set_operator_role, row.id, operator_role="finance", actor="test")
    row.operator_role = "finance"
    me = people.signed_in(shop, row, "office", "password", "mfa")
    assert "You are a member of this account" in propose(me, account, amount="1").text
    here = propose(people.operator(shop, "support"), account, amount="1")
    assert "You are a member of this account" in approve(me, here).text
    assert Account.objects.get(id=account.account).state == "active"


def test_write_off(shop, account):
    from farebox.accounts import accounts
    from farebox.kit import clock

    finance = people.operator(shop, "finance")
    assert "banned or closed" in propose(finance, account, kind="write_off", amount="5").text
    shop.write(accounts.close, account.account, leave_money=True, now_us=clock.now_us(), actor="test")
    assert "This account is closed" in propose(finance, account, amount="5").text
    assert "−$5.00" in approve(finance, propose(finance, account, kind="write_off", amount="9")).text
    assert account.balance == (0, 0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"amount": "0"}, "must be greater than 0"),
        ({"amount": "-3"}, "must be greater than 0"),
        ({"amount": "1.0000001"}, "six decimal places"),
        ({"amount": "much"}, "not an amount"),
        ({"amount": "1", "reason": ""}, "Give a reason in one line"),
        ({"amount": "1", "kind": "gift"}, "The kind of an adjustment must be one of"),
        ({"amount": "1", "last_day": "2099-01-01"}, "Only granted credit can expire"),
        ({"amount": "1", "kind": "grant", "last_day": "2001-01-01"}, "in the future"),
        ({"amount": "1", "kind": "grant", "last_day": "2099-02-30"}, "Give the last day as a date such as"),
    ],
)
def test_bad_input(shop, account, fields, why):
    page = propose(people.operator(shop, "finance"), account, **fields)
    assert page.status == 400
    assert why in page.text


def test_a_grant_lasts_through_its_last_day_in_the_accounts_zone(shop, account):
    from farebox.accounts.models import Account
    from farebox.ledger.models import Adjustment

    Account.objects.filter(id=account.account).update(time_zone="Asia/Shanghai")
    finance = people.operator(shop, "finance")
    here = propose(finance, account, kind="grant", amount="1", last_day="2099-01-31")
    assert "Last valid day 2099-01-31" in finance.page(here).text
    end = datetime.fromtimestamp(Adjustment.objects.latest("proposed_us").expires_us / 1_000_000, UTC)
    assert end.isoformat() == "2099-01-31T16:00:00+00:00"
    Account.objects.filter(id=account.account).update(time_zone="UTC")


def test_a_fresh_proof_is_needed(shop, account):
    import time

    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions

    finance = people.operator(shop, "finance")
    here = propose(finance, account, amount="1")
    proofs = [{"method": each, "at": time.time() - 301} for each in ("password", "mfa")]
    finance.cookies["__Host-o"] = sessions.sign_in(Person.objects.get(id=finance.person), area="office", methods=proofs)
    answer = finance.fill(here, f"{here}/approve")
    assert answer.headers["location"].startswith("/office/step-up?next=")
    assert account.balance == (5_000_000, 0)


def test_roles_and_absent_things(shop, account):
    auditor = people.operator(shop, "auditor")
    here = propose(people.operator(shop, "support"), account, amount="1")
    assert auditor.page(here).status == 200
    assert auditor.page(f"/office/customers/{account.account}/money").status == 404
    assert auditor.send(f"{here}/approve", {}).status == 404
    assert auditor.send(f"{here}/decline", {}).status == 404
    other = people.operator(shop, "support")
    assert "can't decline adjustments" in other.follow(other.fill(here, f"{here}/decline")).text
    assert auditor.page("/office/money/adj_none").status == 404
    finance = people.operator(shop, "finance")
    assert finance.send("/office/money/adj_none/approve", {}).status == 404
    assert finance.page("/office/customers/acc_none/money").status == 404
    # Sent to the approval after a proof: it leads back to the page, and moves nothing.
    assert finance.page(f"{here}/approve").headers["location"] == here
