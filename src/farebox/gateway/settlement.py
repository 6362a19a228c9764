"""The end of a call: one settlement, whatever happened, and what the customer is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from farebox.calls.log import AttemptFacts, CallEnd, CallStart, Receipt
from farebox.catalog import pricing, rules
from farebox.catalog.pricing import Charge, Offer
from farebox.kit import errors
from farebox.kit.errors import FareboxError
from farebox.kit.failpoints import point
from farebox.ledger.holds import HoldEnded
from farebox.protocol import reports
from farebox.upstreams.send import Along, Attempt

from . import faults
from .concluding import broken
from .hold import Cover
from .journal import journalled
from .meter import Conclusion, Meter, Outcome, believed, count
from .ports import Ports
from .second_write import end_call, note_late
from .voiding import void_later

log = structlog.get_logger(__name__)

HANG_S = 3  # how much longer than `settle_wait_s` a store may be silent
_SHORTLY_S = 1  # the same for a store that is known to be away
_AGAIN_S = 0.2


class Unsure(errors.StoreUnavailable):
    """The settlement failed, and may have been done all the same: there may be a charge until it is given back."""


@dataclass(slots=True)
class _Tries:
    """The tries to write a settlement: whether there was one, and whether one may have been done."""

    again: bool = False
    unsure: bool = False


async def settle(
    ports: Ports, start: CallStart, cover: Cover, along: Along, meter: Meter, conclusion: Conclusion
) -> FareboxError | None:
    """Second write: the hold ends exactly once. The error that the customer gets instead of an end, or None.

    Raises nothing but a cancellation. Where the store stays away for `settle_wait_s` the settlement goes into the
    journal. If that takes nothing either, a charge becomes ours to pay: the customer gets an error, and the hold is
    voided as soon as the store is back. Unsure where we may be killed before that, and the charge stands.
    """
    end: CallEnd | None = None
    tries = _Tries()
    try:
        try:
            end, unlisted = await _call_end(ports, start, cover, along, meter, conclusion)
        except Exception as bug:
            conclusion = broken(bug)
            end, unlisted = _plain(ports, conclusion), ""
        point("serve.before_settle")
        receipt = await _write(ports, start, end, unlisted, tries)
        point("serve.settled")
    except HoldEnded:
        log.warning("settle.late", call=start.id)
        await note_late(ports.store, start, end)
        return errors.InternalError(f"This call took too long to be settled; it was not charged. (request {start.id})")
    except asyncio.CancelledError:  # a settlement that is on its way comes first, then there is nothing to void
        void_later(ports, start)
        raise
    except Exception:
        log.exception("settle.failed", call=start.id)
        void_later(ports, start, end.attempts if end is not None else ())
        charged = end is not None and end.charge_micro > 0
        return Unsure() if charged and tries.unsure else errors.StoreUnavailable()
    if receipt is None:
        return _error(start, conclusion, charged=bool(end.charge_micro or end.most_micro))
    if receipt.short_micro:
        log.warning("settle.short", call=start.id, short_micro=receipt.short_micro)
    return _error(start, conclusion, charged=bool(receipt.charge_micro))


async def _call_end(
    ports: Ports, start: CallStart, cover: Cover, along: Along, meter: Meter, conclusion: Conclusion
) -> tuple[CallEnd, str]:
    """What the record keeps of the end, and the model to unlist for a class without a price (R05), or nothing."""
    error, fault = _error(start, conclusion, charged=False), conclusion.fault
    offer = cover.need.offer
    charge = pricing.charge(offer.prices, conclusion.usage) if conclusion.usage is not None else None
    unpriced = charge is not None and bool(charge.unpriced)
    worth = _worth(offer, cover, conclusion, charge, ports.shop.options.hold_hidden_tokens)
    charge_micro = worth.charge_micro
    flags = list(conclusion.flags)
    if charge is not None and charge.unpriced:
        flags.append("unpriced")
        log.warning("meter.unpriced", model=offer.card.name, classes=list(charge.unpriced), call=start.id)
    if worth.short:
        flags.append("short")
    if along.attempts and meter.substituted(along.attempts[-1].candidate.upstream_model):
        flags.append("substituted")
        mapped, channel = along.attempts[-1].candidate.upstream_model, along.attempts[-1].candidate.channel.name
        answered = meter.answered[:100]
        log.warning("meter.substituted", channel=channel, mapped=mapped, answered=answered, call=start.id)
    now_us = ports.clock.now_us()
    end = CallEnd(
        outcome=conclusion.outcome.word,
        rule=_rule(conclusion, len(along.attempts), unpriced=unpriced),
        status=200 if error is None or (along.output and meter.call.stream) else error.status,
        charge_micro=charge_micro,
        usage=dict(conclusion.usage.items()) if conclusion.usage is not None else {},
        usage_source=conclusion.source,
        finish_reason=meter.finish_reason,
        flags=flags,
        attempts=await _facts(along, meter, conclusion),
        ended_us=now_us,
        error=conclusion.error or (f"{fault.kind}: {fault.message}" if fault is not None else ""),
        diagnostics={"total_ms": (now_us - start.opened_us) // 1000},
        reported=_reported(meter, conclusion),
        value_micro=worth.value_micro,
        valued=dict(conclusion.valued.items()) if conclusion.valued is not None else None,
        most_micro=worth.most_micro if error is None or (along.output and meter.call.stream) else 0,
        draws=conclusion.draws and conclusion.rule not in rules.VERSIONS[offer.rule_version].undrawn,
        cause=conclusion.cause,
    )
    # One report takes no model off the shelf by version 2 (R05): its flag says so to the operator.
    return end, offer.card.name if unpriced and offer.rule_version == 1 else ""


class _Worth(NamedTuple):
    """What a call is to be charged, what it may be charged at most instead, and what it was worth (None: version 1)."""

    charge_micro: int
    most_micro: int = 0
    value_micro: int | None = None
    short: bool = False


def _worth(offer: Offer, cover: Cover, conclusion: Conclusion, charge: Charge | None, hidden_tokens: int) -> _Worth:
    used_micro = charge.amount_micro if charge is not None else 0
    version = rules.VERSIONS[offer.rule_version]
    if not version.forgives:
        charge_micro = min(used_micro, cover.most_micro)
        return _Worth(charge_micro, short=charge_micro < used_micro)
    free = conclusion.rule in version.free
    value_micro = used_micro
    if conclusion.valued is not None:
        value_micro = pricing.charge(offer.prices, conclusion.valued).amount_micro
    most_micro = used_micro if free else value_micro
    charge_micro = 0 if free else used_micro
    if not conclusion.over:
        return _Worth(charge_micro, most_micro, value_micro)
    # What lies beyond the limit is believed as far as a hold reaches that no limit makes smaller: thinking may not be
    # under it, and whoever asks for little has it thought about as much. Settling extends the hold as the purses pay,
    # and goes as far as the model can where the allowance forgives no more.
    need, outputs = cover.need, max(1, cover.need.outputs)
    first_tokens = max(hidden_tokens, offer.card.factors.hidden_p99 or 0)
    held_micro = max(cover.held_micro, need.price(min(first_tokens, offer.card.output_tokens_max) * outputs))
    most_micro = min(most_micro, max(held_micro, need.price(offer.card.output_tokens_max * outputs)))
    return _Worth(min(charge_micro, held_micro), most_micro, value_micro, short=held_micro < charge_micro)


def _reported(meter: Meter, conclusion: Conclusion) -> str:
    """The report that was believed, or the last that came, as the receipt keeps it."""
    report = conclusion.reported if conclusion.reported is not None else meter.reports[-1] if meter.reports else None
    return "" if report is None else reports.kept(report)


def _rule(conclusion: Conclusion, attempts: int, *, unpriced: bool) -> str:
    """The rule of the receipt: R05 and R22 say more than that the call was completed."""
    if conclusion.rule != "R02":
        return conclusion.rule
    if unpriced:
        return "R05"
    return "R22" if attempts > 1 else "R02"


def _plain(ports: Ports, conclusion: Conclusion) -> CallEnd:
    """The end of a call of which nothing can be said but that it broke."""
    return CallEnd(
        outcome=conclusion.outcome.word,
        rule=conclusion.rule,
        status=500,
        charge_micro=0,
        usage={},
        usage_source="",
        finish_reason="",
        flags=[],
        attempts=[],
        ended_us=ports.clock.now_us(),
        error=conclusion.error,
    )


async def _write(ports: Ports, start: CallStart, end: CallEnd, unlisted: str, tries: _Tries) -> Receipt | None:
    """Make the settlement durable: in the store, or, while that is away, in the journal (R23): None.

    Each try after the first finds the work of an earlier one. StoreUnavailable where neither would take it.
    """
    now = asyncio.get_running_loop().time
    wait_s = ports.shop.options.settle_wait_s
    deadline = now() + wait_s
    locks = [purse.id for purse in start.purses]
    while True:
        within_s = wait_s + HANG_S if not tries.again and not ports.journal else _SHORTLY_S
        since = now()
        try:
            receipt = await ports.store.write(
                end_call, start, end, unlisted, ports.clock,
                locks=locks, patient=True, within_s=within_s, again=tries.again,
            )  # fmt: skip
        except errors.StoreUnavailable as trouble:
            tries.again = True
            tries.unsure = tries.unsure or trouble.__cause__ is not None
        else:
            return receipt
        # Who was paused meanwhile can't tell from that one try that the store is away, nor that his hold lives (F30).
        paused = now() - since > within_s + _SHORTLY_S
        if not paused and (now() >= deadline or ports.journal):
            try:
                await ports.journal.keep(start, journalled(end, ports.clock.now_us()), unlisted)
            except OSError as fault:
                log.warning("settle.no_journal", call=start.id, fault=str(fault))
                if now() >= deadline + wait_s:
                    raise errors.StoreUnavailable from fault
            else:
                return None
        await asyncio.sleep(_AGAIN_S)


async def _facts(along: Along, meter: Meter, conclusion: Conclusion) -> list[AttemptFacts]:
    """The attempts as the record keeps them, with what the last one cost us beside the charge."""
    facts = [_fact(attempt) for attempt in along.attempts]
    if not facts:
        return facts
    candidate = along.attempts[-1].candidate
    usage = conclusion.spent or conclusion.usage
    if usage is None and along.accepted and candidate.costs:
        belief = believed(meter, along.reads)
        usage = belief.usage or belief.likely or await count(meter)
    facts[-1].charged = conclusion.usage is not None and conclusion.rule not in rules.VERSIONS[meter.version].free
    facts[-1].cost_currency = candidate.channel.cost_currency
    if usage is not None and candidate.costs:
        facts[-1].cost_micro = pricing.charge(candidate.costs, usage).amount_micro
    return facts


def _fact(attempt: Attempt) -> AttemptFacts:
    return AttemptFacts(
        upstream=attempt.candidate.channel.upstream,
        channel=attempt.candidate.channel.name,
        model=attempt.candidate.upstream_model,
        started_us=attempt.started_us,
        outcome=attempt.outcome,
        status=attempt.status,
        error=attempt.error,
        first_byte_us=attempt.first_byte_us,
        ended_us=attempt.ended_us,
    )


def _error(start: CallStart, conclusion: Conclusion, *, charged: bool) -> FareboxError | None:
    if conclusion.fault is not None:
        if conclusion.outcome is Outcome.FAILED or "unread" in conclusion.flags:
            return faults.failure(conclusion.fault, after_output="after_output" in conclusion.flags, charged=charged)
        return faults.refusal(conclusion.fault)
    if conclusion.outcome is Outcome.REVOKED:
        return errors.BadKey("This API key was deactivated while the call was running. Please use another key.")
    if conclusion.outcome is Outcome.BROKEN:
        return errors.InternalError(f"Something went wrong on our side; nothing was charged. (request {start.id})")
    return None
