"""Money by hand: a repeat is told as one and leaves no second trace; one reference stands for one amount."""

from __future__ import annotations

import pytest

from kit import cli

pytestmark = pytest.mark.store


@pytest.fixture
def ada(ready_instance):
    return cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")["id"]


def trail(verb: str) -> int:
    from farebox.kit.models import AuditEvent

    return AuditEvent.objects.filter(verb=verb).count()


@pytest.mark.slow
def test_a_grant_with_the_same_reference(ada):
    words = ("grant", "Ada", "5.00", "--reason", "x", "--ref", "bank-1")
    first = cli.ok(*words)
    assert first["repeated"] is False
    again = cli.ok(*words)
    assert (again["entry"], again["repeated"], again["posted_micro"]) == (first["entry"], True, 5_000_000)
    assert "was granted before" in cli.run(*words).out
    assert trail("money.grant") == 1
    sentence = cli.refused("grant", "Ada", "9.00", "--reason", "x", "--ref", "bank-1")
    assert "bank-1" in sentence
    assert first["entry"] in sentence
    assert "5.00" in sentence
    assert trail("money.grant") == 1
    assert cli.ok("account", "show", "Ada")["posted_micro"] == 5_000_000
    assert cli.ok("prove")["clean"]


def test_a_reversal_twice(ada):
    entry = cli.ok("grant", "Ada", "5.00", "--reason", "x")["entry"]
    first = cli.ok("reverse", entry, "--reason", "wrong")
    assert first["repeated"] is False
    again = cli.ok("reverse", entry, "--reason", "wrong once more")
    assert (again["entry"], again["repeated"], again["posted_micro"]) == (first["entry"], True, 0)
    assert "nothing was done" in cli.run("reverse", entry, "--reason", "wrong").out
    assert trail("money.reverse") == 1
    assert cli.ok("prove")["clean"]


def test_more_than_the_books_can_hold_is_refused_as_a_sentence(ada):
    cli.ok("grant", "Ada", "4611686018427", "--reason", "x")
    assert "would exceed" in cli.refused("grant", "Ada", "4611686018427", "--reason", "x")
