"""`farebox <verb>`: the tour, every verb on both databases, refusals as one sentence, exit codes 0, 1, 2."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from farebox.cli import show, when
from farebox.cli.commands.base import Command, Group
from farebox.cli.main import THEMES, farebox
from farebox.kit import options
from kit import cli

SOURCES = Path(cli.__file__).parents[2] / "src" / "farebox" / "cli"


def verbs(group: click.Group, path: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.fixture
def shop(ready_instance):
    """A store as `farebox migrate` leaves it."""
    return ready_instance


@pytest.fixture
def ada(shop):
    """An account with money."""
    account = cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    cli.ok("grant", "Ada", "20.00", "--reason", "to begin with")
    return account


# the tour


def test_help_is_a_tour_by_theme():
    out = cli.run("--help").out
    places = [out.index(f"{theme}:") for theme in THEMES]
    assert places == sorted(places)
    assert {name for names in THEMES.values() for name in names} == set(farebox.commands)


@pytest.mark.slow
def test_every_verb_has_help_and_an_example_that_is_valid():
    for path, command in verbs(farebox):
        assert isinstance(command, Command), path
        ran = cli.run(*path, "--help")
        assert ran.code == 0
        assert command.help
        assert len(command.help) > 20, path
        assert command.example, path
        for line in command.example.replace("\\\n", " ").splitlines():
            assert re.match(r"(FAREBOX_[A-Z]+=\S+ )?farebox ", line.strip()), line
            words = line.split("farebox ", 1)[1].split(">")[0]
            given = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True)
            parts = given.stdout.decode().rstrip("\0").split("\0")
            assert tuple(parts[: len(path)]) == path
            if "prices.csv" not in line:  # a file that the parser would open
                command.make_parser(click.Context(command)).parse_args(parts[len(path) :])


@pytest.mark.slow
def test_help_needs_no_django_and_little_time():
    code = (
        "import sys\nfrom farebox.cli.main import farebox\n"
        "try: farebox.main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'django' not in sys.modules and 'rich' not in sys.modules"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=cli.environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: the clock on the wall would measure the neighbours.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


def test_wrong_usage_is_exit_2():
    for args in (
        ["account"],
        ["nonsense"],
        ["grant", "Ada"],
        ["prices", "diff", "a", "x", "y"],
        ["serve", "--role", "x"],
    ):
        ran = cli.run(*args)
        assert ran.code == 2, args
        assert "Traceback" not in ran.err


def test_every_write_verb_has_a_command_and_the_other_way_round():
    from farebox.cli.verbs import VERBS

    used = set()
    for path in (SOURCES / "commands").glob("*.py"):
        used |= set(re.findall(r'\bwrite\(\s*"([a-z.-]+)"', path.read_text()))
    assert used == set(VERBS)


def test_every_group_takes_json():
    for _path, command in verbs(farebox):
        assert any(param.name == "as_json" for param in command.params)
    assert all(isinstance(command, Group | Command) for command in farebox.commands.values())


# the store


@pytest.mark.slow
@pytest.mark.store
def test_migrate_twice_is_once(instance):
    first = cli.ok("migrate")
    second = cli.ok("migrate")
    assert first["official_usd"] == "published"
    assert second["official_usd"] == "was there"
    assert second["applied"] == 0
    assert first["installation"] == second["installation"]
    assert {row["id"] for row in cli.ok("account", "list")} == {"acc_house"}


@pytest.mark.slow
def test_migrate_makes_an_empty_folder_a_store(tmp_path):
    env = {"FAREBOX_DATA_DIR": str(tmp_path / "new" / "var")}
    assert cli.program("account", "list", env=env).err.startswith("farebox: There is no store at ")
    ran = cli.program("migrate", "--json", env=env)
    assert ran.code == 0
    assert ran.json["applied"] > 10
    data = tmp_path / "new" / "var"
    assert data.stat().st_mode & 0o777 == 0o700
    for name in ("pepper", "master"):
        assert (data / "keys" / name).stat().st_mode & 0o777 == 0o400
    proved = cli.program("prove", "--json", env=env)
    assert proved.code == 0
    assert proved.json["clean"] is True


@pytest.mark.slow
@pytest.mark.store
@pytest.mark.parametrize("name", ["pepper", "master"])
def test_migrate_makes_no_second_key_file_for_a_store_that_is_used(ready_instance, name):
    from farebox.kit.models import AuditEvent

    (ready_instance.data / "keys" / name).unlink()
    refusal = cli.refused("migrate")
    assert str(ready_instance.data / "keys" / name) in refusal
    assert "--new-keys" in refusal
    assert not (ready_instance.data / "keys" / name).exists()
    cli.ok("migrate", "--new-keys")
    assert cli.ok("account", "list")
    assert AuditEvent.objects.filter(verb="keys.replaced").count() == 1


@pytest.mark.store
@pytest.mark.fault("F42")
def test_migrate_refuses_a_newer_store_and_one_that_was_migrated_halfway(ready_instance):
    from django.db.migrations.recorder import MigrationRecorder

    rows = MigrationRecorder.Migration.objects
    rows.create(app="ledger", name="0999_from_the_future")
    assert "newer version" in cli.refused("migrate")
    rows.filter(name="0999_from_the_future").delete()
    rows.filter(app="calls").earliest("name").delete()
    assert "migrated halfway" in cli.refused("migrate")


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(ready_instance):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        env = ready_instance.environ | {"FAREBOX_PORT": str(listener.getsockname()[1])}
        ran = cli.program("serve", env=env)
    assert ran.code == 1
    assert "can't listen on" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


@pytest.mark.store
def test_a_store_of_another_version_is_refused_with_the_next_step(shop):
    from django.db.migrations.recorder import MigrationRecorder

    rows = MigrationRecorder.Migration.objects
    rows.create(app="ledger", name="0999_from_the_future")
    assert "newer version" in cli.refused("account", "list")
    rows.filter(name="0999_from_the_future").delete()
    last = rows.filter(app="calls").latest("name")
    last.delete()
    assert "Run `farebox migrate` first." in cli.refused("account", "list")


@pytest.mark.store
def test_prove_is_clean_and_finds_what_was_tampered_with(shop, ada):
    from farebox.ledger.models import LedgerAccount

    proved = cli.ok("prove")
    assert proved["clean"] is True
    assert proved["trial_balance_micro"] == {"USD": 20_000_000}
    assert set(proved["findings"]) == {"ledger", "calls", "accounts", "catalog", "upstreams"}
    LedgerAccount.objects.filter(id=ada["id"]).update(posted_micro=21_000_000)
    ran = cli.run("prove", "--json")
    assert ran.code == 1
    assert ran.json["clean"] is False
    assert any("I04" in finding and ada["id"] in finding for finding in ran.json["findings"]["ledger"])
    shown = cli.run("prove")
    assert shown.code == 1
    assert "ledger: I04" in shown.out


# who buys


@pytest.mark.slow
@pytest.mark.store
def test_an_account_from_open_to_close(shop, ada):
    shown = cli.ok("account", "show", "Ada")
    assert shown["available_micro"] == 20_000_000
    assert [row["name"] for row in shown["projects"]] == ["default"]
    assert cli.ok("account", "freeze", ada["id"])["state"] == "frozen"
    assert "frozen" in cli.refused("account", "freeze", "Ada")
    assert cli.ok("account", "unfreeze", "Ada")["state"] == "active"
    assert cli.ok("account", "bar", "Ada")["state"] == "barred"
    assert cli.ok("account", "unbar", "Ada")["state"] == "active"
    assert cli.ok("account", "rename", "Ada", "Ada King")["name"] == "Ada King"
    cli.ok("prices", "create", "other-usd", "USD")
    assert cli.ok("account", "price-list", "Ada King", "other-usd")["price_list"] == "other-usd"
    assert "still has 20.00 USD" in cli.refused("account", "close", "Ada King")
    key = cli.ok("key", "create", "Ada King")
    assert cli.ok("account", "close", "Ada King", "--leave-money")["state"] == "closed"
    assert cli.ok("key", "show", key["id"])["state"] == "revoked"
    assert cli.ok("prove")["clean"]


@pytest.mark.slow
@pytest.mark.store
def test_a_person_a_member_and_caps(shop, ada):
    assert cli.ok("person", "create", "Ada@Example.org", "--name", "Ada")["email"] == "ada@example.org"
    operator = ("person", "create", "op@example.org", "--role", "finance")
    assert "Leave --password out" in cli.refused(*operator, "--password", stdin="a long enough sentence\n")
    assert "/office/set-up?code=" in cli.ok(*operator)["link"]  # the role comes with the link
    assert "too common" in cli.refused("person", "create", "x@example.org", "--password", stdin="password1\n")
    assert "There is no person" in cli.refused("person", "role", "op@example.org", "none")
    assert "/office/set-up?code=" in cli.ok("person", "role", "ada@example.org", "finance")["link"]
    assert "already has this role" in cli.refused("person", "role", "ada@example.org", "none")
    member = cli.ok("member", "add", "Ada", "ada@example.org", "owner", "--cap", "5.00/month", "--cap", "1/day")
    assert member["caps_micro"] == {"day": 1_000_000, "month": 5_000_000, "ever": None}
    assert set(cli.ok("member", "cap", member["id"], "none")["caps_micro"].values()) == {None}
    project = cli.ok("project", "create", "Ada", "engine")
    assert cli.ok("project", "cap", "Ada/engine", "20/month")["caps_micro"]["month"] == 20_000_000
    assert cli.run("project", "cap", "Ada/engine", "20").code == 2
    assert [row["name"] for row in cli.ok("project", "list", "Ada")] == ["default", "engine"]
    assert cli.ok("project", "archive", project["id"])["state"] == "archived"
    assert [row["id"] for row in cli.ok("member", "list", "Ada")] == [member["id"]]
    assert cli.ok("member", "remove", member["id"])["state"] == "removed"


@pytest.mark.slow
@pytest.mark.store
def test_a_key_is_shown_once(shop, ada):
    made = cli.ok(
        "key", "create", "Ada", "--name", "laptop", "--model", "gpt-4", "--address", "10.0.0.0/8", "--expires", "30d",
        "--cap", "2.00/day",
    )  # fmt: skip
    plaintext = made["plaintext"]
    assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", plaintext)
    assert made["models"] == ["gpt-4"]
    for args in (("key", "list"), ("key", "show", "laptop"), ("account", "show", "Ada")):
        assert plaintext not in cli.run(*args).out + cli.run(*args, "--json").out
    new = cli.ok("key", "rotate", "laptop", "--grace", "1h")
    assert new["plaintext"] != plaintext
    assert new["caps_micro"]["day"] == 2_000_000
    assert cli.ok("key", "limit", new["id"], "--any-model", "--any-address")["models"] == []
    assert cli.run("key", "limit", new["id"]).code == 2
    assert cli.ok("key", "cap", new["id"], "none/day", "7/ever")["caps_micro"] == {
        "day": None,
        "month": None,
        "ever": 7_000_000,
    }
    assert cli.ok("key", "expire", new["id"], "never")["expires_us"] is None
    assert cli.ok("key", "revoke", new["id"])["state"] == "revoked"
    assert "already revoked" in cli.refused("key", "revoke", new["id"])
    old = cli.ok(
        "key", "import", "Ada", "--name", "old", "--secret-file", "-", stdin="sk-of-another-system-0123456789\n"
    )
    assert "plaintext" not in old
    stub = cli.run("key", "create", "Ada", "--name", "second")
    assert "OPENAI_API_KEY=sk-" in stub.out
    assert "OPENAI_BASE_URL=http://127.0.0.1:8080/v1" in stub.out


# money


@pytest.mark.slow
@pytest.mark.store
def test_a_grant_is_recorded_as_one_persons(shop, ada):
    from farebox.kit.models import AuditEvent
    from farebox.ledger.models import CreditLot, Entry

    given = cli.ok("grant", "Ada", "1.50", "--reason", "goodwill", "--ref", "case-7", "--expires", "90d")
    again = cli.ok("grant", "Ada", "1.50", "--reason", "goodwill", "--ref", "case-7", "--expires", "90d")
    assert given["entry"] == again["entry"]
    assert again["posted_micro"] == 21_500_000
    entry = Entry.objects.get(id=given["entry"])
    assert entry.single_person is True
    assert entry.approver is None
    assert entry.requester.startswith("cli:")
    assert AuditEvent.objects.filter(verb="money.grant", actor=entry.requester).exists()
    undone = cli.ok("reverse", given["entry"], "--reason", "wrong account")
    assert undone["posted_micro"] == 20_000_000
    # Twice is once, and what was granted is no longer there to lapse.
    assert cli.ok("reverse", given["entry"], "--reason", "wrong account")["entry"] == undone["entry"]
    assert CreditLot.objects.get(entry_id=given["entry"]).closed is True
    assert "itself a reversal" in cli.refused("reverse", undone["entry"], "--reason", "x")
    kinds = [row["kind"] for row in cli.ok("account", "entries", "Ada")]
    assert kinds == ["reversal", "grant", "grant"]
    assert cli.ok("prove")["clean"]


@pytest.mark.store
def test_a_last_day_is_whole_in_the_accounts_zone(shop, ada):
    """Of a key and of granted credit: 31 December ends when the account's own first of January begins."""
    from datetime import UTC, datetime

    from farebox.accounts.models import Account
    from farebox.ledger.models import CreditLot

    Account.objects.filter(id=ada["id"]).update(time_zone="America/Los_Angeles")
    end_us = int(datetime(2099, 1, 1, 8, tzinfo=UTC).timestamp()) * 1_000_000
    made = cli.ok("key", "create", "Ada", "--name", "till-new-year", "--expires", "2098-12-31")
    assert made["expires_us"] == end_us
    assert cli.ok("key", "expire", made["id"], "2098-12-30")["expires_us"] == end_us - 86_400_000_000
    assert cli.ok("key", "expire", made["id"], "2098-12-31T18:00")["expires_us"] == end_us - 14 * 3_600_000_000
    given = cli.ok("grant", "Ada", "1", "--reason", "x", "--expires", "2098-12-31")
    assert CreditLot.objects.get(entry_id=given["entry"]).expires_us == end_us


