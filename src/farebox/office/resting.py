"""How a channel is, as the process that answers sees it: whether it rests, why, and whose calls are behind it."""

from __future__ import annotations

from typing import Any

from farebox.accounts import customers
from farebox.kit import db

from . import ports

_NOTHING: dict[str, Any] = {
    "state": "closed", "calls": 0, "failures": 0, "why": "", "accounts": {}, "suspected": False,
    "since_us": None, "until_us": None, "asked_us": None,
}  # fmt: skip


def seen() -> dict[str, dict[str, Any]]:
    """The health of every channel that was tried, by id; `of` reads it."""
    return ports.health()


def of(health: dict[str, dict[str, Any]], channel: str) -> dict[str, Any]:
    """The health of this channel; of one that was never tried, that nothing is wrong."""
    return _NOTHING | health.get(channel, {})


def behind(accounts: dict[str, int]) -> list[dict[str, Any]]:
    """Accounts with their names and how many of their calls failed, most first."""
    names = db.read(customers.account_names, accounts) if accounts else {}
    most = sorted(accounts.items(), key=lambda each: (-each[1], each[0]))
    return [{"account": account, "name": names[account], "calls": n} for account, n in most if account in names]
