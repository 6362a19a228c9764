"""Pure pricing: prices x usage -> charge with lines, and the ceiling that a hold asks for.

Prices are micro-units of the price list's currency for 1,000,000 units of a usage class, so units x price is
an exact numerator over 1,000,000. Numerators are summed and rounded up once. No clock, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from farebox.catalog import factors as known
from farebox.catalog import usage as usages
from farebox.catalog.factors import Factors
from farebox.catalog.usage import INPUT_CLASSES, OTHER_CLASSES, OUTPUT_CLASSES, Usage
from farebox.kit import money

RULE_VERSION = 1
# Charging rules of version 1 under which a call is free whatever was used (money.md 3.1).
FREE_RULES = frozenset({"R01", "R12", "R13", "R14", "R15", "R16", "R24", "R26", "R33"})
# An empty answer is free too; where `stop` or `logit_bias` made it empty the call ends as R02.
FREE_WHEN_EMPTY = "R09"

# 10 billion currency units for 1,000,000 units: beyond any real price in any currency, far below overflow.
PRICE_MICRO_MAX = 10**16


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is and can do.

    `kinds` are endpoint kinds; `classes` the usage classes that it can produce; `tokenizer` and
    `image_formula` names known to tokens.py, empty where none is known; `hidden_output` says that it produces
    output which the customer does not see; `created_s` is seconds since 1970; `factors` how its vendor counts.
    """

    name: str
    owned_by: str
    kinds: frozenset[str]
    modalities: frozenset[str]
    context_tokens: int
    output_tokens_max: int
    hidden_output: bool
    tokenizer: str
    image_formula: str
    input_overhead_tokens: int
    classes: frozenset[str]
    created_s: int
    factors: Factors = known.DEFAULT


@dataclass(frozen=True, slots=True)
class Offer:
    """A model with the prices that are valid for this caller now; `asked` is the name that he used.

    `prices`: usage class -> micro-units of `currency` for 1,000,000 units; shared, never changed. `usd_rate`
    is what one USD is in `currency`, a decimal text.
    """

    card: ModelCard
    asked: str
    price_list: str
    version: int
    currency: str
    prices: dict[str, int]
    usd_rate: str
    rule_version: int = RULE_VERSION


class Line(NamedTuple):
    """A line of a charge: `numerator` = `units` x `micro_per_million`, exact millionths of a micro-unit."""

    usage_class: str
    units: int
    micro_per_million: int
    numerator: int


class Charge(NamedTuple):
    """What a call costs: the lines, their sum rounded up once, and used classes that have no price (R05)."""

    amount_micro: int
    lines: tuple[Line, ...]
    unpriced: tuple[str, ...]


def charge(prices: Mapping[str, int], usage: Usage) -> Charge:
    """The charge of `usage`; a class without a price counts 0 and is named in `unpriced`.

    MoneyError if the amount leaves the bounds of money, which no usage within a held ceiling does.
    """
    lines: list[Line] = []
    unpriced: list[str] = []
    numerator = 0
    for name, units in usage.items():
        price = prices.get(name)
        if price is None:
            unpriced.append(name)
            price = 0
        part = units * price
        numerator += part
        lines.append(Line(name, units, price, part))
    amount_micro = money.check_micro(money.per_million_up(numerator))
    return Charge(amount_micro, tuple(lines), tuple(unpriced))


def ceiling(prices: Mapping[str, int], *, input_tokens: int, output_tokens: int, images: int = 0) -> int:
    """The most that a call within these bounds can cost, in micro-units: all at its side's dearest price.

    MoneyError if the bounds are no counts or the amount leaves the bounds of money.
    """
    for bound in (input_tokens, output_tokens, images):
        _check_bound(bound)
    numerator = (
        input_tokens * _dearest(prices, INPUT_CLASSES)
        + output_tokens * _dearest(prices, OUTPUT_CLASSES)
        + images * _dearest(prices, OTHER_CLASSES)
    )
    return money.check_micro(money.per_million_up(numerator))


def affordable_output(prices: Mapping[str, int], *, input_tokens: int, available_micro: int, output_tokens: int) -> int:
    """The largest count of output tokens up to `output_tokens` whose ceiling `available_micro` pays.

    -1 where it does not even pay the input. MoneyError if the bounds are no counts.
    """
    for bound in (input_tokens, output_tokens):
        _check_bound(bound)
    # Rounded up, x <= available exactly when x <= available before rounding: available is whole.
    left = available_micro * money.MICRO - input_tokens * _dearest(prices, INPUT_CLASSES)
    if left < 0:
        return -1
    price = _dearest(prices, OUTPUT_CLASSES)
    return min(output_tokens, left // price) if price else output_tokens


def recompute(
    *,
    usage: Mapping[str, int],
    prices: Mapping[str, int],
    rule: str,
    hold_micro: int,
    rule_version: int = RULE_VERSION,
) -> int:
    """The charge in micro-units that a receipt's own facts give (I09), never above the hold.

    `usage` and `prices` are the receipt's objects by usage class. UsageError for usage that is none,
    ValueError for a rule version that does not exist.
    """
    if rule_version != RULE_VERSION:
        raise ValueError(f"there is no rule version {rule_version}")
    used = usages.of(usage)
    if rule in FREE_RULES or rule == FREE_WHEN_EMPTY:
        return 0
    return min(charge(prices, used).amount_micro, hold_micro)


def fraction(numerator: int) -> str:
    """A line's numerator as a decimal text in currency units, exact: six places, up to twelve if needed."""
    sign = "-" if numerator < 0 else ""
    whole, rest = divmod(abs(numerator), money.MICRO * money.MICRO)
    return f"{sign}{whole}.{f'{rest:012d}'.rstrip('0').ljust(6, '0')}"


def _dearest(prices: Mapping[str, int], classes: tuple[str, ...]) -> int:
    return max((prices[name] for name in classes if name in prices), default=0)


def _check_bound(units: int) -> None:
    if type(units) is not int or units < 0:
        raise money.MoneyError("a bound is a non-negative integer")
