"""The reference: what each call may cost, from what the upstreams put out and the customers saw. No SQL, no async.

It knows the charging rules (promises 3.1; version 2 in model_2.py) and nothing of how they are carried out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .model_2 import FREE, Case, Row, Worth, tokens
from .town import OUTPUT_MAX, PRICES

if TYPE_CHECKING:
    from .client import Sent
    from .upstream import Made, Produced

_SPACES = re.compile(r"\s+")


@dataclass
class Claim:
    """What the books say of a call: believed only where the rules leave a choice."""

    state: str = ""
    charge_micro: int = 0
    refund_micro: int = 0
    rule: str = ""
    flags: list[str] = field(default_factory=list)
    version: int = 1
    hold_micro: int = 0
    rules: int = 1
    value_micro: int = 0
    drawn_micro: int = 0
    forgives: bool = True  # its account has an allowance

    @property
    def net_micro(self) -> int:
        return self.charge_micro - self.refund_micro


@dataclass
class Model:
    """Balances as they must be, and how many calls were judged by which kind of verdict."""

    balances: dict[str, int]
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    worths: dict[str, tuple[str, Claim, list[Worth]]] = field(default_factory=dict)  # by call, of version 2
    rows: dict[str, Row] = field(default_factory=dict)

    def judge(
        self,
        sent: Sent,
        produced: list[Produced],
        claim: Claim,
        account: str,
        *,
        doubt: str,
        ended: bool,
        by_hand_micro: int = 0,
        broke: frozenset[bool] = frozenset(),
    ) -> None:
        """Take a call's charge from its account, after a look at whether it may be that.

        `doubt`: the rule by which a whole answer may be free all the same, or nothing; `ended`: its key was ended;
        `by_hand_micro`: what people gave back of it. They have judged a call that the rules would give back: it stays so.
        `broke`: whether its channel failed others after output too, where it failed.
        """
        if claim.rules == 2:
            self.balances[account] -= claim.net_micro
            self._judge_2(sent, produced, claim, account, doubt=doubt, ended=ended, broke=broke)
            return
        allowed, verdict = self._allowed(sent, produced, claim, doubt=doubt, ended=ended)
        if by_hand_micro and allowed == {0} and not claim.refund_micro:
            allowed, verdict = {claim.charge_micro}, "given back by hand"
        self.verdicts[verdict] += 1
        self.balances[account] -= claim.net_micro
        low, high = (min(allowed), max(allowed)) if verdict.endswith("range") else (0, 0)
        within = low <= claim.net_micro <= high if verdict.endswith("range") else claim.net_micro in allowed
        if not within:
            self.findings.append(
                f"call {sent.id} (c{sent.call.number}r{sent.repeat}) was charged {claim.net_micro} under {claim.rule} "
                f"{claim.flags}, {verdict} allows {sorted(allowed)}"
            )

    def _judge_2(
        self,
        sent: Sent,
        produced: list[Produced],
        claim: Claim,
        account: str,
        *,
        doubt: str,
        ended: bool,
        broke: frozenset[bool],
    ) -> None:
        """What a call of version 2 may be worth; what its account's allowance makes of it shows when all are judged."""
        case, answer = Case(sent, produced, claim, broke=broke), sent.read()
        given_back = claim.refund_micro == claim.charge_micro > 0
        worths, verdict = list(dict.fromkeys(case.worths(claim.rule))), f"version 2 {claim.rule or 'open'}"
        if answer.whole and not sent.gone:
            verdict = f"version 2 complete{f', {doubt}' if doubt else ''}"
            if claim.rule not in case.expected:
                worths = [FREE] if doubt else []
            elif given_back and not doubt:
                worths = []
        elif answer.status >= 400 and not sent.gone and not given_back:
            worths, verdict = (
                [each for each in worths if not each.charge_micro and not each.most_micro],
                "version 2 refused",
            )
        elif answer.error and not sent.gone and not ended and not given_back:
            slow = "unread" in claim.flags and sent.call.client in {"reads slowly", "never reads", "stops reading"}
            failed = {"R13", "R14", "R15", "R12", "R08", "R24"} | ({"R18"} if slow else set())
            worths = worths if claim.rule in failed else []
            verdict = f"version 2 failed by {claim.rule}"
        self.verdicts[verdict if len(worths) < 2 else f"{verdict}, range"] += 1
        self.worths[sent.id] = account, claim, worths

    def replay(self, events: list[tuple[str, str]]) -> None:
        """Go through the ends of calls, and what changed allowances beside, in the order in which they were booked."""
        for what, of in events:
            if what == "paid":
                self.rows[of].paid = True
            elif what == "most":
                account, _, most = of.partition(" ")
                self.rows[account].set_most(int(most) if most else None)
            elif what == "back":
                if of in self.worths:
                    self.rows[self.worths[of][0]].give_back(of)
            elif what == "ended" and of in self.worths:
                account, claim, worths = self.worths[of]
                row = self.rows[account]
                left = row.left
                if not any(row.settle(of, claim, worth) for worth in worths):
                    self.findings.append(
                        f"call {of} of version 2 was charged {claim.charge_micro}, is worth {claim.value_micro} and drew "
                        f"{claim.drawn_micro} of {left} under {claim.rule} {claim.flags}, hold {claim.hold_micro}: {worths[:9]}"
                    )
                    return

    def _allowed(
        self, sent: Sent, produced: list[Produced], claim: Claim, *, doubt: str, ended: bool
    ) -> tuple[set[int], str]:
        answer = sent.read()
        prices = PRICES[sent.call.model][(claim.version - 1) % 3]
        if not claim.state:
            return {0}, "no hold"
        if answer.status >= 400 and not sent.gone:
            return {0}, "refused"
        last = produced[-1] if produced else None
        if answer.whole and not sent.gone and last is not None:
            full = self._complete(sent, last, claim, prices, answer.text)
            return (full | {0}, f"complete, {doubt}") if doubt else (full, "complete")
        if answer.error and not sent.gone and not ended:
            return {0}, "failed"
        if not sent.call.stream and not sent.gone:
            return {0}, "no answer"
        if not any(each.head_s is not None and each.script.status == 200 for each in produced):
            return {0}, "never accepted"
        return self._left(sent, produced, claim, prices)

    def _left(
        self, sent: Sent, produced: list[Produced], claim: Claim, prices: tuple[int, int]
    ) -> tuple[set[int], str]:
        """A customer who left, or whose node died or key ended: the rule that the books name, and what it allows."""
        if claim.rule in {"", "R09", "R13", "R14", "R15", "R16"}:
            return {0}, f"left, {claim.rule or 'open'}"
        last = produced[-1]
        given = {last.made.prompt, _own_input(sent, last.made)}
        only_input = {_price(prices, each, 0) for each in given}
        if claim.rule == "R17":
            return only_input, "left, R17"
        most = max(self._most(each, sent, prices) for each in produced)
        least = min(only_input) if claim.rule in {"R18", "R19"} else 0
        if claim.refund_micro or (claim.charge_micro and claim.charge_micro == claim.hold_micro):
            least = 0
        return {least, most}, f"left, {claim.rule}, range"

    def _complete(self, sent: Sent, last: Produced, claim: Claim, prices: tuple[int, int], text: str) -> set[int]:
        """What a call may cost whose customer saw the end: one amount, unless money or limits cut it."""
        made, wrong = last.made, last.script.wrong
        output = 0 if made.embeddings else min(_estimate(text), _limit(sent, made))
        own = _price(prices, _own_input(sent, made), output)
        cut = not {"hold_used_up", "longest_duration", "over_limit", "short"}.isdisjoint(claim.flags)
        if cut and "estimated" in claim.flags:
            return {own if claim.charge_micro != claim.hold_micro else claim.hold_micro}
        if cut and not text and (not made.reasoning or not claim.charge_micro):  # it did not come to the first word
            return {0}
        reported = _reported(made, wrong, stream=sent.call.stream, limit=_limit(sent, made))
        thought = made.reasoning and (reported is not None or sent.call.stream)  # reported, or streamed (R10)
        if not made.embeddings and not made.texts and not thought:  # R09
            return {0}
        if wrong == "filtered" and cut and not claim.charge_micro:  # cut before the report came (R08)
            return {0}
        if reported is None:
            return {0} if wrong == "filtered" else {own}
        due = _price(prices, *reported)
        return {due if due <= claim.hold_micro or claim.charge_micro != claim.hold_micro else claim.hold_micro}

    def _most(self, each: Produced, sent: Sent, prices: tuple[int, int]) -> int:
        """No end of this attempt may cost more."""
        made = each.made
        text = "".join(made.texts)
        own = _price(prices, _estimate(_asked(sent)) + 6, _estimate(text))
        return max(own, _price(prices, made.prompt, 0 if made.embeddings else made.tokens))


