"""The way from version 1 of the charging rules to version 2, on a store that the release before wrote and served.

What it holds of the old calls is a record of what that release said of them, and stays so to the byte; a call is
charged by the version that its money was held under, whatever comes between: the moment, a restart, a journal, a node
of the other release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from farebox.kit import ids
from kit import before, cli, minting, people
from kit.before import RECORD, Older
from kit.shop import Away, Customer, Shop, opened
from kit.talk import Talk, chat, on_sale, wait_for

pytestmark = [pytest.mark.store, pytest.mark.slow]

SAID = RECORD["said"]
NEW = {"value_micro": None, "forgiven_micro": None, "drawn_micro": None, "cause": "", "valued": None}
UNCOUNTED = "sandbox: pace=20+tokens=40+no-usage"  # version 1 counts its bytes, version 2 its tokens


@dataclass
class Upgraded:
    """A shop on the migrated store, what was said of it before it opened, and its old customer.

    `news` is what `doctor` finds in it and not in a new shop.
    """

    shop: Shop
    applied: int
    clean: bool
    news: dict[str, str]
    old: Customer


def unsound() -> dict[str, str]:
    """What `doctor` says of the store in force that is not well."""
    return {row["check"]: row["seen"] for row in cli.run("doctor", "--json").json["checks"] if row["verdict"] != "ok"}


@pytest.fixture(scope="module")
def upgraded(stocked_instance: Any, request: pytest.FixtureRequest) -> Iterator[Upgraded]:
    of_new_shop = unsound()
    instance_before = request.getfixturevalue("instance_before")
    applied = cli.ok("migrate")["applied"]
    clean = cli.ok("prove")["clean"]
    news = {check: seen for check, seen in unsound().items() if check not in of_new_shop}
    before.leave_journal(instance_before.data)
    with opened(instance_before, settle_wait_s=1) as shop:
        on_sale(shop, shop.model("far", {"input": "0", "output": "1"}))
        yield Upgraded(shop, applied, clean, news, with_old_key(shop))
        assert shop.findings() == []


def with_old_key(shop: Shop) -> Customer:
    """The customer of the recorded store, with the key of his calls; only its digest is of this store's pepper."""
    from farebox.accounts.models import ApiKey
    from farebox.kit import clock

    [old] = [row["id"] for row in RECORD["rows"]["accounts_apikey"]]
    facts = {"models": (), "addresses": (), "expires_us": None, "member": None, "name": "new"}
    made, text = shop.write(minting.issue, project=RECORD["project"], now_us=clock.now_us(), actor="test", **facts)
    ApiKey.objects.filter(id=made.id).delete()
    ApiKey.objects.filter(id=old).update(digest=made.digest, pepper_n=made.pepper_n)
    shop.write(shop.db.bump, "keys")
    shop.refresh()
    return Customer(shop, RECORD["account"], old, text)


@pytest.fixture
def shop(upgraded: Upgraded) -> Iterator[Shop]:
    """The shop on the migrated store, charging by version 1; its books are proved after each test."""
    upgraded.shop.rules(1)
    yield upgraded.shop
    assert upgraded.shop.findings() == []


def moment(shop: Shop) -> None:
    """Version 2 begins now."""
    from farebox.kit import clock, settings

    def put(tx: Any) -> None:
        settings.keep(tx, settings.RULES_2_FROM, clock.now_us())
        shop.db.bump(tx, "shelf")

    shop.write(put)
    shop.refresh()


def pay(tx: Any, account: str) -> None:
    """The account has paid a dollar."""
    from farebox.kit import clock
    from farebox.ledger import journal

    lines = [(account, 1_000_000), ("house:clearing:USD", -1_000_000)]
    journal.post(tx, account=account, kind="topup", ref="paid", currency="USD", lines=lines, at_us=clock.now_us())


def drawn(account: str) -> dict[str, int]:
    """What the calls of an account drew from its allowance."""
    from farebox.ledger.models import Draw

    return dict(Draw.objects.filter(account=account).values_list("hold", "drawn_micro"))


def test_the_books_of_the_release_before_are_clean_and_the_date_is_missing(upgraded):
    assert upgraded.applied >= len(before.TABLES)
    assert upgraded.clean
    assert set(upgraded.news) == {"charging rules", "holds"}
    assert upgraded.news["holds"].startswith("1 open")  # its settlement waits in the journal
    assert "date of version 2 is not set" in upgraded.news["charging rules"]


