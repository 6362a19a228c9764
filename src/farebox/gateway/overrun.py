"""An upstream that sends more than was asked for (F21): stopped to the token where its tokens can be counted.

An event with output is a token at least, by whatever tokenizer: an upstream that has sent no more events than its
limit has tokens is never suspected, even if it calls a token what ours would call several. Beyond that our own count
decides: in version 1 of the charging rules the model's tokenizer, in version 2 what its sample says (promises 4.2),
by the median. What packs many tokens into each event is stopped by its bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from farebox.catalog import tokens
from farebox.catalog.factors import Quartile
from farebox.catalog.pricing import ModelCard
from farebox.protocol.kind import Call

from . import purse, tally
from .tally import Ruler, Tally, Texts

OVER_LIMIT_TOKENS = purse.OVER_LIMIT_TOKENS
# No answer has so many bytes a token; what comes beyond that is an upstream that ignores its limit.
BYTES_PER_TOKEN_MAX = 32
_LOOK_BYTES_MIN = 64
# After a sum of parts that was too high the next look waits until the text has grown by this share of itself.
_GROWN_BY = 16


@dataclass(slots=True)
class Overrun:
    """Watches one stream for more output than `tokens_max`, all its choices together.

    Below `look_bytes` of output nothing can be wrong; nor, below `bytes_max`, with up to `tokens_max` pieces. Beyond
    that `over` says; what comes between two looks is counted once. Counted by `tokenizer`, or by `ruler` where there
    is one; with neither only `bytes_max` counts.
    """

    tokenizer: str
    tokens_max: int
    bytes_max: int
    look_bytes: int
    account: str = ""
    ruler: Ruler | None = None
    _tally: Tally | None = None

    async def over(self, texts: Texts, coming: Sequence[tuple[int, str]], output_bytes: int) -> bool:
        """Whether the output is beyond what may come; `texts` came before by choice, `coming` makes it `output_bytes`.

        A long text is counted in a thread.
        """
        if output_bytes > self.bytes_max:
            return True
        counted = self._tally
        if counted is None:
            counted = self._tally = Tally(self.ruler or tally.by_tokenizer(self.tokenizer), self.account)
        await counted.add(texts, coming, output_bytes)
        wait_bytes = _LOOK_BYTES_MIN
        if counted.tokens > self.tokens_max:
            await counted.anew(texts, coming, output_bytes)
            if counted.tokens > self.tokens_max:
                return True
            wait_bytes = max(wait_bytes, output_bytes // _GROWN_BY)
        # A token is a byte of text at least.
        wait_bytes = max(wait_bytes, self.tokens_max - counted.tokens)
        self.look_bytes = min(output_bytes + wait_bytes, self.bytes_max)
        return False


def watch(call: Call, card: ModelCard, limit_tokens: int, rule_version: int = 1) -> Overrun:
    """The watch over the answer to a call. An answer that is not streamed comes whole, and is never stopped."""
    tokens_max = (limit_tokens + OVER_LIMIT_TOKENS) * max(1, call.outputs)
    bytes_max = tokens_max * BYTES_PER_TOKEN_MAX + call.echoed_bytes
    if not call.stream:
        return Overrun("", tokens_max, sys.maxsize, sys.maxsize)
    ruler = tally.of_output(card, Quartile.MEDIAN) if rule_version > 1 else tally.by_tokenizer(card.tokenizer)
    # A long prompt that comes back is not counted for this: the loop that serves all customers would wait.
    counts = rule_version > 1 or tokens.known(card.tokenizer)
    if not counts or (call.echoed_bytes and ruler.heavy(call.count_bytes)):
        return Overrun("", tokens_max, bytes_max, bytes_max)
    if call.echoed_bytes:
        own = rule_version > 1
        echoed = ruler.exactly(call.texts) + call.input_tokens if own else purse.estimate_input(call, card)
        tokens_max += echoed * (call.choices // call.prompts)
    return Overrun(card.tokenizer, tokens_max, bytes_max, tokens_max, call.account, ruler)
