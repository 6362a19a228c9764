"""Which version of the charging rules this shop has, and what each says in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from farebox.kit import settings
from farebox.kit.db import Tx

from . import rules_1, rules_2
from .rules_1 import Rule, RuleGroup

GROUPS: Mapping[int, tuple[RuleGroup, ...]] = MappingProxyType({1: rules_1.GROUPS, 2: rules_2.GROUPS})
_RULES = {
    (version, rule.number): rule for version, groups in GROUPS.items() for group in groups for rule in group.rules
}
NUMBERS = tuple(sorted({number for _version, number in _RULES}))


class InForce(NamedTuple):
    """The version of the rules by which calls are charged that begin now; `coming_us` is from when 2 is.

    That is None where no date was chosen, or has come; `since_us` is when it came, 0 for the shop's start.
    """

    version: int
    coming_us: int | None
    since_us: int | None


def in_force(tx: Tx, now_us: int) -> InForce:
    """Which rules this shop has."""
    from_us = settings.values(tx)[settings.RULES_2_FROM]
    if from_us is None or from_us > now_us:
        return InForce(1, from_us, None)
    return InForce(2, None, from_us)


def rule(number: str, version: int) -> Rule | None:
    """A charging rule with its sentences, or None for one that no page knows."""
    return _RULES.get((version, number))