def in_words_of_today(tables):
    """A statement of the release before: every amount as it was, its labels as pages name things now."""
    renamed = {
        "Credit given to you": "Granted credit", "Credit given to you ¹": "Granted credit ¹", "Refund of a call": "Call refund",
        "Charged, USD": "Charged (USD)", "Sum": "Total",
    }  # fmt: skip
    return [[[renamed.get(cell, cell) for cell in row] for row in table] for table in tables]


def test_old_receipts_statements_and_exports_stay_as_they_were(upgraded, shop):
    """The call that waited in the journal of the release before is charged and among them (R23)."""
    from farebox.accounts.people.people import add_member

    me = upgraded.old
    for call, said in SAID["receipts"].items():
        now = me.receipt(call)
        assert {name: now.pop(name) for name in NEW} == NEW
        assert now == said
        assert list(now) == list(said)
    assert {each["rule_version"] for each in SAID["receipts"].values()} == {1}
    balance = me.get("/v1/balance").json
    assert balance.pop("allowance") is None
    assert balance == json.loads(SAID["balance"])
    month = RECORD["month"]
    usage = me.get(f"/v1/dashboard/billing/usage?start_date={month}-01&end_date={month}-28")
    assert usage.body.decode() == SAID["usage"]
    row = people.person(shop)
    shop.write(add_member, account=me.account, person=row.id, role="owner", project=None, now_us=1, actor="test")
    owner = people.signed_in(shop, row, "console", "password")
    assert {owner.get(f"/console/calls/{call}").status for call in SAID["receipts"]} == {200}
    assert owner.page(f"/console/statements/{month}").tables == in_words_of_today(SAID["statement"])
    for kind in ("csv", "json"):
        assert owner.get(f"/console/calls.{kind}").body.decode() == "".join(SAID[kind])


def test_a_call_is_of_the_version_that_its_money_was_held_under(shop):
    """The moment falls into the first call: it ends as that of a shop that goes on with version 1."""
    me = shop.account("1")
    calls = [me.chat("far", UNCOUNTED, stream=True).call]
    under_way = Talk(me, "/v1/chat/completions", chat("far", UNCOUNTED, stream=True))
    under_way.until(b"data: ", times=3)
    moment(shop)
    under_way.rest()
    calls += [under_way.call, me.chat("far", UNCOUNTED, stream=True).call]
    first, between, after = (me.receipt(call) for call in calls)
    assert [each["rule_version"] for each in (first, between, after)] == [1, 1, 2]
    assert first["charge_micro"] == between["charge_micro"] != after["charge_micro"]
    assert between["usage"] == first["usage"]
    assert {name: between[name] for name in NEW} == NEW
    assert after["value_micro"] is not None
    assert shop.findings() == []


def test_what_is_forgiven_draws_from_the_moment_on(shop):
    """Free is as free as before: what broke off is nobody's debt by version 1, and counted by version 2."""
    from farebox.ledger.models import Allowance

    broken = "sandbox: pace=20+tokens=40+cut=30"
    me = shop.account("1")
    shop.write(pay, me.account)
    assert me.receipt(me.chat("far", "sandbox: tokens=1000"))["charge_micro"] == 1000
    under_way = Talk(me, "/v1/chat/completions", chat("far", broken, stream=True))
    under_way.until(b"data: ", times=3)
    moment(shop)
    under_way.rest()
    assert me.receipt(under_way.call)["drawn_micro"] is None
    assert not Allowance.objects.filter(account=me.account).exists()  # nor has it grown by a charge
    shop.reset_health()
    after = me.receipt(me.chat("far", broken, stream=True))
    assert (after["rule"], after["charge_micro"]) == ("R14", 0)
    assert drawn(me.account) == {after["id"]: after["drawn_micro"]}
    assert after["drawn_micro"] > 0
    assert me.receipt(me.chat("far", "sandbox: tokens=500"))["charge_micro"] == 500
    row = Allowance.objects.get(account=me.account)
    assert (row.drawn_micro, row.charged_micro) == (after["drawn_micro"], 500)


