"""What an account may be forgiven: shown to its owner and its keys, set by two people, by a script, by a command."""

from __future__ import annotations

import pytest

import people
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
    assert "0.10 left; it holds at most" in owner.page("/console/").text
    assert "0.10 left of at most" in first.page(here).text
    path = path_of(first.fill(here, f"{here}/allowance", most="20"))
    assert first.page(path).tables[0][1] == ["The most that its allowance holds", "–", "20.00"]
    assert allowed(customer)["most_micro"] == 5_000_000
    assert "another person approves" in first.follow(first.send(f"{path}/approve", {})).text
    assert "approved and in force" in decide(second, path)
    assert allowed(customer) == {"left_micro": 20_000_000, "most_micro": 20_000_000}
    assert first.fill(here, f"{here}/allowance", most="much").status == 302
    assert "is set" in first.follow(first.fill(here, f"{here}/allowance", most="0.50")).text
    assert allowed(customer) == {"left_micro": 500_000, "most_micro": 500_000}
    path = path_of(first.fill(here, f"{here}/allowance", most="0.60"))  # it would be filled up again
    assert "declined" in decide(second, path, "decline")
    assert "is set" in first.follow(first.fill(here, f"{here}/allowance", most="")).text
    assert allowed(customer) == {"left_micro": 500_000, "most_micro": 5_000_000}
    assert len(trail("account.allowance", customer.account)) == 3
    reader = people.operator(two, "auditor").page(here)
    assert "0.50 left of at most" in reader.text and "Set the allowance" not in reader.text


def test_a_trusted_account_has_none(two, two_people):
    first, second = (people.operator(two, "admin") for _ in range(2))
    owner = people.customer(two, "1")
    customer = owner.customer
    here = f"/office/customers/{customer.account}"
    path = path_of(first.fill(here, f"{here}/trust", trusted="on"))
    assert first.page(path).tables[0][1][1:] == ["No, by its allowance", "Yes, trusted"]
    two.refresh()
    assert allowed(customer) is not None
    assert "approved and in force" in decide(second, path)
    two.refresh()
    assert allowed(customer) is None
    assert "is trusted" in first.page(here).text
    assert "it holds at most" not in owner.page("/console/").text
    assert "draws on its allowance again" in first.follow(first.fill(here, f"{here}/trust", trusted="off")).text
    two.refresh()
    assert allowed(customer)["left_micro"] == 100_000
    assert "is so already" in first.follow(first.fill(here, f"{here}/trust", trusted="off")).text
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
    from ops import cli

    return cli.ok
