"""Customers in the office: search, one account, what each role may see and do, and the trace of who has read."""

from __future__ import annotations

import re

import pytest

from kit import people

pytestmark = pytest.mark.slow


@pytest.fixture
def buyer(shop):
    return people.customer(shop, "5")


def events(shop, **wanted):
    from farebox.kit import audit

    return shop.read(audit.search, audit.Search(**wanted))


def test_search(shop, buyer):
    admin = people.operator(shop, "admin")
    account = buyer.customer.account
    for query in (account, buyer.email, buyer.email[:6].upper(), buyer.customer.key_id, buyer.customer.key[-4:]):
        page = admin.page(f"/office/customers?q={query}")
        assert account in page.html, query
    assert "No customers match your search" in admin.page("/office/customers?q=nobody-at-all").text
    assert account not in admin.page(f"/office/customers?q={account}&state=frozen").text
    assert "acc_house" not in admin.page("/office/customers").html


def test_pages_by_cursor(shop):
    from farebox.accounts import customers

    for _ in range(3):
        shop.account("0")
    first = shop.read(customers.search, limit=2)
    second = shop.read(customers.search, before=first[-1]["id"], limit=2)
    assert len(second) == 2
    assert first[-1]["id"] > second[0]["id"]


def test_one_customer(shop, buyer):
    admin = people.operator(shop, "admin")
    page = admin.page(f"/office/customers/{buyer.customer.account}")
    assert "$5.00" in page.text
    assert buyer.email in page.text
    assert buyer.customer.key not in page.html
    assert buyer.customer.key[-4:] in page.text


def test_freeze_stops_calls(shop, buyer):
    here = f"/office/customers/{buyer.customer.account}"
    support, admin = people.operator(shop, "support"), people.operator(shop, "admin")
    assert "frozen" in support.follow(support.fill(here, f"{here}/move", do="freeze")).text
    shop.refresh()
    assert buyer.customer.chat("gpt-4o-mini").status == 403
    assert support.fill(here, f"{here}/move", do="unfreeze").status == 404
    assert "Account unfrozen" in admin.follow(admin.fill(here, f"{here}/move", do="unfreeze")).text
    shop.refresh()
    assert buyer.customer.chat("gpt-4o-mini").status == 200
    assert [each.verb for each in events(shop, object=buyer.customer.account, verb="account.")][:2] == [
        "account.unfreeze", "account.freeze",
    ]  # fmt: skip
    assert "can't become" in admin.follow(admin.fill(here, f"{here}/move", do="unfreeze")).text
    assert admin.fill(here, f"{here}/move", do="explode").status == 404


def test_revoking_a_key(shop, buyer):
    support = people.operator(shop, "support")
    here = f"/office/customers/{buyer.customer.account}"
    form = f"{here}/keys/{buyer.customer.key_id}/revoke"
    assert "refused within a second" in support.page(form).text
    assert "Key revoked." in support.follow(support.fill(form)).text
    shop.refresh()
    assert buyer.customer.chat("gpt-4o-mini").status == 401
    other = shop.account("0")
    assert support.page(f"{here}/keys/{other.key_id}/revoke").status == 404
    assert people.operator(shop, "finance").page(form).status == 404


def test_reading_calls_leaves_a_trace(shop, buyer):
    call = buyer.customer.chat("gpt-4o-mini", "Hello")
    receipt = buyer.customer.receipt(call)
    here = f"/office/customers/{buyer.customer.account}/calls"
    for role, traced in (("support", True), ("admin", True), ("finance", False), ("auditor", False)):
        who = people.operator(shop, role)
        page = who.page(here)
        assert call.call in page.html
        page = who.page(f"{here}/{call.call}")
        assert page.status == 200
        assert str(receipt["lines"][0]["units"]) in page.text
        assert "sandbox" in page.text
        found = events(shop, actor=f"operator:{who.person}")
        assert ([each.verb for each in found] == ["receipt.read", "calls.read"]) is traced, role
        assert ("Cost" in page.text) is (role != "support")
        assert ("Your access is recorded" in page.text) is traced
    other = shop.account("0")
    for path in (f"/office/customers/{other.account}/calls/{call.call}", f"{here}/call_none", f"{here}/nonsense"):
        assert people.operator(shop, "admin").page(path).status == 404


