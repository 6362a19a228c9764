"""What was delivered, and which charging rule that makes (promises 3.1)."""

from __future__ import annotations

import functools
import itertools
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard
from farebox.catalog.usage import Usage
from farebox.protocol import kinds
from farebox.protocol.dialect import BadUsage, Event, Fault, Reading
from farebox.protocol.kind import Call

from . import overrun, purse
from .echo import Echo
from .heavy import HEAVY
from .overrun import OVER_LIMIT_TOKENS, Overrun

_THOUGHTS = -1  # the place of shown reasoning among the texts of the choices
# What a vendor puts behind a model's name for one version of it: -0613, -2024-08-06, @20240229, -1106-preview.
_DATED = re.compile(r"[-@:](?:\d{4}|\d{6}|\d{8}|\d{4}-\d{2}-\d{2})(?:-preview)?")


Reads = Callable[[Any], Reading]  # what a reported usage means, by dialect and quirks of who reported it; BadUsage


class Outcome(Enum):
    """How the path of a call ended."""

    SERVED = auto()
    OUT_OF_MONEY = auto()  # served until the hold could not grow
    TOO_LONG = auto()  # served until the longest duration
    OVER_LIMIT = auto()  # served until far beyond its limit
    LEFT = auto()
    REVOKED = auto()
    REFUSED = auto()
    FAILED = auto()
    BROKEN = auto()

    @property
    def word(self) -> str:
        """The word of the record: served, left, revoked, refused, failed or broken."""
        return "served" if self in CUT else self.name.lower()


# Served until we stopped it, and the flag that says why (R07).
CUT = {
    Outcome.OUT_OF_MONEY: "hold_used_up",
    Outcome.TOO_LONG: "longest_duration",
    Outcome.OVER_LIMIT: "over_limit",
}


@dataclass(slots=True)
class Conclusion:
    """How a call ended: the rule, what is to be charged by class, and what the customer is told.

    `spent` is what the upstream bills us where that is known and not what the customer pays. Version 2 of the rules
    knows more: `usage` of a free rule is what may be charged all the same, `valued` what the call was worth where that
    is not `usage`; `draws` says that what is forgiven draws on the allowance, `cause` why, `over` that the output is
    beyond the limit and is charged as far as the hold reaches.
    """

    outcome: Outcome
    rule: str
    usage: Usage | None = None
    source: str = ""
    reported: Any = None
    flags: list[str] = field(default_factory=list)
    fault: Fault | None = None
    error: str = ""
    spent: Usage | None = None
    valued: Usage | None = None
    draws: bool = False
    cause: str = ""
    over: bool = False


