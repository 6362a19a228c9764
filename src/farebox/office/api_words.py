"""What the operations of the management API do, as strings for its page; the schema itself speaks English.

An operation says it in its docstring. A test fails for one that is not here.
"""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

DOES = frozenset(
    {
        gettext_noop("The token that asks."),
        gettext_noop("Every model, with what it can do, which lists sell it, and where a price is missing."),
        gettext_noop("Define a model, or change what is known of it."),
        gettext_noop("One model."),
        gettext_noop("Put a model on sale, or take it off."),
        gettext_noop("Every price list with its versions."),
        gettext_noop("An empty price list in one currency; a draft gives it its first version."),
        gettext_noop("The prices of a version, of the one in force if none is named."),
        gettext_noop("Draw up a version; a person publishes it in the office, with a fresh proof of who he is."),
        gettext_noop("Drafts that wait for their publication, without their lines."),
        gettext_noop("A draft with every change and what an example call costs before and after."),
        gettext_noop("Put a draft away."),
        gettext_noop("The vendors we buy from."),
        gettext_noop("Add a vendor."),
        gettext_noop("Every channel with what it answers; never a secret. What it costs us is not for support."),
        gettext_noop("Add a channel; its secret is sealed and never shown."),
        gettext_noop("Replace the secret of a channel."),
        gettext_noop("Say that a channel answers a model, and what it costs."),
        gettext_noop("Let a channel take calls, or pause it."),
        gettext_noop("Customers, newest first, by a part of name or e-mail address, an id, or the end of a key."),
        gettext_noop("Open an account with balance 0."),
        gettext_noop("One customer with its money."),
        gettext_noop("No new calls from within a second on."),
        gettext_noop("Calls again."),
        gettext_noop("Sell to this account by another price list from now on."),
        gettext_noop("The keys of an account, masked."),
        gettext_noop("Switch a key off for good, everywhere within a second."),
        gettext_noop(
            "The calls of an account, newest first; that support or an administrator has read them is written down."
        ),
        gettext_noop("Manual money, newest first."),
        gettext_noop("Propose to move money; nothing moves before another person approves it in the office."),
        gettext_noop("One of them."),
        gettext_noop("Decline it, or withdraw what one has proposed oneself."),
        gettext_noop("What calls of these UTC days were charged and cost, both days included; 92 days at most."),
        gettext_noop(
            "The audit trail, newest first; each text fits from its beginning on. Support sees what it has done itself."
        ),
        gettext_noop("The head of the audit trail's chain, to be kept elsewhere."),
    }
)


def does(operation: str) -> str:
    """What an operation does, in the language of the page."""
    return gettext(operation) if operation in DOES else operation
