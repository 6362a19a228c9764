"""Factors: what a model's vendor counts for a text, from tokens of o200k_base by class of the text (promises 4.2).

Own count = each class's tokens x its factor, and on the input a constant per message; times a quartile of what the
model's sample says about such counts. Only integers: factors and quartiles are millionths. `fitting.py` learns them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

ONE: Final = 1_000_000  # a factor of 1
FACTOR_LEAST: Final = 600_000
FACTOR_MOST: Final = 1_700_000
FACTOR_UNKNOWN: Final = 900_000
# OpenAI's recipe for counting adds 3 tokens for each message.
PER_MESSAGE: Final = 3 * ONE
PER_MESSAGE_MOST: Final = 20 * ONE
SLACK_LEAST: Final = 1_500_000
CONFIRMED_MOST: Final = 50_000  # a tokenizer that is off by no more counts alone
OFF_MORE_THAN: Final = 100_000  # one that is off by more is not this model's


class Vector(NamedTuple):
    """Tokens of o200k_base by class of their text. Vectors add up with `plus`."""

    latin: int = 0  # Latin letters, code, ASCII
    cjk: int = 0
    other: int = 0
    digits: int = 0
    base64: int = 0  # runs that look like base64, hexadecimal or random

    def plus(self, more: Vector) -> Vector:
        """The sum of both, class by class."""
        return Vector(*(ours + theirs for ours, theirs in zip(self, more, strict=True)))

    @property
    def total(self) -> int:
        """All tokens."""
        return sum(self)


class Quartile(Enum):
    """Which quartile of report / fitted count an own count is multiplied with, and what for."""

    LOWER = "lower"  # billing
    MEDIAN = "median"  # value and limits
    UPPER = "upper"  # holds


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Input or output: a factor for each class of `Vector`, and quartiles of report / fitted count, in millionths.

    `per_message` is millionths of a token for each message; 0 on the output.
    """

    latin: int = FACTOR_UNKNOWN
    cjk: int = FACTOR_UNKNOWN
    other: int = FACTOR_UNKNOWN
    digits: int = FACTOR_UNKNOWN
    base64: int = FACTOR_UNKNOWN
    per_message: int = 0
    lower: int = ONE
    median: int = ONE
    upper: int = ONE

    @property
    def classes(self) -> tuple[int, int, int, int, int]:
        """The factors in the order of `Vector`."""
        return (self.latin, self.cjk, self.other, self.digits, self.base64)

    def fitted(self, vector: Vector, messages: int = 0) -> int:
        """The count before quartiles, exact, in millionths of a token."""
        counted = sum(units * factor for units, factor in zip(vector, self.classes, strict=True))
        return counted + messages * self.per_message

    def tokens(self, vector: Vector, messages: int = 0, quartile: Quartile = Quartile.LOWER) -> int:
        """Own count of a text in whole tokens.

        The upper count is rounded up, since a hold must not be short of it; what is billed or compared is rounded
        down, since a part of a token is nobody's debt.
        """
        exact = self.fitted(vector, messages) * int(getattr(self, quartile.value))
        square = ONE * ONE
        return -(-exact // square) if quartile is Quartile.UPPER else exact // square


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of how a model's vendor counts.

    Until `in_force` both sides are those of `DEFAULT` and whatever else is learned is None. `*_per_byte_upper`: upper
    quartile of reported tokens for a UTF-8 byte, in millionths. `bound_slack`: how often its bound an input report may
    be and is believed, in millionths. `hidden_p99`: hidden output that 99 of 100 calls with such output did not need
    more of. `image_tokens`: median of (reported input - counted text) for an image. `samples`, `accounts`: how many of
    each it was learned from, or there are so far. `tokenizer_p95`: 95th percentile of |count / report - 1| of the
    configured tokenizer, in millionths; `confirmed` that it may count alone, `off` that it is not this model's.
    """

    input: Side = Side(per_message=PER_MESSAGE)
    output: Side = Side()
    input_per_byte_upper: int | None = None
    output_per_byte_upper: int | None = None
    bound_slack: int = SLACK_LEAST
    hidden_p99: int | None = None
    image_tokens: int | None = None
    samples: int = 0
    accounts: int = 0
    in_force: bool = False
    confirmed: bool = False
    tokenizer_p95: int | None = None
    off: bool = False


DEFAULT: Final = Factors()


class Sample(NamedTuple):
    """What is kept of a settled call: counts alone, never text.

    `reported_output` is visible output, `hidden` reported reasoning that was not shown; `*_bytes` UTF-8 bytes of the
    text that was counted; `bound` the bound of its input; `own_*` what the configured tokenizer counts (None without
    one); a side that could not be counted reports 0. `trusted`: an operator trusts the account.
    """

    account: str
    input: Vector
    output: Vector
    messages: int = 0
    images: int = 0
    reported_input: int = 0
    reported_output: int = 0
    hidden: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    bound: int = 0
    own_input: int | None = None
    own_output: int | None = None
    trusted: bool = False


def encode(factors: Factors) -> str:
    """The JSON text of factors."""
    return msgspec.json.encode(factors).decode()


def shown(factors: Factors) -> dict[str, Any]:
    """Factors as an object of plain values."""
    return dict(msgspec.to_builtins(factors))


def decode(text: str) -> Factors:
    """Factors from their JSON text; the default ones for what another release may have written otherwise."""
    try:
        return msgspec.json.decode(text, type=Factors)
    except msgspec.DecodeError:
        return DEFAULT
