"""How a call ends by version 2 of the charging rules: what was delivered is paid (promises 4.3).

A conclusion says what its rule charges (`usage`; of a free rule, what would be charged if the allowance forgave
nothing) and, where that is something else, what the call was worth (`valued`). Each side of the usage is the report's
where that is believed, else our own count: the lower quartile is billed, the median is what it is worth.
"""

from __future__ import annotations

from farebox.catalog.factors import Quartile
from farebox.catalog.usage import Usage
from farebox.protocol import kinds
from farebox.protocol.dialect import Fault

from . import own_count
from .judging import Judged, judge
from .meter import CUT, Conclusion, Meter, Outcome, Reads, as_left, rule_of
from .own_count import Own

_BILL, _WORTH = Quartile.LOWER, Quartile.MEDIAN


async def conclude(meter: Meter, outcome: Outcome, reads: Reads, *, terminal: bool) -> Conclusion:
    """The rule and the usage of a call that was served, cut by us, or left by the customer."""
    judged = judge(meter, reads)
    if outcome is Outcome.LEFT and not meter.accepted:
        return await _unanswered(meter, "R16", judged)
    if outcome is Outcome.LEFT and kinds.is_whole(meter.call):
        return Conclusion(outcome, "R27")
    if outcome is Outcome.LEFT and not meter.complete:
        return await left(meter, judged)
    rule = rule_of(meter, outcome, empty=_empty(meter, judged), terminal=terminal)
    if rule == "R09":
        return await _unanswered(meter, rule, judged)
    if rule == "R08" and not meter.spoke:
        return _refused(judged)
    conclusion = await _cut(meter, judged) if outcome in CUT else await _complete(meter, judged)
    conclusion.outcome = outcome
    conclusion.rule = _named(rule, judged)
    if outcome is Outcome.LEFT:
        conclusion.rule = as_left(conclusion.rule)
    if rule == "R07" and meter.lowered:
        conclusion.flags.append("limit_lowered")
    if rule == "R11":
        conclusion.flags.append("no_terminal")
    if conclusion.rule == "R02" and meter.reported > 1:
        conclusion.rule = "R04"
    return conclusion


async def left(meter: Meter, judged: Judged) -> Conclusion:
    """R17 to R19: the customer has left in the middle: what reached them, and what was thought for it."""
    spoke = meter.spoke
    own = None if judged.input is not None and not spoke else await own_count.count(meter)
    if own is None or not spoke:
        rule = "R17" if meter.call.stream else "R19"
        thought = judged.output.reasoning if judged.output is not None else judged.thought
        thought *= meter.call.stream
        return _conclusion(Outcome.LEFT, rule, judged, own, Usage(reasoning=thought), Usage(reasoning=thought))
    if judged.output is None:
        return _conclusion(Outcome.LEFT, "R18", judged, own, _came(judged, own, _BILL), _came(judged, own, _WORTH))
    came = judged.output
    if meter.further:
        came = Usage(output=own.delivered_of(came.output), reasoning=came.reasoning)
    conclusion = _conclusion(Outcome.LEFT, "R18", judged, own, came, came)
    conclusion.source = "counted" if meter.further else conclusion.source
    return conclusion


async def policy(meter: Meter, reads: Reads, fault: Fault) -> Conclusion:
    """R08 mid-answer: the upstream ends for its policy what was delivered until then."""
    conclusion = await _complete(meter, judge(meter, reads))
    conclusion.outcome, conclusion.rule, conclusion.fault = Outcome.SERVED, "R08", fault
    conclusion.flags.append("policy")
    return conclusion


async def broke(meter: Meter, reads: Reads, fault: Fault, *, draws: bool) -> Conclusion:
    """R14: the upstream failed after output; free, as far as the allowance forgives what reached the customer."""
    # A report that is not believed says nothing of what was delivered before it broke off.
    judged = judge(meter, reads)._replace(doubted_input=None, doubted_output=None)
    conclusion = await _complete(meter, judged)
    conclusion.usage, conclusion.valued = conclusion.valued or conclusion.usage, None
    conclusion.outcome, conclusion.rule, conclusion.fault = Outcome.FAILED, "R14", fault
    conclusion.flags.append("after_output")
    conclusion.draws, conclusion.cause = draws, "failed"
    return conclusion


async def unread(meter: Meter, reads: Reads, fault: Fault) -> Conclusion:
    """R18 of a stream that its upstream broke off after its customer had kept it waiting."""
    conclusion = await left(meter, judge(meter, reads))
    conclusion.fault = fault
    conclusion.flags.append("after_output")
    conclusion.flags.append("unread")
    return conclusion


