"""`farebox setting`: the administrator of the machine sets what the office takes two people for; the trail says who."""

from __future__ import annotations

import asyncio

import pytest

from kit import cli


@pytest.mark.slow
def test_settings_by_command(instance):
    from farebox.kit.models import AuditEvent

    cli.ok("migrate")
    done = cli.ok("setting", "set", "trial_micro", "USD 1.50, CNY 7")
    assert (done["before"], done["after"]) == ({}, {"USD": 1_500_000, "CNY": 7_000_000})
    assert "so already" in cli.run("setting", "set", "trial_micro", "USD 1.50, CNY 7").out
    assert cli.ok("setting", "list")["trial_micro"] == {"USD": 1_500_000, "CNY": 7_000_000}
    assert "CNY 7.00, USD 1.50" in cli.run("setting", "list").out
    event = AuditEvent.objects.filter(verb="setting.put", object="trial_micro").get()
    assert event.actor.startswith("cli")
    assert "There is no setting" in cli.refused("setting", "set", "no_such", "1")
    assert "trial_days" in cli.refused("setting", "set", "trial_days", "0")
    assert "No such price list" in cli.refused("setting", "set", "signup_price_list", "none")


@pytest.mark.slow
def test_administrators_hear_of_channels_that_a_command_makes(instance):
    from farebox.accounts.people import people
    from farebox.kit import clock, db
    from farebox.kit.models import Outbox

    cli.ok("migrate")
    facts = {"email": "boss@example.com", "operator_role": "admin", "now_us": clock.now_us(), "actor": "test"}
    db.write(people.create, **facts)
    cli.ok("upstream", "add", "lab")
    cli.ok("channel", "add", "lab-1", "lab", "http://127.0.0.1:9/v1", "--local")
    cli.ok("channel", "address", "lab-1", "http://127.0.0.1:8/v1", "--local")
    assert Outbox.objects.filter(kind="mail").count() == 2


DAY_US = 86_400_000_000


def _doctor():
    ran = cli.run("doctor", "--json")
    return next(each for each in ran.json["checks"] if each["check"] == "charging rules")


@pytest.mark.slow
def test_when_version_2_of_the_rules_begins_by_command(instance, monkeypatch):
    """A shop of a release before chooses a date a week ahead, may move it until it has come, and keeps it then."""
    from farebox.catalog import shelf
    from farebox.kit import clock, db, settings
    from farebox.kit.models import AuditEvent

    cli.ok("migrate")
    db.write(settings.forget, settings.RULES_2_FROM)  # as a store of a release before
    cli.ok("migrate")
    assert cli.ok("setting", "list")["rules_2_from"] is None
    assert (_doctor()["verdict"], "rules_2_from 10d" in _doctor()["todo"]) == ("warning", True)
    for near in ("1d", "6d", "2001-01-01"):
        assert "at least 7 days" in cli.refused("setting", "set", "rules_2_from", near)
    assert "is not a time" in cli.refused("setting", "set", "rules_2_from", "soon")
    now_us = clock.now_us()
    assert cli.ok("setting", "set", "rules_2_from", "10d")["changed"]
    found = db.read(shelf.load, now_us)
    assert found.rules_2_from_us == cli.ok("setting", "list")["rules_2_from"]
    assert (found.rule_version(found.rules_2_from_us - 1), found.rule_version(found.rules_2_from_us)) == (1, 2)
    assert _doctor()["verdict"] == "ok"
    versions = db.read(db.versions)
    later = cli.ok("setting", "set", "rules_2_from", "2190-01-01T00:00")
    assert later["before"] == found.rules_2_from_us
    assert db.read(db.versions)["shelf"] == versions["shelf"] + 1  # every node reads it within a second
    assert "2190-01-01 00:00 UTC" in cli.run("setting", "list").out
    assert "at least 7 days" in cli.refused("setting", "set", "rules_2_from", "")
    monkeypatch.setattr(clock, "now_us", lambda: later["after"])
    assert "has passed" in cli.refused("setting", "set", "rules_2_from", "2191-01-01")
    events = AuditEvent.objects.filter(verb="setting.put", object="rules_2_from").order_by("id")
    assert [event.actor.partition(":")[0] for event in events] == ["cli", "cli"]


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.parametrize("begins", [True, False])
def test_only_a_new_shop_begins_with_version_2(instance, begins):
    from farebox.kit import db, settings

    if not begins:  # a store of a release before has an id and no date
        db.write(settings.ensure_installation)
        db.write(settings.forget, "rules_2_from")
    expected = 0 if begins else None
    for _ in range(2):
        cli.ok("migrate")
        assert db.read(settings.get, "rules_2_from") == expected  # what it was made with stays
    if begins:
        assert _doctor()["seen"] == "version 2"
        assert "has passed" in cli.refused("setting", "set", "rules_2_from", "10d")


def test_owners_are_told_once_for_each_date(ready_instance, monkeypatch):
    from farebox.accounts.people import people
    from farebox.jobs import new_rules, schedule
    from farebox.kit import clock, db, settings
    from farebox.kit.models import Outbox

    monkeypatch.setattr(new_rules, "AT_ONCE", 2)
    db.write(settings.forget, settings.RULES_2_FROM)
    for number in range(3):
        account = cli.ok("account", "open", f"A{number}", "--currency", "USD", "--price-list", "official-usd")["id"]
        facts = {"email": f"owner{number}@example.com", "now_us": clock.now_us(), "actor": "test"}
        person = db.write(people.create, **facts)
        place = {"account": account, "person": person.id, "role": "owner", "project": None}
        db.write(people.add_member, **place, now_us=clock.now_us(), actor="test")
    before = Outbox.objects.count()
    asyncio.run(cli.with_store(schedule.tell))
    assert Outbox.objects.count() == before
    for date, told in (("10d", 3), ("10d", 6)):  # another date is told again
        cli.ok("setting", "set", "rules_2_from", date)
        for _ in range(2):
            asyncio.run(cli.with_store(schedule.tell))
            assert Outbox.objects.count() == before + told
