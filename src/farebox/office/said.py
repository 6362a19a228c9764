"""What the rooms below answer, in the language of the page: their sentences that an operator can meet here."""

from __future__ import annotations

import re

from django.utils.translation import gettext, gettext_noop

from farebox.kit.errors import FareboxError

_WHOLE = (
    gettext_noop("This link was used before, or it is too old. Ask for a new one."),
    gettext_noop("This passkey could not be read. Please try again."),
    gettext_noop("This is the only second factor. Add another one first."),
    gettext_noop("Another administrator must approve this."),
    gettext_noop("The address leads to another place: give the upstream's key again."),
    gettext_noop("This change was decided before."),
    gettext_noop("This change was decided before, or it waited for longer than 72 hours."),
    gettext_noop("A name is no password. Please choose another."),
    gettext_noop("This password is one of the commonest. Please choose another."),
    gettext_noop("A password has 8 to 256 characters."),
    gettext_noop("There is no such language or time zone."),
    gettext_noop("Another test is running. Wait for it, then try again."),
    gettext_noop("The upstream has not answered within 30 seconds."),
    gettext_noop("The secret is empty. To send none, set the quirk no_auth."),
    gettext_noop("A channel needs the upstream's secret, unless it is local or has the quirk no_auth."),
)
# A sentence that names something, as a pattern, and as its words.
_NAMING = (
    (r"'?(?P<what>.+?)'? is no e-mail address\.", gettext_noop("%(what)s is no e-mail address.")),
    (
        r"There is a person with the e-mail address (?P<what>.+) already\.",
        gettext_noop("There is a person with the e-mail address %(what)s already."),
    ),
    (r"There is an upstream (?P<what>.+) already\.", gettext_noop("There is an upstream %(what)s already.")),
    (r"There is a channel (?P<what>.+) already\.", gettext_noop("There is a channel %(what)s already.")),
    (r"(?P<what>.+) has that role already\.", gettext_noop("%(what)s has that role already.")),
    (
        r"(?P<what>.+) is the last administrator\. Make another one first\.",
        gettext_noop("%(what)s is the last administrator. Make another one first."),
    ),
    (
        r"(?P<what>.+) is a member of an account\. An operator needs an e-mail address of his own\.",
        gettext_noop("%(what)s is a member of an account. An operator needs an e-mail address of his own."),
    ),
    (
        r"A change of (?P<what>.+) waits for its second person already\.",
        gettext_noop("A change of %(what)s waits for its second person already."),
    ),
    (r"The base URL can't be used: (?P<what>.+)", gettext_noop("The base URL can't be used: %(what)s")),
    (r"The cost of (?P<what>.+) can't be read: .+", gettext_noop("The cost of %(what)s can't be read.")),
)


def said(fault: FareboxError) -> str:
    """The sentence of a refusal in the language of the page; as it is where it has no other words."""
    if fault.message in _WHOLE:
        return gettext(fault.message)
    for pattern, words in _NAMING:
        if found := re.fullmatch(pattern, fault.message):
            return gettext(words) % found.groupdict()
    return fault.message
