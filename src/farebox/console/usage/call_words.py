"""What pages call outcomes, flags, ends of answers, and why an attempt failed."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Word and colour of the badge.
OUTCOMES: dict[str, tuple[Any, str]] = {
    "served": (gettext_lazy("successful"), "good"),
    "left": (gettext_lazy("client disconnected"), ""),
    "revoked": (gettext_lazy("key revoked"), "warn"),
    "refused": (gettext_lazy("refused by the upstream"), "warn"),
    "failed": (gettext_lazy("upstream failed"), "bad"),
    "broken": (gettext_lazy("server error"), "bad"),
    "open": (gettext_lazy("running"), ""),
}
FLAGS: dict[str, Any] = {
    "estimated": gettext_lazy("We counted the usage: the upstream did not report it, or not in time."),
    "disputed": gettext_lazy("The upstream reported implausible usage, so we counted it ourselves."),
    "malformed": gettext_lazy("A usage report of the upstream could not be read."),
    "unknown_counter": gettext_lazy("The upstream reported an unknown counter; it was not charged."),
    "unpriced": gettext_lazy("Part of the usage has no price and was free."),
    "short": gettext_lazy("The usage was worth more than the hold. You only pay the hold."),
    "substituted": gettext_lazy("The upstream reports a different model than requested. We are investigating."),
    "journalled": gettext_lazy("The ledger was unavailable when the call ended; it was charged later."),
    "limit_lowered": gettext_lazy("The answer was limited by the balance or a cap."),
    "no_terminal": gettext_lazy("The answer had no end marker."),
    "policy": gettext_lazy("A content policy ended the answer."),
    "after_output": gettext_lazy("The upstream broke off mid-answer."),
    "left": gettext_lazy("You disconnected before the end."),
    "unread": gettext_lazy("The client did not read for so long that the upstream broke off."),
    "allowance_used": gettext_lazy("The allowance was used up, so the rest of the delivered answer is charged."),
    "hold_used_up": gettext_lazy("The answer ended because the hold was used up."),
    "longest_duration": gettext_lazy("The answer ended at the maximum call duration."),
    "over_limit": gettext_lazy("The answer ended at its token limit."),
    "voided": gettext_lazy("The call could not be settled and was free."),
    "expired": gettext_lazy("The server process stopped before the call ended. It was free."),
    "refunded": gettext_lazy("The charge was refunded."),
}
SOURCES: dict[str, Any] = {
    "reported": gettext_lazy("reported by the upstream"),
    "counted": gettext_lazy("counted by us"),
}
ATTEMPTS: dict[str, tuple[Any, str]] = {
    "served": (gettext_lazy("successful"), "good"),
    "left": (gettext_lazy("client disconnected"), ""),
    "refused": (gettext_lazy("refused by the upstream"), "warn"),
    "failed": (gettext_lazy("upstream failed"), "bad"),
    "unknown": (gettext_lazy("no answer"), "warn"),
}
_WHY: dict[str, Any] = {
    "this upstream is not available": gettext_lazy("this upstream is not available"),
    "this upstream has no capacity": gettext_lazy("this upstream has no capacity"),
    "this upstream failed": gettext_lazy("this upstream failed"),
    "this upstream was silent for too long": gettext_lazy("this upstream timed out"),
    "the customer left": gettext_lazy("You disconnected before the end."),
    "the key was revoked": gettext_lazy("the key was revoked"),
    "the service stopped": gettext_lazy("the service stopped"),
    "stopped by us": gettext_lazy("ended by us"),
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
