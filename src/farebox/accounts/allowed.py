"""Who has an allowance, and by which terms of the shop; plain Python, for it is on the path of a call."""

from __future__ import annotations

from farebox.catalog import rules
from farebox.catalog.shelf import Shelf
from farebox.kit import options
from farebox.kit.options import Options
from farebox.ledger import allowance
from farebox.ledger.allowance import AllowanceTerms


def terms(stock: Shelf, price_list: str, now_us: int) -> AllowanceTerms | None:
    """The shop's terms in the currency of a price list; None where that is not in force."""
    version = stock.version(price_list, now_us)
    return None if version is None else at_rate(options.current(), version.usd_rate)


def at_rate(chosen: Options, usd_rate: str) -> AllowanceTerms:
    """The terms that these options make, in a currency of which `usd_rate` is worth one USD."""
    begin, most = chosen.allowance_begin_usd_micro, chosen.allowance_most_usd_micro
    return allowance.terms(begin, chosen.allowance_growth_percent, most, usd_rate)


def has_one(stock: Shelf, *, house: bool, trusted: bool, now_us: int) -> bool:
    """Whether what an account's calls are forgiven now draws on an allowance."""
    return not (house or trusted) and rules.of(stock.rule_version(now_us)).forgives
