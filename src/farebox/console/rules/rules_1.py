"""Version 1 of the charging rules in plain words; `docs/rules.md` has them to the letter."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Rule(NamedTuple):
    """What happened to a call, and what it costs."""

    number: str
    happened: Promise
    cost: Promise


class RuleGroup(NamedTuple):
    """Rules that belong together."""

    title: Promise
    rules: tuple[Rule, ...]


_FREE = _("Nothing")
_AS_R02 = _("As R02")

GROUPS = (
    RuleGroup(
        _("Charged"),
        (
            Rule("R02", _("The answer is complete."), _("Usage as reported by the upstream")),
            Rule(
                "R03",
                _("The answer is complete, but the upstream reports no usage, or too late."),
                _("Our own count; the receipt marks it as an estimate"),
            ),
            Rule("R04", _("The upstream reports usage more than once."), _("The last plausible report, never a sum")),
            Rule(
                "R06",
                _("The reported usage is implausible."),
                _("Our own count, at most the hold; we investigate"),
            ),
            Rule(
                "R07",
                _("A limit ends the answer: max_tokens, your balance, a cap, or the longest duration of a call."),
                _("Usage up to that point; the receipt names the limit"),
            ),
            Rule("R08", _("A content policy ends the answer."), _("Usage as reported; nothing without a report")),
            Rule("R10", _("The model only reasons, then reaches a limit."), _("Usage as reported")),
            Rule("R11", _("The answer has text but no end marker."), _AS_R02),
            Rule(
                "R22",
                _("We retry, or use another upstream."),
                _("Only the attempt delivered to you; the others are free"),
            ),
            Rule("R23", _("The answer is complete, but the ledger is unavailable."), _("Charged later, as R02")),
            Rule("R26", _("An idempotency key is reused."), _("One charge; the second call is refused")),
            Rule("R27", _("Embeddings."), _("Usage if they succeed, otherwise nothing; never a part")),
            Rule("R32", _("The answer comes from our own cache."), _("The cache price of the list")),
        ),
    ),
    RuleGroup(
        _("Free"),
        (
            Rule(
                "R01",
                _("We refuse the call: invalid key or request, limit, no price, insufficient balance, overload."),
                _FREE,
            ),
            Rule(
                "R09",
                _("The answer is empty."),
                _("Nothing; as R02 if you used stop or logit_bias"),
            ),
            Rule("R12", _("The upstream refuses the request."), _FREE),
            Rule("R13", _("Every upstream fails before the first token."), _FREE),
            Rule("R14", _("The upstream breaks off mid-answer."), _FREE),
            Rule("R15", _("Our server fails."), _FREE),
            Rule("R16", _("You disconnect before the upstream accepts the call."), _FREE),
            Rule("R24", _("The hold expired before the call was settled."), _FREE),
            Rule("R33", _("You list models or read your balance, usage or a receipt."), _FREE),
        ),
    ),
    RuleGroup(
        _("You disconnect, or the key becomes invalid"),
        (
            Rule("R17", _("You disconnect from a stream before its first token."), _("The input only")),
            Rule(
                "R18",
                _("You disconnect mid-stream, or do not read for 60 seconds."),
                _("The input, and the output received until we noticed"),
            ),
            Rule(
                "R19",
                _("You disconnect from a call that is not streamed."),
                _("As R02 if the answer is complete within 120 seconds, else the input only"),
            ),
            Rule("R20", _("You disconnect after the end of the answer."), _AS_R02),
            Rule(
                "R21",
                _("The key is revoked or expires, or the account is closed, while a call runs."),
                _("The call is ended within 5 seconds and charged as R18"),
            ),
        ),
    ),
    RuleGroup(
        _("Our mistakes"),
        (
            Rule(
                "R05",
                _("The upstream reports usage that has no price."),
                _("That part is free, and the model is taken off sale"),
            ),
            Rule(
                "R25",
                _("A call is charged, but our server fails before the answer is sent."),
                _("Refunded automatically, once"),
            ),
            Rule(
                "R34",
                _("We find a billing mistake."),
                _("Corrected in your favour without asking; in ours only within 24 hours and never below zero"),
            ),
        ),
    ),
    RuleGroup(
        _("Not available yet"),
        (
            Rule("R28", _("Images."), _("Per delivered image")),
            Rule("R29", _("Speech."), _("The whole input once the audio has started, otherwise nothing")),
            Rule("R30", _("Audio transcription and translation."), _("The seconds of audio, if it succeeds")),
            Rule("R31", _("Batches and other queued tasks."), _("Per line that succeeds")),
        ),
    ),
)