async def never_came(meter: Meter, reads: Reads, rule: str, outcome: Outcome) -> Conclusion:
    """A call that ended by its customer's doing before anything of the answer was there for him (R21 before output)."""
    conclusion = await _unanswered(meter, rule, judge(meter, reads))
    conclusion.valued = conclusion.valued or conclusion.usage
    conclusion.outcome, conclusion.usage, conclusion.source = outcome, None, ""
    return conclusion


async def _complete(meter: Meter, judged: Judged) -> Conclusion:
    """What an answer that came to its end is charged: each side as reported, else counted."""
    if judged.both:
        came = judged.output or Usage()
        return _conclusion(Outcome.SERVED, "R02", judged, None, came, came)
    own = await own_count.count(meter)
    if judged.output is not None:
        return _conclusion(Outcome.SERVED, "R02", judged, own, judged.output, judged.output)
    worth = judged.doubted_output or _came(judged, own, _WORTH)
    return _conclusion(Outcome.SERVED, "R02", judged, own, _came(judged, own, _BILL), worth)


async def _cut(meter: Meter, judged: Judged) -> Conclusion:
    """R07: what we cut is worth what was delivered, by the upper quartile at most what was reported."""
    own = await own_count.count(meter)
    came = judged.output
    if came is None:
        return _conclusion(Outcome.SERVED, "R07", judged, own, _came(judged, own, _BILL), _came(judged, own, _WORTH))
    most = own.output(Quartile.UPPER)
    words = min(came.output, most.output) if came.reasoning else min(came.output, most.output + most.reasoning)
    came = Usage(output=words, reasoning=came.reasoning)
    return _conclusion(Outcome.SERVED, "R07", judged, own, came, came)


def _came(judged: Judged, own: Own, quartile: Quartile) -> Usage:
    """Our own count of what was delivered, with the thinking that a report on the way tells of."""
    counted = own.output(quartile)
    return Usage(output=counted.output, reasoning=max(counted.reasoning, judged.thought))


def _refused(judged: Judged) -> Conclusion:
    """R08 without output: the input, where it was reported."""
    given = judged.input.inputs if judged.input is not None else None
    conclusion = Conclusion(Outcome.SERVED, "R08", given, "reported" if given is not None else "")
    conclusion.reported, conclusion.flags = judged.report, list(judged.flags)
    return conclusion


async def _unanswered(meter: Meter, rule: str, judged: Judged) -> Conclusion:
    """A call whose answer nobody got: free, and worth its input; charged at most what was reported of that."""
    worth = given = judged.input.inputs if judged.input is not None else None
    if worth is None:
        worth = (await own_count.count(meter)).input(_WORTH)
    conclusion = Conclusion(Outcome.SERVED if rule == "R09" else Outcome.LEFT, rule, given or Usage(), "", draws=True)
    if given is None:
        conclusion.valued = worth
    else:
        conclusion.source = "reported"
    conclusion.reported, conclusion.flags, conclusion.spent = judged.report, list(judged.flags), judged.whole
    conclusion.cause = "empty" if rule == "R09" else "left"
    return conclusion


def _conclusion(
    outcome: Outcome, rule: str, judged: Judged, own: Own | None, came: Usage, came_worth: Usage
) -> Conclusion:
    """A conclusion whose input is the reported or the counted one; `own` may be None where that was reported."""
    given = given_worth = judged.input or Usage()
    if judged.input is None and own is not None:
        given, given_worth = own.input(_BILL), judged.doubted_input or own.input(_WORTH)
    if given is came is given_worth is came_worth:  # one report that is believed whole
        used = worth = came
    else:
        used, worth = came.with_inputs(given), came_worth.with_inputs(given_worth)
    reported = judged.both
    source, report = ("reported", judged.report) if reported else ("counted", None)
    conclusion = Conclusion(outcome, rule, used, source, report)
    conclusion.valued = None if worth == used else worth
    conclusion.flags = [*judged.flags] if reported else [*judged.flags, "estimated"]
    conclusion.spent = judged.whole
    conclusion.over = judged.over
    conclusion.draws, conclusion.cause = True, "left" if outcome is Outcome.LEFT else "counted"
    return conclusion


def _named(rule: str, judged: Judged) -> str:
    """The rule of the receipt: that of a completed call says whether it was reported, counted or disputed."""
    if rule != "R02" or judged.both:
        return rule
    return "R06" if "disputed" in judged.flags else "R03"


def _empty(meter: Meter, judged: Judged) -> bool:
    """Whether nothing of an answer came: no words, no thoughts, nothing that was seen or listed."""
    thought = judged.output is not None and judged.output.reasoning > 0
    return not (meter.spoke or meter.visible or meter.listed or thought)
