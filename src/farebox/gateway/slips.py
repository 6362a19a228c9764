"""Calls that upstreams refuse cost nothing and leave a row each: how many an hour an account may have of them.

Counted in the memory of this node. Calls that are served never count, so a customer who repairs the request can
continue immediately.
"""

from __future__ import annotations

from typing import Final

from farebox.kit.errors import RateLimited

PER_HOUR: Final = 1000
_EACH_US: Final = 3_600_000_000 // PER_HOUR
_ACCOUNTS_MAX: Final = 10_000


class Slips:
    """When each account's refused calls are forgotten: `_paid_us` runs ahead of the clock by one step for each."""

    __slots__ = ("_paid_us",)

    def __init__(self) -> None:
        self._paid_us: dict[str, int] = {}

    def check(self, account: str, now_us: int) -> None:
        """RateLimited for an account whose calls were refused too often within the hour."""
        ahead_us = self._paid_us.get(account, 0) - now_us - (PER_HOUR - 1) * _EACH_US
        if ahead_us > 0:
            raise RateLimited(
                f"More than {PER_HOUR:,} requests of your account were refused as invalid within an hour. Please look "
                "at what they were told, and try again in a moment.",
                retry_after_s=-(-ahead_us // 1_000_000),
            )

    def note(self, account: str, now_us: int) -> None:
        """One more was refused."""
        if account not in self._paid_us and len(self._paid_us) >= _ACCOUNTS_MAX:
            self._paid_us = {name: until_us for name, until_us in self._paid_us.items() if until_us > now_us}
        self._paid_us[account] = max(self._paid_us.get(account, 0), now_us) + _EACH_US
