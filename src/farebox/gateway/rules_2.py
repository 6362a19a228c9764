"""How a call ends by version 2 of the charging rules: what was delivered is paid (promises 4.3).

An ending says what its rule charges (`usage`; of a free rule, what would be charged if the allowance forgave nothing)
and, where that is something else, what the call was worth (`valued`). Each side of the usage is the report's where
that is believed, else our own count: the lower quartile is billed, the median is what it is worth.
"""

from __future__ import annotations

from farebox.catalog.factors import Quartile
from farebox.catalog.usage import Usage
from farebox.protocol import kinds
from farebox.protocol.dialect import Fault

from . import own_count
from .judging import Judged, judge
from .meter import CUT, Ending, Meter, Outcome, Reads, as_left, rule_of
from .own_count import Own

_BILL, _WORTH = Quartile.LOWER, Quartile.MEDIAN


async def conclude(meter: Meter, outcome: Outcome, reads: Reads, *, terminal: bool) -> Ending:
    """The rule and the usage of a call that was served, cut by us, or left by the customer."""
    judged = judge(meter, reads)
    if outcome is Outcome.LEFT and not meter.accepted:
        return await _unanswered(meter, "R16", judged)
    if outcome is Outcome.LEFT and kinds.is_whole(meter.call):
        return Ending(outcome, "R27")
    if outcome is Outcome.LEFT and not meter.complete:
        return await left(meter, judged)
    rule = rule_of(meter, outcome, empty=_empty(meter, judged), terminal=terminal)
    if rule == "R09":
        return await _unanswered(meter, rule, judged)
    if rule == "R08" and not meter.spoke:
        return _refused(judged)
    end = await _cut(meter, judged) if outcome in CUT else await _complete(meter, judged)
    end.outcome = outcome
    end.rule = _named(rule, judged)
    if outcome is Outcome.LEFT:
        end.rule = as_left(end.rule)
    if rule == "R07" and meter.lowered:
        end.flags.append("limit_lowered")
    if rule == "R11":
        end.flags.append("no_terminal")
    if end.rule == "R02" and meter.reported > 1:
        end.rule = "R04"
    return end


async def left(meter: Meter, judged: Judged) -> Ending:
    """R17 to R19: the customer has left in the middle: what reached them, and what was thought for it."""
    spoke = meter.spoke
    own = None if judged.input is not None and not spoke else await own_count.count(meter)
    if own is None or not spoke:
        rule = "R17" if meter.call.stream else "R19"
        thought = judged.output.reasoning if judged.output is not None else judged.thought
        thought *= meter.call.stream
        return _ending(Outcome.LEFT, rule, judged, own, Usage(reasoning=thought), Usage(reasoning=thought))
    if judged.output is None:
        return _ending(Outcome.LEFT, "R18", judged, own, _came(judged, own, _BILL), _came(judged, own, _WORTH))
    came = judged.output
    if meter.further:
        came = Usage(output=own.delivered_of(came.output), reasoning=came.reasoning)
    end = _ending(Outcome.LEFT, "R18", judged, own, came, came)
    end.source = "counted" if meter.further else end.source
    return end


async def policy(meter: Meter, reads: Reads, fault: Fault) -> Ending:
    """R08 mid-answer: the upstream ends for its policy what was delivered until then."""
    end = await _complete(meter, judge(meter, reads))
    end.outcome, end.rule, end.fault = Outcome.SERVED, "R08", fault
    end.flags.append("policy")
    return end


async def broke(meter: Meter, reads: Reads, fault: Fault, *, draws: bool) -> Ending:
    """R14: the upstream failed after output; free, as far as the allowance forgives what reached the customer."""
    # A report that is not believed says nothing of what was delivered before it broke off.
    judged = judge(meter, reads)._replace(doubted_input=None, doubted_output=None)
    end = await _complete(meter, judged)
    end.usage, end.valued = end.valued or end.usage, None
    end.outcome, end.rule, end.fault = Outcome.FAILED, "R14", fault
    end.flags.append("after_output")
    end.draws, end.cause = draws, "failed"
    return end


async def unread(meter: Meter, reads: Reads, fault: Fault) -> Ending:
    """R18 of a stream that its upstream broke off after its customer had kept it waiting."""
    end = await left(meter, judge(meter, reads))
    end.fault = fault
    end.flags.append("after_output")
    end.flags.append("unread")
    return end


