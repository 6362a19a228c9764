"""How much a call holds, and what that pays for (promises 1.9, 1.10; 4.3 from version 2 of the charging rules on).

Pure but for counting tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Raw

from farebox.catalog import pricing, tokens
from farebox.catalog.factors import ONE
from farebox.catalog.pricing import ModelCard, Offer
from farebox.kit.errors import BadRequest, ContextTooLong
from farebox.protocol import kinds
from farebox.protocol.kind import LEAST_OUTPUT_TOKENS, Call

# Of an answer beside its tokens, and how little text a token of an echoed prompt has in the mean.
_ANSWER_BYTES = 512
_BYTES_PER_ECHOED_TOKEN = 2
# An answer, or its report, may lie above the limit by this much: end marks and format tokens (R06, F21).
OVER_LIMIT_TOKENS = 16
# A token number of the customer's counts as so many tokens where the model's vocabulary is another.
_TOKENS_PER_NUMBER = 2


@dataclass(slots=True)
class Need:
    """What a call may use at most, and what it holds first. Tokens of output are for all its outputs together.

    `input_tokens` is the bound of the input, `held_tokens` what is held for it, `prices` those of the usage classes
    that this request can cause. `limit_tokens` is the most that one output may have, `first_tokens` what is
    held at the start, `whole_tokens` what the whole answer may need. `grows` says that the hold is extended as the
    answer comes, by `step_tokens` each time, `hidden` that it may need output which nobody sees, `sized` that the limit
    is lower than it would be if answers might be of any size. `answer_bytes` is the largest answer, where it has to be
    whole before it is sent. `stepped`: it is held by the rules of version 2, or later ones.
    """

    offer: Offer
    input_tokens: int
    held_tokens: int
    prices: Mapping[str, int]
    outputs: int
    limit_tokens: int
    first_tokens: int
    whole_tokens: int
    asked: bool
    grows: bool
    step_tokens: int = 0
    hidden: bool = False
    sized: bool = False
    answer_bytes: int = 0
    stepped: bool = False

    @property
    def first_micro(self) -> int:
        """Micro-units that the first hold asks for."""
        return self.price(self.first_tokens)

    def price(self, output_tokens: int) -> int:
        """The ceiling of the input and so many output tokens, in micro-units."""
        return pricing.ceiling(self.prices, input_tokens=self.held_tokens, output_tokens=output_tokens)

    def pays_for(self, held_micro: int) -> int:
        """The output tokens that a hold pays for; -1 if not even the input."""
        return pricing.affordable_output(
            self.prices,
            input_tokens=self.held_tokens,
            available_micro=held_micro,
            output_tokens=self.whole_tokens,
        )

    def fit(self, available_micro: int) -> int:
        """The hold that so much money is enough for, or -1: whole tokens, and the least for each output."""
        least = min(self.limit_tokens, LEAST_OUTPUT_TOKENS)
        affordable = min(self.pays_for(available_micro), self.first_tokens)
        if self.outputs == 0:
            return self.price(0) if affordable >= 0 else -1
        each = affordable // self.outputs
        if each < least:
            return -1
        return self.price(each * self.outputs)

    def more(self, held_micro: int, want_tokens: int) -> tuple[int, Callable[[int], int]]:
        """(micro-units to add for `want_tokens` in total, what to make of less)."""
        target_micro = self.price(min(want_tokens, self.whole_tokens))
        missing_micro = max(0, target_micro - held_micro)
        return missing_micro, lambda available_micro: min(missing_micro, available_micro)


def need(
    call: Call,
    offer: Offer,
    input_bound: int,
    input_exact: int | None,
    step_tokens: int,
    *,
    hidden_tokens: int,
    answer_bytes_max: int,
    passed_bytes: int = 0,
    whole: bool = False,
) -> Need:
    """What the call needs; `input_exact` is the exact count of its input where there is one.

    A stream that grows holds `step_tokens` of each output first, or `hidden_tokens` at least where thoughts are hidden.
    With `whole` all that it may cost is held at once. ContextTooLong if the input alone, counted exactly, is more than
    the model's context; BadRequest where even a few tokens would make an answer of more than `answer_bytes_max`.
    """
    card = offer.card
    own = offer.rule_version > 1
    whole = whole and own
    held = upper_input(call, card, input_bound, passed_bytes) if own and not whole else input_bound
    prices = possible(call, offer) if own else offer.prices
    if not call.has_output:
        answer_bytes = min(call.choices * call.token_bytes, answer_bytes_max)
        return Need(
            offer,
            input_bound,
            held,
            prices,
            0,
            0,
            0,
            0,
            asked=False,
            grows=False,
            answer_bytes=answer_bytes,
            stepped=own,
        )
    wanted = _wanted(call, card, input_exact)
    limit = min(wanted, _fitting(call, wanted, answer_bytes_max))
    whole_tokens = limit * call.outputs
    grows = call.stream and not whole and (own or not card.hidden_output)
    first = _first(card, limit, step_tokens, hidden_tokens) * call.outputs if grows else whole_tokens
    return Need(
        offer,
        input_bound,
        held,
        prices,
        call.outputs,
        limit,
        first,
        whole_tokens,
        asked=call.limit_tokens is not None,
        grows=grows,
        step_tokens=min(limit, step_tokens) * call.outputs,
        hidden=card.hidden_output,
        sized=limit < wanted,
        answer_bytes=0 if call.stream else _answer_bytes(call) + whole_tokens * call.token_bytes,
        stepped=own,
    )


def _wanted(call: Call, card: ModelCard, input_exact: int | None) -> int:
    """How many tokens each output may have by what was asked for, what the model can do, and its context."""
    most = card.output_tokens_max
    if input_exact is not None:
        per_prompt = input_exact if call.prompts == 1 else 0
        if per_prompt >= card.context_tokens:
            raise ContextTooLong(
                f"context_length_exceeded: This model's maximum context length is {card.context_tokens} tokens. "
                f"However, your messages resulted in {per_prompt} tokens. Please reduce the length of the messages.",
                param=call.text_name or "messages",
            )
        most = max(1, min(most, card.context_tokens - per_prompt))
    asked = call.limit_tokens if call.limit_tokens is not None else call.default_limit_tokens
    return min(asked, most) if asked is not None else most


def _first(card: ModelCard, limit_tokens: int, step_tokens: int, hidden_tokens: int) -> int:
    """What a stream holds first for each output: a step, or what 99 of 100 calls have thought of before they spoke."""
    if not card.hidden_output:
        return min(limit_tokens, step_tokens)
    return min(limit_tokens, max(step_tokens, hidden_tokens, card.factors.hidden_p99 or 0))


def possible(call: Call, offer: Offer) -> Mapping[str, int]:
    """The prices of the usage classes that this request can cause, whatever else the model can do.

    Any input may be served from a cache. Vendors charge for writing one only where `cache_control` asks for it; those
    that cache by themselves have no price for it. No sound goes in or out by any endpoint. Only a model that can
    reason reasons.
    """
    prices, card = offer.prices, offer.card
    left_out = {"input_audio", "output_audio"}
    dear = prices.get("cache_write", 0) > prices.get("input", 0)
    if dear and not _asks_for_cache(call):
        left_out.add("cache_write")
    if "reasoning" in prices and not (card.hidden_output or "reasoning" in card.classes):
        left_out.add("reasoning")
    if left_out.isdisjoint(prices):
        return prices
    return {name: price for name, price in prices.items() if name not in left_out}


def _asks_for_cache(call: Call) -> bool:
    """Whether `cache_control` stands anywhere in it, as the name of a field or within a tool or a message."""
    if "cache_control" in call.extra:
        return True
    raw = (value for value in (*call.params.values(), *call.extra.values()) if isinstance(value, Raw))
    return any(b'"cache_control"' in bytes(value) for value in raw)


def _fitting(call: Call, wanted_tokens: int, answer_bytes_max: int) -> int:
    """How many tokens each output may have for an answer that is not streamed to be no larger than an answer may be."""
    if call.stream or not call.outputs:
        return wanted_tokens
    room_bytes = answer_bytes_max - _answer_bytes(call)
    fitting = max(0, room_bytes) // (call.token_bytes * call.outputs)
    if fitting < min(wanted_tokens, LEAST_OUTPUT_TOKENS):
        name = call.size_name or "n"
        raise BadRequest(f"Invalid value for '{name}': the answer would be larger than one may be here.", param=name)
    return fitting


def _answer_bytes(call: Call) -> int:
    """How large an answer may be beside its new tokens."""
    return _ANSWER_BYTES + call.echoed_bytes // _BYTES_PER_ECHOED_TOKEN * call.token_bytes


def bound(call: Call, card: ModelCard, passed_bytes: int = 0, *, rule_version: int = 1) -> int:
    """An upper bound of the input tokens of the call; `passed_bytes` are those of unknown parameters sent upstream.

    An image of a model without a formula counts by OpenAI's in version 1, and by the dearest from then on.
    """
    images = 0
    if call.images:
        unknown = ("openai_tile",) if rule_version == 1 else tuple(tokens.FORMULAS)
        images = _images(call, (card.image_formula,) if card.image_formula else unknown)
    return tokens.bound_tokens(
        card,
        text_bytes=call.text_bytes + passed_bytes + 16 * call.input_tokens,
        messages=call.messages,
        image_tokens=images,
        prompts=call.prompts,
    )


def _images(call: Call, formulas: Sequence[str]) -> int:
    """The most tokens that the images can have by the dearest of these formulas."""
    return sum(
        max(tokens.image_bound(formula, image.size, image.detail) for formula in formulas) for image in call.images
    )


def upper_input(call: Call, card: ModelCard, input_bound: int, passed_bytes: int = 0) -> int:
    """The input tokens that are held for: by what a byte of the model's sample has at its upper quartile, or the bound.

    Images count by the model's formula, else by the median of its sample; before there is one, as in the bound.
    """
    factors = card.factors
    if not factors.in_force or factors.input_per_byte_upper is None:
        return input_bound
    if not call.images:
        images = 0
    elif card.image_formula or factors.image_tokens is None:
        images = _images(call, (card.image_formula,) if card.image_formula else tuple(tokens.FORMULAS))
    else:
        images = len(call.images) * factors.image_tokens
    counted = (
        call.text_bytes + passed_bytes
    ) * factors.input_per_byte_upper + call.messages * factors.input.per_message
    fixed = card.input_overhead_tokens * call.prompts + _TOKENS_PER_NUMBER * call.input_tokens
    return min(input_bound, -(-counted // ONE) + fixed + images)


def count_input(call: Call, card: ModelCard) -> int | None:
    """The exact count of the input, or None: no tokenizer, or images. May block: ask `tokens.heavy` first."""
    if call.images or call.low_tokens is not None or not tokens.known(card.tokenizer):
        return None
    if call.token_arrays is not None:
        return call.input_tokens
    counted = tokens.count_exact(card.tokenizer, call.texts)
    if counted is None:
        return None
    return counted + _overhead(call)


def estimate_input(call: Call, card: ModelCard) -> int:
    """The input tokens for billing where the upstream reported none: exact, or low. May block."""
    return _with_rest(call, card, tokens.estimate(card.tokenizer, call.texts))


def low_input(call: Call, card: ModelCard) -> int:
    """The same by the low rule alone."""
    return _with_rest(call, card, tokens.low(call.texts))


def _with_rest(call: Call, card: ModelCard, counted: int) -> int:
    counted += call.input_tokens + (call.low_tokens or 0) + _overhead(call)
    for image in call.images:
        if card.image_formula and image.size is not None:
            counted += tokens.image_tokens(card.image_formula, *image.size, image.detail)
    return counted


def _overhead(call: Call) -> int:
    """The tokens that a vendor adds around the messages of a call."""
    messages = kinds.framed(call)
    return tokens.chat_overhead(messages) if messages else 0