@pytest.mark.store
def test_money_by_hand_that_is_refused(shop, ada):
    assert "not an amount" in cli.refused("grant", "Ada", "lots", "--reason", "x")
    assert "greater than 0" in cli.refused("grant", "--reason", "x", "--", "Ada", "-5")
    assert "Say why" in cli.refused("grant", "Ada", "5", "--reason", " ")
    assert "There is no account 'Bob'" in cli.refused("grant", "Bob", "5", "--reason", "x")
    assert "no entry" in cli.refused("reverse", "ent_x", "--reason", "x")
    assert "in the future" in cli.refused("grant", "Ada", "5", "--reason", "x", "--expires", "2020-01-01")
    options.current().single_person = False
    assert "second person" in cli.refused("grant", "Ada", "5", "--reason", "x")
    assert cli.ok("account", "show", "Ada")["posted_micro"] == 20_000_000


@pytest.mark.store
def test_refusals_are_json_for_scripts(shop):
    ran = cli.run("account", "show", "nobody", "--json")
    assert ran.code == 1
    assert ran.out == ""
    assert json.loads(ran.err)["error"]["code"] == "command_refused"


# what is sold, and from whom it is bought


@pytest.mark.slow
@pytest.mark.store
def test_price_lists_by_command(shop, tmp_path):
    assert cli.ok("prices", "create", "campus-cny", "CNY", "--about", "students")["changed"] is True
    assert "existed already" in cli.run("prices", "create", "campus-cny", "CNY").out
    first = cli.ok("prices", "publish", "campus-cny", "--from", "official-usd", "--rate", "7.25", "--factor", "1.10")
    assert first["prices"]["gpt-4"] == {"input": "239.25", "output": "478.50"}
    cli.ok("prices", "publish", "campus-cny", "--set", "gpt-4", "input", "200.00", "--remove", "gpt-4-32k")
    changes = {(row["model"], row["usage_class"]): row for row in cli.ok("prices", "diff", "campus-cny", "1", "2")}
    assert changes["gpt-4", "input"]["after_micro"] == 200_000_000
    assert changes["gpt-4-32k", "output"]["after_micro"] is None
    sheet = cli.run("prices", "export", "campus-cny")
    (tmp_path / "prices.csv").write_text(sheet.out.replace("200.00", "210.00"))
    cli.ok("prices", "import", "campus-cny", str(tmp_path / "prices.csv"))
    assert cli.ok("prices", "show", "campus-cny")["prices"]["gpt-4"]["input"] == "210.00"
    (tmp_path / "prices.json").write_text(cli.run("prices", "export", "campus-cny", "--format", "json").out)
    cli.ok("prices", "import", "campus-cny", str(tmp_path / "prices.json"))
    (tmp_path / "twice.json").write_text('{"gpt-4": {"input": "1"}, "gpt-4": {"input": "2"}}')
    assert "gpt-4 appears twice" in cli.refused("prices", "import", "campus-cny", str(tmp_path / "twice.json"))
    later = cli.ok("prices", "publish", "campus-cny", "--set", "gpt-4", "input", "1.00", "--at", "30d")
    assert later["version"] == 5
    assert cli.ok("prices", "show", "campus-cny")["version"] == 4
    heads = {row["price_list"]: row["version"] for row in cli.ok("prices", "show")}
    assert heads["campus-cny"] == 4
    assert "There is no model 'nope'" in cli.refused("prices", "publish", "campus-cny", "--set", "nope", "input", "1")


