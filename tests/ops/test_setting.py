"""`farebox setting`: the administrator of the machine sets what the office takes two people for; the trail says who."""

from __future__ import annotations

import pytest

from ops import cli

pytestmark = pytest.mark.store


@pytest.mark.slow
def test_settings_by_command(house):
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
    assert "no such price list" in cli.refused("setting", "set", "signup_price_list", "none")


@pytest.mark.slow
def test_administrators_hear_of_channels_that_a_command_makes(house):
    from farebox.accounts import people
    from farebox.kit import clock, db
    from farebox.kit.models import Outbox

    cli.ok("migrate")
    facts = {"email": "boss@example.com", "operator_role": "admin", "now_us": clock.now_us(), "actor": "test"}
    db.write(people.create, **facts)
    cli.ok("upstream", "add", "lab")
    cli.ok("channel", "add", "lab-1", "lab", "http://127.0.0.1:9/v1", "--local")
    cli.ok("channel", "address", "lab-1", "http://127.0.0.1:8/v1", "--local")
    assert Outbox.objects.filter(kind="mail").count() == 2
