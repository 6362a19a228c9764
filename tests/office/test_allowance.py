"""What an account may be forgiven: shown to its owner and its keys, set by two people, by a script, by a command."""

from __future__ import annotations

import pytest

from kit import people, post
from office.test_proposals import decide, path_of

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.fixture(scope="module")
def two(shop):
    """The shop under version 2 of the rules."""
    from farebox.kit import db, settings

    def begin(tx):
        settings.keep(tx, settings.RULES_2_FROM, 0)
        for version in ("settings", "shelf"):
            db.bump(tx, version)

    shop.write(begin)
    shop.refresh()
    return shop


def trail(verb, account):
    from farebox.kit.models import AuditEvent

    events = AuditEvent.objects.filter(verb=verb, object=account).order_by("id")
    return [(event.before, event.after) for event in events]


def allowed(customer):
    return customer.get("/v1/balance").json["allowance"]


def test_more_takes_two_people_and_less_takes_one(two, two_people):
    first, second = (people.operator(two, "admin") for _ in range(2))
    owner = people.customer(two, "1")
    customer = owner.customer
    here = f"/office/customers/{customer.account}"
    assert allowed(customer) == {"left_micro": 100_000, "most_micro": 5_000_000}
    assert "0.10 of $5.00 left" in owner.page("/console/").text
    assert "0.10 of $5.00 left" in first.page(here).text
    path = path_of(first.fill(here, f"{here}/allowance", most="20"))
    assert first.page(path).tables[0][1] == ["Maximum of the allowance", "shop default", "$20.00"]
    assert allowed(customer)["most_micro"] == 5_000_000
    assert "Another person must approve" in first.follow(first.send(f"{path}/approve", {})).text
    assert "Approved and in force" in decide(second, path)
    assert allowed(customer) == {"left_micro": 20_000_000, "most_micro": 20_000_000}
    assert first.fill(here, f"{here}/allowance", most="much").status == 302
    assert "Allowance maximum saved." in first.follow(first.fill(here, f"{here}/allowance", most="0.50")).text
    assert allowed(customer) == {"left_micro": 500_000, "most_micro": 500_000}
    path = path_of(first.fill(here, f"{here}/allowance", most="0.60"))  # it would be filled up again
    assert "declined" in decide(second, path, "decline")
    path = path_of(first.fill(here, f"{here}/allowance", most=""))  # it might grow to more than before
    assert allowed(customer) == {"left_micro": 500_000, "most_micro": 500_000}
    assert "Approved and in force" in decide(second, path)
    assert allowed(customer) == {"left_micro": 500_000, "most_micro": 5_000_000}
    assert len(trail("account.allowance", customer.account)) == 3
    reader = people.operator(two, "auditor").page(here)
    assert "0.50 of $5.00 left" in reader.text and "Save maximum" not in reader.text


def test_a_trusted_account_has_none(two, two_people):
    first, second = (people.operator(two, "admin") for _ in range(2))
    owner = people.customer(two, "1")
    customer = owner.customer
    here = f"/office/customers/{customer.account}"
    path = path_of(first.fill(here, f"{here}/trust", trusted="on"))
    assert first.page(path).tables[0][1][1:] == ["No, within its allowance", "Yes"]
    two.refresh()
    assert allowed(customer) is not None
    assert "Approved and in force" in decide(second, path)
    two.refresh()
    assert allowed(customer) is None
    assert "is trusted" in first.page(here).text
    assert "Allowance for failed calls" not in owner.page("/console/").text
    assert "no longer trusted" in first.follow(first.fill(here, f"{here}/trust", trusted="off")).text
    two.refresh()
    assert allowed(customer)["left_micro"] == 100_000
    assert "Nothing would change" in first.follow(first.fill(here, f"{here}/trust", trusted="off")).text
    assert [after for _before, after in trail("account.trust", customer.account)] == ["true", "false"]


