"""Which ledger accounts exist and what they stand for.

Customers' accounts have the customer's id; memo accounts that count caps begin with `cap:` and are outside the trial
balance; the shop's own begin with `house:` and store no balance. A positive sum on a customer's account is money
that the shop owes; a positive sum on `house:revenue` is money earned.
"""

from __future__ import annotations

OWN_ACCOUNTS = {
    "revenue": "What customers' calls were charged.",
    "grants": "Credit given away: trials, bonuses, goodwill.",
    "adjustments": "Operators' corrections, with a reason and a second approver.",
    "suspense": "Money received that belongs to no order yet.",
    "clearing": "Money that a payment provider has confirmed and not yet paid out.",
}


def own(name: str, currency: str) -> str:
    """The id of the shop's account `name` in `currency`; KeyError for a name that the chart lacks."""
    if name not in OWN_ACCOUNTS:
        raise KeyError(name)
    return f"house:{name}:{currency}"


def is_own(account: str) -> bool:
    """Whether `account` is one of the shop's own, which store no balance."""
    return account.startswith("house:")


def is_memo(account: str) -> bool:
    """Whether `account` is a memo account, which counts a cap and has no postings."""
    return account.startswith("cap:")
