"""Which parts of an upstream's usage report are believed: each side apart (promises 4.3, R04 and R06 of version 2)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from farebox.catalog.factors import ONE
from farebox.catalog.usage import Usage
from farebox.protocol.dialect import BadUsage

from .meter import Meter, Reads, add_flag
from .overrun import OVER_LIMIT_TOKENS

_NOTHING: Final = Usage()


class Judged(NamedTuple):
    """What is believed of the reports of a call.

    `input` and `output` are the classes of each side that are believed, None where that side is to be counted;
    `doubted_input` and `doubted_output` what was reported of it all the same, as far as it can be true. `thought` is
    the thinking that a report on the way tells of, where more was delivered since. `over`: the output is beyond the
    limit, and believed as far as the hold reaches. `whole` is all that the last report says: what the upstream bills
    us. `report` is that report as it came where it was believed on both sides.
    """

    input: Usage | None = None
    output: Usage | None = None
    doubted_input: Usage | None = None
    doubted_output: Usage | None = None
    thought: int = 0
    over: bool = False
    whole: Usage | None = None
    report: Any = None
    flags: tuple[str, ...] = ()

    @property
    def both(self) -> bool:
        """Whether nothing is to be counted."""
        return self.input is not None and self.output is not None


def judge(meter: Meter, reads: Reads) -> Judged:
    """The last plausible report of each side, or what was wrong with all of them."""
    if meter.reports and (plain := _plain(meter, reads, meter.reports[-1])) is not None:
        return plain
    found, flags = Judged(), list[str]()
    for back, report in enumerate(reversed(meter.reports)):
        try:
            usage, unknown = reads(report)
            adds_up = True
        except BadUsage as bad:
            add_flag(flags, "disputed" if bad.likely is not None else "malformed")
            if bad.parts is None:
                continue
            usage, unknown, adds_up = bad.parts, (), False
            found = found._replace(whole=found.whole or bad.likely)
        found = _take(meter, found, usage, flags, outdated=meter.outdated or back >= meter.current)
        if found.both:
            kept = () if adds_up else tuple(flags)
            more = ("unknown_counter",) if unknown else ()
            return found._replace(report=report if adds_up else None, flags=(*kept, *more))
    return found._replace(flags=tuple(flags))


def _plain(meter: Meter, reads: Reads, report: Any) -> Judged | None:
    """The newest report, where all of it is believed, as nearly all are; None where it must be taken apart."""
    try:
        usage, unknown = reads(report)
    except BadUsage:
        return None
    given, came = usage.input_tokens, usage.output_tokens
    if not 0 < given <= meter.input_bound * meter.card.factors.bound_slack // ONE or meter.outdated:
        return None
    if meter.call.has_output:
        most = (meter.limit_tokens + OVER_LIMIT_TOKENS) * max(1, meter.call.outputs)
        if came > most or (not came and meter.spoke) or (usage.reasoning and usage.reasoning == came and meter.worded):
            return None
    elif came:
        return None
    return Judged(usage, usage, whole=usage, report=report, flags=("unknown_counter",) if unknown else ())


def _take(meter: Meter, found: Judged, usage: Usage, flags: list[str], *, outdated: bool) -> Judged:
    """What this report adds to what is believed already of later ones; `outdated`: more was delivered after it."""
    found = found._replace(whole=found.whole or usage)
    if found.input is None:
        given = usage.inputs
        most = meter.input_bound * meter.card.factors.bound_slack // ONE
        if not given.input_tokens:
            add_flag(flags, "malformed")
        elif given.input_tokens > most:
            add_flag(flags, "disputed")
            found = found._replace(doubted_input=found.doubted_input or Usage(input=most))
        else:
            found = found._replace(input=given)
    if found.output is None:
        found = _take_output(meter, found, usage.outputs, flags, outdated=outdated)
    return found


def _take_output(meter: Meter, found: Judged, came: Usage, flags: list[str], *, outdated: bool) -> Judged:
    if not meter.call.has_output:
        return found._replace(output=_NOTHING)
    most = (meter.limit_tokens + OVER_LIMIT_TOKENS) * max(1, meter.call.outputs)
    if meter.spoke and not came.output_tokens:
        add_flag(flags, "malformed")
        return found
    # An outdated one says what had come by then: the words are counted, what was thought for them is known.
    if outdated and came.output_tokens <= most:
        return found._replace(thought=max(found.thought, came.reasoning))
    if meter.worded and came.reasoning and came.reasoning == came.output_tokens:  # words came, and no word is reported
        add_flag(flags, "malformed")
        return found._replace(thought=max(found.thought, came.reasoning))
    if came.output_tokens <= most:
        return found._replace(output=came)
    if meter.card.hidden_output:
        # Thinking may be beyond what was asked for, never beyond what the model puts out at most.
        most = max(most, (meter.card.output_tokens_max + OVER_LIMIT_TOKENS) * max(1, meter.call.outputs))
        if came.output_tokens <= most:
            return found._replace(output=came, over=True)
    add_flag(flags, "disputed")
    return found._replace(doubted_output=found.doubted_output or Usage(output=most))