def test_a_script_proposes_more_and_takes_away_alone(two, admin, scripts):
    customer = two.account("1")
    here = f"customers/{customer.account}"
    wanted = {"trusted": False, "set_micro": None, "left_micro": 100_000, "most_micro": 5_000_000, "drawn_micro": 0}
    assert admin.get(f"{here}/allowance").json == wanted
    more = admin.post(f"{here}/allowance", {"most_micro": 6_000_000})
    assert (more.status, more.json["kind"], more.json["two_people"]) == (202, "account.allowance", True)
    assert admin.get(f"{here}/allowance").json == wanted
    less = admin.post(f"{here}/allowance", {"most_micro": 50_000})
    assert (less.status, less.json["left_micro"], less.json["set_micro"]) == (200, 50_000, 50_000)
    assert admin.post(f"{here}/allowance", {"most_micro": -1}).status == 422
    trusted = admin.post(f"{here}/trust", {"trusted": True})
    assert (trusted.status, trusted.json["kind"]) == (202, "account.trusted")
    assert admin.get(here).json["trusted"] is False
    assert admin.post(f"{here}/trust", {"trusted": False}).status == 400
    for name, body in (("allowance", {"most_micro": 1}), ("trust", {"trusted": False})):
        assert scripts["S"].post(f"{here}/{name}", body).status == 404
    assert scripts["U"].get(f"{here}/allowance").json["left_micro"] == 50_000


def drawing(shop, customer, drawn_micro, *, cause="left", charge_micro=0):
    """A call of this customer that draws so much, written by the verbs that serve real ones; its id."""
    from farebox.accounts import allowed
    from farebox.accounts.models import ApiKey
    from farebox.calls import log
    from farebox.calls.log import AttemptFacts, CallEnd, CallStart
    from farebox.catalog import shelf
    from farebox.kit import clock, ids
    from farebox.ledger.holds import Purse

    now_us = clock.now_us()
    key = ApiKey.objects.filter(account=customer.account).first()

    def run(tx):
        epoch = tx.one("SELECT id FROM kit_epoch ORDER BY id DESC LIMIT 1", ())[0]
        opened = CallStart(
            id=ids.new("call", now_us), account=customer.account, project=key.project_id, key=key.id, member=None,
            endpoint="chat", model="gpt-4o-mini", asked="gpt-4o-mini", stream=True, epoch=epoch, currency="USD",
            limit_tokens=None, price_list="usd", price_version=1, prices='{"output":1000000}', rule_version=2,
            opened_us=now_us, purses=(Purse(customer.account),),
            allowance=allowed.terms(shelf.load(tx, now_us), "usd", now_us),
        )  # fmt: skip
        tries = [AttemptFacts(
            upstream="lab", channel="sandbox", model="gpt-4o-mini", started_us=now_us, outcome="failed", status=200,
            error="", charged=False, cost_micro=0, cost_currency="USD", first_byte_us=now_us, ended_us=now_us,
        )]  # fmt: skip
        ended = CallEnd(
            outcome="failed" if not charge_micro else "served", rule="R14" if not charge_micro else "R02", status=200,
            charge_micro=charge_micro, usage={"output": drawn_micro or charge_micro}, usage_source="counted",
            finish_reason="", flags=[], attempts=tries, ended_us=now_us, value_micro=drawn_micro + charge_micro,
            draws=True, cause=cause,
        )  # fmt: skip
        log.open_call(tx, opened, 10**6, lambda available: min(available, 10**6))
        log.end_call(tx, opened, ended)
        return opened.id

    return shop.write(run)


def tell(shop):
    """What the job does each minute: whether there was something to tell, and how many mails left."""
    from farebox.jobs import allowances
    from farebox.kit import clock

    if not shop.read(allowances.due, clock.now_us()):
        return 0
    return shop.write(allowances.tell, clock.now_us())


def test_the_owner_hears_of_a_fifth_once_and_the_operator_of_nothing_left(two):
    boss = people.operator(two, "admin")
    owner = people.customer(two, "5")
    member = people.customer(two, role="member", of=owner)
    two.write(lambda tx: _paid(tx, owner.customer.account))
    customer = owner.customer
    tell(two)
    drawing(two, customer, 79_000)
    assert (tell(two), allowed(customer)["left_micro"]) == (0, 21_000)
    newest = drawing(two, customer, 1_000, cause="failed")
    assert [tell(two), tell(two)] == [1, 0]
    mail = post.newest(two, people.row(owner).email)
    assert "allowance for failed calls is low" in mail["Subject"] and "0.02" in mail.get_content()
    assert not post.mails(two, people.row(member).email)
    used_up = "is used up. Check its calls"
    assert used_up not in boss.page("/office/").text
    drawing(two, customer, 0, charge_micro=1_000_000)  # it grows by 3 %: above a fifth again
    assert (tell(two), allowed(customer)["left_micro"]) == (0, 50_000)
    last = drawing(two, customer, 60_000)
    assert (tell(two), allowed(customer)["left_micro"]) == (1, 0)
    assert used_up in boss.page("/office/").text
    page = boss.page(f"/office/customers/{customer.account}")
    table = next(table for table in page.tables if "Drawn (USD)" in table[0])
    assert table[1][2:5] == ["3", "0.140000", "0.130000"]
    assert last in page.text and newest not in page.text


