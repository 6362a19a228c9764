"""What the operations of the management API do, as strings for its page; the schema itself speaks English.

An operation says it in its docstring. A test fails for one that is not here.
"""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

DOES = frozenset(
    {
        gettext_noop("The token that makes the request."),
        gettext_noop("All models, with their abilities, the price lists that sell them, and missing prices."),
        gettext_noop("Define a new model; changes to an existing one need a person's approval."),
        gettext_noop("One model."),
        gettext_noop(
            "Take a model off sale; only a person can put it back, in the office, after verifying their identity again."
        ),
        gettext_noop("Every price list with its versions."),
        gettext_noop("An empty price list in one currency; a draft gives it its first version."),
        gettext_noop("The prices of a version, of the one in force if none is named."),
        gettext_noop("Draft a version; a person publishes it in the office after verifying their identity again."),
        gettext_noop("Drafts waiting to be published, without their lines."),
        gettext_noop("A draft with every change and what an example call costs before and after."),
        gettext_noop("Discard a draft."),
        gettext_noop("The vendors we buy from."),
        gettext_noop("Add a vendor."),
        gettext_noop("Every channel with what it answers; never a secret. What it costs us is not for support."),
        gettext_noop("Add a channel, paused until a person enables it; its secret is encrypted and never shown."),
        gettext_noop(
            "Refused: only a person can replace a channel's key, in the office, after verifying their identity again."
        ),
        gettext_noop(
            "Set what a model costs on a channel; adding a model to an active channel needs a person's approval."
        ),
        gettext_noop(
            "Pause a channel; only a person can enable it, in the office, after verifying their identity again."
        ),
        gettext_noop("Customers, newest first, by a part of the name or e-mail address, an ID, or the end of a key."),
        gettext_noop("Open an account with balance 0 and the price list of new accounts."),
        gettext_noop("One customer with its money."),
        gettext_noop("Freeze an account: no new calls, effective within a second."),
        gettext_noop(
            "Refused: only a person can unfreeze an account, in the office, after verifying their identity again."
        ),
        gettext_noop(
            "Propose another price list for this account; another administrator must approve it in the office."
        ),
        gettext_noop("The keys of an account, masked."),
        gettext_noop("Revoke a key permanently; effective within a second."),
        gettext_noop("The calls of an account, newest first; access by support or an administrator is recorded."),
        gettext_noop("Adjustments, newest first."),
        gettext_noop(
            "Propose to move money; nothing moves before another person approves it in the office.\n\n"
            "With `source` and `reference` the same request again answers with the row that it made before."
        ),
        gettext_noop("One adjustment."),
        gettext_noop("Decline an adjustment, or withdraw one's own."),
        gettext_noop("What calls of these UTC days were charged and cost, both days included; 92 days at most."),
        gettext_noop(
            "The audit trail, newest first; texts match from their beginning. Support sees its own actions only."
        ),
        gettext_noop("The head of the audit trail's chain, to keep elsewhere."),
        gettext_noop("Propose an alias of a model, for a person to approve, or remove one."),
        gettext_noop("The catalogue's list prices beside those in force, in the list's currency."),
        gettext_noop("One channel with what it answers; never its secret. What it costs us is not for support."),
        gettext_noop(
            "Refused: only a person can change a channel's address, in the office, after verifying their "
            "identity again."
        ),
        gettext_noop("A channel's priority: tier, weight and concurrent calls; never raised."),
        gettext_noop("Remove a model from a channel; returns what it offered."),
        gettext_noop("A channel's health as seen by the answering process, and the accounts whose calls failed there."),
        gettext_noop(
            "Make a real call to a model on this channel, at the shop's expense; returns its answer and cost."
        ),
        gettext_noop("Rename an account."),
        gettext_noop("Ban an account for breaking the rules: no new calls."),
        gettext_noop(
            "Refused: only a person can unban an account, in the office, after verifying their identity again."
        ),
        gettext_noop("Close an account permanently, by its exact name; its keys are revoked."),
        gettext_noop(
            "Calls per minute, tokens per minute and concurrent calls of the whole account; null means no limit."
        ),
        gettext_noop("Set all three limits of the whole account; lifting one needs a person's approval."),
        gettext_noop("An account's remaining allowance and its maximum."),
        gettext_noop("Set the maximum of an account's allowance; an increase needs another administrator's approval."),
        gettext_noop(
            "Trust an account, with another administrator's approval; or stop trusting it, effective immediately."
        ),
        gettext_noop("The members of an account with their roles and caps, oldest first, including removed ones."),
        gettext_noop("The projects of an account with their caps, oldest first."),
        gettext_noop("Holds of running calls, oldest first, 50 at most."),
        gettext_noop("The receipt of a call with its attempts; access is recorded. Costs are not shown to support."),
        gettext_noop("Announcements, latest start first."),
        gettext_noop("Publish an announcement in at least one language, starting now or at a given time."),
        gettext_noop("Remove an announcement."),
        gettext_noop("The shop's current settings."),
        gettext_noop(
            "Propose settings; a person must approve them in the office, another administrator if they affect money."
        ),
        gettext_noop("Pending and decided proposals, newest first."),
        gettext_noop("One proposal, with the values before and after."),
        gettext_noop("Decline a proposal, or withdraw one's own."),
        gettext_noop("Operators, and changes pending a second person's approval in the office."),
    }
)


def does(operation: str) -> str:
    """What an operation does, in the language of the page."""
    return gettext(operation) if operation in DOES else operation
