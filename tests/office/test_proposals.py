"""What gives money or bounds it takes two people, as manual money does: settings, and the price list of an account."""

from __future__ import annotations

import re

import pytest

from kit import people
from office.test_settings import form

pytestmark = [pytest.mark.store, pytest.mark.slow]

LAPSES_US = 72 * 3600 * 1_000_000


@pytest.fixture(scope="module")
def first(shop):
    return people.operator(shop, "admin")


@pytest.fixture(scope="module")
def second(shop):
    return people.operator(shop, "admin")


@pytest.fixture(autouse=True)
def _nothing_is_left(shop):
    yield
    from farebox.kit import settings

    shop.write(settings.put_all, {"trial_micro": {}, "trial_days": 30, "price_warn_factor": "1.5"}, actor="test")


def values(shop):
    from farebox.kit import settings

    return dict(shop.read(settings.values))


def path_of(answer):
    found = answer.headers["location"]
    assert re.fullmatch(r"/office/proposals/prp_\w+", found), found
    return found


def decide(who, path, verb="approve"):
    return who.follow(who.fill(path, f"{path}/{verb}")).text


def row(path):
    from farebox.kit.models import Proposal

    return Proposal.objects.get(id=path.rpartition("/")[2])


def test_the_attack_one_administrator_makes_trial_credit(shop, first, second, two_people):
    """Alone he set it to 1,000 dollars, let a friend sign up, and set it back: now it waits, and the friend has nothing."""
    from farebox.accounts import trial
    from farebox.accounts.models import Account
    from farebox.kit import clock
    from farebox.kit.models import AuditEvent

    path = path_of(form(first, trial_micro="USD 1000", shop_name="At once"))
    assert values(shop)["trial_micro"] == {}
    assert values(shop)["shop_name"] == "At once"  # what gives no money needs nobody else
    friend = Account.objects.get(id=shop.account("0").account)
    facts = {"account": friend, "email": "friend@example.com", "address": "203.0.113.9", "now_us": clock.now_us()}
    assert shop.write(trial.grant, **facts) == 0
    page = first.page(path)
    assert page.tables[0][1] == ["Trial credit", "not set", "USD 1000.00"]
    assert "Approve" not in page.text
    assert first.send(f"{path}/approve", {}).status == 302
    assert values(shop)["trial_micro"] == {}
    assert row(path).state == "proposed"
    assert "Approve" in second.page(path).text
    assert "Approved and in force" in decide(second, path)
    assert values(shop)["trial_micro"] == {"USD": 1_000_000_000}
    assert "already approved" in second.follow(second.send(f"{path}/approve", {})).text
    done = row(path)
    assert (done.state, done.single_person, done.requester) == ("approved", False, f"operator:{first.person}")
    verbs = AuditEvent.objects.filter(object="settings").order_by("id").values_list("verb", "actor")
    assert [("proposal.make", f"operator:{first.person}"), ("proposal.approve", f"operator:{second.person}")] == [
        each for each in verbs if first.person in each[1] or second.person in each[1]
    ][-2:]
    form(first, shop_name="")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trial_days", "3650"),
        ("money_day_support_micro", "1000000"),
        ("money_day_admin_micro", "1000000"),
        ("money_two_approvers_above_micro", "0"),
        ("price_warn_factor", "999"),
        ("signup_currency", "USD"),
        ("public_price_list", "usd"),
    ],
)
def test_every_setting_that_gives_or_bounds_money_waits(shop, first, two_people, name, value):
    before = values(shop)
    path = path_of(form(first, **{name: value}))
    assert values(shop) == before
    assert decide(first, path, "decline").count("withdrawn")
    assert values(shop) == before


def test_it_drops_where_it_was_changed_meanwhile_and_lapses_after_72_hours(shop, first, second, two_people):
    from farebox.kit import settings
    from farebox.kit.models import Proposal

    path = path_of(form(first, trial_micro="USD 5"))
    shop.write(settings.put_all, {"trial_micro": {"USD": 1}}, actor="cli")
    assert "has changed since this was proposed" in decide(second, path)
    assert (row(path).state, values(shop)["trial_micro"]) == ("dropped", {"USD": 1})
    path = path_of(form(first, trial_micro="USD 6"))
    found = row(path)
    Proposal.objects.filter(id=found.id).update(proposed_us=found.proposed_us - LAPSES_US)
    assert "lapsed" in second.page(path).text
    assert "already expired" in second.follow(second.send(f"{path}/approve", {})).text
    assert values(shop)["trial_micro"] == {"USD": 1}


def test_one_person_where_one_may_is_written_down(shop, first):
    assert "in force" in first.follow(form(first, trial_micro="USD 2")).text
    from farebox.kit.models import Proposal

    made = Proposal.objects.order_by("id").last()
    assert (made.state, made.single_person, made.decider) == ("approved", True, f"operator:{first.person}")
    assert "by one person" in first.page("/office/proposals").text


