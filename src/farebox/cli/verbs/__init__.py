"""The write verbs of the CLI by name: JSON-able arguments in, JSON-able result out (cli/verb.py)."""

from __future__ import annotations

from farebox.cli.verb import Verb

from . import accounts, care, clock, keys, money, operators, prices, rotation, settings, upstreams

VERBS: dict[str, Verb] = {
    name: Verb(run)
    for room in (accounts, care, clock, keys, money, operators, prices, rotation, settings, upstreams)
    for name, run in room.RUNS.items()
}
