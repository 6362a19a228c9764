"""An upstream that sends more than was asked for (F21): stopped to the token where the model has a tokenizer.

An event with output is a token at least, by whatever tokenizer: an upstream that has sent no more events than its
limit has tokens is never suspected, even if it calls a token what ours would call several. Beyond that our own count
decides. What packs many tokens into each event is stopped by its bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard

from . import purse
from .endpoint import Call
from .heavy import HEAVY

# An answer, or its report, may lie above the limit by this much: end marks and format tokens (R06, F21).
OVER_LIMIT_TOKENS = 16
# No answer has so many bytes a token; what comes beyond that is an upstream that ignores its limit.
BYTES_PER_TOKEN_MAX = 32
_LOOK_BYTES_MIN = 64
# After a sum of parts that was too high the next look waits until the text has grown by this share of itself.
_GROWN_BY = 16

Texts = Mapping[int, Sequence[str]]


@dataclass(slots=True)
class Overrun:
    """Watches one stream for more output than `tokens_max`, all its choices together.

    Below `look_bytes` of output nothing can be wrong; nor, below `bytes_max`, with up to `tokens_max` pieces. Beyond
    that `over` says; what comes between two looks is counted once. Without a tokenizer only `bytes_max` counts.
    """

    tokenizer: str
    tokens_max: int
    bytes_max: int
    look_bytes: int
    account: str = ""
    _tokens: int = 0
    _seen_bytes: int = 0
    _seen: dict[int, int] = field(default_factory=dict)  # pieces of each choice that are counted

    async def over(self, texts: Texts, coming: Sequence[tuple[int, str]], output_bytes: int) -> bool:
        """Whether the output is beyond what may come; `texts` came before by choice, `coming` makes it `output_bytes`.

        A long text is counted in a thread.
        """
        if output_bytes > self.bytes_max:
            return True
        parts = {index: list(pieces[self._seen.get(index, 0) :]) for index, pieces in texts.items()}
        for index, text in coming:
            parts.setdefault(index, []).append(text)
        for index, pieces in parts.items():
            self._seen[index] = self._seen.get(index, 0) + len(pieces)
        self._tokens += await self._count(parts, output_bytes - self._seen_bytes)
        self._seen_bytes = output_bytes
        wait_bytes = _LOOK_BYTES_MIN
        if self._tokens > self.tokens_max:  # a cut between two parts may have made two tokens of one
            whole = {index: list(pieces) for index, pieces in texts.items()}
            for index, text in coming:
                whole.setdefault(index, []).append(text)
            self._tokens = await self._count(whole, output_bytes)
            if self._tokens > self.tokens_max:
                return True
            wait_bytes = max(wait_bytes, output_bytes // _GROWN_BY)
        # A token is a byte of text at least.
        wait_bytes = max(wait_bytes, self.tokens_max - self._tokens)
        self.look_bytes = min(output_bytes + wait_bytes, self.bytes_max)
        return False

    async def _count(self, parts: Texts, size_bytes: int) -> int:
        joined = ["".join(pieces) for pieces in parts.values()]
        if tokens.heavy(size_bytes, self.tokenizer):
            return await HEAVY.count(
                self.account, lambda: tokens.estimate(self.tokenizer, joined), lambda: tokens.low(joined)
            )
        return tokens.estimate(self.tokenizer, joined)


def watch(call: Call, card: ModelCard, limit_tokens: int) -> Overrun:
    """The watch over the answer to a call. An answer that is not streamed comes whole, and is never stopped."""
    tokens_max = (limit_tokens + OVER_LIMIT_TOKENS) * max(1, call.outputs)
    bytes_max = tokens_max * BYTES_PER_TOKEN_MAX + call.echoed_bytes
    if not call.stream:
        return Overrun("", tokens_max, sys.maxsize, sys.maxsize)
    # A long prompt that comes back is not counted for this: the loop that serves all customers would wait.
    if not tokens.known(card.tokenizer) or (call.echoed_bytes and tokens.heavy(call.count_bytes, card.tokenizer)):
        return Overrun("", tokens_max, bytes_max, bytes_max)
    if call.echoed_bytes:
        tokens_max += purse.estimate_input(call, card) * (call.choices // call.prompts)
    return Overrun(card.tokenizer, tokens_max, bytes_max, tokens_max, call.account)