@dataclass(slots=True)
class Meter:
    """Counts what came of one call. Texts are kept until the end, for counting where the upstream reports nothing."""

    call: Call
    card: ModelCard
    limit_tokens: int
    input_bound: int
    lowered: bool = False
    version: int = 1  # of the charging rules
    output_bytes: int = 0
    media_bytes: int = 0
    pieces: int = 0
    visible: bool = False
    refused: bool = False
    accepted: bool = False
    texts: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    thoughts: list[str] = field(default_factory=list)  # shown reasoning: it counts against the limit, not as output
    beside: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))  # text that only version 2 counts
    beside_bytes: int = 0
    listed: bool = False  # whether `logprobs` have listed a token
    echo: Echo | None = None  # of completions that asked for one, in version 2
    further: list[str] = field(default_factory=list)  # words that came after the customer had left
    finishes: dict[int, str] = field(default_factory=dict)
    reports: deque[Any] = field(default_factory=lambda: deque(maxlen=32))
    reported: int = 0
    outdated: bool = False  # whether more was delivered since the last report
    current: int = 0  # how many of the last reports have no output between them
    answered: str = ""  # the model that the upstream says has answered
    watch: Overrun = field(init=False)

    def __post_init__(self) -> None:
        if self.version > 1 and self.call.echoed_bytes:
            self.echo = Echo(prompts(self.call, self.card), self.call.choices // self.call.prompts)
        self.watch = overrun.watch(self.call, self.card, self.limit_tokens, self.version)

    async def too_much(self, event: Event, output_bytes: int) -> bool:
        """Whether `event`, which makes it so many bytes, brings the output beyond what may come (F21).

        Need not be asked below `watch.look_bytes`.
        """
        watch = self.watch
        if self.pieces < watch.tokens_max and output_bytes <= watch.bytes_max:
            return False
        coming = event.pieces if event.visible else [(_THOUGHTS, text) for _, text in event.pieces]
        return await watch.over({**self.texts, _THOUGHTS: self.thoughts}, coming, output_bytes)

    def read(self, event: Event) -> None:
        """Take note of one event."""
        if event.pieces or event.beside:
            self.outdated = True
        if event.pieces:
            self.output_bytes += event.output_bytes
            self.pieces += len(event.pieces)
            if event.visible:
                self.visible = True
                for index, text in event.pieces:
                    self.texts[index].append(text)
                if self.echo is not None:
                    self._measure(self.echo, event)
                if event.refused:
                    self.refused = True
            else:
                self.thoughts += [text for _, text in event.pieces]
        if event.logprobs:
            self.listed = True
        if event.beside:
            for index, text in event.beside:
                self.beside[index].append(text)
                self.beside_bytes += len(text)
        if event.media_bytes:
            self.media_bytes += event.media_bytes
            self.visible = True
        if event.finishes:
            self.finishes.update(event.finishes)
        if not self.answered and event.model:
            self.answered = event.model
        self.report(event)

    def _measure(self, echo: Echo, event: Event) -> None:
        for index, text in event.pieces:
            echo.feed(index, text)
        for index, _reason in event.finishes:
            echo.end(index)

    def substituted(self, mapped: str) -> bool:
        """Whether another model has answered than `mapped`, by that name or a dated form of it (F24)."""
        answered, asked = self.answered.lower(), mapped.lower()
        # Servers of one's own (llama.cpp, vLLM) name the file or folder of the weights: no word about which model.
        if not answered or answered == asked or answered.startswith("/") or answered.endswith(".gguf"):
            return False
        return not (answered.startswith(asked) and _DATED.fullmatch(answered, len(asked)))

    def follow(self, event: Event) -> None:
        """Take note of an event that came after the customer had left: what it reports, and how much came beside."""
        if event.visible:
            self.further += [text for _, text in event.pieces]
        self.report(event)

    def echoed(self, index: int) -> str:
        """What of a choice is its prompt over again, which was asked for; measured, never assumed."""
        return self.echo.echoed(index) if self.echo is not None else ""

    @property
    def worded(self) -> bool:
        """Whether words were delivered, which is more than thoughts."""
        again = self.echo.total_bytes if self.echo is not None else 0
        return bool(self.texts) and self.output_bytes > again

    @property
    def spoke(self) -> bool:
        """Whether anything was delivered that version 2 counts."""
        again = self.echo.total_bytes if self.echo is not None else 0
        return self.output_bytes > again or self.media_bytes > 0 or self.beside_bytes > 0

    def report(self, event: Event) -> None:
        """Take note of what the event reports of usage."""
        if event.usage is not None:
            self.reports.append(event.usage)
            self.reported += 1
            self.current = 1 if self.outdated else self.current + 1
            self.outdated = False

    @property
    def indexes(self) -> list[int]:
        """The indexes of the choices: those that came, and the lowest others for those that have not yet."""
        came = sorted(self.texts)[: self.call.choices]
        missing = (index for index in range(self.call.choices) if index not in self.texts)
        return sorted([*came, *itertools.islice(missing, self.call.choices - len(came))])

    @property
    def complete(self) -> bool:
        """Whether every choice has its finish reason."""
        return len(self.finishes) >= self.call.choices

    @property
    def finish_reason(self) -> str:
        """The finish reason of the receipt: the first choice's, or the most telling of several."""
        reasons = set(self.finishes.values())
        for telling in ("content_filter", "length", "tool_calls", "function_call"):
            if telling in reasons:
                return telling
        return next(iter(self.finishes.values()), "")


def prompts(call: Call, card: ModelCard) -> list[str]:
    """The prompts that an echo would repeat; none for token numbers that nobody here can read."""
    if call.texts or not call.token_arrays or tokens.heavy(call.input_tokens, card.tokenizer):
        return call.texts
    try:
        return [tokens.decode(card.tokenizer, row) for row in call.token_arrays]
    except ValueError:
        return []


async def conclude(meter: Meter, outcome: Outcome, reads: Reads, *, terminal: bool) -> Conclusion:
    """The rule and the usage of a call that was served, or left by the customer, to its end or to this point."""
    belief = believed(meter, reads)
    conclusion = await _concluded(meter, outcome, belief, terminal=terminal)
    if belief.usage is None and conclusion.usage is not None:
        conclusion.spent = belief.likely  # whether we believe it or not, it is what the upstream bills
    return conclusion


async def _concluded(meter: Meter, outcome: Outcome, belief: Belief, *, terminal: bool) -> Conclusion:
    left = outcome is Outcome.LEFT
    if left and not meter.accepted:
        return Conclusion(outcome, "R16")
    if left and kinds.is_whole(meter.call):
        return Conclusion(outcome, "R27")
    usage, report, flags = belief.usage, belief.report, list(belief.flags)
    if left and not meter.complete:
        return await _left(meter, usage, flags)
    empty = not meter.output_bytes and not meter.visible and not (usage is not None and usage.reasoning)
    rule = rule_of(meter, outcome, empty=empty, terminal=terminal)
    if rule == "R09" or (rule == "R08" and usage is None):
        return Conclusion(outcome, rule, flags=flags)
    if rule == "R07" and meter.lowered:
        flags.append("limit_lowered")
    if rule == "R11":
        flags.append("no_terminal")
    if usage is not None:
        if rule == "R02" and meter.reported > 1:
            rule = "R04"
        return Conclusion(outcome, as_left(rule) if left else rule, usage, "reported", report, flags)
    if rule == "R02":
        rule = "R06" if "disputed" in flags else "R03"
    rule = as_left(rule) if left else rule
    return Conclusion(outcome, rule, await count(meter), "counted", None, [*flags, "estimated"])


def as_left(rule: str) -> str:
    """The rule of a call that was complete but for its last event when the customer left."""
    return "R20" if rule in {"R02", "R03", "R04", "R11"} else rule


def rule_of(meter: Meter, outcome: Outcome, *, empty: bool, terminal: bool) -> str:
    """The rule of an answer that came to its end, or was cut by us; `empty`: nothing of it came."""
    call = meter.call
    if kinds.is_whole(call):
        return "R27"
    reason = meter.finish_reason
    if reason == "content_filter" or meter.refused:
        return "R08"
    if empty:
        return "R02" if call.may_be_empty else "R09"
    if not meter.visible and reason == "length":
        return "R10"
    if outcome in CUT or reason == "length":
        return "R07"
    return "R02" if terminal else "R11"


async def _left(meter: Meter, usage: Usage | None, flags: list[str]) -> Conclusion:
    """R17 to R19: the customer has left after the upstream accepted, in the middle of the answer."""
    call = meter.call
    if not meter.output_bytes:
        own = await count(meter)
        rule = "R17" if call.stream else "R19"
        if usage is None:
            return Conclusion(Outcome.LEFT, rule, Usage(input=own.input), "counted", None, [*flags, "estimated"])
        return Conclusion(Outcome.LEFT, rule, usage.inputs, "reported", None, flags)
    own = await count(meter)
    if usage is None:
        return Conclusion(Outcome.LEFT, "R18", own, "counted", None, [*flags, "estimated"])
    output = min(own.output, usage.output_tokens)
    return Conclusion(Outcome.LEFT, "R18", Usage(output=output).with_inputs(usage), "counted", None, flags)


class Belief(NamedTuple):
    """The report that is believed, as it came and by class, and what was wrong with others, or odd in it.

    `likely` is what the last report that was not believed most likely means: for our cost, never for the charge.
    """

    usage: Usage | None
    report: Any
    flags: tuple[str, ...]
    likely: Usage | None = None


def believed(meter: Meter, reads: Reads) -> Belief:
    """The last plausible report (R04), or none with what was wrong with it (R03, R06)."""
    flags: list[str] = []
    likely: Usage | None = None
    outputs = max(1, meter.call.outputs)
    output_most = (meter.limit_tokens + OVER_LIMIT_TOKENS) * outputs
    for report in reversed(meter.reports):
        try:
            usage, unknown = reads(report)
        except BadUsage as bad:
            add_flag(flags, "disputed" if bad.likely is not None else "malformed")
            likely = likely or bad.likely
            continue
        spoke = meter.call.has_output and meter.output_bytes > meter.call.echoed_bytes
        if usage.input_tokens == 0 or (spoke and usage.output_tokens == 0):
            add_flag(flags, "malformed")
        elif usage.input_tokens > meter.input_bound or (meter.call.has_output and usage.output_tokens > output_most):
            add_flag(flags, "disputed")
            likely = likely or usage
        else:
            flags = []
            if unknown:
                add_flag(flags, "unknown_counter")
            return Belief(usage, report, tuple(flags))
    return Belief(None, None, tuple(flags), likely)


def add_flag(flags: list[str], flag: str) -> None:
    """Add a flag once."""
    if flag not in flags:
        flags.append(flag)


async def count(meter: Meter) -> Usage:
    """Our own count of what was received: the model's tokenizer, else a low rule; in a thread if it would block."""
    call, card = meter.call, meter.card
    if not tokens.heavy(call.count_bytes + meter.output_bytes, card.tokenizer):
        return _counted(meter, exactly=True)
    exactly, roughly = (functools.partial(_counted, meter, exactly=how) for how in (True, False))
    return await HEAVY.count(call.account, exactly, roughly)


def _counted(meter: Meter, *, exactly: bool) -> Usage:
    call, card = meter.call, meter.card
    received = ["".join(pieces) for pieces in meter.texts.values()]
    if exactly:
        given, output = purse.estimate_input(call, card), tokens.estimate(card.tokenizer, received)
    else:
        given, output = purse.low_input(call, card), tokens.low(received)
    if call.echoed_bytes:
        output = max(0, output - given * (call.choices // call.prompts))
    limit = meter.limit_tokens * max(1, call.outputs)
    return Usage(input=min(given, meter.input_bound), output=min(output, limit) if call.has_output else 0)
