"""Factors: learned from samples, in force when enough people say the same, and moved by no one alone (promises 4.2)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.catalog import counting, factor_fitting, factors
from farebox.catalog.factors import ONE, Factors, Quartile, Sample, Side, Vector
from kit import standin
from kit.rows import for_each

COUNTS = st.integers(0, 10**6)
VECTORS = st.builds(Vector, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
FACTOR = st.integers(factors.FACTOR_LEAST, factors.FACTOR_MOST)
SIDES = st.builds(
    lambda classes, quartiles: Side(
        **dict(zip(Vector._fields, classes, strict=True)),
        **dict(zip(("lower", "median", "upper"), sorted(quartiles), strict=True)),
    ),
    st.tuples(FACTOR, FACTOR, FACTOR, FACTOR, FACTOR),
    st.tuples(FACTOR, FACTOR, FACTOR),
)


@given(SIDES, VECTORS, VECTORS, st.integers(0, 1000))
def test_own_counts_are_ordered_and_grow_with_the_text(side, vector, more, messages):
    lower, median, upper = (side.tokens(vector, messages, each) for each in Quartile)
    assert lower <= median <= upper
    for quartile in Quartile:
        assert side.tokens(vector.plus(more), messages, quartile) >= side.tokens(vector, messages, quartile)
    exact = side.fitted(vector, messages) * side.upper
    assert 0 <= upper * ONE * ONE - exact < ONE * ONE  # a hold is never short of the count, nor a token above it
    assert 0 <= side.fitted(vector, messages) * side.lower - lower * ONE * ONE < ONE * ONE


@st.composite
def linear(draw) -> tuple[list[Sample], Side]:
    """Samples of a vendor who counts by these very factors."""
    side = draw(SIDES.map(lambda side: Side(**dict(zip(Vector._fields, side.classes, strict=True)), per_message=0)))
    rng = Random(draw(st.integers(0, 2**32)))
    found = []
    for number in range(60):
        vector = Vector(*(rng.choice((0, rng.randrange(3000))) for _ in range(5)))
        messages = rng.randrange(1, 20)
        found.append(
            Sample(
                f"acct_{number % 4}", vector, vector, messages=messages,
                reported_input=(side.fitted(vector) + messages * 5 * ONE) // ONE,
                reported_output=side.fitted(vector) // ONE,
            )
        )  # fmt: skip
    return found, side


@given(linear())
@settings(max_examples=25)
def test_a_vendor_who_counts_by_classes_is_found_out(found):
    samples, side = found
    learned = factor_fitting.fit(samples)
    assert learned.in_force
    for each in samples:
        if each.reported_output >= 200:
            assert learned.output.tokens(each.output) == pytest.approx(side.fitted(each.output) // ONE, rel=0.02)
            counted = learned.input.tokens(each.input, each.messages, Quartile.MEDIAN)
            assert counted == pytest.approx(each.reported_input, rel=0.03)


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.tuples(*[st.integers(0, 5000)] * 5), st.integers(1, 20_000)),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.lists(st.tuples(FACTOR, FACTOR, FACTOR, FACTOR, FACTOR), min_size=5, max_size=5))
def test_no_factors_within_the_bounds_leave_less_over(rows, others):
    parts = factor_fitting._parts([factor_fitting._Row(f"a{who}", counts, reported) for who, counts, reported in rows])
    whole = factor_fitting._sum(list(parts.values()))
    best = factor_fitting.solve(whole)
    assert all(factors.FACTOR_LEAST <= factor <= factors.FACTOR_MOST for factor in best)
    for other in others:
        # What draws a class of little text to the others counts one part in 100,000 of the weights.
        assert whole.misfit(best) <= whole.misfit(other) + 2 * 5 * factor_fitting._UNIT // factor_fitting._SHRINK


@pytest.fixture(scope="module")
def learned() -> Factors:
    return factor_fitting.fit(standin.sampled(Random(14), accounts=4, each=20))


@pytest.mark.slow
def test_once_in_force_own_counts_are_what_the_vendor_counts(learned):
    """Issue 14's property: charges are proportional to tokens, so they are compared by tokens."""
    assert learned.in_force
    assert (learned.samples, learned.accounts) == (80, 4)
    rng, off = Random(2), []
    while len(off) < 300:
        answer = standin.mixed(rng, rng.randrange(600, 8000))
        if (reported := standin.vendor(answer)) >= 200:
            off.append(learned.output.tokens(counting.vector([answer])) / reported - 1)
    assert sum(abs(each) <= 0.10 for each in off) >= 0.95 * len(off)
    assert sum(each > 0.05 for each in off) <= 0.05 * len(off)
    assert max(off) <= 0.15
    # The same answers, by one factor for all of them: what the classes are for.
    assert factors.DEFAULT.output.cjk == factors.DEFAULT.output.latin
    assert learned.output.cjk > 1.2 * learned.output.latin


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["english", ""])
def test_one_hostile_account_teaches_nothing(kind):
    """It gets wrong reports, of one kind of text or of all, and there are but two honest accounts beside it."""
    rng = Random(5)
    honest = standin.sampled(rng, accounts=2, each=20)
    told = [
        standin.sample(
            "acct_evil",
            standin.text(kind, rng, 1500) if kind else standin.mixed(rng, 1500),
            standin.text(kind, rng, 2000) if kind else standin.mixed(rng, 2000),
        )
        for _ in range(20)
    ]
    for percent in (50, 70, 200):
        found = factor_fitting.fit(
            honest
            + [
                each._replace(
                    reported_input=each.reported_input * percent // 100,
                    reported_output=each.reported_output * percent // 100,
                )
                for each in told
            ]
        )
        assert found.in_force
        for each in honest:
            if each.reported_output >= 200:
                for quartile in Quartile:
                    assert found.output.tokens(each.output, 0, quartile) == pytest.approx(each.reported_output, rel=0.1)
                counted = found.input.tokens(each.input, each.messages, Quartile.MEDIAN)
                assert counted == pytest.approx(each.reported_input, rel=0.1)


