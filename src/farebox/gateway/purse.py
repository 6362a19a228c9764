"""How much a call holds, and what that pays for (money.md 1.9, 1.10). Pure but for counting tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from farebox.catalog import pricing, tokens
from farebox.catalog.pricing import ModelCard, Offer
from farebox.kit.errors import BadRequest, ContextTooLong

from .endpoint import LEAST_OUTPUT_TOKENS, Call

# Of an answer beside its tokens, and how little text a token of an echoed prompt has in the mean.
_ANSWER_BYTES = 512
_BYTES_PER_ECHOED_TOKEN = 2


@dataclass(slots=True)
class Need:
    """What a call may use at most, and what it holds first. Tokens of output are for all its outputs together.

    `input_tokens` is the bound of the input, `limit_tokens` the most that one output may have, `first_tokens` what is
    held at the start, `whole_tokens` what the whole answer may need. `grows` says that the hold is extended as the
    answer comes, `sized` that the limit is lower than it would be if answers might be of any size. `answer_bytes` is
    the largest answer, where it has to be whole before it is sent.
    """

    offer: Offer
    input_tokens: int
    outputs: int
    limit_tokens: int
    first_tokens: int
    whole_tokens: int
    asked: bool
    grows: bool
    sized: bool = False
    answer_bytes: int = 0

    @property
    def first_micro(self) -> int:
        """Micro-units that the first hold asks for."""
        return self.price(self.first_tokens)

    def price(self, output_tokens: int) -> int:
        """The ceiling of the input and so many output tokens, in micro-units."""
        return pricing.ceiling(self.offer.prices, input_tokens=self.input_tokens, output_tokens=output_tokens)

    def pays_for(self, held_micro: int) -> int:
        """The output tokens that a hold pays for; -1 if not even the input."""
        return pricing.affordable_output(
            self.offer.prices,
            input_tokens=self.input_tokens,
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
        """(micro-units to add for `want_tokens` in all, what to make of less)."""
        target_micro = self.price(min(want_tokens, self.whole_tokens))
        missing_micro = max(0, target_micro - held_micro)
        return missing_micro, lambda available_micro: min(missing_micro, available_micro)


def need(
    call: Call, offer: Offer, input_bound: int, input_exact: int | None, step_tokens: int, *, answer_bytes_max: int
) -> Need:
    """What the call needs; `input_exact` is the exact count of its input where there is one.

    ContextTooLong if the input alone, counted exactly, is more than the model's context; BadRequest where even a few
    tokens would make an answer of more than `answer_bytes_max`.
    """
    card = offer.card
    if not call.has_output:
        answer_bytes = min(call.choices * call.token_bytes, answer_bytes_max)
        return Need(offer, input_bound, 0, 0, 0, 0, asked=False, grows=False, answer_bytes=answer_bytes)
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
    wanted = min(asked, most) if asked is not None else most
    limit = min(wanted, _fitting(call, wanted, answer_bytes_max))
    whole = limit * call.outputs
    grows = call.stream and not card.hidden_output
    first = min(limit, step_tokens) * call.outputs if grows else whole
    return Need(
        offer,
        input_bound,
        call.outputs,
        limit,
        first,
        whole,
        asked=call.limit_tokens is not None,
        grows=grows,
        sized=limit < wanted,
        answer_bytes=0 if call.stream else _answer_bytes(call) + whole * call.token_bytes,
    )


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


def bound(call: Call, card: ModelCard, passed_bytes: int = 0) -> int:
    """An upper bound of the input tokens of the call; `passed_bytes` are those of unknown parameters sent upstream."""
    images = 0
    if call.images:
        formula = card.image_formula or "openai_tile"
        images = sum(tokens.image_bound(formula, image.size, image.detail) for image in call.images)
    return tokens.bound_tokens(
        card,
        text_bytes=call.text_bytes + passed_bytes + 16 * call.input_tokens,
        messages=call.messages,
        image_tokens=images,
        prompts=call.prompts,
    )


def count_input(call: Call, card: ModelCard) -> int | None:
    """The exact count of the input, or None: no tokenizer, or images. May block: ask `tokens.heavy` first."""
    if call.images or call.low_tokens is not None or not tokens.known(card.tokenizer):
        return None
    if call.token_arrays is not None:
        return call.input_tokens
    counted = tokens.count_exact(card.tokenizer, call.texts)
    if counted is None:
        return None
    return counted + (tokens.chat_overhead(call.messages) if call.kind == "chat" else 0)


def estimate_input(call: Call, card: ModelCard) -> int:
    """The input tokens for billing where the upstream reported none: exact, or low. May block."""
    return _with_rest(call, card, tokens.estimate(card.tokenizer, call.texts))


def low_input(call: Call, card: ModelCard) -> int:
    """The same by the low rule alone."""
    return _with_rest(call, card, tokens.low(call.texts))


def _with_rest(call: Call, card: ModelCard, counted: int) -> int:
    counted += call.input_tokens + (call.low_tokens or 0)
    if call.kind == "chat":
        counted += tokens.chat_overhead(call.messages)
    for image in call.images:
        if card.image_formula and image.size is not None:
            counted += tokens.image_tokens(card.image_formula, *image.size, image.detail)
    return counted
