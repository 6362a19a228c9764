"""The write verbs of the CLI by name: JSON-able arguments in, JSON-able result out (ops/verb.py)."""

from __future__ import annotations

from farebox.ops.verb import Verb

from . import accounts, care, keys, money, operators, prices, upstreams

VERBS: dict[str, Verb] = {
    name: Verb(run)
    for room in (accounts.RUNS, care.RUNS, keys.RUNS, money.RUNS, operators.RUNS, prices.RUNS, upstreams.RUNS)
    for name, run in room.items()
}