@pytest.mark.store
def test_a_model_without_a_price_for_what_it_makes_is_not_published(shop):
    cli.ok(
        "model", "define", "thinker", "--kind", "chat", "--class", "input", "--class", "output", "--class", "reasoning",
        "--context", "1000", "--output-max", "100", "--hidden-output",
    )  # fmt: skip
    sentence = cli.refused(
        "prices", "publish", "official-usd", "--set", "thinker", "input", "1", "--set", "thinker", "output", "2"
    )
    assert "reasoning" in sentence
    assert cli.ok("prices", "show", "official-usd")["version"] == 1
    assert cli.ok("model", "alias", "t", "thinker") == {"alias": "t", "model": "thinker", "before": ""}
    assert cli.ok("model", "unlist", "thinker", "--why", "too slow")["changed"] is True
    rows = {row["name"]: row for row in cli.ok("model", "list")}
    assert rows["thinker"]["listed"] is False
    assert rows["thinker"]["aliases"] == ["t"]
    shown = cli.ok("model", "show", "thinker")
    assert (shown["context_tokens"], shown["aliases"]) == (1000, ["t"])
    assert (shown["factors"]["in_force"], shown["factors"]["input"]["latin"]) == (False, 900_000)
    assert "not in force yet" in cli.run("model", "show", "thinker").out
    assert "model list" in cli.refused("model", "show", "nobody")
    assert cli.ok("model", "list-again", "thinker")["changed"] is True
    assert cli.ok("model", "unalias", "t")["model"] == "thinker"


