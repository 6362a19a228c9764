"""References from outside in the office and its API: taken when the money is booked, refused where they are known."""

from __future__ import annotations

import pytest

from farebox.ledger import lots, references
from farebox.ledger.models import Reference
from kit import people
from office.script import Script

pytestmark = pytest.mark.store
BODY = {"kind": "credit", "amount": "1.50", "reason": "bank transfer", "source": "bank"}


def propose(who, account, **fields):
    answer = who.fill(f"/office/customers/{account.account}/money", **(BODY | fields))
    return answer.headers["location"] if answer.status == 302 else answer


def approve(who, here):
    return who.follow(who.fill(here, f"{here}/approve"))


def test_a_reference_is_taken_when_the_money_is_booked(shop, two_people):
    one, other = shop.account("5"), shop.account("5")
    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, one, reference="page 1")
    assert "page 1" in finance.page(here).text
    assert not Reference.objects.filter(reference="page 1").exists()
    waits = propose(support, other, reference="page 1")
    assert waits.status == 400
    assert "is already proposed" in waits.text
    assert "Approved and booked" in approve(finance, here).text
    assert one.balance == (6_500_000, 0)
    taken = Reference.objects.get(reference="page 1")
    assert (taken.kind, taken.source) == ("manual", "bank")
    known = propose(support, other, reference="page 1")
    assert known.status == 400
    assert taken.entry in known.text
    assert "Use another reference" in known.text


def test_what_was_booked_meanwhile_is_not_approved(shop, two_people):
    """A command booked the bank line while the proposal waited: the approval is refused, and nothing has moved."""
    one, other = shop.account("5"), shop.account("5")
    support, finance = people.operator(shop, "support"), people.operator(shop, "finance")
    here = propose(support, one, reference="page 2", kind="grant")
    shop.write(
        lots.grant, account=other.account, currency="USD", amount_micro=7, ref="", expires_us=None, now_us=1,
        note="n", requester="cli", single_person=True, outside=references.Outside("manual", "bank", "page 2"),
    )  # fmt: skip
    assert "is already used by entry" in approve(finance, here).text
    assert (one.balance, other.balance) == ((5_000_000, 0), (5_000_007, 0))
    assert "Approve and book" in finance.page(here).text


def test_the_api_answers_a_repeat_with_what_it_made_before(shop, two_people):
    account, other = shop.account("5"), shop.account("5")
    finance = people.operator(shop, "finance")
    api = Script(shop, "support")
    body = BODY | {"account": account.account, "reference": "page 3"}
    first = api.post("money", body)
    assert (first.status, first.json["source"], first.json["reference"]) == (200, "bank", "page 3")
    assert api.post("money", body).json == first.json
    assert approve(finance, f"/office/money/{first.json['id']}")
    again = api.post("money", body)
    assert (again.json["id"], again.json["state"], again.json["booked_micro"]) == (
        first.json["id"],
        "booked",
        1_500_000,
    )
    for differs in ({"amount": "2"}, {"account": other.account}, {"kind": "debit"}):
        refused = api.post("money", body | differs)
        assert refused.status == 400
        assert again.json["entry"] in refused.json["error"]["message"]
    assert api.post("money", body | {"source": ""}).status == 400
    assert api.post("money", body | {"source": "BANK"}).status == 400
    assert (account.balance, other.balance) == ((6_500_000, 0), (5_000_000, 0))
