"""The reference of version 2 of the charging rules (promises 4): what each call is worth, charged and forgiven.

Written from the specification: what was delivered is paid, each side of a report is judged alone, what nobody reports
is counted, and what is forgiven draws on the account's allowance. Every factor is 0.9 here. No SQL, no async.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from farebox.catalog import counting

from .town import MOST_OUTPUT, OUTPUT_MAX, PRICES

if TYPE_CHECKING:
    from .client import Sent
    from .model import Claim
    from .upstream import Piece, Produced

_SLACK = (3, 2)  # how often its bound an input report may be
_OVER_LIMIT = 16
_CUTS = frozenset({"hold_used_up", "longest_duration", "over_limit"})
_REPORTED_ALONE = frozenset({"R02", "R03", "R04", "R05", "R06", "R08", "R10", "R11", "R20", "R22", "R23", "R27"})
_NOTHING_CAME = frozenset({"", "R01", "R12", "R13", "R15", "R24", "R26"})


class Worth(NamedTuple):
    """What a rule makes of a call: its charge, its value, the most it may be charged, whether what is forgiven draws.

    Output that lies beyond the limit is charged as far as the hold reaches, or a hold that no limit makes smaller
    would (`reach_micro`); where the allowance forgives no more, as far as one for all that the model can (`top_micro`).
    """

    charge_micro: int
    value_micro: int
    most_micro: int
    draws: bool = True
    reach_micro: int = 0
    top_micro: int = 0


FREE = Worth(0, 0, 0, draws=False)


class Judged(NamedTuple):
    """What can be believed of a report: None where that side is to be counted; `*_most` what it may be worth then."""

    given: int | None = None
    words: int | None = None
    thoughts: int = 0
    given_most: int | None = None
    words_most: int | None = None
    thought: int = 0  # reported thoughts, where the words are to be counted
    over: bool = False

    @property
    def output(self) -> int | None:
        return None if self.words is None else self.words + self.thoughts


@lru_cache(maxsize=20_000)
def tokens(text: str) -> int:
    """What o200k_base makes of a text."""
    return sum(counting.vector([text]))


def _own(text: str, *, up: bool = False) -> int:
    return -(-tokens(text) * 9 // 10) if up else tokens(text) * 9 // 10


class Case:
    """One call: its last attempt as far as it came, and what its customer saw of it."""

    def __init__(self, sent: Sent, produced: list[Produced], claim: Claim, *, broke: frozenset[bool]) -> None:
        self.sent, self.claim, self.broke = sent, claim, broke
        self.last = produced[-1] if produced else None
        self.prices = PRICES[sent.call.model][(claim.version - 1) % 3]
        self.answer = sent.read()
        self.vector = sent.call.model == "vector"
        text = f"c{sent.call.number}r{sent.repeat}#{sent.call.text}"
        self.given = tokens(text) * 9 // 10 if self.vector else (tokens(text) * 9 + 30) // 10
        size = len(text) if self.vector else len(sent.messages)
        self.bound = min(8_000, size + 16 + 64)
        self.pieces: list[Piece] = self.last.made.pieces if self.last is not None else []
        asked = self.last.made.limit if self.last is not None else 0
        self.limit = 0 if self.vector else min(asked, OUTPUT_MAX[sent.call.model])
        came = min(self.last.given, self.last.script.true_bytes) if self.last is not None else 0
        self.most = sum(piece.end_bytes <= came + 2 for piece in self.pieces)  # events that were handed over
        seen = len(self.answer.text)
        sizes = [len(self.words(each)) for each in range(self.most + 1)]
        self.least = sizes.index(max(size for size in sizes if size <= seen))

    # what came

    def words(self, events: int, start: int = 0) -> str:
        return "".join(piece.words for piece in self.pieces[start:events])

    def thoughts(self, events: int) -> str:
        return "".join(piece.thoughts for piece in self.pieces[:events])

    def spoke(self, events: int) -> bool:
        return any(piece.words or piece.thoughts for piece in self.pieces[:events])

    def own(self, events: int, thought: int = 0, *, up: bool = False) -> tuple[int, int]:
        """Own count of words and thoughts of the first so many events; no more words than the limit are billed."""
        return min(_own(self.words(events), up=up), self.limit), max(_own(self.thoughts(events), up=up), thought)

    def worth(self, events: int, thought: int) -> int:
        """The same without a limit: what came beyond it is worth what it is."""
        return _own(self.words(events)) + max(_own(self.thoughts(events)), thought)

    def price(self, given: int, made: int) -> int:
        return -(-(given * self.prices[0] + made * self.prices[1]) // 1_000_000)

    def judged(self, events: int, read: int) -> Judged:
        """What can be believed after so many events were delivered and `read` were read: the last report there is.

        One that came on the way says what was thought by then; the words are counted.
        """
        at = max((place for place, piece in enumerate(self.pieces[:read]) if piece.reports), default=None)
        if at is None:
            return Judged()
        spoke, worded = self.spoke(events), bool(self.words(events))
        found = self._judged(self.pieces[at].usage, spoke=spoke, worded=worded)
        more = any(piece.words or piece.thoughts for piece in self.pieces[at + 1 : events])
        if more and found.words is not None and not found.over:
            return found._replace(words=None, thoughts=0, thought=found.thoughts)
        return found

    def _judged(self, report: Any, *, spoke: bool, worded: bool) -> Judged:
        if not isinstance(report, dict):
            return Judged()
        given, made = _count(report, "prompt_tokens"), _count(report, "completion_tokens")
        most = self.bound * _SLACK[0] // _SLACK[1]
        found = Judged(given) if given and given <= most else Judged(given_most=most if given else None)
        if self.vector:
            return found._replace(words=0)
        made = made or 0
        if spoke and not made:
            return found
        thoughts = report.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
        if worded and thoughts and thoughts == made:  # words came, and no word is reported
            return found._replace(thought=thoughts)
        found = found._replace(words=made - thoughts, thoughts=thoughts)
        over = made > self.limit + _OVER_LIMIT
        if over and made > max(self.limit, MOST_OUTPUT.get(self.sent.call.model, 0)) + _OVER_LIMIT:
            believed = max(self.limit, MOST_OUTPUT.get(self.sent.call.model, 0)) + _OVER_LIMIT
            return found._replace(words=None, thoughts=0, words_most=believed)
        return found._replace(over=over)

    # what the rules make of it

    def worths(self, rule: str) -> Iterator[Worth]:
        """What a call that ended by this rule may be; one of them where nothing is a matter of moments."""
        if rule in _NOTHING_CAME:
            yield FREE
        elif rule == "R16":
            yield from self.nobody(0)
        elif rule == "R27" and not self.answer.whole and not self._came:  # never in part
            yield FREE
        elif rule == "R09":
            yield from (each for read in self._reads(0) for each in self.nobody(read))
        elif rule == "R14":
            yield from self._broke()
        elif rule == "R08" and self.answer.status >= 400:
            yield FREE
        elif self.was_cut and rule in _REPORTED_ALONE | {"R07"}:
            yield from (each for events in self._cuts() for each in self.cut(events))
        elif rule in {"R17", "R18", "R19", "R21"}:
            yield from self._left(rule)
        elif rule == "R07" or rule in _REPORTED_ALONE:
            yield from self._completes(rule)

    @property
    def was_cut(self) -> bool:
        return not _CUTS.isdisjoint(self.claim.flags)

    @property
    def expected(self) -> frozenset[str]:
        """The rules of an answer whose customer saw its end."""
        if self.vector:
            return frozenset({"R27"})
        thought = self.judged(self.most, len(self.pieces)).thoughts > 0
        empty = not self.spoke(len(self.pieces)) and not thought
        if self.last is not None and self.last.script.wrong == "filtered":
            return frozenset({"R08"}) | (frozenset({"R07", "R09", "R10"}) if self.was_cut else frozenset())
        if self.was_cut:
            return frozenset({"R07", "R09", "R10"})
        return frozenset({"R09"}) if empty else _REPORTED_ALONE - {"R08", "R27"} | {"R07"}

    @property
    def _came(self) -> bool:
        return bool(self.pieces) and self.most == len(self.pieces)

    def _reads(self, events: int) -> list[int]:
        """How far it may have been read, as far as that makes a difference: to the events, to a report, to the end."""
        return sorted({events, self.most, *(n + 1 for n in range(events, self.most) if self.pieces[n].reports)})

    def _cuts(self) -> list[int]:
        """After how many events an answer may have been cut whose customer has read what he has read."""
        if self.sent.gone or not self.answer.whole:
            return list(range(self.least, self.most + 1))
        return [each for each in range(self.most + 1) if self.words(each) == self.answer.text]

    def nobody(self, read: int) -> Iterator[Worth]:
        """An answer that nobody got is worth its input; charged what was reported of that, at most."""
        judged = self.judged(0, read)
        if judged.given is not None:
            due = self.price(judged.given, 0)
            yield Worth(0, due, due)
        yield Worth(0, self.price(self.given, 0), 0)

    def complete(self, events: int, read: int) -> Worth:
        """Each side as reported, else counted."""
        judged = self.judged(events, read)
        return self._sides(judged, events, judged.output)

    def _sides(self, judged: Judged, events: int, output: int | None) -> Worth:
        given = judged.given if judged.given is not None else self.given
        worth_given = judged.given if judged.given is not None else (judged.given_most or self.given)
        made = output if output is not None else sum(self.own(events, judged.thought))
        worth_made = output if output is not None else (judged.words_most or self.worth(events, judged.thought))
        value = self.price(worth_given, worth_made)
        if not judged.over:
            return Worth(self.price(given, made), value, value)
        most = OUTPUT_MAX[self.sent.call.model]
        first = min(self.sent.world.options.hold_hidden_tokens, most)
        reach, top = self.price(self.bound, first), self.price(self.bound, most)
        return Worth(self.price(given, made), value, value, reach_micro=reach, top_micro=top)

    def _completes(self, rule: str) -> Iterator[Worth]:
        """An answer that came to its end; one that its customer did not see to it may have been read no farther."""
        all_, stream = len(self.pieces), self.sent.call.stream
        seen = self.answer.whole and not self.sent.gone
        whole = seen or not stream or self.answer.error
        for events in [self.most] if whole else range(self.least, self.most + 1):
            for read in [all_] if seen and self.most == all_ else self._reads(events):
                if rule == "R08" and not self.spoke(events):
                    given = self.judged(events, read).given
                    due = self.price(given, 0) if given is not None else 0
                    yield Worth(due, due, due)
                else:
                    yield self.complete(events, read)

    def cut(self, events: int) -> Iterator[Worth]:
        """What we cut: at most what was delivered by the upper factor, and what is reported of hidden thoughts."""
        for read in self._reads(events):
            judged = self.judged(events, read)
            output = judged.output
            if judged.words is not None:
                words, thoughts = self.own(events, up=True)
                seen = words if judged.thoughts else words + thoughts
                output = min(judged.words, seen) + judged.thoughts
            yield self._sides(judged._replace(words_most=None), events, output)

    def _broke(self) -> Iterator[Worth]:
        """Failed after output: free, as far as the allowance forgives what was delivered."""
        for events in range(self.least, self.most + 1):
            for read in self._reads(events):
                worth = self._sides_of_failure(events, read)
                yield from (worth._replace(draws=not fault) for fault in self.broke)

    def _sides_of_failure(self, events: int, read: int) -> Worth:
        judged = self.judged(events, read)
        given = judged.given if judged.given is not None else self.given
        made = judged.output if judged.output is not None else self.worth(events, judged.thought)
        value = self.price(given, made)
        return Worth(0, value, value)

    def _left(self, rule: str) -> Iterator[Worth]:
        """A customer who left in the middle: input, what was delivered, and thoughts as far as they are reported."""
        if rule == "R21":  # before any output it ends with a 401, and that is free
            yield FREE
            yield Worth(0, self.price(self.given, 0), 0)
        for events in range(self.least, self.most + 1):
            if not self.spoke(events) or (rule in {"R17", "R19"}):
                for read in self._reads(events) if self.sent.call.stream else [0]:
                    judged = self.judged(0, read)
                    yield self._sides(judged, 0, judged.thoughts)
            else:
                yield from self._delivered(events)

    def _delivered(self, events: int) -> Iterator[Worth]:
        for read in range(events, self.most + 1):
            judged = self.judged(events, read)
            if judged.words is None:
                yield self._sides(judged._replace(words_most=None), events, None)
                continue
            words = [judged.words]
            further = _own(self.words(read, events))
            if self.words(read, events):
                unlimited = _own(self.words(events))
                for delivered in {unlimited, min(unlimited, self.limit)}:
                    all_ = delivered + further
                    words.append(judged.words * delivered // all_ if all_ else 0)
            yield from (self._sides(judged, events, each + judged.thoughts) for each in words)


@dataclass
class Row:
    """An account's allowance in plain ints, as promises 4.4 tells it."""

    begun: int
    shops: int  # the most that the shop's own rules let it hold
    percent: int
    most: int = field(init=False)
    grown: int = 0
    drawn: int = 0
    returned: int = 0
    short: int = 0
    charged: int = 0
    paid: bool = False
    forgiven: int = 0  # of calls that draw
    there: bool = False  # something has changed it
    draws: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.most = self.shops

    @property
    def left(self) -> int:
        return self.begun + self.grown + self.returned - self.drawn

    def settle(self, call: str, claim: Claim, worth: Worth) -> bool:
        """Whether the books' charge and draw of this call are what its worth makes of this row; if so they are taken."""
        holds = (worth.reach_micro, max(worth.reach_micro, claim.hold_micro)) if worth.reach_micro else (None,)
        return any(self._settle(call, claim, worth, held) for held in holds)

    def _settle(self, call: str, claim: Claim, worth: Worth, held: int | None) -> bool:
        charge, most = worth.charge_micro, worth.most_micro
        if held is not None:
            charge, most = min(charge, held), min(most, max(held, worth.top_micro))
        owed = max(0, worth.value_micro - charge)
        drawn = min(owed, max(0, self.left)) if worth.draws else 0
        if worth.draws:
            charge += max(0, min(most - charge, owed - drawn))
        short = max(0, charge - claim.hold_micro)
        charge -= short
        owing = (drawn + short * worth.draws) if claim.forgives else 0
        if (claim.charge_micro, claim.drawn_micro, claim.value_micro) != (charge, owing, worth.value_micro):
            return False
        if claim.forgives:
            self.take(call, drawn, short * worth.draws, charge)
            self.forgiven += worth.draws * max(0, worth.value_micro - charge)
        return True

    def take(self, call: str, drawn: int, short: int, charge: int) -> None:
        grows = bool(charge) and self.paid and (bool(drawn or short) or not self.there or self.left < self.most)
        self.there = self.there or grows or bool(drawn or short)
        self.drawn += drawn + short
        self.short += short
        self.draws[call] = drawn + short
        if grows:
            before = self.charged * self.percent // 100
            self.charged += charge
            growth = self.charged * self.percent // 100 - before
            self.grown += max(0, min(growth, self.most - self.left))

    def give_back(self, call: str) -> None:
        """What a call drew comes back with its charge, once."""
        self.returned += self.draws.pop(call, 0)

    def set_most(self, most: int | None) -> None:
        """An operator's maximum fills the row up to it, or takes what is above; None is the shop's own, which only takes."""
        self.there, self.most = True, self.shops if most is None else most
        change = self.most - self.left
        self.begun += change if most is not None else min(0, change)

    @property
    def shown(self) -> tuple[int, int, int, int]:
        return self.begun, self.grown, self.drawn, self.returned

    @property
    def bound(self) -> int:
        """No more may have been drawn in its life (I33)."""
        return self.begun + self.grown + self.returned + self.short


def _count(report: Any, name: str) -> int | None:
    value = report.get(name, 0)
    return value if type(value) is int and 0 <= value < 2**62 else None
