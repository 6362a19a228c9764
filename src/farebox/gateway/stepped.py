"""The hold of a call of version 2 of the charging rules: grown by steps, lowered, and used to its end (promises 4.3).

Text is covered by what a byte of this model's answers has at its upper quartile; where the purses have no more, what
came is counted exactly, so that the last money buys what it pays for. Between two counts a token is taken for one byte
of text, which it has at least: nothing is delivered that is not covered.

Hidden thinking shows nothing to count. What its model needs in 99 of 100 calls is held first. While nothing visible
comes the hold grows with time, by `HIDDEN_PER_S`, ahead of need and as far as the purses pay: a call is never cut for
what is only assumed, and a report beyond its hold is stretched by the settlement. With the first visible output what
may have been thought is known better, and where the answer continues, what is held far above its need is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farebox.calls import log
from farebox.calls.log import CallStart
from farebox.catalog.factors import ONE, Quartile
from farebox.kit import errors
from farebox.ledger import holds
from farebox.protocol.dialect import BadUsage
from farebox.protocol.kind import Call

from . import hold, tally
from .echo import Echo
from .hold import Cover
from .meter import Meter, prompts
from .ports import Ports
from .purse import Need
from .tally import Tally, Texts
from .voiding import void_later

if TYPE_CHECKING:
    from farebox.protocol.dialect import Event

    from .meter import Reads

# No model that we know of thinks much faster for long; the settlement looks after those that do.
HIDDEN_PER_S = 128
EACH_S = 5.0  # the hold grows with time so often
LOWER_AFTER_S = 5.0  # an answer that goes on for so long after its first word is worth a write
# Places among the texts of the choices: of shown reasoning, and from here on downwards of what is told beside each.
_THOUGHTS, _BESIDE = -1, -2


async def held(ports: Ports, start: CallStart, need: Need, call: Call) -> Cover:
    """Hold the money of a call by the rules of its version, as `hold.place` does; what it covers."""
    held_micro = await hold.place(ports, start, need)
    if not need.stepped or not need.grows:  # what is held whole is covered whole
        return Cover(ports.store, start, need, held_micro, call.echoed_bytes)
    bought = need.whole_tokens
    if held_micro < need.first_micro:
        bought = await _bought(ports, start, need, held_micro)
    counted = Tally(tally.of_output(need.offer.card, Quartile.UPPER), start.account)
    echo = Echo(prompts(call, need.offer.card), call.choices // call.prompts) if call.echoed_bytes else None
    return Stepped(ports.store, start, need, held_micro, bought_tokens=bought, counted=counted, echo=echo)


async def _bought(ports: Ports, start: CallStart, need: Need, held_micro: int) -> int:
    """The output that all money of the purses buys, also what other calls hold now: they may give it back in time."""
    try:
        unheld_micro = await ports.store.read(holds.unheld, start.purses)
    except errors.FareboxError:  # nobody knows now: what the hold pays for is known when it is used up
        return need.whole_tokens
    except asyncio.CancelledError:
        void_later(ports, start)
        raise
    return min(need.whole_tokens, need.pays_for(max(held_micro, unheld_micro)))


@dataclass(slots=True)
class Stepped(Cover):
    """What is held for one call of version 2, and the output that this pays for.

    `bought_tokens` is all output that its purses' money buys, `hidden_tokens` what is kept of the hold for thoughts
    that nobody saw, `thinking` says that nothing else has come yet.
    """

    counted: Tally = field(kw_only=True)
    bought_tokens: int = field(kw_only=True)
    echo: Echo | None = None
    hidden_tokens: int = 0
    thinking: bool = False
    reads: Reads | None = None  # what a report on the way means
    _now_bytes: int = 0
    _told_tokens: int = 0  # thoughts that were reported, at `_began_s`
    _began_s: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        Cover.__post_init__(self)
        self.attentive = self.echo is not None or self.need.hidden
        self.lowered = self.lowered or self.bought_tokens < self.need.whole_tokens
        self.thinking = self.need.hidden
        self._began_s = asyncio.get_running_loop().time()

    @property
    def limit_tokens(self) -> int:
        """The most output tokens that one answer may have: the limit, or what the money lowered it to."""
        return self.bought_tokens // self.need.outputs if self.lowered else self.need.limit_tokens

    @property
    def _whole(self) -> bool:
        """Whether all that may come is covered: the limit looks after the rest."""
        return self.covered_tokens >= self.limit_tokens * self.need.outputs

    async def covers(self, output_bytes: int, seen: Meter, coming: Event) -> bool:
        """Whether so many bytes of output are covered, after growing the hold if that is needed and can be paid.

        `seen` has what came before, `coming` makes it so many. Asked once for each event, in their order.
        """
        if coming.beside:
            self.beside_bytes += sum(len(text.encode("utf-8", "replace")) for _, text in coming.beside)
        self._now_bytes = output_bytes + self.beside_bytes
        if self.echo is not None:
            for index, text in coming.pieces:
                self.echo.feed(index, text)
            self._now_bytes -= self.echo.total_bytes
        if coming.usage is not None and self.need.hidden and self.reads is not None:
            self._told(self.reads, coming.usage)
        if self.thinking and coming.visible:
            self._thought()
        if self._now_bytes <= self.sure_bytes:
            return True
        if self._whole:
            self.sure_bytes = self.sure_bytes if self.attentive else sys.maxsize
            return True
        async with self._turn:
            return await self._look(seen, coming)

    async def _look(self, seen: Meter, coming: Event) -> bool:
        step, wanted = self.need.step_tokens, self._by_bytes(self._now_bytes)
        if wanted + step // 4 > self._room:
            await self._grow(self.hidden_tokens + wanted + step)
        if self._whole:
            return True
        if wanted > self._room:
            return await self._exactly(seen, coming)
        ahead = self._room - step // 4
        self.sure_bytes = self._bytes_of(ahead if ahead >= wanted else self._room)
        return True

    async def _exactly(self, seen: Meter, coming: Event) -> bool:
        """Whether what was counted is covered, where the bytes say too much and there is no money for them."""
        texts, pieces = _texts(seen, coming)
        text_bytes = seen.output_bytes + coming.output_bytes + self.beside_bytes
        room = self._room - seen.media_bytes - coming.media_bytes
        if self.echo is not None:
            await self.counted.anew(_without(self.echo, texts, pieces), (), text_bytes)
        else:
            await self.counted.add(texts, pieces, text_bytes)
            if self.counted.tokens > room:
                await self.counted.anew(texts, pieces, text_bytes)
        if self.counted.tokens > room:
            return False
        self.sure_bytes = self._now_bytes + room - self.counted.tokens  # a token is a byte of text at least
        return True

    @property
    def _room(self) -> int:
        """The tokens of output that is seen which the hold pays for."""
        return self.covered_tokens - self.hidden_tokens

    @property
    def _per_byte(self) -> int:
        """Tokens of a byte of output in millionths: at the upper quartile, or one."""
        factors = self.need.offer.card.factors
        return min(ONE, factors.output_per_byte_upper or ONE) if factors.in_force else ONE

    def _by_bytes(self, size_bytes: int) -> int:
        return -(-size_bytes * self._per_byte // ONE)

    def _bytes_of(self, tokens: int) -> int:
        return tokens * ONE // self._per_byte

    # what nobody sees

    @contextlib.contextmanager
    def _with_time(self) -> Iterator[None]:
        task = asyncio.get_running_loop().create_task(self._keep_right())
        try:
            yield
        finally:
            task.cancel()

    def ahead(self, reads: Reads) -> contextlib.AbstractContextManager[None]:
        """While this lasts the hold grows for thoughts that nobody sees, and is lowered when they have ended."""
        self.reads = reads
        return self._with_time() if self.thinking else hold.NOTHING

    def _assumed(self, after_s: float = 0.0) -> int:
        """How much was thought unseen by now, or will be `after_s` from now, beside what was shown."""
        seconds = asyncio.get_running_loop().time() - self._began_s + after_s
        since = int(seconds * HIDDEN_PER_S) * self.need.outputs
        return max(0, self._told_tokens + since - self._by_bytes(self._now_bytes))

    def _told(self, reads: Reads, reported: Any) -> None:
        """An upstream that reports as it goes says what was thought: from then on that is known, and not assumed."""
        try:
            usage = reads(reported).usage
        except BadUsage:
            return
        thought = max(usage.reasoning, usage.output_tokens - self._by_bytes(self._now_bytes))
        if thought <= self._told_tokens:
            return
        self._told_tokens, self._began_s, self.sure_bytes = thought, asyncio.get_running_loop().time(), -1
        if not self.thinking:
            self.hidden_tokens = thought

    def _thought(self) -> None:
        """The first word has come. Three quarters of the hold at most are kept for the thoughts, which are assumed."""
        self.thinking = False
        assumed = min(self._assumed(), self.covered_tokens * 3 // 4)
        self.hidden_tokens = self._told_tokens or assumed
        self.sure_bytes = -1

    async def _keep_right(self) -> None:
        with contextlib.suppress(errors.FareboxError, holds.HoldEnded):  # the settlement will find the same
            while self.thinking:
                await asyncio.sleep(EACH_S)
                async with self._turn:
                    wanted = self._by_bytes(self._now_bytes) + self._assumed(2 * EACH_S)
                    if self.thinking and wanted > self.covered_tokens:
                        await self._grow(wanted)
            await asyncio.sleep(LOWER_AFTER_S)
            async with self._turn:
                await self._lower()

    async def _lower(self) -> None:
        """Give back what is far above the need of an answer that continues. What was delivered stays covered.

        Not the last money of the purses: what its limit was promised for would go to another call.
        """
        step = self.need.step_tokens
        enough = self.hidden_tokens + self._by_bytes(self._now_bytes) + 2 * step
        if self.lowered or enough + step > self.covered_tokens:
            return
        self.held_micro = self.need.price(enough)  # whatever comes of the write, no more than this is counted on
        self.covered_tokens, self.sure_bytes = enough, -1
        self.held_micro = await self.store.write(
            log.lower_hold,
            self.start,
            self.held_micro,
            locks=[purse.id for purse in self.start.purses],
            patient=True,
            within_s=hold.GROW_S,
        )


def _texts(seen: Meter, coming: Event) -> tuple[Texts, list[tuple[int, str]]]:
    """All text that has come by its place, and that which is coming."""
    beside = {_BESIDE - index: pieces for index, pieces in seen.beside.items()}
    told = [(_BESIDE - index, text) for index, text in coming.beside]
    pieces = coming.pieces if coming.visible else [(_THOUGHTS, text) for _, text in coming.pieces]
    return {**seen.texts, _THOUGHTS: seen.thoughts, **beside}, [*pieces, *told]


def _without(echo: Echo, texts: Texts, coming: list[tuple[int, str]]) -> Texts:
    """The same texts in total, without the prompts that have come back."""
    whole = {index: "".join(pieces) for index, pieces in texts.items()}
    for index, text in coming:
        whole[index] = whole.get(index, "") + text
    return {index: [text[len(echo.echoed(index)) :]] for index, text in whole.items()}
