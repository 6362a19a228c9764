"""Our own count of a call, where its upstream reports nothing that is believed (promises 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farebox.catalog import counting, tokens
from farebox.catalog.factors import Quartile, Side, Vector
from farebox.catalog.usage import Usage
from farebox.protocol import kinds

from .heavy import HEAVY
from .meter import Meter

# Where an account has so much to count that it must wait, bytes say how much it is: those of a token of Latin text.
_BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class _Counted:
    """One text of a call: its vector, and what the model's confirmed tokenizer counts, None without one."""

    vector: Vector
    exact: int | None = None

    def tokens(self, side: Side, quartile: Quartile, messages: int = 0) -> int:
        if self.exact is not None:
            return self.exact
        return side.tokens(self.vector, messages, quartile)


@dataclass(frozen=True, slots=True)
class Own:
    """Counts of the input, of what was delivered of words and shown thoughts, and of words read on after that.

    `beside` is the input that needs no tokenizer: images, and token numbers.
    """

    meter: Meter
    given: _Counted
    words: _Counted
    thoughts: _Counted
    further: _Counted
    beside: int

    def input(self, quartile: Quartile) -> Usage:
        """The input, at most its bound."""
        call, factors = self.meter.call, self.meter.card.factors
        messages = kinds.framed(call)
        counted = self.given.tokens(factors.input, quartile, messages) + self.beside
        if self.given.exact is not None and messages:
            counted += tokens.chat_overhead(messages)
        return Usage(input=min(counted, self.meter.input_bound))

    def output(self, quartile: Quartile) -> Usage:
        """What was delivered; of its words at most the limit is billed, and all are worth what they are."""
        call, side = self.meter.call, self.meter.card.factors.output
        if not call.has_output:
            return Usage()
        most = self.meter.limit_tokens * max(1, call.outputs)
        words = self.words.tokens(side, quartile)
        if quartile is not Quartile.MEDIAN:
            words = min(words, most)
        return Usage(output=words, reasoning=self.thoughts.tokens(side, quartile))

    def delivered_of(self, units: int) -> int:
        """Of so many reported tokens of words, those that were delivered, where more was read than that."""
        side = self.meter.card.factors.output
        delivered = self.words.tokens(side, Quartile.MEDIAN)
        received = delivered + self.further.tokens(side, Quartile.MEDIAN)
        return units * delivered // received if received else 0


async def count(meter: Meter) -> Own:
    """Count a call; in a thread where it would block, by bytes where its account has too much to count."""
    call = meter.call
    if not counting.heavy(call.count_bytes + meter.output_bytes + meter.beside_bytes):
        return _count(meter)
    return await HEAVY.count(call.account, lambda: _count(meter), lambda: _guess(meter))


def _count(meter: Meter) -> Own:
    card = meter.card
    exactly = card.tokenizer if card.factors.confirmed else ""

    def counted(texts: Sequence[str]) -> _Counted:
        return _Counted(counting.vector(texts), tokens.count_exact(exactly, texts) if exactly else None)

    return _own(meter, counted(meter.call.texts), *(counted(texts) for texts in _delivered(meter)))


def _guess(meter: Meter) -> Own:
    """The same by bytes alone."""

    def counted(texts: Sequence[str]) -> _Counted:
        return _Counted(Vector(latin=counting.bytes_of(texts) // _BYTES_A_TOKEN))

    return _own(meter, counted(meter.call.texts), *(counted(texts) for texts in _delivered(meter)))


def _delivered(meter: Meter) -> tuple[list[str], list[str], list[str]]:
    """The texts of words, of thoughts, and of words that were read on; of an echo nothing."""
    words = ["".join(pieces).removeprefix(meter.echoed(index)) for index, pieces in meter.texts.items()]
    words += ["".join(pieces) for pieces in meter.beside.values()]
    return words, ["".join(meter.thoughts)], ["".join(meter.further)]


def _own(meter: Meter, given: _Counted, words: _Counted, thoughts: _Counted, further: _Counted) -> Own:
    call, card = meter.call, meter.card
    beside = call.input_tokens + (call.low_tokens or 0) * tokens.LOW_BYTES_PER_TOKEN // _BYTES_A_TOKEN
    for image in call.images:
        if card.image_formula and image.size is not None:
            beside += tokens.image_tokens(card.image_formula, *image.size, image.detail)
        else:
            beside += card.factors.image_tokens or 0
    return Own(meter, given, words, thoughts, further, beside)
