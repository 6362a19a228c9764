"""Pricing is exact: each price to the micro-unit, and the laws that hold for all prices and all usage."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.catalog import pricing, usage
from farebox.catalog.usage import CLASSES, INPUT_CLASSES, OUTPUT_CLASSES, Usage, UsageError
from farebox.kit import money

GPT_4 = {"input": 30_000_000, "output": 60_000_000}

units = st.one_of(st.integers(0, 20), st.integers(0, 200_000))
usages = st.builds(Usage, **dict.fromkeys(CLASSES, units))
price = st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 10**10))
all_prices = st.fixed_dictionaries(dict.fromkeys(CLASSES, price))
some_prices = st.dictionaries(st.sampled_from(CLASSES), price)


def numerator(prices, used) -> int:
    return sum(line.numerator for line in pricing.charge(prices, used).lines)


def plus(one: Usage, other: Usage) -> Usage:
    return usage.of({name: getattr(one, name) + getattr(other, name) for name in CLASSES})


def test_a_gpt_4_call_of_1000_and_500_tokens_costs_6_cents_line_by_line():
    charge = pricing.charge(GPT_4, Usage(input=1000, output=500))
    assert charge.amount_micro == 60_000
    assert money.exact(charge.amount_micro) == "0.060000"
    assert charge.unpriced == ()
    assert charge.lines == (
        pricing.ChargeLine("input", 1000, 30_000_000, 30_000_000_000),
        pricing.ChargeLine("output", 500, 60_000_000, 30_000_000_000),
    )
    assert [pricing.fraction(line.numerator) for line in charge.lines] == ["0.030000", "0.030000"]


def test_fractions_are_summed_before_they_are_rounded_and_shown_on_the_lines():
    prices = {"input": 150_000, "cached_read": 75_000, "output": 600_000}
    charge = pricing.charge(prices, Usage(input=1, cached_read=1, output=1))
    assert charge.amount_micro == 1  # 0.15 + 0.075 + 0.6 micro-units; one by one it would be 3
    assert [pricing.fraction(line.numerator) for line in charge.lines] == [
        "0.00000015",
        "0.000000075",
        "0.000000600".rstrip("0"),
    ]
    assert pricing.fraction(0) == "0.000000"
    assert pricing.fraction(1) == "0.000000000001"
    assert pricing.fraction(-1_500_000 * 10**12) == "-1500000.000000"


def test_a_class_without_a_price_counts_nothing_and_is_named():
    charge = pricing.charge(GPT_4, Usage(input=1000, reasoning=7, images=2))
    assert charge.amount_micro == 30_000
    assert charge.unpriced == ("reasoning", "images")
    assert [line.usage_class for line in charge.lines] == ["input", "reasoning", "images"]


@pytest.mark.slow
@given(some_prices, usages, usages)
def test_more_usage_never_costs_less(prices, used, more):
    assert pricing.charge(prices, plus(used, more)).amount_micro >= pricing.charge(prices, used).amount_micro


@pytest.mark.slow
@given(some_prices, usages, usages)
def test_numerators_are_additive(prices, one, other):
    assert numerator(prices, plus(one, other)) == numerator(prices, one) + numerator(prices, other)


@pytest.mark.slow
@given(some_prices, usages)
def test_numerators_are_additive_by_class(prices, used):
    by_class = sum(numerator(prices, usage.of({name: count})) for name, count in used.items())
    assert numerator(prices, used) == by_class


@pytest.mark.slow
@given(some_prices, usages)
def test_rounded_up_by_less_than_one_micro_unit(prices, used):
    exact = sum(Fraction(count * prices.get(name, 0), 10**6) for name, count in used.items())
    assert 0 <= pricing.charge(prices, used).amount_micro - exact < 1


@pytest.mark.slow
@given(some_prices, usages)
def test_free_exactly_when_nothing_priced_was_used(prices, used):
    nothing = all(count * prices.get(name, 0) == 0 for name, count in used.items())
    assert (pricing.charge(prices, used).amount_micro == 0) == nothing


@pytest.mark.slow
@given(some_prices, usages, units, units)
def test_the_ceiling_covers_every_usage_within_its_bounds(prices, used, more_in, more_out):
    ceiling = pricing.ceiling(
        prices,
        input_tokens=used.input_tokens + more_in,
        output_tokens=used.output_tokens + more_out,
        images=used.images,
    )
    assert pricing.charge(prices, used).amount_micro <= ceiling


@pytest.mark.slow
@given(all_prices, units, units)
def test_the_ceiling_is_reached_by_the_dearest_classes(prices, tokens_in, tokens_out):
    dear_in = max(INPUT_CLASSES, key=prices.__getitem__)
    dear_out = max(OUTPUT_CLASSES, key=prices.__getitem__)
    used = usage.of({dear_in: tokens_in, dear_out: tokens_out})
    assert pricing.charge(prices, used).amount_micro == pricing.ceiling(
        prices, input_tokens=tokens_in, output_tokens=tokens_out
    )


@pytest.mark.slow
@given(some_prices, units, st.one_of(st.integers(0, 100), st.integers(-(10**9), 10**12)), units)
def test_affordable_output_is_the_largest_that_fits(prices, tokens_in, available_micro, asked):
    def fits(tokens_out: int) -> bool:
        return pricing.ceiling(prices, input_tokens=tokens_in, output_tokens=tokens_out) <= available_micro

    found = pricing.affordable_output(
        prices, input_tokens=tokens_in, available_micro=available_micro, output_tokens=asked
    )
    if found == -1:
        assert not fits(0)
        return
    assert 0 <= found <= asked
    assert fits(found)
    assert found == asked or not fits(found + 1)


def test_affordable_output_at_the_edge():
    def afford(available_micro: int) -> int:
        return pricing.affordable_output(GPT_4, input_tokens=1000, available_micro=available_micro, output_tokens=500)

    assert [afford(29_999), afford(30_000), afford(30_059), afford(30_060), afford(59_999), afford(60_000), afford(10**9)] == [
        -1, 0, 0, 1, 499, 500, 500,
    ]  # fmt: skip


def test_without_an_output_price_output_is_free_and_unlimited():
    assert pricing.ceiling({"input": 20_000}, input_tokens=100, output_tokens=10**6) == 2
    assert pricing.affordable_output({"input": 20_000}, input_tokens=100, available_micro=2, output_tokens=7) == 7


def test_bounds_that_are_no_counts_are_refused():
    for bad in (-1, 1.0, True, "1"):
        with pytest.raises(money.MoneyError):
            pricing.ceiling(GPT_4, input_tokens=bad, output_tokens=0)
        with pytest.raises(money.MoneyError):
            pricing.ceiling(GPT_4, input_tokens=0, output_tokens=bad)
        with pytest.raises(money.MoneyError):
            pricing.affordable_output(GPT_4, input_tokens=0, available_micro=1, output_tokens=bad)
    with pytest.raises(money.MoneyError):
        pricing.ceiling({"input": pricing.PRICE_MICRO_MAX}, input_tokens=2**31, output_tokens=0)
    with pytest.raises(money.MoneyError):
        pricing.charge({"input": pricing.PRICE_MICRO_MAX}, Usage(input=2**31))


@pytest.mark.slow
@given(some_prices, usages, st.integers(0, 10**12), st.sampled_from(["R02", "R03", "R07", "R17", "R27"]))
def test_a_receipt_alone_gives_its_charge(prices, used, hold_micro, rule):
    facts = {
        "usage": msgspec.json.decode(msgspec.json.encode(used)),
        "prices": msgspec.json.decode(msgspec.json.encode(prices)),
        "hold_micro": hold_micro,
    }
    for version in (1, 2):
        charged = pricing.due(pricing.ReceiptMoney(**facts, rule=rule, rule_version=version)).charge_micro
        assert charged == min(pricing.charge(prices, used).amount_micro, hold_micro)
        for free in ("R01", "R09", "R12", "R13", "R14", "R15", "R16", "R24", "R26", "R33"):
            assert pricing.due(pricing.ReceiptMoney(**facts, rule=free, rule_version=version)).charge_micro == 0


def test_a_receipt_of_an_unknown_rule_version_or_class_is_not_recomputed():
    with pytest.raises(ValueError, match="rule version 3"):
        pricing.due(pricing.ReceiptMoney("R02", 3, {}, {}, 0))
    with pytest.raises(UsageError, match="points"):
        pricing.due(pricing.ReceiptMoney("R02", 1, {"points": 3}, {}, 0))


def test_a_free_rule_does_not_excuse_usage_that_is_none():
    with pytest.raises(UsageError):
        pricing.due(pricing.ReceiptMoney("R14", 1, {"input": -1}, {}, 0))


@pytest.mark.parametrize(
    ("rule", "used", "valued", "drawn", "charged"),
    [
        ("R14", 100, None, 100, 0),  # all of it is forgiven
        ("R14", 100, None, 30, 70),  # the rest is charged as far as it was delivered
        ("R09", 40, 100, 0, 40),  # of an input that was counted, what was reported
        ("R16", 0, 100, 10, 0),
        ("R03", 80, 100, 5, 95),
        ("R03", 80, 100, 20, 80),
    ],
)
def test_a_receipt_of_version_2_says_what_was_forgiven_and_what_that_left(rule, used, valued, drawn, charged):
    prices = {"output": 1_000_000}
    worth = used if valued is None else valued
    flags = [] if charged == (0 if rule in {"R14", "R09", "R16"} else used) else ["allowance_used"]
    facts = pricing.ReceiptMoney(
        rule, 2, {"output": used}, prices, 10**6, flags, None if valued is None else {"output": valued}, drawn
    )
    assert pricing.due(facts) == (charged, worth, worth - charged)
