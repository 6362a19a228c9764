"""Pure pricing: prices x usage -> charge with lines, and the ceiling that a hold asks for.

Prices are micro-units of the price list's currency for 1,000,000 units of a usage class, so units x price is
an exact numerator over 1,000,000. Numerators are summed and rounded up once. No clock, no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from farebox.catalog import factors as known
from farebox.catalog import rules
from farebox.catalog import usage as usages
from farebox.catalog.factors import Factors
from farebox.catalog.usage import INPUT_CLASSES, OTHER_CLASSES, OUTPUT_CLASSES, Usage
from farebox.kit import money

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
    rule_version: int = 1


class ChargeLine(NamedTuple):
    """A line of a charge: `numerator` = `units` x `micro_per_million`, exact millionths of a micro-unit."""

    usage_class: str
    units: int
    micro_per_million: int
    numerator: int


class Charge(NamedTuple):
    """What a call costs: the lines, their sum rounded up once, and used classes that have no price (R05)."""

    amount_micro: int
    lines: tuple[ChargeLine, ...]
    unpriced: tuple[str, ...]


def charge(prices: Mapping[str, int], usage: Usage) -> Charge:
    """The charge of `usage`; a class without a price counts 0 and is named in `unpriced`.

    MoneyError if the amount leaves the bounds of money, which no usage within a held ceiling does.
    """
    lines: list[ChargeLine] = []
    unpriced: list[str] = []
    numerator = 0
    for name, units in usage.items():
        price = prices.get(name)
        if price is None:
            unpriced.append(name)
            price = 0
        part = units * price
        numerator += part
        lines.append(ChargeLine(name, units, price, part))
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


class ReceiptMoney(NamedTuple):
    """What a receipt says of the money of an ended call; amounts in micro-units.

    `usage` and `prices` are its objects by usage class; `valued` is the usage that its value is computed from, None
    where that is `usage`. `drawn_micro` is what its account's allowance gave.
    """

    rule: str
    rule_version: int
    usage: Mapping[str, int]
    prices: Mapping[str, int]
    hold_micro: int
    flags: Sequence[str] = ()
    valued: Mapping[str, int] | None = None
    drawn_micro: int = 0


class Due(NamedTuple):
    """What a call must have been charged, what it was worth, and what of that was forgiven, in micro-units."""

    charge_micro: int
    value_micro: int
    forgiven_micro: int


def due(facts: ReceiptMoney) -> Due:
    """What a receipt's own facts give (I09), never above the hold; in version 1 nothing is valued.

    UsageError for usage that is not one, ValueError for a rule version that does not exist.
    """
    version = rules.of(facts.rule_version)
    used_micro = charge(facts.prices, usages.of(facts.usage)).amount_micro
    base_micro = 0 if facts.rule in version.free else used_micro
    if not version.forgives:
        return Due(min(base_micro, facts.hold_micro), 0, 0)
    value_micro = used_micro
    if facts.valued is not None:
        value_micro = charge(facts.prices, usages.of(facts.valued)).amount_micro
    charge_micro = base_micro
    # Free rules have the usage that could be charged for their usage; the others are worth what they are valued at.
    most_micro = max(base_micro, used_micro if facts.rule in version.free else value_micro)
    if "short" in facts.flags:  # it came to more than the hold, whatever of that the allowance gave
        charge_micro = most_micro
    elif "allowance_used" in facts.flags:
        charge_micro = max(base_micro, min(most_micro, value_micro - facts.drawn_micro))
    charge_micro = min(charge_micro, facts.hold_micro)
    return Due(charge_micro, value_micro, max(0, value_micro - charge_micro))


def fraction(numerator: int) -> str:
    """A line's numerator as a decimal text in currency units, exact: six places, up to twelve if needed."""
    sign = "-" if numerator < 0 else ""
    whole, rest = divmod(abs(numerator), money.MICRO * money.MICRO)
    return f"{sign}{whole}.{f'{rest:012d}'.rstrip('0').ljust(6, '0')}"


def _dearest(prices: Mapping[str, int], classes: tuple[str, ...]) -> int:
    return max((prices[name] for name in classes if name in prices), default=0)


def _check_bound(units: int) -> None:
    if type(units) is not int or units < 0:
        raise money.MoneyError("amount.bound")
