"""Version 2 of the charging rules in plain words; `docs/rules-2.md` has them to the letter."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from . import rules_1
from .rules_1 import Rule, RuleGroup

_AS_BEFORE = {rule.number: rule for group in rules_1.GROUPS for rule in group.rules}
_ALLOWED = _("Nothing, within the allowance")


def _same(*numbers: str) -> tuple[Rule, ...]:
    """Rules that say what they said in version 1."""
    return tuple(_AS_BEFORE[number] for number in numbers)


GROUPS = (
    RuleGroup(
        _("Charged"),
        (
            *_same("R02", "R03", "R04"),
            Rule(
                "R05",
                _("The upstream reports a usage class that has no price."),
                _("At the price of its parent class: cached input as input, reasoning as output"),
            ),
            Rule(
                "R06",
                _("Part of the reported usage is implausible."),
                _("Our own count of that part, at most the hold; the rest as reported. The receipt shows the report"),
            ),
            Rule(
                "R07",
                _("A limit ends the answer: max_tokens, your balance, a cap, or the longest duration of a call."),
                _("The input, the delivered output and reported reasoning; the receipt names the limit"),
            ),
            Rule(
                "R08",
                _("A content policy ends the answer."),
                _("Usage as reported, otherwise what was delivered; without output only the input, if reported"),
            ),
            *_same("R10", "R11", "R22", "R23", "R26", "R27", "R32"),
        ),
    ),
    RuleGroup(
        _("Free"),
        (
            *_same("R01"),
            Rule(
                "R09",
                _("The answer is empty."),
                _("Nothing, within the allowance; as R02 if you used stop or logit_bias, or received logprobs"),
            ),
            *_same("R12", "R13"),
            Rule(
                "R14",
                _("The upstream breaks off mid-answer."),
                _("Nothing, within the allowance; as R18 if you did not read for more than 10 seconds in total"),
            ),
            *_same("R15"),
            Rule("R16", _("You disconnect before the upstream accepts the call."), _ALLOWED),
            *_same("R24", "R33"),
        ),
    ),
    RuleGroup(
        _("You disconnect, or the key becomes invalid"),
        (
            Rule(
                "R17", _("You disconnect from a stream before its first token."), _("The input, and reported reasoning")
            ),
            Rule(
                "R18",
                _("You disconnect mid-stream, or do not read for 60 seconds."),
                _("The input, the delivered output including thinking, and reported hidden reasoning"),
            ),
            *_same("R19", "R20", "R21"),
        ),
    ),
    RuleGroup(_("Our mistakes"), _same("R25", "R34")),
    RuleGroup(_("Not available yet"), _same("R28", "R29", "R30", "R31")),
)
