"""`farebox migrate`, `options`, `prove`: the store and what governs it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show
from farebox.kit import money
from farebox.kit import options as options_

from .base import Command, emit


@click.command(
    "migrate",
    cls=Command,
    example="farebox migrate\nFAREBOX_DATABASE=postgresql://shop@db/shop farebox migrate",
)
@click.option("--despite-drift", is_flag=True, help="Upgrade books in which a balance has drifted nevertheless.")
@click.option(
    "--new-keys",
    is_flag=True,
    help="Continue with new key files if those of this store are lost: every key is void, and what is sealed "
    "(upstreams' keys, second factors) must be entered again.",
)
def migrate(despite_drift: bool, new_keys: bool) -> None:
    """Create the store, or upgrade it to this version.

    Creates the data folder, the key files and the tables if they are missing, and what every shop starts with: its
    installation id, the shop's own account, and the seven models of the price list official-usd. Running it
    again changes nothing. Back up the store and the key files before an upgrade.
    """
    from farebox.care import setup
    from farebox.kit import secrets

    if sys.stderr.isatty():
        click.echo("Migrating the store …", err=True)
    done = setup.migrate(despite_drift=despite_drift, new_keys=new_keys)
    chosen = options_.current()
    where = str(chosen.sqlite_file) if chosen.on_sqlite else secrets.redact(chosen.database)
    facts = {
        "store": where,
        "applied": done.applied,
        "installation": done.installation,
        "official_usd": "published" if done.official else "was there",
    }
    emit(
        facts,
        lambda: print(
            f"The store {where} is up to date ({done.applied} migrations applied).\n"
            f"Back up {chosen.pepper} and {chosen.master_key} apart from it: without them its keys are void."
        ),
    )


@click.command("options", cls=Command, example="FAREBOX_PORT=9000 farebox options")
def options() -> None:
    """Every option with its value, where that comes from, and what it does.

    An option is set as FAREBOX_<NAME> in the environment or in farebox.toml in the working folder (or in the file
    that FAREBOX_CONFIG names). Unknown ones are errors. docs/operate/options.md has a paragraph on each.
    """
    from farebox.gateway.http import head, hops

    chosen = options_.current()
    head.Networks(chosen.trusted_proxies)
    hops.check_field(chosen.forwarded_header)
    rows = [
        {
            "name": option.name,
            "value": _value(chosen, option),
            "default": option.default,
            "source": _source(option.name),
            "sentence": option.sentence,
        }
        for option in options_.OPTIONS
    ]
    emit(
        rows,
        lambda: show.table(
            ("option", "value", "from", "what it is"),
            [(row["name"], _shown(row["value"]), row["source"], row["sentence"]) for row in rows],
            empty="",
        ),
    )


@click.command("prove", cls=Command, example="farebox prove --json")
def prove() -> None:
    """Prove that the books add up: the trial balance, every drift, orphans, every receipt recomputed.

    Reads one snapshot and changes nothing, so it can run beside a server. Exit 1 if anything is wrong.
    """
    from farebox.care import proof

    ready.store()
    if sys.stderr.isatty():
        with show.console(error=True).status("") as status:
            found = proof.prove(lambda room: status.update(f"Proving {room} …"))
    else:
        found = proof.prove()
    data = {
        "clean": found.clean,
        "findings": found.findings,
        "warnings": found.warnings,
        "postings": found.postings,
        "trial_balance_micro": found.trial_balance,
        "house_micro": found.own,
    }
    emit(data, lambda: _show_proof(found))
    if not found.clean:
        click.get_current_context().exit(1)


def _show_proof(found: Any) -> None:
    show.table(
        ("room", "proof"),
        [(room, "clean" if not wrong else f"{len(wrong)} findings") for room, wrong in found.findings.items()],
        empty="",
    )
    for room, wrong in found.findings.items():
        for sentence in wrong:
            print(f"{room}: {sentence}")
    for sentence in found.warnings:
        print(f"warning: {sentence}")
    print()
    off = " ".join(found.findings["ledger"])
    show.table(
        ("trial balance", "posted each way>", "adds up to 0"),
        [
            (currency, money.exact(moved), f"balance of {currency} is off" not in off)
            for currency, moved in found.trial_balance.items()
        ],
        empty="The journal is empty: nothing was posted yet.",
    )
    if found.own:
        print()
        show.table(
            ("house account", "sum>"),
            [(name, money.exact(total)) for name, total in found.own.items()],
            empty="",
        )


def _source(name: str) -> str:
    if f"{options_.PREFIX}{name.upper()}" in os.environ:
        return "environment"
    if name in options_._from_file(os.environ):
        return os.environ.get("FAREBOX_CONFIG", "farebox.toml")
    return "default"


def _value(chosen: options_.Options, option: options_.Option) -> Any:
    from farebox.kit import secrets

    value = getattr(chosen, option.name)
    if value and option.name.endswith("_secret"):
        return "[redacted]"
    return secrets.redact(value) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else "(empty)"


COMMANDS = (migrate, options, prove)
