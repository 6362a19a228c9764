"""`farebox key rates`: limits a minute and at once, of a key, project, member or account."""

from __future__ import annotations

import pytest

from kit import cli

pytestmark = pytest.mark.store


@pytest.fixture
def ada(ready_instance):
    return cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")


def test_a_key_is_limited_and_the_limits_that_are_not_named_stay(ada):
    made = cli.ok("key", "create", "Ada", "--name", "laptop", "--rpm", "30", "--concurrency", "2")
    assert (made["rpm"], made["tpm"], made["concurrency"]) == (30, None, 2)
    done = cli.ok("key", "rates", "laptop", "--tpm", "9000", "--concurrency", "none")
    assert (done["rpm"], done["tpm"], done["concurrency"]) == (30, 9000, None)
    assert cli.run("key", "rates", "laptop", "--rpm", "60").out.endswith("60 calls a minute, 9,000 tokens a minute.\n")
    assert "60 calls a minute, 9,000 tokens a minute" in cli.run("key", "show", "laptop").out


def test_every_scope_has_its_limits(ada):
    project = cli.ok("project", "create", "Ada", "engine")
    for kind, name in (("account", "Ada"), ("project", "Ada/engine"), ("project", project["id"])):
        done = cli.ok("key", "rates", name, "--of", kind, "--rpm", "5")
        assert (done["kind"], done["rpm"]) == (kind, 5)
    assert "There is no" in cli.refused("key", "rates", "mem_nobody", "--of", "member", "--rpm", "5")
    assert "of the shop itself" in cli.refused("key", "rates", "acc_house", "--of", "account", "--rpm", "5")


def test_what_is_no_limit_is_refused(ada):
    cli.ok("key", "create", "Ada", "--name", "laptop")
    assert cli.run("key", "rates", "laptop").code == 2
    assert cli.run("key", "rates", "laptop", "--rpm", "fast").code == 2
    assert "whole number from 1" in cli.refused("key", "rates", "laptop", "--rpm", "0")
    assert "whole number from 1" in cli.refused("key", "create", "Ada", "--name", "x", "--tpm", "0")


def test_the_trail_has_before_and_after(ada):
    from farebox.kit.models import AuditEvent

    key = cli.ok("key", "create", "Ada", "--name", "laptop", "--rpm", "3")
    cli.ok("key", "rates", "laptop", "--rpm", "4")
    event = AuditEvent.objects.get(verb="key.set_rates")
    assert event.object == key["id"]
    assert ('"rpm":3' in event.before, '"rpm":4' in event.after) == (True, True)