def test_limits_name_and_price_list(shop, buyer):
    from farebox.catalog import price_lists

    admin = people.operator(shop, "admin")
    shop.write(price_lists.create_list, "usd-two", "USD", actor="test")
    here = f"/office/customers/{buyer.customer.account}"
    assert "Limits saved" in admin.follow(admin.fill(here, f"{here}/limits", rpm="60", tpm="", concurrency="2")).text
    assert 'value="60"' in admin.page(here).html
    assert "enter a whole number" in admin.follow(admin.fill(here, f"{here}/limits", rpm="many")).text
    assert "Account renamed" in admin.follow(admin.fill(here, f"{here}/rename", name="Acme 测试")).text
    assert "Acme 测试" in admin.page(here).text
    assert "Price list changed" in admin.follow(admin.fill(here, f"{here}/price-list", price_list="usd-two")).text
    assert "no price list" in admin.follow(admin.fill(here, f"{here}/price-list", price_list="none")).text
    assert people.operator(shop, "support").send(f"{here}/price-list", {}).status == 404
    for verb in ("limits", "rename"):
        assert people.operator(shop, "finance").send(f"{here}/{verb}", {}).status == 404


def test_opening_and_closing(shop):
    from farebox.accounts import customers

    admin = people.operator(shop, "admin")
    assert admin.fill("/office/customers/new", name="", currency="USD", price_list="usd").status == 400
    made = admin.fill("/office/customers/new", name="By hand", currency="usd", price_list="usd")
    here = made.headers["location"]
    assert "By hand" in admin.page(here).text
    assert admin.fill(f"{here}/close", name="Wrong").status == 400
    assert "closed" in admin.follow(admin.fill(f"{here}/close", name="By hand")).text
    rich = f"/office/customers/{shop.account('1').account}"
    name = shop.read(customers.find, rich.rpartition("/")[2])["name"]
    assert "still has" in admin.fill(f"{rich}/close", name=name).text
    assert admin.fill(f"{rich}/close", name=name, leave_money="on").status == 302


def test_roles_and_absent_things(shop, buyer):
    here = f"/office/customers/{buyer.customer.account}"
    finance = people.operator(shop, "finance").page(here)
    assert finance.status == 200
    assert buyer.email not in finance.text  # members and keys are not finance's affair
    assert buyer.customer.key[-4:] not in finance.text.split("Available")[1]
    auditor = people.operator(shop, "auditor")
    for offered in ("Grant credit", "/revoke", "/move", "/limits"):
        assert offered not in auditor.page(here).html
    for path in ("/office/customers/acc_none", "/office/customers/acc_house", "/office/customers/acc_none/calls"):
        assert auditor.page(path).status == 404
    assert auditor.send(f"{here}/move", {"do": "freeze"}).status == 404
    assert buyer.page(here).status == 302