def plain(account: str, many: int, **more) -> list[Sample]:
    facts = {"reported_input": 1000, "reported_output": 1000, "input_bytes": 4000, "output_bytes": 4000, "messages": 1}
    return [Sample(account, Vector(1000), Vector(1000), **{**facts, **more}) for _ in range(many)]


@for_each(
    ("samples", "in_force"),
    [
        ([*plain("a", 20), *plain("b", 20), *plain("c", 9)], False),
        ([*plain("a", 20), *plain("b", 20), *plain("c", 10)], True),
        ([*plain("a", 400), *plain("b", 100)], False),
        (plain("a", 50, trusted=True), True),
        (plain("a", 49, trusted=True) + plain("b", 50), False),
        ([*plain("a", 20), *plain("b", 20), *plain("c", 20, images=2)], False),  # too few that tell of text
        ([each for who in "abc" for each in plain(who, 20, reported_output=0)], True),  # embeddings
        ([], False),
    ],
)
def test_factors_are_in_force_from_fifty_samples_of_three_accounts_or_of_trusted_ones(samples, in_force):
    found = factor_fitting.fit(samples)
    assert found.in_force is in_force
    if not in_force:
        assert (found.input, found.output) == (factors.DEFAULT.input, factors.DEFAULT.output)
        assert found.output_per_byte_upper is None


def test_every_account_weighs_the_same():
    """One has 20 samples beside others' few, and the middle is the others'."""
    few = [each for who in "abcdefghij" for each in plain(who, 4, reported_output=1000)]
    found = factor_fitting.fit([*few, *plain("busy", 20, reported_output=1500)])
    assert found.output.tokens(Vector(1000), 0, Quartile.MEDIAN) == pytest.approx(1000, abs=2)


def test_what_else_is_learned():
    rng = Random(3)
    found = factor_fitting.fit(
        [
            each._replace(hidden=hidden, bound=bound)
            for who in "abc"
            for each, hidden, bound in zip(
                plain(who, 40), rng.sample(range(1, 4000), 40), [500] * 4 + [2000] * 36, strict=True
            )
        ]
        + [each for who in "abc" for each in plain(who, 20, images=2, reported_input=1000 + 2 * 765)]
    )
    assert found.in_force
    assert 3500 < found.hidden_p99 < 4000
    assert found.bound_slack == 2_000_000
    assert found.image_tokens == pytest.approx(765, abs=3)
    assert found.output_per_byte_upper == 250_000
    assert found.input_per_byte_upper == 250_000
    assert factors.decode(factors.encode(found)) == found


def test_one_account_that_thinks_for_long_makes_nobody_hold_more():
    thinking = [each for who in "abcd" for each in plain(who, 20, hidden=500, bound=900)]
    found = factor_fitting.fit([*thinking, *plain("evil", 20, hidden=90_000, bound=10)])
    assert (found.hidden_p99, found.bound_slack) == (500, factors.SLACK_LEAST)


@for_each(
    ("off", "confirmed", "is_off"), [(1.0, True, False), (1.04, True, False), (1.07, False, False), (1.2, False, True)]
)
def test_a_tokenizer_is_confirmed_by_the_reports_or_off(off, confirmed, is_off):
    samples = [each for who in "abcd" for each in plain(who, 20, own_output=int(1000 * off), own_input=1000)]
    found = factor_fitting.fit(samples)
    assert (found.confirmed, found.off) == (confirmed, is_off)
    assert found.tokenizer_p95 == pytest.approx((off - 1) * ONE, abs=1500)
    # One account whose reports are wrong neither takes a confirmation away nor gives one.
    odd = [each._replace(reported_output=1500, reported_input=1500) for each in samples if each.account == "a"]
    found = factor_fitting.fit([each for each in samples if each.account != "a"] + odd)
    assert (found.confirmed, found.off) == (confirmed, is_off)


def test_nothing_is_known_without_a_tokenizer_of_its_own():
    found = factor_fitting.fit([each for who in "abcd" for each in plain(who, 20)])
    assert (found.tokenizer_p95, found.confirmed, found.off) == (None, False, False)