def test_settlements_that_waited_are_of_the_version_of_their_holds(shop):
    """Of both versions, on the disk over a restart, and charged as if the store had never been away."""
    me = shop.account("1")
    moment(shop)
    alike = {2: me.receipt(me.chat("far", UNCOUNTED, stream=True))}
    shop.rules(1)
    alike[1] = me.receipt(me.chat("far", UNCOUNTED, stream=True))
    body = chat("far", "sandbox: slow=3+tokens=40+no-usage", stream=True)
    first = Talk(me, "/v1/chat/completions", body)
    held_micro = wait_for(lambda: me.balance[1])
    moment(shop)
    second = Talk(me, "/v1/chat/completions", body)
    wait_for(lambda: me.balance[1] > held_micro)
    away = Away(shop)
    away.away = True
    for talk in (first, second):
        talk.rest()
    shop.stop()
    assert sum(path.read_text().count("\n") for path in (shop.options.data / "journal").glob("*.log")) == 2
    shop.start()
    for version, talk in ((1, first), (2, second)):
        receipt = me.receipt(talk.call)
        assert (receipt["rule_version"], "journalled" in receipt["flags"]) == (version, True)
        for name in ("charge_micro", "value_micro", "forgiven_micro", "drawn_micro"):
            assert receipt[name] == alike[version][name], name
    assert alike[1]["charge_micro"] != alike[2]["charge_micro"]


def test_a_node_of_the_release_before_works_beside_newer_ones(shop):
    """Each ends what the other holds (I31), of either version; what the older one does draws nothing (I33)."""
    from farebox.calls import log
    from farebox.kit import clock

    me = shop.account("1")
    older = Older(me.account, RECORD["project"], me.key_id)
    names = [ids.new("call", clock.now_us()) for _ in range(6)]
    both, newer_settles, newer_expires, older_settles, older_expires, refunded = names
    shop.stop()  # or it would end the holds of nodes that never beat
    for call in (both, newer_settles, newer_expires):
        shop.write(older.hold, call, 900, clock.now_us())
    for call, version in ((older_settles, 1), (older_expires, 2), (refunded, 2)):
        shop.write(log.open_call, newer(older, call, version), 900, lambda _: -1)
    assert me.balance == (1_000_000, 6 * 900)
    shop.write(older.settle, both, 500, clock.now_us())
    shop.write(older.settle, older_settles, 600, clock.now_us())
    shop.write(older.expire, older_expires, clock.now_us())
    shop.write(log.end_call, newer(older, newer_settles, 1), ended(700))
    shop.write(log.end_call, newer(older, refunded, 2), ended(400, worth=650))
    assert drawn(me.account) == {refunded: 250}
    shop.write(older.refund, refunded, 400, clock.now_us())
    assert shop.write(log.expire, epoch=Older.epoch, now_us=clock.now_us()) == 1
    assert me.balance == (1_000_000 - 500 - 600 - 700, 0)
    assert drawn(me.account) == {refunded: 250}
    shop.start()
    receipts = {call: me.get(f"/v1/calls/{call}").json for call in names}
    assert [receipts[call]["rule_version"] for call in names] == [1, 1, 1, 1, 2, 2]
    for table in ("accounts_account", "ledger_ledgeraccount"):  # somebody signs up there
        [row] = [row for row in RECORD["rows"][table] if row["id"] == RECORD["account"]]
        nothing = {"posted_micro": 0, "held_micro": 0} if table == "ledger_ledgeraccount" else {}
        shop.write(before.insert, table, row | nothing | {"id": "acc_older"})
    assert [receipts[call]["rule"] for call in names] == ["R02", "R02", "R15", "R02", "R15", "R02"]
    assert {call for call in names if receipts[call]["value_micro"] is not None} == {refunded}
    assert shop.findings() == []


def newer(older: Older, call: str, version: int) -> Any:
    """A call as a node of this release opens it, or knows it that the older one has opened."""
    from farebox.calls.log import CallStart
    from farebox.ledger.allowance import AllowanceTerms
    from farebox.ledger.holds import Purse

    return CallStart(
        id=call, account=older.account, project=older.project, key=older.key, member=None, endpoint="chat",
        model="far", asked="far", stream=True, epoch="ep_newer", currency="USD", limit_tokens=None, price_list="usd",
        price_version=1, prices=json.dumps(before.PRICES), rule_version=version, opened_us=1, purses=(Purse(older.account),),
        allowance=AllowanceTerms(100_000, 3, 5_000_000) if version == 2 else None,
    )  # fmt: skip


def ended(tokens: int, *, worth: int | None = None) -> Any:
    """The end of a call of so many tokens; `worth` more, which is forgiven, where it is of version 2."""
    from farebox.calls.log import CallEnd
    from farebox.kit import clock

    return CallEnd(
        outcome="served", rule="R02", status=200, charge_micro=tokens, usage={"output": tokens},
        usage_source="reported", finish_reason="stop", flags=[], attempts=[], ended_us=clock.now_us(),
        value_micro=worth, valued=None if worth is None else {"output": worth}, most_micro=worth or 0,
        draws=worth is not None, cause="" if worth is None else "counted",
    )  # fmt: skip