@pytest.mark.store
def test_propose_is_a_diff_that_changes_nothing(shop):
    before = cli.ok("prices", "show", "official-usd")
    proposed = cli.ok("prices", "propose", "official-usd", "--all")
    assert {row["model"] for row in proposed} == set(before["prices"])
    assert cli.ok("prices", "show", "official-usd") == before


@pytest.mark.slow
@pytest.mark.store
def test_channels_by_command(shop, tmp_path, monkeypatch):
    cli.ok("upstream", "add", "lab", "--cancel-billing", "stops", "--about", "ours")
    cli.ok("upstream", "change", "lab", "--cancel-billing", "bills_all")
    assert cli.ok("upstream", "list")[0]["cancel_billing"] == "bills_all"
    cli.ok("channel", "add", "lab-1", "lab", "http://127.0.0.1:9/v1", "--local", "--quirk", "stream_options=false")
    monkeypatch.setenv("LAB_KEY", "sk-upstream-secret-1234567890")
    cli.ok("channel", "add", "lab-2", "lab", "https://api.example.org/v1", "--secret-env", "LAB_KEY", "--tier", "2")
    assert "--secret-file" in cli.refused("channel", "add", "lab-3", "lab", "https://api.example.org/v1")
    assert "There is no variable" in cli.refused("channel", "secret", "lab-2", "--secret-env", "NOT_THERE")
    (tmp_path / "secret").write_text("sk-another-secret-0987654321\n")
    cli.ok("channel", "secret", "lab-2", "--secret-file", str(tmp_path / "secret"))
    offered = cli.ok("channel", "offer", "lab-1", "gpt-4", "--as", "big", "--cost", "input=27", "--cost", "output=54")
    assert offered["costs"] == {"input": "27.000000", "output": "54.000000"}
    assert cli.ok("channel", "quirks", "lab-1", 'drop=["seed"]', "auth_scheme=")["quirks"] == {
        "drop": ["seed"],
        "auth_scheme": "",
    }
    for twice, said in (
        (
            ['extra_headers={"A":"1","\\u0041":"2"}'],
            "extra_headers: the name A appears twice in the JSON. Keep one of them.",
        ),
        (["drop=[]", 'drop=["seed"]'], "The quirk drop is given twice."),
    ):
        assert said in cli.refused("channel", "quirks", "lab-1", *twice)
    assert cli.ok("channel", "quirks", "lab-1", "none")["quirks"] == {}
    assert "stream_options" in cli.ok("channel", "quirks", "lab-1")
    presets = {row["preset"]: row["quirks"] for row in cli.ok("channel", "presets")}
    assert "limit_name" in cli.run("channel", "presets").out
    assert cli.ok("channel", "quirks", "lab-1", "--preset", "azure")["quirks"] == presets["azure"]
    assert (
        cli.ok("channel", "quirks", "lab-1", "--preset", "azure", "auth_header=x-key")["quirks"]["auth_header"]
        == "x-key"
    )
    third = ("channel", "add", "lab-3", "lab", "http://127.0.0.1:9/v1", "--local")
    assert cli.ok(*third, "--preset", "llamacpp", "--quirk", "pass=[]")["quirks"]["developer_role"] is False
    assert "Choose one of: openai," in cli.refused(*third[:2], "lab-4", *third[3:], "--preset", "nobody")
    assert cli.ok("channel", "order", "lab-1", "--weight", "7")["weight"] == 7
    assert cli.ok("channel", "address", "lab-1", "http://127.0.0.1:10/v1", "--local")["base_url"].endswith(":10/v1")
    assert cli.ok("channel", "state", "lab-1", "disabled", "--why", "test")["state"] == "disabled"
    listed = cli.run("channel", "list")
    assert "gpt-4 (there big)" in listed.out
    assert "sk-" not in listed.out + cli.run("channel", "list", "--json").out
    cli.ok("channel", "withdraw", "lab-1", "gpt-4")
    assert cli.run("channel", "offer", "lab-1", "gpt-4", "--cost", "input").code == 2


