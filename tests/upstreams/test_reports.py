"""Usage reports, read in every spelling: none changes what the same usage is charged."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farebox.catalog.usage import Usage
from farebox.protocol import counters, reports
from farebox.protocol.dialect import BadUsage

counts = st.integers(0, 100_000)
CHAT, OUT = "prompt_tokens_details", "completion_tokens_details"


def _openai(used, read, write, *, at_top=False, beside=False, thoughts_beside=False, total=True):
    prompt = used.input + (0 if beside else used.cached_read + used.cache_write)
    completion = used.output + (0 if thoughts_beside else used.reasoning)
    cached = {read: used.cached_read, write: used.cache_write}
    made = {
        "prompt_tokens": prompt, "completion_tokens": completion, **(cached if at_top else {CHAT: cached}),
        OUT: {"reasoning_tokens": used.reasoning},
    }  # fmt: skip
    return made | ({"total_tokens": used.total} if total else {})


def _anthropic(used):
    return {
        "input_tokens": used.input, "cache_read_input_tokens": used.cached_read,
        "cache_creation_input_tokens": used.cache_write, "output_tokens": used.output + used.reasoning,
        "cache_creation": {"ephemeral_5m_input_tokens": used.cache_write},
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }  # fmt: skip


def _google(used):
    return {
        "promptTokenCount": used.input + used.cached_read, "cachedContentTokenCount": used.cached_read,
        "candidatesTokenCount": used.output, "thoughtsTokenCount": used.reasoning,
        "totalTokenCount": used.total - used.cache_write,
    }  # fmt: skip


READS = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
WRITES = ("cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens", "cache_creation_input_tokens")


@pytest.mark.slow
@given(
    st.builds(Usage, input=counts, cached_read=counts, cache_write=counts, output=counts, reasoning=counts),
    st.sampled_from(READS), st.sampled_from(WRITES), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_no_spelling_of_the_same_usage_changes_the_charge(used, read, write, at_top, beside, thoughts_beside, known):
    """`known`: the quirk says where cached tokens stand. Without it the total does, unless it can mean two things."""
    named = _openai(used, read, write, at_top=at_top, beside=beside, thoughts_beside=thoughts_beside)
    if not known:
        extra = used.cached_read + used.cache_write
        assume(extra != used.reasoning and used.reasoning not in {used.cached_read, used.cache_write})
        assume(extra + used.reasoning not in {used.cached_read, used.cache_write} or not extra)
    assert reports.read(named, cached_in_prompt=not beside if known else None) == (used, ())
    if not beside and not thoughts_beside:
        assert reports.read(_openai(used, read, write, at_top=at_top, total=False), cached_in_prompt=True).usage == used
    assert reports.read(_anthropic(used), cached_in_prompt=False if known else None).usage == used
    free = Usage(input=used.input, cached_read=used.cached_read, output=used.output, reasoning=used.reasoning)
    assert reports.read(_google(used)).usage == free


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        [*sorted(counters.ROWS)[::3], "prompt_tokens", "total_tokens", CHAT, OUT, "cost", "modality", "tokenCount", "x"]
    ), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@given(json_like, st.sampled_from([None, True, False]), st.booleans())
def test_any_report_is_read_or_refused_with_a_reason(report, inside, hidden):
    try:
        usage, unknown = reports.read(report, cached_in_prompt=inside, hidden_thinking=hidden)
    except BadUsage:
        pass
    else:
        assert usage.total >= 0
        assert all(isinstance(name, str) for name in unknown)
    assert len(reports.kept(report)) <= 2 * reports.KEPT_BYTES_MAX
    assert "cost" not in json.dumps(counters.shown(report))


@pytest.mark.parametrize(
    ("prompt", "completion", "total", "named", "thought"),
    [(20, 198, 623, 0, 405), (20, 198, 623, 300, 405), (20, 198, 218, 100, 100), (20, 198, 218, 0, 0)],
)
def test_hidden_thinking_is_what_the_total_has_more(prompt, completion, total, named, thought):
    report = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    report[OUT] = {"reasoning_tokens": named}
    found = reports.read(report, hidden_thinking=True).usage
    assert (found.total, found.reasoning) == (total, thought)


def test_a_total_below_its_parts_is_refused_with_what_it_likely_means():
    with pytest.raises(BadUsage, match="total_tokens is 10") as refused:
        reports.read({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 10}, hidden_thinking=True)
    assert refused.value.likely == Usage(input=20, output=5)


def test_sound_and_tools_of_google_are_in_their_classes():
    found = reports.read({
        "promptTokenCount": 100, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 50, "totalTokenCount": 180,
        "cachedContentTokenCount": 40,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 25}, {"modality": "TEXT", "tokenCount": 75}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
    })  # fmt: skip
    assert found == (Usage(input=70, cached_read=40, input_audio=20, output=42, output_audio=8), ())


@pytest.mark.slow
@given(
    st.tuples(counts, counts, counts), st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens"]), counts),
    st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens", "accepted_prediction_tokens"]), counts),
    st.booleans(), st.sampled_from([None, True, False]),
)  # fmt: skip
def test_what_is_read_at_once_is_read_the_same_counter_by_counter(sides, into, out, adds_up, inside):
    """A counter of 0 that nobody knows changes nothing, and makes each counter be looked at."""
    usage = {"prompt_tokens": sides[0], "completion_tokens": sides[1], CHAT: into, OUT: out}
    usage["total_tokens"] = sides[0] + sides[1] if adds_up else sides[2]

    def said(reported):
        try:
            return reports.read(reported, cached_in_prompt=inside)
        except BadUsage as bad:
            return bad.why, bad.likely

    assert said(usage) == said(usage | {"odd_tokens": 0})