def test_the_price_list_of_an_account(shop, first, second, two_people):
    """A list that costs nothing, for a friend's account, is money too."""
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    shop.write(price_lists.create_list, "gift", "USD", actor="test")
    account = shop.account("1").account
    here = f"/office/customers/{account}"
    path = path_of(first.fill(here, f"{here}/price-list", price_list="gift"))
    assert Account.objects.get(id=account).price_list_id == "usd"
    assert first.follow(first.send(f"{path}/approve", {})).text.count("Another person must approve")
    rows = [sheets.row("gpt-4o-mini", each, "0") for each in ("input", "cached_read", "output")]
    looked = {"seen": re.search(r'name="seen" value="([^"]+)"', second.page(path).html)[1]}
    shop.write(price_lists.publish, "gift", rows, actor="test", now_us=clock.now_us())
    late = second.follow(second.send(f"{path}/approve", looked)).text
    assert "this has changed since you loaded the page: the prices of the list" in late
    assert (Account.objects.get(id=account).price_list_id, row(path).state) == ("usd", "proposed")
    assert "usd" in second.page(path).text
    decide(second, path)
    assert Account.objects.get(id=account).price_list_id == "gift"
    path = path_of(first.fill("/office/price-lists/usd", "/office/price-lists/usd/assign", account=account))
    finance = people.operator(shop, "finance")
    assert finance.send(f"{path}/approve", {}).status == 404
    assert "declined" in decide(second, path, "decline")
    assert Account.objects.get(id=account).price_list_id == "gift"


def test_nobody_gives_his_own_account_a_list(shop, second, two_people):
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists

    shop.write(price_lists.create_list, "own", "USD", actor="test")
    owner = people.customer(shop, "1")
    from farebox.accounts.models import Member, Person

    Member.objects.filter(person=owner.person).update(state="removed")
    Person.objects.filter(id=owner.person).update(operator_role="admin")
    boss = people.signed_in(shop, Person.objects.get(id=owner.person), "office", "password", "mfa")
    here = f"/office/customers/{owner.customer.account}"
    answer = boss.fill(here, f"{here}/price-list", price_list="own")
    assert "another person must do this" in boss.follow(answer).text
    path = path_of(second.fill(here, f"{here}/price-list", price_list="own"))
    assert "another person must do this" in decide(boss, path)
    assert Account.objects.get(id=owner.customer.account).price_list_id == "usd"


def test_an_account_that_buys_by_another_list_is_opened_by_two(shop, first, second, two_people):
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists

    shop.write(price_lists.create_list, "partners", "USD", actor="test")
    given = {"currency": "USD", "name": "Partner & Co"}
    path = path_of(first.fill("/office/customers/new", price_list="partners", **given))
    assert not Account.objects.filter(name="Partner & Co").exists()
    decide(second, path)
    assert Account.objects.get(name="Partner & Co").price_list_id == "partners"
    answer = first.fill("/office/customers/new", price_list="usd", currency="USD", name="Like everybody")
    assert answer.headers["location"].startswith("/office/customers/acc_")


def test_a_script_proposes_and_approves_nothing(shop, admin, scripts, second):
    """Also where one person may do both: a token has proved nobody."""
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists

    shop.write(price_lists.create_list, "script-gift", "USD", actor="test")
    made = admin.post("settings", {"trial_micro": {"USD": 1_000_000_000}})
    assert (made.status, made.json["state"], made.json["two_people"]) == (202, "proposed", True)
    assert (made.json["before"], made.json["after"]) == ({"trial_micro": {}}, {"trial_micro": {"USD": 1_000_000_000}})
    assert values(shop)["trial_micro"] == {}
    account = shop.account("1").account
    moved = admin.post(f"customers/{account}/price-list", {"price_list": "script-gift"})
    assert (moved.status, moved.json["kind"]) == (202, "account.price_list")
    assert Account.objects.get(id=account).price_list_id == "usd"
    assert admin.post(f"customers/{account}/price-list", {"price_list": "none"}).status == 400
    opened = admin.post("customers", {"name": "x", "currency": "USD", "price_list": "script-gift"})
    assert (opened.status, "price list of new accounts" in opened.json["error"]["message"]) == (400, True)
    assert admin.post(f"proposals/{made.json['id']}/approve").status == 404
    assert made.json["id"] in [each["id"] for each in scripts["S"].get("proposals?state=proposed").json["data"]]
    assert admin.get(f"proposals/{moved.json['id']}").json == moved.json
    assert admin.get("proposals/prp_none").status == 404
    back = admin.post(f"proposals/{moved.json['id']}/decline", {"note": "by mistake"})
    assert (back.json["state"], back.json["note"]) == ("withdrawn", "by mistake")
    assert "Approved and in force" in decide(second, f"/office/proposals/{made.json['id']}")
    assert values(shop)["trial_micro"] == {"USD": 1_000_000_000}


def test_finance_proposes_of_money_alone(shop, second, two_people):
    finance = people.operator(shop, "finance")
    path = path_of(form(finance, trial_micro="USD 3", shop_name="Mine"))
    assert values(shop)["shop_name"] == ""
    assert finance.send(f"{path}/approve", {}).status == 404
    decide(second, path)
    assert values(shop)["trial_micro"] == {"USD": 3_000_000}
    assert second.page("/zh/office/proposals").text.count("变更申请")


def test_the_store_itself_refuses_one_person(shop, first, second, two_people):
    from django.db import IntegrityError, transaction

    from farebox.kit.models import Proposal

    path = path_of(form(first, trial_micro="USD 9"))
    with pytest.raises(IntegrityError), transaction.atomic():
        Proposal.objects.filter(id=row(path).id).update(state="approved", decider=f"operator:{first.person}")
    decide(second, path, "decline")
