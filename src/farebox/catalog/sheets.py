"""Price sheets: a version of a price list as rows, for showing, comparing, CSV and JSON. Pure.

Prices in texts are decimal numbers of the list's currency for 1,000,000 units: `30.00` is 30,000,000
micro-units. CSV: a header line `model,usage_class,price`, then one price a line (RFC 4180, UTF-8).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from farebox.catalog.pricing import PRICE_MICRO_MAX
from farebox.catalog.usage import CLASSES
from farebox.kit import money
from farebox.kit.errors import CommandError

COLUMNS = ("model", "usage_class", "price")


class PriceRow(NamedTuple):
    """One price: micro-units of the list's currency for 1,000,000 units of a usage class of a model."""

    model: str
    usage_class: str
    micro_per_million: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """One version of a price list with all its prices, by model and in the order of usage classes."""

    price_list: str
    version: int
    currency: str
    valid_from_us: int
    published_us: int
    published_by: str
    source: str
    rate: str
    factor: str
    usd_rate: str
    note: str
    rows: tuple[PriceRow, ...]


class PriceChange(NamedTuple):
    """One price that differs between two sheets; None where it is absent."""

    model: str
    usage_class: str
    before_micro: int | None
    after_micro: int | None


def ordered(rows: Iterable[PriceRow]) -> tuple[PriceRow, ...]:
    """The rows by model, then by usage class in its usual order."""
    return tuple(sorted(rows, key=lambda row: (row.model, CLASSES.index(row.usage_class))))


def check(row: PriceRow) -> PriceRow:
    """`row` itself if its class exists and its price is within bounds; CommandError otherwise."""
    if row.usage_class not in CLASSES:
        raise CommandError("price.usage_class", model=row.model, usage_class=row.usage_class[:40], known=CLASSES)
    if type(row.micro_per_million) is not int or not 0 <= row.micro_per_million <= PRICE_MICRO_MAX:
        raise CommandError("price.range", model=row.model, usage_class=row.usage_class)
    return row


def row(model: str, usage_class: str, price: str) -> PriceRow:
    """The row of a price given as a decimal text for 1,000,000 units; CommandError if it is not one."""
    try:
        micro = money.parse(price)
    except money.MoneyError as fault:
        raise CommandError("price.unreadable", model=model, usage_class=usage_class, why=fault.refusal) from None
    return check(PriceRow(model, usage_class, micro))


def price_text(micro_per_million: int) -> str:
    """A price for 1,000,000 units as a decimal text without grouping: `0.075`, `30.00`."""
    return money.text(micro_per_million).replace(",", "")


def diff(before: Sheet | None, after: Sheet) -> list[PriceChange]:
    """The prices in which two sheets differ; all of them if there is none before.

    CommandError if the sheets are in different currencies.
    """
    if before is not None and before.currency != after.currency:
        raise CommandError(
            "price.currencies",
            before=before.price_list,
            before_currency=before.currency,
            after=after.price_list,
            after_currency=after.currency,
        )
    old = {} if before is None else {(line.model, line.usage_class): line.micro_per_million for line in before.rows}
    new = {(line.model, line.usage_class): line.micro_per_million for line in after.rows}
    keys = sorted(old.keys() | new.keys(), key=lambda key: (key[0], CLASSES.index(key[1])))
    return [PriceChange(*key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def to_csv(sheet: Sheet) -> str:
    """The prices of a sheet as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows((line.model, line.usage_class, price_text(line.micro_per_million)) for line in sheet.rows)
    return out.getvalue()


def from_csv(text: str) -> list[PriceRow]:
    """The rows of a CSV text; CommandError naming the line that is wrong."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    rows = []
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise CommandError("price.csv_head", columns=",".join(COLUMNS))
        for fields in reader:
            if None in fields or None in fields.values():
                raise CommandError("price.csv_fields", line=reader.line_num, many=len(COLUMNS))
            rows.append(row(*(fields[name].strip() for name in COLUMNS)))
    except csv.Error as fault:
        raise CommandError("price.csv", line=reader.line_num, why=str(fault)) from None
    return _once(rows)


def to_json(sheet: Sheet) -> dict[str, Any]:
    """A sheet as a JSON-able object: its facts, and `prices` as model -> usage class -> decimal text."""
    prices: dict[str, dict[str, str]] = {}
    for line in sheet.rows:
        prices.setdefault(line.model, {})[line.usage_class] = price_text(line.micro_per_million)
    return {
        "price_list": sheet.price_list,
        "version": sheet.version,
        "currency": sheet.currency,
        "valid_from_us": sheet.valid_from_us,
        "published_us": sheet.published_us,
        "published_by": sheet.published_by,
        "source": sheet.source,
        "rate": sheet.rate,
        "factor": sheet.factor,
        "usd_rate": sheet.usd_rate,
        "note": sheet.note,
        "prices": prices,
    }


def from_json(found: Any) -> list[PriceRow]:
    """The rows of an object that `to_json` made, or of its `prices` alone; CommandError if it is neither.

    Prices must be texts: a JSON number is a float to most programs.
    """
    prices = found.get("prices", found) if isinstance(found, dict) else None
    if not isinstance(prices, dict):
        raise CommandError("price.json")
    rows = []
    for model, classes in prices.items():
        if not isinstance(classes, dict) or not all(isinstance(price, str) for price in classes.values()):
            raise CommandError("price.json_model", model=model)
        rows += [row(model, usage_class, price) for usage_class, price in classes.items()]
    return rows


def _once(rows: list[PriceRow]) -> list[PriceRow]:
    seen: set[tuple[str, str]] = set()
    for line in rows:
        if (line.model, line.usage_class) in seen:
            raise CommandError("price.twice", model=line.model, usage_class=line.usage_class)
        seen.add((line.model, line.usage_class))
    return rows
