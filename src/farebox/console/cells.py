"""Cells of CSV files, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def text(given: str) -> str:
    """A text that no spreadsheet takes for a formula. Numbers that we wrote need it not."""
    return f"'{given}" if given.startswith(_FORMULA) else given


MARK = "\ufeff"  # without it spreadsheets take UTF-8 for the machine's own code page, and Chinese for gibberish


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file (RFC 4180) in UTF-8 with a byte order mark."""
    return MARK + lines([head, *rows])


def lines(rows: Iterable[Sequence[object]]) -> str:
    """Lines of a CSV file, for one that is made piece by piece."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