async def never_came(meter: Meter, reads: Reads, rule: str, outcome: Outcome) -> Ending:
    """A call that ended by its customer's doing before anything of the answer was there for him (R21 before output)."""
    end = await _unanswered(meter, rule, judge(meter, reads))
    end.valued = end.valued or end.usage
    end.outcome, end.usage, end.source = outcome, None, ""
    return end


async def _complete(meter: Meter, judged: Judged) -> Ending:
    """What an answer that came to its end is charged: each side as reported, else counted."""
    if judged.both:
        came = judged.output or Usage()
        return _ending(Outcome.SERVED, "R02", judged, None, came, came)
    own = await own_count.count(meter)
    if judged.output is not None:
        return _ending(Outcome.SERVED, "R02", judged, own, judged.output, judged.output)
    worth = judged.doubted_output or _came(judged, own, _WORTH)
    return _ending(Outcome.SERVED, "R02", judged, own, _came(judged, own, _BILL), worth)


async def _cut(meter: Meter, judged: Judged) -> Ending:
    """R07: what we cut is worth what was delivered, by the upper quartile at most what was reported."""
    own = await own_count.count(meter)
    came = judged.output
    if came is None:
        return _ending(Outcome.SERVED, "R07", judged, own, _came(judged, own, _BILL), _came(judged, own, _WORTH))
    most = own.output(Quartile.UPPER)
    words = min(came.output, most.output) if came.reasoning else min(came.output, most.output + most.reasoning)
    came = Usage(output=words, reasoning=came.reasoning)
    return _ending(Outcome.SERVED, "R07", judged, own, came, came)


def _came(judged: Judged, own: Own, quartile: Quartile) -> Usage:
    """Our own count of what was delivered, with the thinking that a report on the way tells of."""
    counted = own.output(quartile)
    return Usage(output=counted.output, reasoning=max(counted.reasoning, judged.thought))


def _refused(judged: Judged) -> Ending:
    """R08 without output: the input, where it was reported."""
    given = judged.input.inputs if judged.input is not None else None
    end = Ending(Outcome.SERVED, "R08", given, "reported" if given is not None else "")
    end.reported, end.flags = judged.report, list(judged.flags)
    return end


async def _unanswered(meter: Meter, rule: str, judged: Judged) -> Ending:
    """A call whose answer nobody got: free, and worth its input; charged at most what was reported of that."""
    worth = given = judged.input.inputs if judged.input is not None else None
    if worth is None:
        worth = (await own_count.count(meter)).input(_WORTH)
    end = Ending(Outcome.SERVED if rule == "R09" else Outcome.LEFT, rule, given or Usage(), "", draws=True)
    if given is None:
        end.valued = worth
    else:
        end.source = "reported"
    end.reported, end.flags, end.spent = judged.report, list(judged.flags), judged.whole
    end.cause = "empty" if rule == "R09" else "left"
    return end


def _ending(outcome: Outcome, rule: str, judged: Judged, own: Own | None, came: Usage, came_worth: Usage) -> Ending:
    """An ending whose input is the reported or the counted one; `own` may be None where that was reported."""
    given = given_worth = judged.input or Usage()
    if judged.input is None and own is not None:
        given, given_worth = own.input(_BILL), judged.doubted_input or own.input(_WORTH)
    if given is came is given_worth is came_worth:  # one report that is believed whole
        used = worth = came
    else:
        used, worth = came.with_inputs(given), came_worth.with_inputs(given_worth)
    reported = judged.both
    end = Ending(outcome, rule, used, "reported" if reported else "counted", judged.report if reported else None)
    end.valued = None if worth == used else worth
    end.flags = [*judged.flags] if reported else [*judged.flags, "estimated"]
    end.spent = judged.whole
    end.over = judged.over
    end.draws, end.cause = True, "left" if outcome is Outcome.LEFT else "counted"
    return end


def _named(rule: str, judged: Judged) -> str:
    """The rule of the receipt: that of a completed call says whether it was reported, counted or disputed."""
    if rule != "R02" or judged.both:
        return rule
    return "R06" if "disputed" in judged.flags else "R03"


def _empty(meter: Meter, judged: Judged) -> bool:
    """Whether nothing of an answer came: no words, no thoughts, nothing that was seen or listed."""
    thought = judged.output is not None and judged.output.reasoning > 0
    return not (meter.spoke or meter.visible or meter.listed or thought)
