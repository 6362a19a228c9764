"""References from outside, by command: with a source the shop books one once, whatever the account (promises 4.8)."""

from __future__ import annotations

import pytest

from kit import cli

pytestmark = pytest.mark.store
FACTS = ("--reason", "bank transfer", "--ref")


@pytest.fixture
def two(ready_instance):
    return [cli.ok("account", "open", name, "--currency", "USD", "--price-list", "official-usd")["id"] for name in "AB"]


def balances():
    return [cli.ok("account", "show", name)["posted_micro"] for name in "AB"]


def test_with_a_source_a_reference_is_booked_once_across_accounts(two):
    words = ("grant", "A", "5", *FACTS, "2026-11-24/17", "--source", "bank")
    first = cli.ok(*words)
    again = cli.ok(*words)
    assert (again["entry"], again["repeated"]) == (first["entry"], True)
    said = cli.refused("grant", "B", *words[2:])
    for part in ("2026-11-24/17", "bank", first["entry"], "grant", "5.00 USD", two[0]):
        assert part in said
    assert first["entry"] in cli.refused("grant", "A", "6", *words[3:])
    assert balances() == [5_000_000, 0]
    # Another source has numbers of its own, and so has who names none.
    cli.ok("grant", "A", "1", *FACTS, "2026-11-24/17", "--source", "paper")
    cli.ok("grant", "A", "1", *FACTS, "2026-11-24/17")
    assert balances() == [7_000_000, 0]
    [row] = [row for row in cli.ok("account", "entries", "A") if row["id"] == first["entry"]]
    assert (row["source"], row["reference"]) == ("bank", "2026-11-24/17")
    assert "bank 2026-11-24/17" in cli.run("account", "entries", "A").out
    assert cli.ok("prove")["clean"]


def test_one_spelling_of_a_source_and_a_reference(two):
    cli.ok("grant", "A", "5", *FACTS, "Café 1", "--source", "bank")
    assert cli.ok("grant", "A", "5", *FACTS, " Cafe\u0301 1 ", "--source", "bank")["repeated"]
    assert "lower-case letters" in cli.refused("grant", "B", "5", *FACTS, "Café 1", "--source", "Bank")
    assert "one line" in cli.refused("grant", "B", "5", *FACTS, "a\nb", "--source", "bank")
    assert "one line" in cli.refused("grant", "B", "5", *FACTS, "x" * 201, "--source", "bank")
    assert "needs both" in cli.refused("grant", "B", "5", *FACTS, "  ", "--source", "bank")
    assert cli.run("grant", "B", "5", "--reason", "x", "--source", "bank").code == 2
    assert balances() == [5_000_000, 0]


def test_without_a_source_it_is_as_it_was_and_the_proof_warns(two):
    assert cli.ok("prove")["warnings"] == []
    for name in "AB":
        cli.ok("grant", name, "5", *FACTS, "x")
    found = cli.ok("prove")
    assert found["clean"]
    assert len(found["warnings"]) == 1
    assert "reference x was granted on 2 accounts" in found["warnings"][0]
    assert "reference x was granted on 2 accounts" in cli.run("prove").out
    [row] = [row for row in cli.run("doctor", "--json").json["checks"] if row["check"] == "references"]
    assert row["verdict"] == "warning"


def test_the_proof_finds_references_and_entries_that_disagree(two):
    from farebox.kit import db
    from farebox.ledger.models import Reference

    entry = cli.ok("grant", "A", "5", *FACTS, "1", "--source", "bank")["entry"]
    for change in ("UPDATE ledger_reference SET reference = '2'", "DELETE FROM ledger_reference"):
        with pytest.raises(Exception, match="append-only"):
            db.write(lambda tx, sql=change: tx.execute(sql))
    Reference.objects.create(entry="ent_none", kind="bank", source="bank", reference="9", at_us=1)
    found = cli.run("prove", "--json")
    assert found.code == 1
    assert found.json["findings"]["ledger"] == ["I17 reference 9 of bank and its entry disagree"]
    assert Reference.objects.get(reference="1").entry == entry


def test_an_entry_that_has_lost_its_reference_is_found(two):
    from farebox.kit.clock import now_us
    from farebox.ledger.models import Entry

    Entry.objects.create(id="ent_1", account=two[0], kind="grant", ref="ent_1", currency="USD", at_us=now_us())
    found = cli.run("prove", "--json").json["findings"]["ledger"]
    assert "I17 entry ent_1 has lost its reference from outside" in found
