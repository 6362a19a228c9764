"""What the newest calls tell an operator: usage reports in dispute, models that are others, keys that cost nobody.

A look reads a bounded number of calls, so it costs the same however many there were.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from farebox.kit.db import Tx

from . import sql

CALLS_READ = 5000
# Ends that a customer can bring about and that cost him nothing (promises 3.1).
FREE_RULES = frozenset({"R09", "R14", "R16", "R17"})
FREE_OF = 200
FREE_MOST = 40


@dataclass(frozen=True, slots=True)
class OddModels:
    """Models whose upstream reported usage that can't be (R06), or answered with another model (F24), by name.

    `unknown` are those whose upstream reported counters that no row of protocol/counters.py has.
    `free` are keys, with their account, of whose last 200 calls more than 40 ended free by their customer's doing.
    """

    disputed: tuple[str, ...]
    substituted: tuple[str, ...]
    free: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...] = ()


def look(tx: Tx, *, since_us: int) -> OddModels:
    """What the newest calls since then tell."""
    told: dict[str, set[str]] = {word: set() for word in ("disputed", "substituted", "unknown_counter")}
    free: Counter[tuple[str, str]] = Counter()
    for account, key, model, rule, flags, opened_us in tx.all(sql.NEWEST_CALLS, (CALLS_READ,)):
        if opened_us < since_us:
            break
        for word in told.keys() & set(flags.split()):
            told[word].add(model)
        free[key, account] += rule in FREE_RULES
    often = sorted(both for both, many in free.items() if many > FREE_MOST and _is_free(tx, both[0]))
    disputed, substituted, unknown = (tuple(sorted(models)) for models in told.values())
    return OddModels(disputed, substituted, tuple(often), unknown)


def _is_free(tx: Tx, key: str) -> bool:
    rules = [rule for (rule,) in tx.all(sql.LAST_RULES_OF_KEY, (key, FREE_OF))]
    return len(rules) == FREE_OF and sum(rule in FREE_RULES for rule in rules) > FREE_MOST
