"""The charging rules by version: what a call costs is decided by the version under which its money was held.

The rules themselves are published in docs/rules.md; this table holds what pricing, books and pages must know of each
version. Calls of an old version are recomputed by it for ever, so no version leaves the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

# A class without a price takes its parent's (promises 4.3, R05); sound and images have none.
_PARENTS: Final[Mapping[str, str]] = MappingProxyType(
    {"cached_read": "input", "cache_write": "input", "reasoning": "output"}
)
_FREE: Final = frozenset({"R01", "R09", "R12", "R13", "R14", "R15", "R16", "R24", "R26", "R33"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What is peculiar to one version.

    `free` are rules under which a call costs nothing whatever was used, an empty answer (R09) among them; in a version
    that `forgives` as long as its account's allowance lasts. `parents`: usage class -> the class whose price it takes
    where it has none. `undrawn` are rules under which what is forgiven draws nothing from the allowance.
    """

    version: int
    free: frozenset[str]
    forgives: bool = False
    undrawn: frozenset[str] = frozenset()
    parents: Mapping[str, str] = field(default_factory=dict)

    def priced(self, prices: Mapping[str, int]) -> dict[str, int]:
        """The prices with those that classes take from their parents."""
        found = dict(prices)
        for name, parent in self.parents.items():
            if name not in found and parent in found:
                found[name] = found[parent]
        return found


VERSIONS: Final[Mapping[int, Rules]] = MappingProxyType(
    {
        1: Rules(1, _FREE),
        2: Rules(
            2,
            _FREE,
            forgives=True,
            undrawn=frozenset({"R01", "R12", "R13", "R15", "R24"}),
            parents=_PARENTS,
        ),
    }
)
NEWEST: Final = max(VERSIONS)


def of(version: int) -> Rules:
    """The rules of a version; ValueError for one that does not exist."""
    found = VERSIONS.get(version)
    if found is None:
        raise ValueError(f"there is no rule version {version}")
    return found
