"""The end of a call: one settlement, whatever happened, and what the customer is told."""

from __future__ import annotations

import asyncio

import structlog

from farebox.calls import log as records
from farebox.calls.log import AttemptFacts, Ended, Opened, Receipt
from farebox.catalog import pricing, shelf
from farebox.catalog.pricing import Offer
from farebox.kit import errors
from farebox.kit.db import Tx
from farebox.kit.errors import FareboxError
from farebox.ledger.holds import HoldEnded
from farebox.upstreams import send
from farebox.upstreams.dialect import Fault
from farebox.upstreams.send import Along, Attempt

from . import writing
from .meter import Ending, Meter, Outcome, conclude, count
from .ports import Ports

log = structlog.get_logger(__name__)


async def refused(meter: Meter, along: Along, fault: Fault) -> Ending:
    """The upstream refuses the request (R12), or stops it for its policy in mid-answer (R08)."""
    if along.accepted and (along.output or meter.reported):
        end = await conclude(meter, Outcome.SERVED, along.dialect, terminal=True)
        usage = end.usage if end.source == "reported" else None
        return Ending(Outcome.SERVED, "R08", usage, "reported" if usage else "", None, ["policy"], fault)
    return Ending(Outcome.REFUSED, "R12", fault=fault)


def broken(bug: Exception) -> Ending:
    """A mistake of ours: free, and loud."""
    log.exception("serve.broken", error=type(bug).__name__)
    return Ending(Outcome.BROKEN, "R15", error=type(bug).__name__)


async def read_on(along: Along, meter: Meter, end: Ending, seconds: int) -> None:
    """Read a stream on after its customer left, for the upstream's own report: it lowers the charge, never raises it."""
    along.read_on(seconds)
    try:
        async for events in along:
            for event in events:
                if event.usage is not None:
                    meter.reports.append(event.usage)
                    meter.reported += 1
    except (send.Left, send.UpstreamFailed, send.UpstreamRefused):
        return
    later = await conclude(meter, Outcome.LEFT, along.dialect, terminal=True)
    if later.usage is not None and end.usage is not None:
        end.usage = min(end.usage, later.usage, key=lambda usage: usage.total)


async def settle(
    ports: Ports, opened: Opened, offer: Offer, along: Along, meter: Meter, end: Ending
) -> FareboxError | None:
    """Second write: the hold ends exactly once. The error that the customer gets instead of an end, or None.

    Where the store stays away for `settle_wait_s` the call becomes ours to pay: the customer gets an error, and the
    hold is voided as soon as the store is back.
    """
    error = _error(opened, end)
    charge = pricing.charge(offer.prices, end.usage) if end.usage is not None else None
    if charge is not None and charge.unpriced:
        end.flags.append("unpriced")
    ended = Ended(
        outcome=end.outcome.word,
        rule="R22" if end.rule == "R02" and len(along.attempts) > 1 else end.rule,
        status=200 if error is None or error.status < 400 or along.output else error.status,  # noqa: PLR2004
        charge_micro=charge.amount_micro if charge is not None else 0,
        usage=dict(end.usage.items()) if end.usage is not None else {},
        usage_source=end.source,
        finish_reason=meter.finish_reason[:24],
        flags=list(end.flags),
        attempts=await _facts(along, meter, end),
        ended_us=ports.clock.now_us(),
        error=end.error or (f"{end.fault.kind}: {end.fault.message}" if end.fault is not None else ""),
        diagnostics={"total_ms": (ports.clock.now_us() - opened.opened_us) // 1000},
    )
    unlisted = offer.card.name if charge is not None and charge.unpriced else ""
    try:
        receipt = await _write(ports, opened, ended, unlisted)
    except HoldEnded:
        log.warning("settle.late", call=opened.id)
        return errors.InternalError(f"This call took too long to be settled; it was not charged. (request {opened.id})")
    except Exception:
        log.exception("settle.failed", call=opened.id)
        asyncio.get_running_loop().call_soon(_void_later, ports, opened, ended)
        return errors.StoreUnavailable()
    if receipt.short_micro:
        log.warning("settle.short", call=opened.id, short_micro=receipt.short_micro)
    return error


def end_call(tx: Tx, opened: Opened, ended: Ended, unlisted: str) -> Receipt:
    """The settling transaction; a model that used a class without a price leaves the shelf with it (R05)."""
    receipt = records.end_call(tx, opened, ended)
    if unlisted:
        shelf.unlist(tx, unlisted, "a call used a usage class that has no price", actor="gateway")
    return receipt


async def _write(ports: Ports, opened: Opened, ended: Ended, unlisted: str) -> Receipt:
    """Settle, again and again for `settle_wait_s` while the store is away; each try finds an earlier one by its key."""
    deadline_us = ports.clock.now_us() + ports.shop.options.settle_wait_s * 1_000_000
    locks = [purse.id for purse in opened.purses]
    while True:
        try:
            return await ports.store.write(end_call, opened, ended, unlisted, locks=locks, patient=True)
        except errors.StoreUnavailable:
            if ports.clock.now_us() > deadline_us:
                raise
            await asyncio.sleep(0.2)


_voiding: set[asyncio.Task[None]] = set()


def _void_later(ports: Ports, opened: Opened, ended: Ended) -> None:
    """Free the hold of a call whose customer was told that it failed, whenever the store is back."""
    task = asyncio.get_running_loop().create_task(_void(ports, opened, ended))
    _voiding.add(task)
    task.add_done_callback(_voiding.discard)


async def _void(ports: Ports, opened: Opened, ended: Ended) -> None:
    ended.charge_micro, ended.usage, ended.rule, ended.outcome = 0, {}, "R15", "broken"
    ended.status = 503
    for attempt in ended.attempts:
        attempt.charged = False
    while True:
        await asyncio.sleep(1)
        try:
            await ports.store.write(
                end_call, opened, ended, "", locks=[purse.id for purse in opened.purses], patient=True
            )
        except errors.StoreUnavailable:
            continue
        except Exception:
            log.exception("void.failed", call=opened.id)
        return


async def _facts(along: Along, meter: Meter, end: Ending) -> list[AttemptFacts]:
    """The attempts as the record keeps them, with what the last one cost us beside the charge."""
    facts = [_fact(attempt) for attempt in along.attempts]
    if not facts:
        return facts
    candidate = along.attempts[-1].candidate
    usage = end.usage
    if usage is None and along.output and end.outcome is Outcome.FAILED:
        usage = await count(meter)
    facts[-1].charged = end.usage is not None
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


def _error(opened: Opened, end: Ending) -> FareboxError | None:
    if end.fault is not None:
        if end.outcome is Outcome.FAILED:
            return writing.failure(end.fault, after_output="after_output" in end.flags)
        return writing.refusal(end.fault)
    if end.outcome is Outcome.BROKEN:
        return errors.InternalError(f"Something went wrong on our side; nothing was charged. (request {opened.id})")
    return None
