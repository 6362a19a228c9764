"""Money is an integer number of micro-units of one currency, and there is one rounding rule: up, once.

A micro-unit is a millionth of the currency's unit: 0.06 USD = 60,000 micro-USD. Unit prices are micro-units for
1,000,000 units of a usage class, so usage x price is an exact numerator over 1,000,000.
"""

from __future__ import annotations

import re

from .refusal import Field, Refusal

MICRO = 1_000_000
AMOUNT_MICRO_MAX = 2**62  # promises: I23

# ISO 4217 codes are three capital letters; which of them a shop uses is its own affair.
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_AMOUNT = re.compile(r"(-?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.([0-9]+))?\Z")
_WHOLE_DIGITS_MAX = 15
_SIGNS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£", "JPY": "JP¥", "HKD": "HK$"}


class MoneyError(ValueError):
    """An amount or a currency that is not one; `refusal` says why."""

    def __init__(self, ident: str, /, **fields: Field) -> None:
        self.refusal = Refusal(ident, fields)
        super().__init__(str(self.refusal))


def check_micro(amount_micro: int) -> int:
    """`amount_micro` itself if it is an exact integer within bounds; MoneyError otherwise."""
    if type(amount_micro) is not int:
        raise MoneyError("amount.not_integer")
    if not -AMOUNT_MICRO_MAX <= amount_micro <= AMOUNT_MICRO_MAX:
        raise MoneyError("amount.out_of_bounds")
    return amount_micro


def check_currency(code: str) -> str:
    """`code` itself if it looks like an ISO 4217 code; MoneyError otherwise."""
    if not _CURRENCY.match(code):
        raise MoneyError("amount.currency", currency=code[:16])
    return code


def parse(text: str) -> int:
    """The micro-units of a decimal text such as `12.34`; MoneyError beyond six places or bounds.

    ASCII digits with at most one point between them, perhaps a minus before, and commas where `text` writes them:
    nothing else that some library would take for a number (`1e3`, `1_000`, `1,5`, `+1`, `.5`, digits of other scripts).
    """
    found = _AMOUNT.match(text)
    if found is None:
        raise MoneyError("amount.unreadable", text=text[:32])
    minus, whole, places = found[1], found[2].replace(",", "").lstrip("0"), (found[3] or "").rstrip("0")
    if len(whole) > _WHOLE_DIGITS_MAX:
        raise MoneyError("amount.out_of_bounds")
    if len(places) > 6:
        raise MoneyError("amount.places")
    amount_micro = int(whole or "0") * MICRO + int(places.ljust(6, "0"))
    if amount_micro > AMOUNT_MICRO_MAX // MICRO * MICRO:
        raise MoneyError("amount.out_of_bounds")
    return -amount_micro if minus else amount_micro


def per_million_up(numerator: int) -> int:
    """`numerator` / 1,000,000, rounded up to a whole micro-unit: the one rounding rule (promises 1.12)."""
    return -(-numerator // MICRO)


def text(amount_micro: int, *, places_min: int = 2, places_max: int = 6) -> str:
    """The amount as a decimal text with as many places as it needs, `places_min` at least."""
    sign = "-" if amount_micro < 0 else ""
    whole, micro = divmod(abs(amount_micro), MICRO)
    places = f"{micro:06d}".rstrip("0").ljust(places_min, "0")[:places_max]
    return f"{sign}{whole:,}.{places}" if places else f"{sign}{whole:,}"


def show(amount_micro: int, currency: str) -> str:
    """The amount as people read it: `$0.06`, `¥12.34`, `SEK 5.00`."""
    sign = _SIGNS.get(currency)
    body = text(abs(amount_micro))
    minus = "-" if amount_micro < 0 else ""
    return f"{minus}{sign}{body}" if sign else f"{minus}{currency} {body}"


def exact(amount_micro: int) -> str:
    """The amount with all six places and no grouping, for receipts and scripts: `0.060000`."""
    sign = "-" if amount_micro < 0 else ""
    whole, micro = divmod(abs(amount_micro), MICRO)
    return f"{sign}{whole}.{micro:06d}"
