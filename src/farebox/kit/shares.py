"""What everybody shares, and who has too much of it (promises 4.6)."""

from __future__ import annotations


def hogs(taken: int, mine: int, most: int) -> bool:
    """Whether three quarters of `most` are taken, and a quarter by the one who asks."""
    return 4 * taken >= 3 * most and 4 * mine >= most
