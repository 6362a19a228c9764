"""Refusals of the rooms below in the language of the page, as far as an operator meets them; others stay English."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from farebox.kit.errors import CommandError

SENTENCES = frozenset(
    {
        gettext_noop("You have proposed this yourself: another person approves it."),
        gettext_noop("You have drawn this up yourself: another person publishes it."),
        gettext_noop("These are the prices of the list already: nothing would change."),
        gettext_noop("The price list has a newer version than this draft knows. Draw it up anew."),
        gettext_noop("The day on which this draft should begin has passed. Draw it up anew."),
        gettext_noop("A version can't begin in the past. Leave its time out to begin now."),
        gettext_noop("Nothing is available on this account that could be taken."),
        gettext_noop("The amount is more than nothing."),
        gettext_noop("Name the call: this account has no charge of that call."),
        gettext_noop("The charge of this call was given back already."),
        gettext_noop("Only what is left on a barred or closed account is written off."),
        gettext_noop("This is an account of your own: another person has to do it."),
        gettext_noop("This account is closed."),
        gettext_noop("The end lies after the beginning, and in the future."),
        gettext_noop("Granted credit alone expires, and in the future."),
        gettext_noop("A token has no more rights than you."),
    }
)


def sentence(fault: CommandError) -> str:
    """What to show of a refusal."""
    return _(fault.message) if fault.message in SENTENCES else fault.message