def test_a_statement_is_the_customers_own_and_leaves_a_trace(shop, buyer):
    """The same paper as the customer's own, with links into the office; another account's months aren't there."""
    import re
    import time

    from farebox.calls import log

    answer = buyer.customer.chat("gpt-4o-mini", "Hello")
    buyer.customer.receipt(answer)
    shop.write(log.give_back, answer.call, buyer.customer.account, now_us=time.time_ns() // 1000)
    name = time.strftime("%Y-%m", time.gmtime())
    here = f"/office/customers/{buyer.customer.account}"
    months, mine = buyer.page("/console/statements"), buyer.page(f"/console/statements/{name}")
    assert "match this statement" in mine.text
    for role, traced in (("support", True), ("admin", True), ("finance", False), ("auditor", False)):
        who = people.operator(shop, role)
        assert f'href="{here}/statements"' in who.page(here).html
        page = who.page(f"{here}/statements")
        assert page.tables == months.tables
        assert f'href="{here}/statements/{name}"' in page.html
        assert ("Your access is recorded" in page.text) is traced
        page = who.page(f"{here}/statements/{name}")
        assert page.tables == mine.tables
        assert "match this statement" in page.text
        assert f'href="{here}/calls/{answer.call}"' in page.html
        assert "/console/" not in page.html
        found = events(shop, actor=f"operator:{who.person}", verb="statement.")
        said = [(each.object, each.after) for each in found]
        account = buyer.customer.account
        assert said == ([(account, f'{{"statement":"{name}"}}'), (account, "")] if traced else []), role
    auditor = people.operator(shop, "auditor", language="zh-CN")
    assert re.search("期初余额", auditor.page(f"{here}/statements/{name}").text)
    for path in (f"{here}/statements/2020-01", f"{here}/statements/now", "/office/customers/acc_none/statements",
                 f"/office/customers/acc_house/statements/{name}"):  # fmt: skip
        assert auditor.page(path).status == 404


def test_small_forms_keep_what_was_typed(shop, operator):
    admin, account = operator(), shop.account("1").account
    here = f"/office/customers/{account}"
    page = admin.through(here, f"{here}/limits", rpm="12", tpm="many", concurrency="3")
    assert "enter a whole number" in page.text
    assert all(f'value="{given}"' in page.html for given in ("12", "many", "3"))
    assert 'value="many"' not in admin.page(here).html
    here = "/office/price-lists/usd"
    assert 'value="acc_nobody"' in admin.through(here, f"{here}/assign", account="acc_nobody").html
    here = "/office/models/show/gpt-4"
    page = admin.through(here, "/office/models/alias/gpt-4", alias="gpt-4o-mini")
    assert 'maxlength="128" value="gpt-4o-mini"' in page.html


def test_support_finds_a_call_by_its_id(shop, operator):
    support, customer = operator("support"), people.customer(shop, "1").customer
    answer = customer.chat("gpt-4o-mini", "Hello")
    customer.receipt(answer)
    page = support.follow(support.get(f"/office/customers?q={answer.call}"))
    assert answer.call in page.text and "Rule R02" in page.text
    assert "Key sandbox" in page.text or customer.key[-4:] in page.text
    assert "Started 20" in page.text and "Duration" in page.text
    assert "No customers match your search." in support.page("/office/customers?q=call_" + "0" * 25).text
    shown = support.page(f"/zh/office/customers/{customer.account}/calls/{answer.call}").text
    assert "总耗时" in shown and "开始时间" in shown


def test_the_owner_of_an_account_is_invited_from_its_page(shop, operator):
    from farebox.accounts.models import Member
    from farebox.kit.models import AuditEvent
    from kit import post

    admin, account = operator(), shop.account("1").account
    here = f"/office/customers/{account}"
    assert "Invite the owner" in admin.page(here).text
    email = f"{account[-8:].lower()}@example.com"
    assert "Invitation sent to" in admin.through(f"{here}/owner", email=email, name="Owner").text
    assert "already a member or invited" in admin.fill(f"{here}/owner", email=email).text
    text = post.newest(shop, email).get_content()
    link = re.search(r"/join/\S+", text)[0]
    assert people.Visitor(shop, "en").fill(link, name="Owner", password=people.PASSWORD).status == 302
    assert Member.objects.get(account=account, person__email=email).role == "owner"
    assert AuditEvent.objects.filter(verb="invitation.send", actor__startswith="operator:").exists()
    assert operator("support").get(f"{here}/owner").status == 404


def test_a_key_is_made_for_a_customer(shop, operator):
    from farebox.accounts.models import ApiKey, Project
    from farebox.kit.models import AuditEvent

    admin, account = operator(), shop.account("1").account
    here = f"/office/customers/{account}"
    project = Project.objects.filter(account=account).values_list("id", flat=True)[0]
    made = admin.fill(f"{here}/keys", name="by the office", project=project).headers["location"]
    page = admin.page(made)
    text = re.search(r"sk-[A-Za-z0-9]{48}", page.html)[0]
    assert text in admin.page("/zh" + made).html
    assert people.Customer(shop, account, "", text).chat("gpt-4o-mini").status == 200
    row = ApiKey.objects.get(account=account, name="by the office")
    assert AuditEvent.objects.get(verb="key.issue", object=row.id).actor == f"operator:{admin.person}"
    assert admin.fill(made).headers["location"] == here
    assert text not in admin.follow(admin.get(made)).html
    assert operator("support").get(f"{here}/keys").status == 404