# calls


def test_the_ticket_of_a_gpt_4_call():
    receipt = {
        "id": "call_1", "asked": "gpt-4", "endpoint": "chat", "stream": True, "opened_us": 1_795_000_000_000_000,
        "ended_us": 1_795_000_001_000_000, "currency": "USD", "price_list": "official-usd", "price_version": 1,
        "rule": "R02", "rule_version": 1, "outcome": "served", "usage_source": "reported", "finish_reason": "stop",
        "flags": [], "error": "", "attempts": [{"n": 1, "outcome": "served", "total_ms": 1234}],
        "charge": {"amount": "0.060000"},
        "lines": [
            {"class": "input", "units": 1000, "price_micro_per_million": 30_000_000, "amount_micro_exact": "30000.000000"},
            {"class": "output", "units": 500, "price_micro_per_million": 60_000_000, "amount_micro_exact": "30000.000000"},
            {"class": "reasoning", "units": 1, "price_micro_per_million": 500_000, "amount_micro_exact": "0.500000"},
        ],
    }  # fmt: skip
    lines = show.ticket(receipt).splitlines()
    assert re.search(r"input +1,000 × +30.00 = +0.030000$", lines[8])
    assert re.search(r"output +500 × +60.00 = +0.030000$", lines[9])
    assert re.search(r"reasoning +1 × +0.50 = +0.0000005$", lines[10])
    assert any(re.fullmatch(r"TOTAL +0.060000 USD", line) for line in lines)
    assert any(re.fullmatch(r"price list +official-usd v1", line) for line in lines)
    assert any(re.fullmatch(r"rule +R02 \(version 1\), served", line) for line in lines)
    assert {len(line) for line in lines if " × " in line} == {show.TICKET_CHARS}


