"""Amounts as people write them: one grammar for pages, API and commands."""

from __future__ import annotations

import pytest

from farebox.kit import money
from kit.rows import for_each


@for_each(
    ("text", "micro"),
    [
        ("0", 0), ("12.34", 12_340_000), ("0.000001", 1), ("-3", -3_000_000), ("007.50", 7_500_000), ("1.0000000", 1_000_000),
        ("1,234.5", 1_234_500_000), ("1,234,567", 1_234_567_000_000), ("-0", 0), ("4611686018427", 4_611_686_018_427_000_000),
    ],
)  # fmt: skip
def test_an_amount(text, micro):
    assert money.parse(text) == micro


@for_each("text", [
    "", " ", "1e3", "1E3", "1_000", "+1", ".5", "1.", " 1", "1 ", "1\n", "1.2.3", "1..2", "--1", "-", "1,5", "1,00", ",100", "1,0000", "1,234,56",
    "12,34.5", "1.000,5", "0x10", "1d", "NaN", "Infinity", "-inf", "\uff11\uff12", "\u0661\u0662", "1\uff0e5", "\u00b2", "\u2212" + "1", "1\u00a0000",
    "0.0000001", "9" * 16, "9" * 5000, "4611686018428", "1\0", "$1",
])  # fmt: skip
def test_what_is_no_amount(text):
    with pytest.raises(money.MoneyError):
        money.parse(text)


@pytest.mark.parametrize("micro", [0, 1, 999_999, 1_000_000, 1_234_567_890_123, -5_000_001])
def test_what_is_shown_is_read(micro):
    assert money.parse(money.text(micro)) == money.parse(money.exact(micro)) == micro
