"""What the office calls roles, states, kinds of manual money and usage classes."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy

MODALITIES: dict[str, Any] = {
    "text": gettext_lazy("text"),
    "image": gettext_lazy("image"),
    "audio": gettext_lazy("audio"),
}
TEXTS: dict[str, Any] = {
    "latin": gettext_lazy("Latin letters and code"),
    "cjk": gettext_lazy("Chinese, Japanese, Korean"),
    "other": gettext_lazy("other scripts"),
    "digits": gettext_lazy("digits"),
    "base64": gettext_lazy("base64 and random text"),
    "per_message": gettext_lazy("tokens for each message"),
}
QUARTILES: dict[str, Any] = {
    "lower": gettext_lazy("lower quartile, for billing"),
    "median": gettext_lazy("median, for values and limits"),
    "upper": gettext_lazy("upper quartile, for holds"),
}
ROLES: dict[str, Any] = {
    "support": gettext_lazy("support"),
    "finance": gettext_lazy("finance"),
    "admin": gettext_lazy("administrator"),
    "auditor": gettext_lazy("auditor"),
}
MEMBER_ROLES: dict[str, Any] = {
    "owner": gettext_lazy("owner"),
    "admin": gettext_lazy("project admin"),
    "member": gettext_lazy("member"),
}
ACCOUNT_STATES: dict[str, Any] = {
    "active": gettext_lazy("active"),
    "frozen": gettext_lazy("frozen"),
    "barred": gettext_lazy("banned"),
    "closed": gettext_lazy("closed"),
}
STATES: dict[str, Any] = {
    **ACCOUNT_STATES,
    "revoked": gettext_lazy("revoked"),
    "expired": gettext_lazy("expired"),
    "removed": gettext_lazy("removed"),
    "archived": gettext_lazy("archived"),
    "proposed": gettext_lazy("pending approval"),
    "booked": gettext_lazy("booked"),
    "declined": gettext_lazy("declined"),
    "withdrawn": gettext_lazy("withdrawn"),
    "lapsed": gettext_lazy("lapsed"),
    "approved": gettext_lazy("approved"),
    "dropped": gettext_lazy("dropped: changed in the meantime"),
}
CAUSES = {
    "failed": gettext_lazy("the upstream broke off"),
    "empty": gettext_lazy("empty answer"),
    "left": gettext_lazy("customer disconnected"),
    "counted": gettext_lazy("counted, not reported"),
    "short": gettext_lazy("above the hold"),
}
# What a receipt notes of a call.
FLAGS: dict[str, Any] = {
    "estimated": gettext_lazy("counted by us"),
    "disputed": gettext_lazy("implausible report"),
    "malformed": gettext_lazy("unreadable report"),
    "unknown_counter": gettext_lazy("unknown counter, not charged"),
    "unpriced": gettext_lazy("class without a price"),
    "short": gettext_lazy("above the hold"),
    "substituted": gettext_lazy("answered by another model"),
    "journalled": gettext_lazy("charged later: database unavailable"),
    "limit_lowered": gettext_lazy("limit lowered to what the balance pays"),
    "no_terminal": gettext_lazy("no end mark"),
    "policy": gettext_lazy("ended by a content policy"),
    "after_output": gettext_lazy("broke off after output"),
    "left": gettext_lazy("customer disconnected"),
    "unread": gettext_lazy("the customer did not read"),
    "allowance_used": gettext_lazy("allowance used up"),
    "hold_used_up": gettext_lazy("hold used up"),
    "longest_duration": gettext_lazy("longest duration reached"),
    "over_limit": gettext_lazy("ended at its token limit"),
    "voided": gettext_lazy("not settled, free"),
    "expired": gettext_lazy("its process ended, free"),
    "refunded": gettext_lazy("refunded"),
}
BADGES = {
    "active": "good",
    "booked": "good",
    "approved": "good",
    "frozen": "warn",
    "proposed": "warn",
    "barred": "bad",
    "revoked": "bad",
    "declined": "bad",
}
MONEY: dict[str, Any] = {
    "grant": gettext_lazy("Granted credit"),
    "credit": gettext_lazy("Credit"),
    "refund": gettext_lazy("Call refund"),
    "debit": gettext_lazy("Debit"),
    "write_off": gettext_lazy("Write-off"),
}
MONEY_MEANS: dict[str, Any] = {
    "grant": gettext_lazy("A gift, such as a trial, bonus or goodwill. Can't be paid out and may expire."),
    "credit": gettext_lazy("A correction in the customer's favour."),
    "refund": gettext_lazy("Returns the charge of one call, or a part of it."),
    "debit": gettext_lazy("A correction in the shop's favour. At most the available balance is taken."),
    "write_off": gettext_lazy("Takes the remaining balance of a banned or closed account off the books."),
}
ENTRIES: dict[str, Any] = {
    "grant": gettext_lazy("Granted credit"),
    "credit": gettext_lazy("Credit"),
    "call_refund": gettext_lazy("Call refund"),
    "refund": gettext_lazy("Call refund"),
    "debit": gettext_lazy("Debit"),
    "write_off": gettext_lazy("Write-off"),
    "expiry": gettext_lazy("Credit expired"),
    "reversal": gettext_lazy("Reversal"),
    "topup": gettext_lazy("Top-up"),
    "payment": gettext_lazy("Top-up"),
}
OUTCOMES: dict[str, Any] = {
    "open": gettext_lazy("in progress"),
    "served": gettext_lazy("served"),
    "failed": gettext_lazy("failed"),
    "broken": gettext_lazy("interrupted"),
    "refused": gettext_lazy("refused"),
    "left": gettext_lazy("customer disconnected"),
    "revoked": gettext_lazy("key revoked"),
}

# How an attempt at one upstream ended.
ATTEMPTS: dict[str, Any] = {
    "served": gettext_lazy("successful"),
    "left": gettext_lazy("customer disconnected"),
    "refused": gettext_lazy("refused by the upstream"),
    "failed": gettext_lazy("upstream failed"),
    "unknown": gettext_lazy("no answer"),
}


def said(words: dict[str, Any], name: str) -> str:
    """The word for a name, or the name itself."""
    return str(words.get(name, name))
