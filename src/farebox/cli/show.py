"""How commands show things on a terminal: tables, facts, and the till ticket of a receipt."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from farebox.kit import money
from farebox.protocol import counters

from . import when

if TYPE_CHECKING:
    from rich.console import Console

TICKET_CHARS = 62
_PIPED_CHARS = 200


def console(*, error: bool = False) -> Console:
    """The terminal, or the pipe that stands for it: then wide, so that nothing is cut off."""
    from rich.console import Console

    file = sys.stderr if error else sys.stdout
    width = None if file.isatty() else _PIPED_CHARS
    return Console(file=file, width=width, highlight=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table; a column whose name ends in `>` is aligned right. `empty` says what to do when there is no row."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    listed = [[_cell(value) for value in row] for row in rows]
    if not listed:
        print(empty)
        return
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        right = name.endswith(">")
        made.add_column(name.rstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in listed:
        made.add_row(*(Text(value) for value in row))
    console().print(made)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    listed = [(name, _cell(value)) for name, value in pairs]
    wide = max(len(name) for name, _ in listed)
    for name, value in listed:
        print(f"{name:<{wide}}  {value}")


def amount(amount_micro: int | None, currency: str) -> str:
    """An amount with its currency's code: `12.34 USD`; `–` for none."""
    return "–" if amount_micro is None else f"{money.text(amount_micro)} {currency}"


def ticket(receipt: dict[str, Any]) -> str:
    """The receipt of a call as a till ticket: units x price = amount, the total, list version and rule at the foot."""
    charge = receipt["charge"]
    currency = receipt["currency"]
    wide = TICKET_CHARS
    edge = "- " * (wide // 2)
    out = [
        edge.rstrip(),
        _two("CALL", receipt["id"]),
        _two("model", receipt["asked"]),
        _two("endpoint", receipt["endpoint"] + (", streamed" if receipt["stream"] else "")),
        _two("begun (UTC)", when.shown(receipt["opened_us"])),
        _two("ended (UTC)", when.shown(receipt["ended_us"])),
        "-" * wide,
        f"{'':<13}{'units':>11}   {f'{currency} per 1M':>14}   {f'{currency}':>18}",
    ]
    for line in receipt["lines"]:
        exact = line["amount"] if "amount" in line else _exact(line["amount_micro_exact"])
        price = money.text(line["price_micro_per_million"])
        out.append(f"{line['class']:<13}{line['units']:>11,} × {price:>14} = {exact:>18}")
    if not receipt["lines"]:
        out.append("nothing used")
    total = "still running" if charge["amount"] is None else f"{charge['amount']} {currency}"
    out += ["-" * wide, _two("TOTAL", total), "-" * wide]
    if receipt.get("forgiven_micro"):
        out.append(_two("worth", f"{money.exact(receipt['value_micro'])} {currency}"))
        why = f"forgiven ({receipt['cause']})" if receipt["cause"] else "forgiven"
        out.append(_two(why, f"{money.exact(receipt['forgiven_micro'])} {currency}"))
        out.append(_two("drawn from the allowance", f"{money.exact(receipt['drawn_micro'] or 0)} {currency}"))
    out.append(_two("price list", f"{receipt['price_list']} v{receipt['price_version']}"))
    out.append(_two("rule", f"{receipt['rule'] or 'open'} (version {receipt['rule_version']}), {receipt['outcome']}"))
    out.append(_two("rounding", "summed exactly, rounded up once"))
    out.append(_two("usage from", receipt["usage_source"] or "–"))
    if receipt.get("reported"):
        out.append(f"reported {counters.spelled(receipt['reported'])}")
    out.append(_two("finish", receipt["finish_reason"] or "–"))
    if receipt["flags"]:
        out.append(_two("flags", ", ".join(receipt["flags"])))
    if receipt["error"]:
        out.append(_two("error", receipt["error"]))
    for attempt in receipt["attempts"]:
        where = f" at {attempt['channel']}" if "channel" in attempt else ""
        ms = attempt.get("total_ms")
        out.append(
            _two(
                f"attempt {attempt['n']}",
                f"{attempt['outcome']}{where}" + ("" if ms is None else f", {ms:,} ms"),
            )
        )
    return "\n".join([*out, edge.rstrip()])


def _exact(amount_micro: str) -> str:
    """Currency units of an exact decimal text of micro-units, with all places that are not zero beyond six."""
    whole, _, part = amount_micro.partition(".")
    digits = f"{int(whole):07d}{part.ljust(6, '0')}"
    units, places = digits[: len(digits) - 12], digits[len(digits) - 12 :]
    return f"{int(units):,}.{places.rstrip('0').ljust(6, '0')}"


def _two(name: str, value: object) -> str:
    text = str(value)
    return f"{name} {text:>{max(0, TICKET_CHARS - len(name) - 1)}}"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
