"""`farebox operator` and the link that a server prints while its office has nobody."""

from __future__ import annotations

import re

import pytest

from kit import cli

pytestmark = pytest.mark.store


def come(link):
    """Do what the page of a link does with a password."""
    from farebox.accounts.people import people
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock, db

    code = link.rpartition("=")[2]
    hashed = people.hashed("correct horse battery staple 4711")
    db.write(setup.use, code, email="", name="", password_hash=hashed, now_us=clock.now_us())


def test_set_up_only_while_there_is_nobody(instance):
    first, second = cli.ok("operator", "set-up"), cli.ok("operator", "set-up")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/office/set-up\?code=[A-Za-z0-9_-]{22}", first["link"])
    assert first["link"] != second["link"]
    cli.ok("operator", "invite", "ada@example.org", "--role", "admin", "--name", "Ada")
    assert "already has operators" in cli.refused("operator", "set-up")


@pytest.mark.slow
def test_invite_list_and_reset(instance):
    made = cli.ok("operator", "invite", "ada@example.org", "--role", "admin")
    assert made["state"] == "approved"
    assert made["single_person"] is True
    assert made["requester"].startswith("cli:")
    assert "is not an e-mail address" in cli.refused("operator", "invite", "ada")
    assert "There is no operator" in cli.refused("operator", "reset", "ada@example.org")  # he has not come yet
    assert cli.ok("operator", "list") == []
    later = cli.ok("operator", "invite", "ada@example.org", "--role", "admin")
    assert later["link"] != made["link"]
    come(later["link"])
    assert "already has this role" in cli.refused("operator", "invite", "ada@example.org", "--role", "admin")
    again = cli.ok("operator", "reset", "ada@example.org")
    assert again["link"] not in {made["link"], later["link"]}
    [row] = cli.ok("operator", "list")
    assert (row["email"], row["operator_role"], row["factors"], row["has_password"]) == (
        "ada@example.org", "admin", [], False,
    )  # fmt: skip
    assert "ada@example.org" in cli.run("operator", "list").out


def test_alone_even_where_two_are_needed(instance):
    """The machine's administrator acts alone (I27), and the record says so."""
    from farebox.kit import options

    options.current().single_person = False
    assert cli.ok("operator", "invite", "ada@example.org")["single_person"] is True


@pytest.mark.slow
def test_what_a_server_prints_at_its_start(instance):
    from farebox.care import setup

    code = setup.first_code()
    assert len(code) == 22
    cli.ok("operator", "invite", "ada@example.org", "--role", "admin")
    assert setup.first_code() == ""
