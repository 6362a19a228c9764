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


class Group(NamedTuple):
    """Rules that belong together."""

    title: Promise
    rules: tuple[Rule, ...]


_FREE = _("Nothing")
_AS_R02 = _("As R02")

GROUPS = (
    Group(
        _("Charged"),
        (
            Rule("R02", _("The answer is complete."), _("What was used, as the upstream reports it")),
            Rule(
                "R03",
                _("The answer is complete, but the upstream does not say what was used, or says it too late."),
                _("What we count ourselves; the receipt says that it is an estimate"),
            ),
            Rule(
                "R04", _("The upstream reports the usage several times."), _("The last plausible report, never a sum")
            ),
            Rule(
                "R06",
                _("The reported usage can't be true."),
                _("Our own count, at most the hold; we look into it"),
            ),
            Rule(
                "R07",
                _("A limit ends the answer: max_tokens, your balance, a cap, or the longest duration of a call."),
                _("What was used until then; the receipt names the limit"),
            ),
            Rule(
                "R08", _("A content policy ends the answer."), _("What the upstream reports; without a report nothing")
            ),
            Rule("R10", _("The model only reasons and then meets a limit."), _("What the upstream reports")),
            Rule("R11", _("The answer ends without the usual last line, but with text."), _AS_R02),
            Rule(
                "R22",
                _("We try again, or at another upstream."),
                _("Only the attempt that you got; the others cost you nothing"),
            ),
            Rule("R23", _("The answer is complete, but the books can't be reached."), _("Charged later, as R02")),
            Rule("R26", _("The same idempotency key comes again."), _("One charge; the second call is refused")),
            Rule("R27", _("Embeddings."), _("What was used if they succeed, otherwise nothing; never in part")),
            Rule("R32", _("The answer comes from our own cache."), _("The cache price of the list")),
        ),
    ),
    Group(
        _("Free"),
        (
            Rule("R01", _("We refuse the call: key, form, limit, no price, no money, too busy."), _FREE),
            Rule(
                "R09",
                _("The answer is empty."),
                _("Nothing; as R02 if you asked with stop or logit_bias"),
            ),
            Rule("R12", _("The upstream refuses the call as it is."), _FREE),
            Rule("R13", _("Every upstream fails before the first word."), _FREE),
            Rule("R14", _("The upstream breaks off in the middle of the answer."), _FREE),
            Rule("R15", _("Our own process fails."), _FREE),
            Rule("R16", _("You leave before the upstream has accepted the call."), _FREE),
            Rule("R24", _("A hold has lapsed before its call was settled."), _FREE),
            Rule("R33", _("You list models, read your balance, your usage or a receipt."), _FREE),
        ),
    ),
    Group(
        _("You leave, or the key ends"),
        (
            Rule("R17", _("You leave a stream before its first word."), _("The input only")),
            Rule(
                "R18",
                _("You leave in the middle of a stream, or do not read for 60 seconds."),
                _("The input, and the output that came until we noticed"),
            ),
            Rule(
                "R19",
                _("You leave a call that is not streamed."),
                _("As R02 if the answer is complete within 120 seconds, else the input only"),
            ),
            Rule("R20", _("You leave after the last word."), _AS_R02),
            Rule(
                "R21",
                _("The key is revoked or expires, or the account is closed, while a call runs."),
                _("The call is cut within 5 seconds and charged as R18"),
            ),
        ),
    ),
    Group(
        _("When we were wrong"),
        (
            Rule(
                "R05",
                _("The upstream reports something that has no price."),
                _("That part is free, and the model is taken off the list"),
            ),
            Rule(
                "R25",
                _("A call is charged, but our process dies before its answer has left."),
                _("Refunded by itself, once"),
            ),
            Rule(
                "R34",
                _("We find a mistake of ours."),
                _("Put right in your favour unasked; in ours only within 24 hours and never below zero"),
            ),
        ),
    ),
    Group(
        _("Not sold yet"),
        (
            Rule("R28", _("Images."), _("By the image that reaches you")),
            Rule("R29", _("Speech."), _("The whole input once the sound has begun, otherwise nothing")),
            Rule("R30", _("Transcription and translation of sound."), _("The seconds of sound, if it succeeds")),
            Rule("R31", _("Batches and other tasks that wait."), _("By the line that succeeds")),
        ),
    ),
)
