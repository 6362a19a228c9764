"""The order in which a call tries the channels that can answer it."""

from __future__ import annotations

from random import Random

from farebox.kit import options
from farebox.upstreams.board import Board, Candidate
from farebox.upstreams.health import Health


def route(
    board: Board,
    model: str,
    kind: str,
    health: Health,
    rng: Random,
    *,
    account: str = "",
    attempts_max: int | None = None,
) -> tuple[Candidate, ...]:
    """The candidates in the order to try, at most `attempts_max` (the option's value if None).

    Tiers ascend; inside a tier each next place is drawn with a chance in proportion to weight, and weight 0
    comes last. Channels that are full, or full for this account, come after all others; those that rest are left
    out. Empty if none is left. The same `rng` state gives the same order.
    """
    limit = options.current().attempts_max if attempts_max is None else attempts_max
    found = board.candidates(model)
    if len(found) == 1:
        only = found[0].channel
        return found if only.path(kind) and health.usable(only) else ()
    keyed = [
        (health.full(candidate.channel, account), candidate.channel.tier, _draw(candidate.channel.weight, rng), place)
        for place, candidate in enumerate(found)
        if candidate.channel.path(kind) and health.usable(candidate.channel)
    ]
    keyed.sort()
    return tuple(found[place] for *_, place in keyed[:limit])


def _draw(weight: int, rng: Random) -> tuple[bool, float]:
    """Keys whose ascending order is a weighted draw without putting back (exponential variates)."""
    # Drawn for weight 0 as well, so that one channel's weight does not change the luck of the others.
    luck = rng.expovariate(1.0)
    return weight <= 0, luck / max(weight, 1)