@pytest.mark.store
def test_without_calls_the_lists_say_so(shop):
    assert cli.ok("call", "list") == []
    assert cli.ok("usage", "--from", "2026-01-01", "--by", "model") == []
    assert "No call yet." in cli.run("call", "list").out
    assert "There is no call" in cli.refused("call", "show", "call_x")


# what runs


def test_on_sqlite_only_role_all(instance):
    assert instance.database == ""
    for role in ("api", "console"):
        assert "On SQLite one process serves everything" in cli.refused("serve", "--role", role)


def test_the_sandbox_lists_its_behaviours_in_help():
    from farebox.sandbox import BEHAVIOURS

    out = cli.run("sandbox", "--help").out
    for name in BEHAVIOURS:
        assert re.search(rf"^ +{re.escape(name)}\b", out, re.MULTILINE), name


def test_times_and_amounts_as_people_type_them():
    assert when.point("30d", now_us=0) == 30 * 86_400 * 1_000_000
    assert when.point("2026-12-31", now_us=0) == 1_798_675_200_000_000
    assert when.point("2026-12-31T18:00+08:00", now_us=0) == 1_798_711_200_000_000
    assert when.span("2w") == 1_209_600
    assert when.shown(1_798_675_200_000_000) == "2026-12-31 00:00:00"
    for wrong in ("soon", "5", "2026-13-01", ""):
        with pytest.raises(cli_error(), match="is not a time"):
            when.point(wrong, now_us=0)


def cli_error():
    from farebox.kit.errors import CommandError

    return CommandError


@pytest.mark.store
def test_a_database_that_sorts_by_a_language_is_refused(instance, monkeypatch):
    from farebox.care import setup
    from farebox.kit import db, errors

    assert db.read(db.in_byte_order)
    monkeypatch.setattr(db, "in_byte_order", lambda tx: False)
    with pytest.raises(errors.CommandError, match="LC_COLLATE 'C'"):
        setup.migrate()