def least(sent: Sent, text: str, version: int) -> int:
    """What a call costs at least whose customer has read this text."""
    return _price(PRICES[sent.call.model][(version - 1) % 3], 0, tokens(text) * 9 // 10)


def _asked(sent: Sent) -> str:
    return f"c{sent.call.number}r{sent.repeat}#{sent.call.text}"


def _price(prices: tuple[int, int], given: int, made: int) -> int:
    return -(-(given * prices[0] + made * prices[1]) // 1_000_000)


def _estimate(text: str) -> int:
    return len(_SPACES.sub(" ", text).encode()) // 6


def _own_input(sent: Sent, made: Made) -> int:
    return _estimate(_asked(sent)) + (0 if made.embeddings else 6)


def _limit(sent: Sent, made: Made) -> int:
    return min(made.limit, OUTPUT_MAX[sent.call.model]) if sent.call.model != "vector" else 0


def _reported(made: Made, wrong: str, *, stream: bool, limit: int) -> tuple[int, int] | None:
    """(input, output) of the last report that can be believed, or None."""
    silent = {"no usage", "late usage", "no terminal"} if stream else {"no usage"}
    if wrong in silent or wrong in {"zero usage", "huge usage", "bad usage", "huge input"}:
        return None
    if wrong == "adds up to more" and not made.embeddings:
        return None
    if made.embeddings:
        return made.prompt, 0
    if made.tokens > limit + 16:
        return None
    return made.prompt, made.tokens


def claims(holds: list[Any], refunds: dict[str, int], calls: dict[str, Any]) -> dict[str, Claim]:
    """The books' own words about each call."""
    out = {}
    for hold, state, amount, charge in holds:
        rule, flags, version, rules, value, drawn = calls.get(hold, ("", "", 1, 1, 0, 0))
        back = refunds.get(hold, 0)
        out[hold] = Claim(
            state, charge or 0, back, rule, flags.split(), version, amount, rules, value or 0, drawn or 0
        )  # fmt: skip
    return out