def _paid(tx, account):
    from farebox.kit import clock
    from farebox.ledger import chart, journal

    revenue = chart.own("revenue", "USD")
    journal.post(tx, account=account, kind="topup", ref="paid", currency="USD", at_us=clock.now_us(),
                 lines=[(account, 1_000_000), (revenue, -1_000_000)])  # fmt: skip


def test_what_is_forgiven_is_shown_by_customer_model_upstream_and_cause(two):
    boss = people.operator(two, "admin")
    customer = two.account("5")
    drawing(two, customer, 30_000, cause="empty")
    drawing(two, customer, 20_000, cause="empty")
    page = boss.page("/office/?span=7")
    tables = [table for table in page.tables if any("Drawn from allowances" in head for head in table[0])]
    assert [table[0][0] for table in tables] == ["Customer", "Model", "Upstream", "Cause"]
    row = next(row for row in tables[3][1:] if row[0] == "empty answer")
    assert row[1:] == ["2", "0.050000", "0.050000"]
    assert sum(float(row[3]) for row in tables[0][1:]) == sum(float(row[3]) for row in tables[3][1:])
    assert "免单" in boss.page("/zh/office/").text


def test_by_command(two, house_of_commands):
    customer = two.account("1")
    run = house_of_commands
    assert run("account", "show", customer.account)["allowance"]["left_micro"] == 100_000
    assert run("account", "allowance", customer.account, "7.50")["allowance"]["left_micro"] == 7_500_000
    assert run("account", "allowance", customer.account)["allowance"]["most_micro"] == 5_000_000
    assert run("account", "trust", customer.account)["trusted"] is True
    assert run("account", "show", customer.account)["allowance"]["trusted"] is True
    assert run("account", "trust", customer.account, "--off")["trusted"] is False


@pytest.fixture
def house_of_commands():
    from kit import cli

    return cli.ok


def test_a_receipt_says_what_the_rest_of_the_allowance_forgave(two, option):
    option(allowance_begin_usd_micro=100)
    owner, boss = people.customer(two, "1"), people.operator(two, "admin")
    answer = owner.customer.chat("gpt-4", "sandbox: tokens=20+reset=6", stream=True)
    receipt = owner.customer.receipt(answer)
    two.reset_health()
    assert "What reached you was charged" in answer.events[-1]["error"]["message"]
    assert (receipt["forgiven_micro"], receipt["flags"]) == (100, ["estimated", "after_output", "allowance_used"])
    page = owner.page(f"/console/calls/{answer.call}")
    heads = {row[0]: row[1] for row in page.tables[0][1:]}
    assert heads["Forgiven limited by the allowance left"] == "−0.000100"
    assert float(heads["Rounded up to 0.000001"]) == pytest.approx(float(heads["Charge"]) + 0.0001)
    assert "At most the hold" not in page.text and "Value of the call" not in page.text
    seen = boss.page(f"/office/customers/{owner.customer.account}/calls/{answer.call}").text
    assert "Forgiven the upstream broke off · $0.0001 drawn from the allowance $0.0001" in seen
    assert "broke off after output · allowance used up" in seen


def test_home_says_what_a_low_and_an_empty_allowance_mean(two):
    owner = people.customer(two, "1")
    said = "used up, so what is delivered is charged"
    drawing(two, owner.customer, 70_000)
    assert "low Allowance" not in owner.page("/console/").text
    drawing(two, owner.customer, 15_000)
    assert "low Allowance for failed calls: $0.015 of $5.00 left" in owner.page("/console/").text
    drawing(two, owner.customer, 20_000)
    assert said in owner.page("/console/").text
