"""The management API over one customer: name, limits, bar and close, people, projects, holds and receipts."""

from __future__ import annotations

import time

import pytest

from farebox.accounts.caps import Caps
from kit import people

NOBODY = "call_" + "0" * 25


def trail(verb, account):
    from farebox.kit.models import AuditEvent

    return list(AuditEvent.objects.filter(verb=verb, object=account).order_by("id"))


@pytest.mark.slow
def test_another_name(shop, admin):
    account = shop.account("1").account
    renamed = admin.post(f"customers/{account}/rename", {"name": "By script 灯"})
    assert (renamed.status, renamed.json["name"]) == (200, "By script 灯")
    event = trail("account.rename", account)[-1]
    assert event.actor == f"operator:{admin.person.person} token:{admin.row.id}"
    assert admin.post(f"customers/{account}/rename", {"name": "a", "state": "closed"}).status == 422
    assert admin.post(f"customers/{account}/rename", {"name": " "}).status == 400
    assert admin.get(f"customers/{account}").json["name"] == "By script 灯"


def test_limits_of_an_account(shop, admin):
    customer = shop.account("1")
    here = f"customers/{customer.account}/limits"
    assert admin.get(here).json == {"rpm": None, "tpm": None, "concurrency": None}
    wanted = {"rpm": 1, "tpm": None, "concurrency": 9}
    assert admin.post(here, wanted).json == wanted
    assert admin.get(here).json == wanted
    shop.refresh()
    assert [customer.chat("gpt-4o-mini").status for _ in range(2)] == [200, 429]
    assert trail("account.set_rates", customer.account)
    assert admin.post(here, {"rpm": 5}).status == 422  # all three, so that none is lifted by being forgotten
    assert admin.post(here, wanted | {"rpm": 0}).status == 422
    assert admin.post(here, wanted | {"rpm": 1_000_000}).status == 400
    lifted = admin.post(here, dict.fromkeys(wanted))
    assert (lifted.status, lifted.json["kind"], lifted.json["after"]) == (202, "account.limits", dict.fromkeys(wanted))
    assert admin.get(here).json["rpm"] == wanted["rpm"]


def test_bar_and_unbar(shop, admin):
    customer = shop.account("1")
    here = f"customers/{customer.account}"
    assert admin.post(f"{here}/unbar").status == 400
    assert admin.post(f"{here}/bar").json["state"] == "barred"
    shop.refresh()
    assert customer.chat("gpt-4o-mini").status == 403
    assert admin.post(f"{here}/bar").status == 400
    assert "A person does" in admin.post(f"{here}/unbar").json["error"]["message"]
    assert [len(trail(f"account.{verb}", customer.account)) for verb in ("bar", "unbar")] == [1, 0]


def test_close_by_the_exact_name(shop, admin):
    customer = shop.account("1")
    here = f"customers/{customer.account}"
    name = admin.get(here).json["name"]
    wrong = admin.post(f"{here}/close", {"name": f"{name} ", "leave_money": True})
    assert (wrong.status, wrong.json["error"]["code"]) == (400, "refused")
    assert admin.post(f"{here}/close", {"name": name}).status == 400  # there is money left
    assert admin.get(here).json["state"] == "active"
    closed = admin.post(f"{here}/close", {"name": name, "leave_money": True}).json
    assert (closed["state"], closed["closed_us"] is not None) == ("closed", True)
    assert [each["state"] for each in admin.get(f"{here}/keys").json["data"]] == ["revoked"]
    assert admin.post(f"{here}/close", {"name": name, "leave_money": True}).status == 400
    assert trail("account.close", customer.account)


def test_people_and_projects(shop, admin):
    from farebox.accounts import projects

    owner = people.customer(shop, "1")
    here = f"customers/{owner.customer.account}"
    facts = {"caps": Caps(month_micro=7), "now_us": time.time_ns() // 1000, "actor": "test"}
    made = shop.write(projects.create, account=owner.customer.account, name="class", **facts)
    pupil = people.customer(shop, role="member", of=owner, project=made.id)
    shown = {each["email"]: each for each in admin.get(f"{here}/members").json["data"]}
    assert set(shown) == {owner.email, pupil.email}
    assert (shown[owner.email]["role"], shown[owner.email]["project"]) == ("owner", None)
    assert (shown[pupil.email]["role"], shown[pupil.email]["project"]) == ("member", made.id)
    found = admin.get(f"{here}/projects").json["data"]
    assert [(each["name"], each["caps_micro"]["month"]) for each in found] == [("default", None), ("class", 7)]


def test_holds_under_way(shop, admin):
    from farebox.ledger.models import Hold

    account = shop.account("1").account
    here = f"customers/{account}/holds"
    assert admin.get(here).json == {"data": []}
    facts = {"account": account, "purses": account, "amount_micro": 25, "epoch": "test", "placed_us": 7}
    hold = Hold(id="call_held_by_test", state="open", **facts)
    hold.save(force_insert=True)
    try:
        assert admin.get(here).json == {"data": [{"id": hold.id, "amount_micro": 25, "placed_us": 7}]}
    finally:
        hold.delete()


def test_the_receipt_of_a_call(shop, scripts):
    customer, other = shop.account("1"), shop.account("1")
    answer = customer.chat("gpt-4o-mini", "Hello")
    own = customer.receipt(answer)
    path = f"customers/{customer.account}/calls/{answer.call}"
    seen = {letter: script.get(path).json for letter, script in scripts.items()}
    for made in seen.values():
        assert (made["charge_micro"], made["due_micro"]) == (own["charge_micro"], own["charge_micro"])
        assert [line["usage_class"] for line in made["lines"]] == [line["class"] for line in own["lines"]]
        assert made["attempts"][0]["channel"]
    # What it cost us is not for support; who may read but leaves a trace has left one.
    assert [made["attempts"][0]["cost_micro"] is None for made in seen.values()] == [True, False, False, False]
    assert seen["S"]["attempts"][0]["cost_currency"] == ""
    readers = {event.actor.split(" ")[0] for event in trail("receipt.read", customer.account)}
    assert readers == {f"operator:{scripts[letter].person.person}" for letter in "SX"}
    for wrong in (f"customers/{other.account}/calls/{answer.call}", f"customers/{customer.account}/calls/{NOBODY}"):
        assert scripts["X"].get(wrong).status == 404
    assert scripts["X"].get(f"customers/{customer.account}/calls/none").status == 404


@pytest.mark.slow
def test_roles(shop, scripts):
    """What a role may not do is not there, nor is the house account or one that does not exist."""
    here = f"customers/{shop.account('1').account}"
    may = {
        ("POST", "rename"): "X", ("POST", "bar"): "X", ("POST", "unbar"): "X", ("POST", "close"): "X",
        ("POST", "limits"): "X", ("GET", "limits"): "SFXU", ("GET", "members"): "SXU", ("GET", "projects"): "SFXU",
        ("GET", "holds"): "SFXU",
    }  # fmt: skip
    bodies = {"rename": {"name": "a"}, "limits": {"rpm": None, "tpm": None, "concurrency": None},
              "close": {"name": "?"}}  # fmt: skip
    for letter, script in scripts.items():
        for (method, path), letters in may.items():
            body = bodies.get(path, {}) if method == "POST" else None
            answer = script.ask(method, f"{here}/{path}", body)
            assert (answer.status in {200, 400}) == (letter in letters), (letter, path, answer.body)
            assert answer.status == 404 or letter in letters
            for absent in ("acc_none", "acc_house"):
                assert script.ask(method, f"customers/{absent}/{path}", body).status == 404, (letter, path, absent)
