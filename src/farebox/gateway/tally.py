"""Counting the text of one stream as it comes, each piece once: for how much may come, and for what money covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from farebox.catalog import counting, tokens
from farebox.catalog.factors import ONE, Quartile
from farebox.catalog.pricing import ModelCard

from .heavy import HEAVY

Texts = Mapping[int, Sequence[str]]


class Ruler(NamedTuple):
    """How texts are counted: exactly, roughly where there is no time for that, and what size blocks the loop."""

    exactly: Callable[[Sequence[str]], int]
    roughly: Callable[[Sequence[str]], int]
    heavy: Callable[[int], bool]


def by_tokenizer(tokenizer: str) -> Ruler:
    """By a tokenizer; without one by the low rule."""
    return Ruler(
        lambda texts: tokens.estimate(tokenizer, texts),
        tokens.low,
        lambda size_bytes: tokens.heavy(size_bytes, tokenizer),
    )


def of_output(card: ModelCard, quartile: Quartile) -> Ruler:
    """The own count of a model's output (promises 4.2): by a tokenizer that is confirmed, else by factors."""
    factors = card.factors
    if factors.confirmed and tokens.known(card.tokenizer):
        return by_tokenizer(card.tokenizer)
    per_byte = factors.output_per_byte_upper or ONE
    return Ruler(
        lambda texts: factors.output.tokens(counting.vector(texts), quartile=quartile),
        lambda texts: -(-counting.bytes_of(texts) * per_byte // ONE),
        counting.heavy,
    )


@dataclass(slots=True)
class Tally:
    """The tokens of one stream up to the last look at it. A cut between two looks may have made two tokens of one."""

    ruler: Ruler
    account: str
    tokens: int = 0
    size_bytes: int = 0
    _seen: dict[int, int] = field(default_factory=dict)  # pieces of each choice that are counted

    async def add(self, texts: Texts, coming: Sequence[tuple[int, str]], size_bytes: int) -> None:
        """Count what is new; `texts` came before by choice, `coming` makes it `size_bytes` in total."""
        parts = {index: list(pieces[self._seen.get(index, 0) :]) for index, pieces in texts.items()}
        for index, text in coming:
            parts.setdefault(index, []).append(text)
        for index, pieces in parts.items():
            self._seen[index] = self._seen.get(index, 0) + len(pieces)
        self.tokens += await self._count(parts, size_bytes - self.size_bytes)
        self.size_bytes = size_bytes

    async def anew(self, texts: Texts, coming: Sequence[tuple[int, str]], size_bytes: int) -> None:
        """Count all of it at once."""
        whole = {index: list(pieces) for index, pieces in texts.items()}
        for index, text in coming:
            whole.setdefault(index, []).append(text)
        self.tokens = await self._count(whole, size_bytes)

    async def _count(self, parts: Texts, size_bytes: int) -> int:
        joined = ["".join(pieces) for pieces in parts.values()]
        ruler = self.ruler
        if ruler.heavy(size_bytes):
            return await HEAVY.count(self.account, lambda: ruler.exactly(joined), lambda: ruler.roughly(joined))
        return ruler.exactly(joined)
