"""`farebox`: a tour of the shop by command."""

from __future__ import annotations

import os

import click

from .commands import (
    accounts,
    backups,
    calls,
    care,
    clock,
    keys,
    models,
    money,
    operators,
    people,
    prices,
    projects,
    rotation,
    serving,
    settings,
    store,
    upstreams,
)
from .commands.base import Tour

THEMES = {
    "First steps": ("demo", "migrate", "serve", "operator", "options", "setting"),
    "Buying from upstreams": ("upstream", "channel"),
    "Selling": ("model", "prices", "account", "project", "key", "person", "member"),
    "Money and proof": ("grant", "reverse", "call", "usage", "prove", "doctor", "selftest"),
    "Keeping it safe": ("backup", "restore", "keys", "clock"),
    "Trying out": ("sandbox",),
}

farebox = Tour(
    name="farebox",
    themes=THEMES,
    help="""Sell metered access to LLM APIs: prepaid, OpenAI-compatible, on your own machine.

    New here? Run `farebox demo` and call it; docs/start.md then connects a real upstream, publishes
    a price list, opens an account with a key and money, and sells the first call. Every command has its own
    --help with an example. Amounts are decimal numbers in the account's currency; times are UTC.
    """,
    epilog="Exit codes: 0 done, 1 refused (one sentence says why and what to do next), 2 wrong usage.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
click.version_option(package_name="farebox", message="farebox %(version)s")(farebox)

for _room in (
    store,
    backups,
    serving,
    operators,
    upstreams,
    models,
    prices,
    accounts,
    projects,
    people,
    keys,
    money,
    calls,
    care,
    clock,
    settings,
    rotation,
):
    for _command in _room.COMMANDS:
        farebox.add_command(_command)


def main() -> None:
    """The program `farebox`; what it makes is its user's alone: store, keys, backups, demo.env."""
    os.umask(0o077)
    farebox.main(prog_name="farebox")


if __name__ == "__main__":
    main()
