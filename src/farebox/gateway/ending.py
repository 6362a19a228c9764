"""The end of a call: one settlement, whatever happened, and what the customer is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from farebox.calls.log import AttemptFacts, Ended, Opened, Receipt
from farebox.catalog import pricing, rules
from farebox.catalog.pricing import Charge, Offer
from farebox.kit import errors
from farebox.kit.errors import FareboxError
from farebox.kit.failpoints import point
from farebox.ledger.holds import HoldEnded
from farebox.protocol import reports
from farebox.protocol.dialect import Fault
from farebox.upstreams import discreet, send
from farebox.upstreams.send import Along, Attempt

from . import faults, rules_2
from . import meter as rules_1
from .hold import Cover
from .journal import journalled
from .meter import Ending, Meter, Outcome, Reads, believed, count
from .ports import Ports
from .settlement import end_call, note_late
from .voiding import void_later

log = structlog.get_logger(__name__)

HANG_S = 3  # how much longer than `settle_wait_s` a store may be silent
_SHORTLY_S = 1  # the same for a store that is known to be away
_AGAIN_S = 0.2


async def refused(meter: Meter, along: Along, fault: Fault) -> Ending:
    """The upstream refuses the request (R12), or stops it for its policy mid-answer (R08).

    Before any output it is free in any case: the customer gets an HTTP status of 400 (I13). He reads what the
    upstream says, and not who that is.
    """
    bought = along.attempts[-1].candidate
    fault = discreet.fault(fault, host=bought.channel.target.host, mapped=bought.upstream_model, asked=meter.call.model)
    if along.output and meter.version > 1:
        return await rules_2.policy(meter, along.reads, fault)
    if along.output:
        belief = believed(meter, along.reads)
        source = "reported" if belief.usage is not None else ""
        flags = [*belief.flags, "policy"]
        return Ending(Outcome.SERVED, "R08", belief.usage, source, belief.report, flags, fault)
    return Ending(Outcome.REFUSED, "R08" if fault.kind == "policy" else "R12", fault=fault)


async def failed(meter: Meter, along: Along, failure: send.UpstreamFailed, *, unread: bool = False) -> Ending:
    """Every attempt failed before output (R13), or the one that had put out something broke off (R14).

    `unread`: its customer had kept it waiting, which by version 2 makes it their doing (R18).
    """
    if failure.after_output and meter.version > 1:
        if unread:
            return await rules_2.unread(meter, along.reads, failure.fault)
        return await rules_2.broke(meter, along.reads, failure.fault, draws=not along.at_fault)
    if failure.after_output:
        return Ending(Outcome.FAILED, "R14", fault=failure.fault, flags=["after_output"])
    return Ending(Outcome.FAILED, "R13", fault=failure.fault)


async def revoked(meter: Meter, along: Along) -> Ending:
    """The key ended under the running call: cut as if the customer had left (R21).

    Charged as R18 if its text was being delivered; else the customer gets a 401, and what ends so is free (I13).
    """
    along.stop()
    along.settle_attempt("left", "the key was revoked")
    if not (meter.call.stream and along.output):
        if meter.version > 1 and along.accepted:
            return await rules_2.never_came(meter, along.reads, "R21", Outcome.REVOKED)
        return Ending(Outcome.REVOKED, "R21")
    end = await conclude(meter, Outcome.LEFT, along.reads, terminal=along.terminal)
    end.outcome, end.rule = Outcome.REVOKED, "R21"
    return end


def broken(bug: Exception) -> Ending:
    """A mistake of ours: free, and loud."""
    log.error("serve.broken", error=type(bug).__name__, exc_info=bug)
    return Ending(Outcome.BROKEN, "R15", error=type(bug).__name__)


async def conclude(meter: Meter, outcome: Outcome, reads: Reads, *, terminal: bool) -> Ending:
    """The rule and the usage of a call that was served, cut or left, by the version that it was held under."""
    concluded = rules_2.conclude if meter.version > 1 else rules_1.conclude
    return await concluded(meter, outcome, reads, terminal=terminal)


async def follow(along: Along, meter: Meter, seconds: float, *, tokens_max: int | None = None) -> None:
    """Read a stream on after what was delivered of it, for its report: so long, and so many tokens, at most."""
    along.read_on(seconds)
    words = 0
    try:
        async for events in along:
            for event in events:
                meter.follow(event)
                words += len(event.pieces) if event.visible else 0  # a piece is a token at least
            if tokens_max is not None and words > tokens_max:
                return
    except (send.Left, send.Revoked, send.Halted, send.TooLong, send.UpstreamFailed, send.UpstreamRefused):
        return


async def read_on(along: Along, meter: Meter, end: Ending, prices: Mapping[str, int], seconds: int) -> None:
    """Read a stream on after its customer left, for the upstream's own report.

    It lowers the charge at these prices, never raises it; what the whole answer costs us is noted beside it.
    """
    await read_rest(along, meter, seconds)
    belief = believed(meter, along.reads)
    end.spent = belief.usage or belief.likely
    later = await conclude(meter, Outcome.LEFT, along.reads, terminal=True)
    if later.usage is None or end.usage is None:
        return
    # By what they cost: as many tokens may be of dearer or of cheaper classes.
    if pricing.charge(prices, later.usage).amount_micro <= pricing.charge(prices, end.usage).amount_micro:
        end.usage, end.source, end.flags = later.usage, later.source, later.flags


async def read_rest(along: Along, meter: Meter, seconds: int) -> None:
    """Read the report that follows a finished answer, after a customer who left at its last output (R20)."""
    along.read_on(seconds)
    try:
        async for events in along:
            for event in events:
                meter.report(event)
    except (send.Left, send.Revoked, send.Halted, send.UpstreamFailed, send.UpstreamRefused):
        return


class Unsure(errors.StoreUnavailable):
    """The settlement failed, and may have been done all the same: there may be a charge until it is given back."""


@dataclass(slots=True)
class _Tries:
    """The tries to write a settlement: whether there was one, and whether one may have been done."""

    again: bool = False
    unsure: bool = False


async def settle(
    ports: Ports, opened: Opened, cover: Cover, along: Along, meter: Meter, end: Ending
) -> FareboxError | None:
    """Second write: the hold ends exactly once. The error that the customer gets instead of an end, or None.

    Raises nothing but a cancellation. Where the store stays away for `settle_wait_s` the settlement goes into the
    journal. If that takes nothing either, a charge becomes ours to pay: the customer gets an error, and the hold is
    voided as soon as the store is back. Unsure where we may be killed before that, and the charge stands.
    """
    ended: Ended | None = None
    tries = _Tries()
    try:
        try:
            ended, unlisted = await _ended(ports, opened, cover, along, meter, end)
        except Exception as bug:
            end = broken(bug)
            ended, unlisted = _plain(ports, end), ""
        point("serve.before_settle")
        receipt = await _write(ports, opened, ended, unlisted, tries)
        point("serve.settled")
    except HoldEnded:
        log.warning("settle.late", call=opened.id)
        await note_late(ports.store, opened, ended)
        return errors.InternalError(f"This call took too long to be settled; it was not charged. (request {opened.id})")
    except asyncio.CancelledError:  # a settlement that is on its way comes first, then there is nothing to void
        void_later(ports, opened)
        raise
    except Exception:
        log.exception("settle.failed", call=opened.id)
        void_later(ports, opened, ended.attempts if ended is not None else ())
        charged = ended is not None and ended.charge_micro > 0
        return Unsure() if charged and tries.unsure else errors.StoreUnavailable()
    if receipt is None:
        return _error(opened, end, charged=bool(ended.charge_micro or ended.most_micro))
    if receipt.short_micro:
        log.warning("settle.short", call=opened.id, short_micro=receipt.short_micro)
    return _error(opened, end, charged=bool(receipt.charge_micro))


async def _ended(
    ports: Ports, opened: Opened, cover: Cover, along: Along, meter: Meter, end: Ending
) -> tuple[Ended, str]:
    """What the record keeps of the end, and the model to unlist for a class without a price (R05), or nothing."""
    error = _error(opened, end, charged=False)
    offer = cover.need.offer
    charge = pricing.charge(offer.prices, end.usage) if end.usage is not None else None
    unpriced = charge is not None and bool(charge.unpriced)
    worth = _worth(offer, cover, end, charge, ports.shop.options.hold_hidden_tokens)
    charge_micro = worth.charge_micro
    flags = list(end.flags)
    if charge is not None and charge.unpriced:
        flags.append("unpriced")
        log.warning("meter.unpriced", model=offer.card.name, classes=list(charge.unpriced), call=opened.id)
    if worth.short:
        flags.append("short")
    if along.attempts and meter.substituted(along.attempts[-1].candidate.upstream_model):
        flags.append("substituted")
        mapped, channel = along.attempts[-1].candidate.upstream_model, along.attempts[-1].candidate.channel.name
        answered = meter.answered[:100]
        log.warning("meter.substituted", channel=channel, mapped=mapped, answered=answered, call=opened.id)
    now_us = ports.clock.now_us()
    ended = Ended(
        outcome=end.outcome.word,
        rule=_rule(end, len(along.attempts), unpriced=unpriced),
        status=200 if error is None or (along.output and meter.call.stream) else error.status,
        charge_micro=charge_micro,
        usage=dict(end.usage.items()) if end.usage is not None else {},
        usage_source=end.source,
        finish_reason=meter.finish_reason,
        flags=flags,
        attempts=await _facts(along, meter, end),
        ended_us=now_us,
        error=end.error or (f"{end.fault.kind}: {end.fault.message}" if end.fault is not None else ""),
        diagnostics={"total_ms": (now_us - opened.opened_us) // 1000},
        reported=_reported(meter, end),
        value_micro=worth.value_micro,
        valued=dict(end.valued.items()) if end.valued is not None else None,
        most_micro=worth.most_micro if error is None or (along.output and meter.call.stream) else 0,
        draws=end.draws and end.rule not in rules.VERSIONS[offer.rule_version].undrawn,
        cause=end.cause,
    )
    # One report takes no model off the shelf by version 2 (R05): its flag says so to the operator.
    return ended, offer.card.name if unpriced and offer.rule_version == 1 else ""


class _Worth(NamedTuple):
    """What a call is to be charged, what it may be charged at most instead, and what it was worth (None: version 1)."""

    charge_micro: int
    most_micro: int = 0
    value_micro: int | None = None
    short: bool = False


def _worth(offer: Offer, cover: Cover, end: Ending, charge: Charge | None, hidden_tokens: int) -> _Worth:
    used_micro = charge.amount_micro if charge is not None else 0
    version = rules.VERSIONS[offer.rule_version]
    if not version.forgives:
        charge_micro = min(used_micro, cover.most_micro)
        return _Worth(charge_micro, short=charge_micro < used_micro)
    free = end.rule in version.free
    value_micro = used_micro
    if end.valued is not None:
        value_micro = pricing.charge(offer.prices, end.valued).amount_micro
    most_micro = used_micro if free else value_micro
    charge_micro = 0 if free else used_micro
    if not end.over:
        return _Worth(charge_micro, most_micro, value_micro)
    # What lies beyond the limit is believed as far as a hold reaches that no limit makes smaller: thinking may not be
    # under it, and whoever asks for little has it thought about as much. Settling extends the hold as the purses pay,
    # and goes as far as the model can where the allowance forgives no more.
    need, outputs = cover.need, max(1, cover.need.outputs)
    first_tokens = max(hidden_tokens, offer.card.factors.hidden_p99 or 0)
    held_micro = max(cover.held_micro, need.price(min(first_tokens, offer.card.output_tokens_max) * outputs))
    most_micro = min(most_micro, max(held_micro, need.price(offer.card.output_tokens_max * outputs)))
    return _Worth(min(charge_micro, held_micro), most_micro, value_micro, short=held_micro < charge_micro)


def _reported(meter: Meter, end: Ending) -> str:
    """The report that was believed, or the last that came, as the receipt keeps it."""
    report = end.reported if end.reported is not None else meter.reports[-1] if meter.reports else None
    return "" if report is None else reports.kept(report)


def _rule(end: Ending, attempts: int, *, unpriced: bool) -> str:
    """The rule of the receipt: R05 and R22 say more than that the call was completed."""
    if end.rule != "R02":
        return end.rule
    if unpriced:
        return "R05"
    return "R22" if attempts > 1 else "R02"


def _plain(ports: Ports, end: Ending) -> Ended:
    """The end of a call of which nothing can be said but that it broke."""
    return Ended(
        outcome=end.outcome.word,
        rule=end.rule,
        status=500,
        charge_micro=0,
        usage={},
        usage_source="",
        finish_reason="",
        flags=[],
        attempts=[],
        ended_us=ports.clock.now_us(),
        error=end.error,
    )


async def _write(ports: Ports, opened: Opened, ended: Ended, unlisted: str, tries: _Tries) -> Receipt | None:
    """Make the settlement durable: in the store, or, while that is away, in the journal (R23): None.

    Each try after the first finds the work of an earlier one. StoreUnavailable where neither would take it.
    """
    now = asyncio.get_running_loop().time
    wait_s = ports.shop.options.settle_wait_s
    deadline = now() + wait_s
    locks = [purse.id for purse in opened.purses]
    while True:
        within_s = wait_s + HANG_S if not tries.again and not ports.journal else _SHORTLY_S
        since = now()
        try:
            receipt = await ports.store.write(
                end_call, opened, ended, unlisted, ports.clock,
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
                await ports.journal.keep(opened, journalled(ended, ports.clock.now_us()), unlisted)
            except OSError as fault:
                log.warning("settle.no_journal", call=opened.id, fault=str(fault))
                if now() >= deadline + wait_s:
                    raise errors.StoreUnavailable from fault
            else:
                return None
        await asyncio.sleep(_AGAIN_S)


async def _facts(along: Along, meter: Meter, end: Ending) -> list[AttemptFacts]:
    """The attempts as the record keeps them, with what the last one cost us beside the charge."""
    facts = [_fact(attempt) for attempt in along.attempts]
    if not facts:
        return facts
    candidate = along.attempts[-1].candidate
    usage = end.spent or end.usage
    if usage is None and along.accepted and candidate.costs:
        belief = believed(meter, along.reads)
        usage = belief.usage or belief.likely or await count(meter)
    facts[-1].charged = end.usage is not None and end.rule not in rules.VERSIONS[meter.version].free
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


def _error(opened: Opened, end: Ending, *, charged: bool) -> FareboxError | None:
    if end.fault is not None:
        if end.outcome is Outcome.FAILED or "unread" in end.flags:
            return faults.failure(end.fault, after_output="after_output" in end.flags, charged=charged)
        return faults.refusal(end.fault)
    if end.outcome is Outcome.REVOKED:
        return errors.BadKey("This API key was deactivated while the call was running. Please use another key.")
    if end.outcome is Outcome.BROKEN:
        return errors.InternalError(f"Something went wrong on our side; nothing was charged. (request {opened.id})")
    return None
