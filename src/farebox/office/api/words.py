"""What the operations of the management API do, as strings for its page; the schema itself speaks English.

An operation says it in its docstring. A test fails for one that is not here.
"""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

DOES = frozenset(
    {
        gettext_noop("The token that asks."),
        gettext_noop("Every model, with what it can do, which lists sell it, and where a price is missing."),
        gettext_noop("Define a new model; what is known of one that is there a person changes, who approves it."),
        gettext_noop("One model."),
        gettext_noop("Take a model off sale; a person puts one back, in the office, with a fresh proof of who he is."),
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
        gettext_noop("Add a channel, paused until a person switches it on; its secret is sealed and never shown."),
        gettext_noop("Refused: a person gives a channel another key, in the office, with a fresh proof of who he is."),
        gettext_noop("Say what a model costs on a channel; that an active channel answers it, a person approves."),
        gettext_noop("Pause a channel; a person lets it take calls, in the office, with a fresh proof of who he is."),
        gettext_noop("Customers, newest first, by a part of name or e-mail address, an id, or the end of a key."),
        gettext_noop("Open an account with balance 0 that buys by the price list of new accounts."),
        gettext_noop("One customer with its money."),
        gettext_noop("No new calls from within a second on."),
        gettext_noop(
            "Refused: a person lets a frozen account make calls again, in the office, with a fresh proof of who he is."
        ),
        gettext_noop("Propose another price list for this account; another administrator approves it in the office."),
        gettext_noop("The keys of an account, masked."),
        gettext_noop("Switch a key off for good, everywhere within a second."),
        gettext_noop(
            "The calls of an account, newest first; that support or an administrator has read them is written down."
        ),
        gettext_noop("Manual money, newest first."),
        gettext_noop(
            "Propose to move money; nothing moves before another person approves it in the office.\n\n"
            "With `source` and `reference` the same request again answers with the row that it made before."
        ),
        gettext_noop("One of them."),
        gettext_noop("Decline it, or withdraw what one has proposed oneself."),
        gettext_noop("What calls of these UTC days were charged and cost, both days included; 92 days at most."),
        gettext_noop(
            "The audit trail, newest first; each text fits from its beginning on. Support sees what it has done itself."
        ),
        gettext_noop("The head of the audit trail's chain, to be kept elsewhere."),
        gettext_noop("Propose another name of a model, which a person approves, or take one away."),
        gettext_noop("The catalogue's list prices beside those in force, in the list's currency."),
        gettext_noop("One channel with what it answers; never its secret. What it costs us is not for support."),
        gettext_noop(
            "Refused: a person points a channel to another place, in the office, with a fresh proof of who he is."
        ),
        gettext_noop("When a channel is tried: its tier, its weight, and calls at once; never sooner than it is."),
        gettext_noop("A channel no longer answers a model; the answer is what it offered."),
        gettext_noop(
            "How a channel is, as the process that answers sees it, and the accounts whose calls failed there."
        ),
        gettext_noop("A real call of a model on this channel, paid by the house, with its answer and cost."),
        gettext_noop("Another name for an account."),
        gettext_noop("No new calls: the account broke the rules."),
        gettext_noop(
            "Refused: a person lets a barred account make calls again, in the office, with a fresh proof of who he is."
        ),
        gettext_noop("Close an account for good, by its exact name; its keys die with it."),
        gettext_noop("Calls a minute, tokens a minute and calls at once of the whole account; null is no limit."),
        gettext_noop("Other limits for the whole account, all three at once; one that is lifted a person approves."),
        gettext_noop("What an account may still be forgiven, and at most."),
        gettext_noop(
            "Another maximum of an account's allowance; one that gives it more another administrator approves."
        ),
        gettext_noop("Trust an account, which another administrator approves; or no longer, at once."),
        gettext_noop(
            "The people of an account with their places and caps, oldest first, those that were removed as well."
        ),
        gettext_noop("The projects of an account with their caps, oldest first."),
        gettext_noop("What is set aside for calls that are under way, oldest first, 50 at most."),
        gettext_noop(
            "The receipt of a call with its attempts, written down as for calls. What they cost us is not for support."
        ),
        gettext_noop("What customers read for a time, the one that begins last first."),
        gettext_noop("Announce something in at least one language, from now or from a time on."),
        gettext_noop("Take an announcement away."),
        gettext_noop("Every setting of the shop as it is now."),
        gettext_noop(
            "Propose other settings of the shop; a person approves them in the office, of money another administrator."
        ),
        gettext_noop("Changes that wait for a person, and those that were decided, newest first."),
        gettext_noop("One proposal, with before and after."),
        gettext_noop("Decline a proposal, or withdraw one's own."),
        gettext_noop("Who works here, and the changes that wait for a second person in the office."),
    }
)


def does(operation: str) -> str:
    """What an operation does, in the language of the page."""
    return gettext(operation) if operation in DOES else operation
