"""Fitting: the factors of a model from its sample (promises 4.2). Pure, with integers only.

Every account weighs the same, whatever it sent, and a single one moves nothing: where the sample fits together
without one of few accounts and not with it, that one has no part in the fit; and a quartile is the one that is left
without the account that pulls it farthest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from farebox.catalog.factors import (
    CONFIRMED_MOST,
    DEFAULT,
    FACTOR_LEAST,
    FACTOR_MOST,
    OFF_MORE_THAN,
    ONE,
    PER_MESSAGE,
    PER_MESSAGE_MOST,
    SLACK_LEAST,
    Factors,
    Sample,
    Side,
)

SAMPLES_LEAST: Final = 50
ACCOUNTS_LEAST: Final = 3
_CLASSES = 5
_TELLING_TOKENS = 200  # what is shorter tells less: an end mark weighs as much as a word
_UNIT = 10**24  # the weight of one account
_SHRINK = 100_000  # one part in so many of the weights speaks for the factor of all classes together
_MISFIT_MOST = _UNIT * 25 // 10_000  # squares of 5 %
_FEW_ACCOUNTS = 20
_ROUNDS_MOST = 1000


class _Row(NamedTuple):
    """One side of a sample: counts by column (classes, and messages on the input), and what was reported."""

    account: str
    counts: tuple[int, ...]
    reported: int


class _Value(NamedTuple):
    """Something measured, in millionths or tokens, with a weight and the account it is of."""

    value: int
    weight: int
    account: str


class Normal(NamedTuple):
    """Weighted normal equations: products of columns, columns by report, squares of reports, and accounts in them."""

    columns: list[list[int]]
    right: list[int]
    squares: int
    accounts: int

    def less(self, part: Normal) -> Normal:
        """These without a part of them."""
        pairs = zip(self.columns, part.columns, strict=True)
        return Normal(
            [[a - b for a, b in zip(ours, theirs, strict=True)] for ours, theirs in pairs],
            [a - b for a, b in zip(self.right, part.right, strict=True)],
            self.squares - part.squares,
            self.accounts - part.accounts,
        )

    def misfit(self, found: Sequence[int]) -> int:
        """The mean of squares of what is left over, in `_UNIT`s, for these factors (millionths)."""
        many = range(len(found))
        fitted = sum(found[i] * found[j] * self.columns[i][j] for i in many for j in many)
        crossed = sum(factor * right for factor, right in zip(found, self.right, strict=True))
        return (fitted - 2 * ONE * crossed + ONE * ONE * self.squares) // (ONE * ONE * max(1, self.accounts))


def fit(samples: Sequence[Sample]) -> Factors:
    """The factors that a sample speaks for: in force from 50 samples of 3 accounts, or of trusted accounts."""
    trusted = [each for each in samples if each.trusted]
    alone = len({each.account for each in samples}) < ACCOUNTS_LEAST and len(trusted) >= SAMPLES_LEAST
    if alone:
        samples = trusted
    least = 1 if alone else ACCOUNTS_LEAST
    given, put_out = _given(samples), _put_out(samples)
    factors = Factors(samples=len(samples), accounts=len({each.account for each in samples}))
    if not _enough(given, least) or (put_out and not _enough(put_out, least)):
        return factors
    factors = msgspec.structs.replace(
        factors,
        in_force=True,
        input=_side(given, per_message=PER_MESSAGE),
        output=_side(put_out) if put_out else DEFAULT.output,
        input_per_byte_upper=_per_byte(
            (each.account, each.reported_input, each.input_bytes) for each in samples if not each.images
        ),
        output_per_byte_upper=_per_byte((each.account, each.reported_output, each.output_bytes) for each in samples),
        bound_slack=_slack(samples),
        hidden_p99=_most([_Value(each.hidden, 1, each.account) for each in samples if each.hidden]),
    )
    off_by = _off_by(samples)
    return msgspec.structs.replace(
        factors,
        image_tokens=_image_tokens(samples, factors.input),
        tokenizer_p95=off_by,
        confirmed=off_by is not None and off_by <= CONFIRMED_MOST,
        off=off_by is not None and off_by > OFF_MORE_THAN,
    )


def _given(samples: Sequence[Sample]) -> list[_Row]:
    return [
        _Row(each.account, (*each.input, each.messages), each.reported_input)
        for each in samples
        if each.reported_input > 0 and not each.images and each.input.total
    ]


def _put_out(samples: Sequence[Sample]) -> list[_Row]:
    return [
        _Row(each.account, tuple(each.output), each.reported_output)
        for each in samples
        if each.reported_output > 0 and each.output.total
    ]


def _enough(rows: Sequence[_Row], accounts: int) -> bool:
    return len(rows) >= SAMPLES_LEAST and len({row.account for row in rows}) >= accounts


def _side(rows: Sequence[_Row], per_message: int = 0) -> Side:
    """The factors of one side, and the quartiles of what was reported by what they make of it."""
    found = _factors(rows, per_message)
    names = ("latin", "cjk", "other", "digits", "base64", "per_message")
    side = Side(**dict(zip(names, found, strict=False)))
    measured = _weighed(
        (row.account, row.reported * ONE * ONE // fitted, row.reported)
        for row in rows
        if (fitted := sum(units * factor for units, factor in zip(row.counts, found, strict=True)))
    )
    middle = _quantile(measured, 50)
    return msgspec.structs.replace(
        side,
        lower=min(middle, _robust(measured, 25, max)),
        median=middle,
        upper=max(middle, _robust(measured, 75, min)),
    )


def _factors(rows: Sequence[_Row], per_message: int) -> list[int]:
    """Least squares of relative errors, without the one of few accounts that keeps the others from fitting."""
    parts = _parts(rows)
    whole = _sum(list(parts.values()))
    found = solve(whole, per_message)
    if not ACCOUNTS_LEAST <= len(parts) <= _FEW_ACCOUNTS or whole.misfit(found) <= _MISFIT_MOST:
        return found
    without = [(rest, solve(rest, per_message)) for rest in map(whole.less, parts.values())]
    rest, best = min(without, key=lambda each: each[0].misfit(each[1]))
    return best if rest.misfit(best) * 2 <= whole.misfit(found) else found


def _parts(rows: Sequence[_Row]) -> dict[str, Normal]:
    """The normal equations of each account, of one weight in total."""
    telling = Counter[str]()
    for row in rows:
        telling[row.account] += min(row.reported, _TELLING_TOKENS)
    parts: dict[str, Normal] = {}
    many = range(len(rows[0].counts))
    for row in rows:
        part = parts.setdefault(row.account, Normal([[0 for _ in many] for _ in many], [0 for _ in many], 0, 1))
        size = max(row.reported, _TELLING_TOKENS // 4)
        weight = _UNIT * min(row.reported, _TELLING_TOKENS) // (telling[row.account] * size * size)
        for i in many:
            part.right[i] += weight * row.counts[i] * row.reported
            for j in many:
                part.columns[i][j] += weight * row.counts[i] * row.counts[j]
        parts[row.account] = part._replace(squares=part.squares + weight * row.reported * row.reported)
    return parts


def _sum(parts: Sequence[Normal]) -> Normal:
    many = range(len(parts[0].right))
    return Normal(
        [[sum(part.columns[i][j] for part in parts) for j in many] for i in many],
        [sum(part.right[i] for part in parts) for i in many],
        sum(part.squares for part in parts),
        len(parts),
    )


def solve(normal: Normal, per_message: int = 0) -> list[int]:
    """The factors in millionths, each within its bounds, that leave the least squares over; by one at a time.

    A class of which the sample has little is drawn to the factor of all classes together.
    """
    columns, right, many = normal.columns, normal.right, range(len(normal.right))
    together = sum(sum(column[:_CLASSES]) for column in columns[:_CLASSES])
    general = _clamped(sum(right[:_CLASSES]) * ONE, together or 1, FACTOR_LEAST, FACTOR_MOST)
    drawn = [general] * _CLASSES + [per_message] * (len(right) - _CLASSES)
    bounds = [(FACTOR_LEAST, FACTOR_MOST)] * _CLASSES + [(0, PER_MESSAGE_MOST)] * (len(right) - _CLASSES)
    draw = normal.accounts * _UNIT // _SHRINK
    found = list(drawn)
    for _ in range(_ROUNDS_MOST):
        before = list(found)
        for i in many:
            others = sum(columns[i][j] * found[j] for j in many if j != i)
            found[i] = _clamped(right[i] * ONE + draw * drawn[i] - others, columns[i][i] + draw, *bounds[i])
        if found == before:
            break
    return found


def _clamped(numerator: int, denominator: int, least: int, most: int) -> int:
    return min(most, max(least, (2 * numerator + denominator) // (2 * denominator)))


def _weighed(measured: Iterable[tuple[str, int, int]]) -> list[_Value]:
    """Values by account with how many tokens each speaks for; longer ones than tell more weigh no more."""
    return [_Value(value, min(size, _TELLING_TOKENS), account) for account, value, size in measured]


def _balanced(measured: Sequence[_Value]) -> list[_Value]:
    """The values in order, with weights by which all accounts weigh the same."""
    by_account = Counter[str]()
    for each in measured:
        by_account[each.account] += each.weight
    return sorted(each._replace(weight=_UNIT * each.weight // by_account[each.account]) for each in measured)


def _at(balanced: Sequence[_Value], percent: int, without: str | None = None) -> int:
    """The smallest value that so many per cent of the weight do not exceed."""
    kept = [each for each in balanced if each.account != without] or list(balanced)
    wanted = sum(each.weight for each in kept) * percent
    seen = 0
    for each in kept:
        seen += each.weight * 100
        if seen >= wanted:
            return each.value
    return kept[-1].value


def _quantile(measured: Sequence[_Value], percent: int) -> int:
    return _at(_balanced(measured), percent)


def _robust(measured: Sequence[_Value], percent: int, choose: Callable[[Iterable[int]], int]) -> int:
    """The quantile that `choose` picks of those without one of few accounts: it is free of the one that pulls most."""
    balanced = _balanced(measured)
    accounts = sorted({each.account for each in balanced})
    if not ACCOUNTS_LEAST <= len(accounts) <= _FEW_ACCOUNTS:
        return _at(balanced, percent)
    return choose(_at(balanced, percent, without) for without in accounts)


def _most(measured: Sequence[_Value]) -> int | None:
    """What 99 of 100 do not exceed, without the account that pulls it up farthest."""
    return _robust(measured, 99, min) if measured else None


def _per_byte(measured: Iterable[tuple[str, int, int]]) -> int | None:
    """Upper quartile of tokens a byte, in millionths; a running stream must not get ahead of its hold."""
    values = _weighed((account, tokens * ONE // size, tokens) for account, tokens, size in measured if tokens and size)
    return _robust(values, 75, min) if values else None


def _slack(samples: Sequence[Sample]) -> int:
    values = [_Value(each.reported_input * ONE // each.bound, 1, each.account) for each in samples if each.bound]
    return max(SLACK_LEAST, _most(values) or 0)


def _image_tokens(samples: Sequence[Sample], side: Side) -> int | None:
    """What an image costs in the middle of those calls that had some."""
    values = [
        _Value(
            max(0, each.reported_input - side.fitted(each.input, each.messages) // ONE) // each.images, 1, each.account
        )
        for each in samples
        if each.images and each.reported_input
    ]
    return _quantile(values, 50) if len(values) >= SAMPLES_LEAST else None


def _off_by(samples: Sequence[Sample]) -> int | None:
    """By how much the configured tokenizer is off, in millionths, for 95 of 100 sides that are long enough to tell."""
    values = [
        _Value(abs(own - reported) * ONE // reported, 1, each.account)
        for each in samples
        for own, reported in (
            (None if each.images else each.own_input, each.reported_input),
            (each.own_output, each.reported_output),
        )
        if own is not None and reported >= _TELLING_TOKENS // 4
    ]
    return _robust(values, 95, min) if len(values) >= SAMPLES_LEAST else None
