"""What version 2 holds, as pure functions and over a purse in plain ints: nothing is delivered that is not covered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.catalog import tokens
from farebox.catalog.counting import vector
from farebox.catalog.factors import DEFAULT, ONE, Factors, Quartile, Side
from farebox.catalog.pricing import ModelCard, Offer
from farebox.gateway import overrun, purse, tally
from farebox.gateway.echo import Echo
from farebox.gateway.stepped import Stepped
from farebox.gateway.tally import Tally
from farebox.protocol.dialect import Event
from farebox.protocol.kind import LEAST_OUTPUT_TOKENS, Call, Image

PRICES = {"input": 3_000_000, "cached_read": 300_000, "cache_write": 3_750_000, "output": 15_000_000}
SIDES = st.builds(Side, latin=st.integers(600_000, 1_700_000), upper=st.integers(900_000, 1_300_000))
FACTORS = st.builds(
    Factors,
    output=SIDES,
    input_per_byte_upper=st.none() | st.integers(50_000, 2 * ONE),
    output_per_byte_upper=st.none() | st.integers(50_000, 2 * ONE),
    hidden_p99=st.none() | st.integers(1, 50_000),
    image_tokens=st.none() | st.integers(1, 5_000),
    in_force=st.booleans(),
)


def card(factors: Factors = DEFAULT, **facts) -> ModelCard:
    known = {
        "name": "m", "owned_by": "t", "kinds": frozenset({"chat"}), "modalities": frozenset({"text", "image"}),
        "context_tokens": 200_000, "output_tokens_max": 20_000, "hidden_output": False, "tokenizer": "",
        "image_formula": "", "input_overhead_tokens": 0, "classes": frozenset(PRICES), "created_s": 0,
    }  # fmt: skip
    return ModelCard(**{**known, **facts}, factors=factors)


def offer(of: ModelCard, prices=None, rule_version: int = 2) -> Offer:
    return Offer(of, "m", "usd", 1, "USD", prices or PRICES, "1", rule_version)


def chat(**facts) -> Call:
    return Call(**{"kind": "chat", "model": "m", "stream": True, "params": {}, "messages": 1, **facts})


def needs(call: Call, at: Offer, *, step: int = 1_024, whole: bool = False) -> purse.Need:
    bound = purse.bound(call, at.card, rule_version=at.rule_version)
    return purse.need(call, at, bound, None, step, hidden_tokens=4_096, answer_bytes_max=10**8, whole=whole)


@given(
    factors=FACTORS,
    hidden=st.booleans(),
    stream=st.booleans(),
    whole=st.booleans(),
    text_bytes=st.integers(0, 10**6),
    limit=st.none() | st.integers(1, 30_000),
    outputs=st.integers(1, 4),
    available=st.integers(0, 10**7),
)
def test_what_is_held_first_is_never_more_than_the_ceiling(
    factors, hidden, stream, whole, text_bytes, limit, outputs, available
):
    call = chat(stream=stream, text_bytes=text_bytes, limit_tokens=limit, outputs=outputs, choices=outputs)
    of = card(factors, hidden_output=hidden)
    need = needs(call, offer(of), whole=whole)
    ceilings = needs(call, offer(of, rule_version=1))
    assert 0 <= need.held_tokens <= need.input_tokens
    assert need.input_tokens == ceilings.input_tokens, "what a report is measured with stays the bound by bytes"
    assert need.first_tokens <= need.whole_tokens == ceilings.whole_tokens
    assert need.first_micro <= ceilings.price(ceilings.whole_tokens)
    assert need.grows is (stream and not whole)
    if whole:
        assert need.held_tokens == need.input_tokens
        assert need.first_tokens == need.whole_tokens
    if need.grows and hidden:
        assert need.first_tokens >= min(need.limit_tokens, 4_096) * outputs
    held_micro = need.fit(available)
    assert held_micro <= available
    if held_micro >= 0:
        assert need.pays_for(held_micro) >= min(need.limit_tokens, LEAST_OUTPUT_TOKENS) * outputs


def test_images_are_held_by_the_formula_or_the_median_or_the_dearest():
    image = Image((512, 512), "high")
    call = chat(images=[image], text_bytes=100)
    fitted = {"in_force": True, "input_per_byte_upper": 300_000}
    own, dear = (tokens.image_bound(name, image.size, image.detail) for name in ("openai_tile", "openai_tile_mini"))

    def held(factors, **facts):
        return needs(call, offer(card(factors, **facts))).held_tokens

    words = held(Factors(**fitted, image_tokens=1)) - 1
    assert held(Factors(**fitted, image_tokens=700), image_formula="openai_tile") == words + own
    assert held(Factors(**fitted, image_tokens=700)) == words + 700
    assert held(Factors(**fitted)) == words + dear
    assert purse.bound(call, card(), rule_version=2) - purse.bound(call, card(), rule_version=1) == dear - own


class Purse:
    """A store in plain ints: so much money besides what is held, all of it for this call."""

    def __init__(self, left_micro: int) -> None:
        self.left_micro = left_micro
        self.writes = 0

    async def write(self, fn, opened, want_micro, fit, **how):
        self.writes += 1
        added = want_micro if want_micro <= self.left_micro else max(0, fit(self.left_micro))
        self.left_micro -= added
        return added


WORDS = [" the", "x", "\n", "你好", "7", " international", "🙂", "é", "}];", "QmFzZTY0", " ", "isation"]


def delivered(pieces, need, purse_micro, echo=None):
    """The pieces that were covered, in their order, the cover and the purse."""

    async def run():
        held = need.fit(min(purse_micro, need.first_micro))
        store = Purse(purse_micro - held)
        opened = SimpleNamespace(purses=(), account="acc")
        counted = Tally(tally.of_output(need.offer.card, Quartile.UPPER), "acc")
        cover = Stepped(store, opened, need, held, bought_tokens=need.whole_tokens, counted=counted, echo=echo)
        seen = SimpleNamespace(texts={}, thoughts=[], beside={}, output_bytes=0, media_bytes=0)
        for index, text in pieces:
            event = Event(b"", pieces=[(index, text)], output_bytes=len(text.encode()), visible=True)
            if not await cover.covers(seen.output_bytes + event.output_bytes, seen, event):
                return seen, cover, store, (index, text)
            seen.texts.setdefault(index, []).append(text)
            seen.output_bytes += event.output_bytes
        return seen, cover, store, None

    return asyncio.run(run())


def exact(need, texts) -> int:
    counted = vector(["".join(pieces) for pieces in texts.values()])
    return need.offer.card.factors.output.tokens(counted, quartile=Quartile.UPPER)


@settings(deadline=None)  # the first of them loads the tokenizer
@given(
    factors=FACTORS,
    pieces=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(WORDS)), max_size=200),
    tokens_paid=st.integers(32, 400),
)
def test_nothing_is_delivered_that_is_not_covered_and_all_that_is(factors, pieces, tokens_paid):
    of = card(factors)
    need = needs(chat(outputs=2, choices=2), offer(of, {"input": 0, "output": 1_000_000}), step=16)
    seen, cover, store, refused = delivered(pieces, need, tokens_paid)
    size = sum(len("".join(parts).encode()) for parts in seen.texts.values())
    by_bytes = -(-size * min(ONE, factors.output_per_byte_upper or ONE) // ONE) if factors.in_force else size
    assert min(exact(need, seen.texts), size, by_bytes) <= cover.covered_tokens <= tokens_paid
    if refused is not None:
        assert cover.covered_tokens == tokens_paid, "the purse is empty"
        whole = {**seen.texts, refused[0]: [*seen.texts.get(refused[0], []), refused[1]]}
        assert exact(need, whole) > tokens_paid
    assert store.writes <= 60 + len(pieces) // 4, "a hold that cannot grow is not asked for at each event"


def test_a_prompt_that_comes_back_is_not_paid_from_the_hold_and_one_that_was_only_asked_for_is():
    need = needs(chat(), offer(card(), {"input": 0, "output": 1_000_000}), step=16)
    prompt = [(0, f" word{number}") for number in range(200)]
    text = "".join(piece for _, piece in prompt)
    seen, *_, refused = delivered([*prompt, (0, " and on")], need, 32, Echo([text], 1))
    assert refused is None
    assert seen.output_bytes > 1_000
    seen, cover, _, refused = delivered(prompt, need, 32, Echo([" another prompt" * 100], 1))
    assert refused is not None
    assert exact(need, seen.texts) <= cover.covered_tokens == 32


def test_an_overrun_is_counted_by_the_median_of_the_models_sample():
    """A vocabulary that is finer than o200k_base: its honest answers are not cut, and dishonest ones are."""

    def stopped(median: int, words: int) -> bool:
        of = card(Factors(in_force=True, output=Side(latin=ONE, median=median)))
        watch = overrun.watch(chat(limit_tokens=100), of, 100, rule_version=2)
        return asyncio.run(watch.over({0: [" word"] * words}, [(0, " word")], 5 * (words + 1)))

    assert not stopped(600_000, 150)
    assert stopped(600_000, 250)
    assert stopped(ONE, 150)
