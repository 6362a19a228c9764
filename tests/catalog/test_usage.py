"""Usage holds exact counts in disjoint classes, or nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.catalog import usage
from farebox.catalog.usage import CLASSES, UNITS_MAX, Usage, UsageError
from kit.rows import for_each


def test_sums_leave_nothing_out_and_count_nothing_twice():
    used = Usage(
        input=1,
        cached_read=2,
        cache_write=4,
        input_audio=8,
        output=16,
        reasoning=32,
        output_audio=64,
        images=128,
    )
    assert (used.input_tokens, used.output_tokens, used.total) == (15, 112, 127)
    assert dict(used.items()) == {name: 2**i for i, name in enumerate(CLASSES)}
    assert Usage().items() == ()


@for_each("bad", [-1, 1.0, "1", None, True, UNITS_MAX + 1, 2**63, float("nan")])
@for_each("name", CLASSES)
def test_what_is_no_count_is_refused(name, bad):
    with pytest.raises(UsageError, match=name):
        Usage(**{name: bad})


def test_an_unknown_class_is_refused():
    with pytest.raises(UsageError, match="points"):
        usage.of({"input": 1, "points": 2})


def test_usage_cannot_be_changed():
    with pytest.raises(AttributeError):
        Usage(input=1).input = 2


@pytest.mark.slow
@given(st.builds(Usage, **dict.fromkeys(CLASSES, st.integers(0, UNITS_MAX))))
def test_a_receipt_keeps_it_whole(used):
    text = msgspec.json.encode(used)
    assert usage.of(msgspec.json.decode(text)) == used
    assert msgspec.json.decode(text, type=Usage) == used
    assert set(msgspec.json.decode(text)) == {name for name, count in used.items() if count}
