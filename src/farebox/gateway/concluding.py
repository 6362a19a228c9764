"""How calls end that were refused, failed, revoked, cut or left: the conclusion of each, and what is read for it."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from farebox.catalog import pricing
from farebox.protocol.dialect import Fault
from farebox.upstreams import discreet, send
from farebox.upstreams.send import Along

from . import meter as rules_1
from . import rules_2
from .meter import Conclusion, Meter, Outcome, Reads, believed

log = structlog.get_logger(__name__)


async def refused(meter: Meter, along: Along, fault: Fault) -> Conclusion:
    """The upstream refuses the request (R12), or stops it for its policy during the answer (R08).

    Before any output it is free in any case: the customer gets an HTTP status of 400 (I13), with what the upstream
    says, and not who that is.
    """
    bought = along.attempts[-1].candidate
    fault = discreet.fault(fault, host=bought.channel.target.host, mapped=bought.upstream_model, asked=meter.call.model)
    if along.output and meter.version > 1:
        return await rules_2.policy(meter, along.reads, fault)
    if along.output:
        belief = believed(meter, along.reads)
        source = "reported" if belief.usage is not None else ""
        flags = [*belief.flags, "policy"]
        return Conclusion(Outcome.SERVED, "R08", belief.usage, source, belief.report, flags, fault)
    return Conclusion(Outcome.REFUSED, "R08" if fault.kind == "policy" else "R12", fault=fault)


async def failed(meter: Meter, along: Along, failure: send.AttemptsFailed, *, unread: bool = False) -> Conclusion:
    """Every attempt failed before output (R13), or the one that had put out something broke off (R14).

    `unread`: its customer had kept it waiting, which by version 2 makes it their doing (R18).
    """
    if failure.after_output and meter.version > 1:
        if unread:
            return await rules_2.unread(meter, along.reads, failure.fault)
        return await rules_2.broke(meter, along.reads, failure.fault, draws=not along.at_fault)
    if failure.after_output:
        return Conclusion(Outcome.FAILED, "R14", fault=failure.fault, flags=["after_output"])
    return Conclusion(Outcome.FAILED, "R13", fault=failure.fault)


async def revoked(meter: Meter, along: Along) -> Conclusion:
    """The key ended under the running call: cut as if the customer had left (R21).

    Charged as R18 if its text was being delivered; else the customer gets a 401, and what ends so is free (I13).
    """
    along.stop()
    along.settle_attempt("left", "the key was revoked")
    if not (meter.call.stream and along.output):
        if meter.version > 1 and along.accepted:
            return await rules_2.never_came(meter, along.reads, "R21", Outcome.REVOKED)
        return Conclusion(Outcome.REVOKED, "R21")
    conclusion = await conclude(meter, Outcome.LEFT, along.reads, terminal=along.terminal)
    conclusion.outcome, conclusion.rule = Outcome.REVOKED, "R21"
    return conclusion


def broken(bug: Exception) -> Conclusion:
    """A mistake of ours: free, and loud."""
    log.error("serve.broken", error=type(bug).__name__, exc_info=bug)
    return Conclusion(Outcome.BROKEN, "R15", error=type(bug).__name__)


async def conclude(meter: Meter, outcome: Outcome, reads: Reads, *, terminal: bool) -> Conclusion:
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
    except (
        send.CustomerLeft,
        send.KeyRevoked,
        send.Halted,
        send.LastedTooLong,
        send.AttemptsFailed,
        send.UpstreamRefused,
    ):
        return


async def read_on(along: Along, meter: Meter, conclusion: Conclusion, prices: Mapping[str, int], seconds: int) -> None:
    """Read a stream on after its customer left, for the upstream's own report.

    It lowers the charge at these prices, never raises it; what the whole answer costs us is noted beside it.
    """
    await read_rest(along, meter, seconds)
    belief = believed(meter, along.reads)
    conclusion.spent = belief.usage or belief.likely
    later = await conclude(meter, Outcome.LEFT, along.reads, terminal=True)
    if later.usage is None or conclusion.usage is None:
        return
    # By what they cost: as many tokens may be of dearer or of cheaper classes.
    if pricing.charge(prices, later.usage).amount_micro <= pricing.charge(prices, conclusion.usage).amount_micro:
        conclusion.usage, conclusion.source, conclusion.flags = later.usage, later.source, later.flags


async def read_rest(along: Along, meter: Meter, seconds: int) -> None:
    """Read the report that follows a finished answer, after a customer who left at its last output (R20)."""
    along.read_on(seconds)
    try:
        async for events in along:
            for event in events:
                meter.report(event)
    except (send.CustomerLeft, send.KeyRevoked, send.Halted, send.AttemptsFailed, send.UpstreamRefused):
        return
