"""The audit trail in the office: search, pages, export; support sees its own."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from kit import people

pytestmark = pytest.mark.store


@pytest.fixture(scope="module")
def trail(shop):
    """An administrator who has frozen and released an account; (administrator, account)."""
    admin = people.operator(shop, "admin")
    account = shop.account("0").account
    here = f"/office/customers/{account}"
    for verb in ("freeze", "unfreeze"):
        admin.fill(here, f"{here}/move", do=verb)
    return admin, account


@pytest.mark.slow
def test_who_what_before_after(trail):
    admin, account = trail
    page = admin.page(f"/office/audit?object={account}&verb=account.freeze")
    assert len(page.tables[0]) == 2
    row = page.tables[0][1]
    assert row[1:3] == [admin.email, "Account frozen account.freeze"]
    assert row[3].split()[-1] == account
    assert '"active"' in row[4]
    assert '"frozen"' in row[4]


def test_search(shop, trail):
    admin, account = trail
    page = admin.page(f"/office/audit?actor={admin.email}&verb=account.")
    assert page.column(2) == ["Account unfrozen account.unfreeze", "Account frozen account.freeze"]
    assert "No results match" in admin.page("/office/audit?verb=no.such").text
    assert "No results match" in admin.page(f"/office/audit?object={account}&from=2099-01-01T00:00").text
    assert "No results match" in admin.page(f"/office/audit?object={account}&until=2001-01-01T00:00").text
    assert admin.page("/office/audit?from=yesterday").status == 400
    assert admin.page("/office/audit?verb=%25").status == 200


def test_an_address_finds_what_its_person_did_as_a_customer_and_as_an_operator(shop, trail):
    from farebox.kit import audit

    admin, _ = trail
    owner = people.customer(shop)

    def twice(tx):
        audit.record(tx, actor=f"person:{owner.person}", verb="both.person", object="one")
        audit.record(tx, actor=f"operator:{owner.person} token:tok_1", verb="both.operator", object="two")
        audit.record(tx, actor=f"operator:{admin.person}", verb="both.other", object="three")

    shop.write(twice)
    page = admin.page(f"/office/audit?actor={owner.email.upper()}&verb=both.")
    assert page.column(2) == ["both.operator", "both.person"]
    auditor = people.operator(shop, "auditor")
    rows = csv.DictReader(
        io.StringIO(auditor.get(f"/office/audit.csv?actor={owner.email}&verb=both.").body.decode("utf-8-sig"))
    )
    assert [row["object"] for row in rows] == ["two", "one"]


@pytest.mark.slow
def test_another_value_of_single_person_at_a_start_is_in_the_trail_once(shop):
    from farebox.kit import audit

    def events():
        return [
            (event.before, event.after)
            for event in shop.read(audit.search, audit.Search(verb="option.change", object="single_person"))
        ]

    def again(*, alone):
        shop.stop()
        shop.options.single_person = alone
        shop.start()

    noted, before = events(), shop.options.single_person
    try:
        again(alone=before)
        assert events() == noted
        again(alone=not before)
        again(alone=not before)
        was, now = ("true", "false") if before else ("false", "true")
        assert events() == [(was, now), *noted]
        page = people.operator(shop, "auditor").page("/office/audit?verb=option.change")
        assert page.tables[0][1][1:4] == ["system", "Process option changed option.change", "single_person"]
    finally:
        again(alone=before)


def test_pages_by_cursor(shop):
    from farebox.kit import audit

    def many(tx):
        for number in range(60):
            audit.record(tx, actor="test", verb="page.test", object=f"thing {number}", after={"n": number})

    shop.write(many)
    auditor = people.operator(shop, "auditor")
    first = auditor.page("/office/audit?verb=page.test")
    assert len(first.tables[0]) == 51
    following = first.html.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "verb=page.test" in following
    second = auditor.page(f"/office/audit{following}")
    seen = first.column(3) + second.column(3)
    assert sorted(seen) == sorted(f"thing {number}" for number in range(60))


def test_export(shop):
    from farebox.kit import audit

    def evil(tx):
        audit.record(tx, actor="test", verb="export.test", object="=1+1", after={"a": 'b,"c'})

    shop.write(evil)
    auditor = people.operator(shop, "auditor")
    answer = auditor.get("/office/audit.csv?verb=export.test")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [row["object"] for row in rows] == ["'=1+1"]
    assert json.loads(rows[0]["after"]) == {"a": 'b,"c'}
    whole = auditor.get("/office/audit.csv")
    assert whole.body.count(b"\n") > 1
    for role in ("support", "finance", "admin"):
        assert people.operator(shop, role).get("/office/audit.csv").status == 404


def test_support_sees_its_own(shop, trail):
    admin, account = trail
    support = people.operator(shop, "support")
    assert "No results match" in support.page(f"/office/audit?object={account}").text
    assert "No results match" in support.page(f"/office/audit?actor={admin.email}").text
    support.fill(f"/office/customers/{account}", f"/office/customers/{account}/move", do="freeze")
    assert support.page("/office/audit").column(2) == ["Account frozen account.freeze"]


def test_the_chain(shop):
    from farebox.kit import chain

    auditor, other = people.operator(shop, "auditor"), people.operator(shop, "admin")
    seal(shop)
    page = auditor.page("/office/audit/chain")
    assert "the chain is intact" not in page.text
    head = str(shop.read(chain.head))
    page = auditor.page(f"/office/audit/chain?check=1&head={head}")
    assert "the chain is intact. The recorded head is in the chain." in page.text
    assert head in page.text
    assert "Compare with an earlier backup" not in page.text
    false = f"{head.partition(':')[0]}:{'0' * 64}"
    page = auditor.page(f"/office/audit/chain?check=1&head={false}")
    assert "is not in the chain" in page.text
    assert "1 problem found." in page.text
    page = auditor.page("/office/audit/chain?check=1&head=17")
    assert page.status == 400
    assert "64 hexadecimal digits" in page.text
    assert other.page("/office/audit/chain").status == 404


def test_a_changed_event_shows_in_both_languages(shop):
    auditor = people.operator(shop, "auditor")
    seal(shop)
    [(event, actor)] = shop.read(lambda tx: tx.all("SELECT id, actor FROM kit_auditevent ORDER BY id LIMIT 1"))

    def name(who):
        shop.write(lambda tx: tx.execute("UPDATE kit_auditevent SET actor = %s WHERE id = %s", (who, event)))

    name("nobody")
    try:
        assert f"event {event} or the seal itself was changed." in auditor.page("/office/audit/chain?check=1").text
        assert f"事件 {event} 或封印本身被改动过" in auditor.page("/zh/office/audit/chain?check=1").text
    finally:
        name(actor)
    assert "the chain is intact" in auditor.page("/office/audit/chain?check=1").text


def seal(shop):
    """As the serving process does every few seconds."""
    from farebox.kit import chain, clock

    while events := shop.read(chain.unsealed, clock.now_us()):
        shop.write(chain.seal, events)


@pytest.mark.slow
def test_the_trail_is_in_words_and_found_by_name(shop, operator):
    from farebox.accounts.models import Account

    admin, account = operator(), shop.account("1").account
    name = f"Nightingale {account[-6:]}"
    here = f"/office/customers/{account}"
    admin.fill(here, f"{here}/rename", name=name)
    assert Account.objects.get(id=account).name == name
    page = admin.page(f"/office/audit?object={name.lower().replace(' ', '+')}")
    assert "Account renamed" in page.text and name in page.text and account in page.text
    assert "账户已改名" in admin.page(f"/zh/office/audit?object={account}").text
    from farebox.accounts.models import Person

    Person.objects.filter(id=admin.person).update(name=f"Una {account[-6:]}")
    assert name in admin.page(f"/office/audit?actor=Una+{account[-6:]}").text
    assert "No results match your search." in admin.page("/office/audit?object=nobody-is-called-so").text


def test_the_export_begins_with_a_byte_order_mark(shop, operator):
    assert operator("auditor").get("/office/audit.csv").body.startswith(b"\xef\xbb\xbf")


def test_the_door_of_the_office_leads_to_the_customers_door(shop, visitor):
    for prefix in ("", "/zh"):
        page = visitor.page(f"{prefix}/office/sign-in")
        link = re.search(rf'href="({prefix}/account/[^"]+)"', page.html)[1]
        assert visitor.get(link).status == 200
