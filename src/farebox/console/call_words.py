"""What pages call outcomes, flags, ends of answers, and why an attempt failed."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Word and colour of the badge.
OUTCOMES: dict[str, tuple[Any, str]] = {
    "served": (gettext_lazy("answered"), "good"),
    "left": (gettext_lazy("you left"), ""),
    "revoked": (gettext_lazy("key ended"), "warn"),
    "refused": (gettext_lazy("refused by the upstream"), "warn"),
    "failed": (gettext_lazy("upstream failed"), "bad"),
    "broken": (gettext_lazy("our fault"), "bad"),
    "open": (gettext_lazy("running"), ""),
}
FLAGS: dict[str, Any] = {
    "estimated": gettext_lazy("The usage was counted by us: the upstream did not report it, or not in time."),
    "disputed": gettext_lazy("Usage that the upstream reported can't be true, so we counted it ourselves."),
    "malformed": gettext_lazy("A report of the upstream could not be read."),
    "unknown_counter": gettext_lazy("The upstream reported something that we don't know; it was not charged."),
    "unpriced": gettext_lazy("Part of the usage has no price; that part was free."),
    "short": gettext_lazy("The usage was worth more than the hold. You pay no more than the hold."),
    "substituted": gettext_lazy("The upstream names another model than the one it was asked for. We look into it."),
    "journalled": gettext_lazy("The books could not be reached at the end of the call; the charge came later."),
    "limit_lowered": gettext_lazy("The answer was limited to what the balance or a cap pays."),
    "no_terminal": gettext_lazy("The answer ended without the usual last line."),
    "policy": gettext_lazy("A content policy ended the answer."),
    "after_output": gettext_lazy("The upstream broke off after part of the answer had come."),
    "left": gettext_lazy("You left before the end."),
    "unread": gettext_lazy("The answer was not read for so long that the upstream broke it off."),
    "allowance_used": gettext_lazy("The allowance was used up, so the rest of what reached you is charged."),
    "hold_used_up": gettext_lazy("The answer was ended because the hold was used up."),
    "longest_duration": gettext_lazy("The answer was ended at the longest duration of a call."),
    "over_limit": gettext_lazy("The answer was ended at its limit of tokens."),
    "voided": gettext_lazy("The call could not be settled and was made free."),
    "expired": gettext_lazy("The process that served this call ended before the call did. It was free."),
    "refunded": gettext_lazy("The charge was given back."),
}
SOURCES: dict[str, Any] = {
    "reported": gettext_lazy("reported by the upstream"),
    "counted": gettext_lazy("counted by us"),
}
ATTEMPTS: dict[str, tuple[Any, str]] = {
    "served": (gettext_lazy("answered"), "good"),
    "left": (gettext_lazy("you left"), ""),
    "refused": (gettext_lazy("refused by the upstream"), "warn"),
    "failed": (gettext_lazy("upstream failed"), "bad"),
    "unknown": (gettext_lazy("no answer came"), "warn"),
}
_WHY: dict[str, Any] = {
    "this upstream is not available": gettext_lazy("this upstream is not available"),
    "this upstream has no capacity": gettext_lazy("this upstream has no capacity"),
    "this upstream failed": gettext_lazy("this upstream failed"),
    "this upstream was silent for too long": gettext_lazy("this upstream was silent for too long"),
    "the customer left": gettext_lazy("You left before the end."),
    "the key was revoked": gettext_lazy("the key was revoked"),
    "the service stopped": gettext_lazy("the service stopped"),
    "stopped by us": gettext_lazy("stopped by us"),
}


class Why(NamedTuple):
    """Why an attempt failed, and whether these are the upstream's own words."""

    text: str
    foreign: bool


def why(text: str) -> Why:
    """What a receipt says of an attempt, in the reader's language where the words are ours."""
    known = _WHY.get(text)
    return Why(text, bool(text)) if known is None else Why(str(known), foreign=False)


def outcome(name: str) -> tuple[Any, str]:
    """Word and colour of an outcome."""
    return OUTCOMES.get(name, (name, ""))


def attempt(name: str) -> tuple[Any, str]:
    """Word and colour of an attempt's outcome."""
    return ATTEMPTS.get(name, (_("not finished"), ""))
