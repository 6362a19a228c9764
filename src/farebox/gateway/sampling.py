"""Samples of settled calls, from which the factors of own counts are learned (promises 4.2).

At most one call a second and model, one that the upstream has reported and whose visible text is known whole. It is
counted in a thread after its settlement; what is kept are counts, never text. No call waits for it or hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from farebox.accounts.keys.caller import Caller
from farebox.catalog import counting, samples, tokens
from farebox.catalog.factors import Sample
from farebox.catalog.usage import Usage
from farebox.kit.errors import FareboxError
from farebox.protocol import kinds

from . import purse
from .heavy import HEAVY
from .meter import Conclusion, Meter, Outcome

log = structlog.get_logger(__name__)

EVERY_US: Final = 1_000_000
AT_ONCE: Final = 2
_WHO: Final = "the sample"  # whose turn it is among the counters: no account's


class Store(Protocol):
    """The store, as far as a sample needs it."""

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run `fn(tx, *args)` in a transaction."""


class Sampler:
    """Takes the samples of one process; `at_once` are counted at a time, and with 0 none is taken."""

    __slots__ = ("_next_us", "_tasks", "at_once")

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self.at_once = at_once
        self._next_us: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, store: Store, caller: Caller, meter: Meter, conclusion: Conclusion, now_us: int) -> None:
        """Take this settled call, if one of its model is due and it tells how the vendor counts; returns at once."""
        model = meter.card.name
        due_us = self._next_us.get(model, 0)
        if due_us - EVERY_US <= now_us < due_us or len(self._tasks) >= self.at_once:
            return
        if caller.house or conclusion.usage is None or not _tells(meter, conclusion, conclusion.usage):
            return
        self._next_us[model] = now_us + EVERY_US
        task = asyncio.get_running_loop().create_task(
            self._take(store, caller, meter, conclusion.usage, now_us), name="sample"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what is being counted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, store: Store, caller: Caller, meter: Meter, usage: Usage, now_us: int) -> None:
        try:
            found = await HEAVY.count(_WHO, lambda: sampled(meter, usage), lambda: None)
            if found is not None:
                found = found._replace(trusted=caller.trusted)
                await store.write(samples.add, meter.card.name, found, now_us)
        except FareboxError as trouble:
            log.info("sample.failed", model=meter.card.name, error=trouble.message)
        except Exception:
            log.exception("sample.failed", model=meter.card.name)


def _tells(meter: Meter, conclusion: Conclusion, usage: Usage) -> bool:
    """Whether all of the text is known that the believed report speaks of."""
    call = meter.call
    if conclusion.source != "reported" or conclusion.outcome is not Outcome.SERVED or conclusion.flags:
        return False
    if call.token_arrays is not None or call.low_tokens is not None or call.echoed_bytes or meter.media_bytes:
        return False
    if usage.input_audio or usage.output_audio or usage.images or meter.beside_bytes:
        return False
    if call.count_bytes + meter.output_bytes > tokens.TEXT_BYTES_MAX:
        return False
    return meter.visible and bool(usage.output) if call.has_output else bool(usage.input_tokens)


def sampled(meter: Meter, usage: Usage) -> Sample | None:
    """What is kept of a call with this usage; None for too much text. Blocks."""
    call, card = meter.call, meter.card
    put_out = ["".join(pieces) for pieces in meter.texts.values()]
    # Where the report says what of it was thought, the rest is what was said; else the two are one.
    if meter.thoughts and not usage.reasoning:
        put_out.append("".join(meter.thoughts))
    if tokens.too_long([*call.texts, *put_out]):
        return None
    own_output = tokens.count_exact(card.tokenizer, put_out) if call.has_output else None
    return Sample(
        account=call.account,
        input=counting.vector(call.texts),
        output=counting.vector(put_out),
        messages=kinds.framed(call),
        images=len(call.images),
        reported_input=usage.input_tokens,
        reported_output=usage.output,
        hidden=0 if meter.thoughts else usage.reasoning,
        input_bytes=counting.bytes_of(call.texts),
        output_bytes=counting.bytes_of(put_out),
        bound=meter.input_bound,
        own_input=purse.count_input(call, card),
        own_output=own_output,
    )
