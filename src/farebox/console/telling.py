"""The words of what members want to be told: a low balance, changed prices, what happened to keys."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from farebox.kit import options
from farebox.look.letter_words import in_mail, letter
from farebox.look.middleware import ENGLISH
from farebox.look.templatetags.look import money

from . import labels

_KEY_EVENTS = {
    "key.issue": gettext_noop("Key %(key)s was made"),
    "key.import": gettext_noop("Key %(key)s was made"),
    "key.revoke": gettext_noop("Key %(key)s was revoked"),
    "key.rotate": gettext_noop("Key %(key)s was rotated"),
    "key.leak": gettext_noop("Key %(key)s was reported as leaked and is revoked"),
}
_KEY_CHANGED = gettext_noop("Key %(key)s was changed")


def low(language: str, *, account: str, left_micro: int, days: int | None, currency: str) -> tuple[str, str]:
    """Subject and text for a balance below what was asked for."""
    with translation.override(language or ENGLISH):
        facts = {"account": account, "left": money(left_micro, currency)}
        lines = [_("%(left)s is available on the account %(account)s.") % facts]
        if days is not None:
            lines.append(_("At the pace of the last seven days it lasts for about %(days)d days.") % {"days": days})
        lines.append(_("Calls that it can't pay are refused. Top up in time."))
        return _("%(account)s: %(left)s left") % facts, letter(lines)


def expiry(language: str, *, account: str, left_micro: int, currency: str, at_us: int, zone: str) -> tuple[str, str]:
    """Subject and text for granted credit that expires soon."""
    with translation.override(language or ENGLISH):
        at = labels.at(at_us).astimezone(ZoneInfo(zone))
        facts = {"account": account, "left": money(left_micro, currency), "at": f"{at:%Y-%m-%d %H:%M} {zone}"}
        lines = [
            _("%(left)s of the balance of the account %(account)s is granted credit that expires on %(at)s.") % facts,
            _("Calls spend it first. What is left of it then is taken back; money that was paid in stays."),
        ]
        return _("%(account)s: %(left)s expires on %(at)s") % facts, letter(lines)


def prices(language: str, *, price_list: str, version: int, from_us: int) -> tuple[str, str]:
    """Subject and text for another version of the account's price list."""
    with translation.override(language or ENGLISH):
        facts = {"list": price_list, "version": version, "at": labels.at(from_us).strftime("%Y-%m-%d %H:%M UTC")}
        lines = [
            _("The price list %(list)s has a new version, %(version)d. It is valid from %(at)s.") % facts,
            _("What each model costs then, and cost before, stands under Prices."),
        ]
        return _("Prices change on %(at)s") % facts, letter(lines)


def moved(language: str, *, account: str, price_list: str, before: str) -> tuple[str, str]:
    """Subject and text for an account that buys by another price list."""
    with translation.override(language or ENGLISH):
        facts = {"account": account, "list": price_list, "before": before}
        lines = [
            _("The account %(account)s now buys by the price list %(list)s, and no longer by %(before)s.") % facts,
            _("What each model costs stands under Prices."),
        ]
        return _("%(account)s: another price list") % facts, letter(lines)


def rules(language: str, *, from_us: int, zone: str) -> tuple[str, str]:
    """Subject and text for another version of the charging rules, and from when it applies."""
    with translation.override(language or ENGLISH):
        at = labels.at(from_us).astimezone(ZoneInfo(zone or "UTC"))
        facts = {"at": f"{at:%Y-%m-%d %H:%M} {zone or 'UTC'}"}
        lines = [
            _("From %(at)s calls are charged by version 2 of the charging rules. Prices stay as they are.") % facts,
            _("You pay for what reached you, also when you end an answer early, counted as well as we can."),
            _("Failed calls are free, within an allowance that honest use does not reach. Home shows your allowance."),
            _("Calls that begin before are charged by version 1."),
            _("Version 2 in plain words, with a link to version 1:")
            + "\n"
            + f"{options.current().origin}/rules?version=2",
        ]
        return _("Charging rules version 2 apply from %(at)s") % facts, letter(lines)


def allowance(language: str, *, account: str, left_micro: int, most_micro: int, currency: str) -> tuple[str, str]:
    """Subject and text for an allowance that is down to a fifth."""
    with translation.override(language or ENGLISH):
        facts = {
            "account": account,
            "left": money(max(0, left_micro), currency),
            "most": money(most_micro, currency),
        }
        lines = [
            _("The allowance of the account %(account)s for failed calls is down to %(left)s of at most %(most)s.")
            % facts,
            _(
                "When it is used up, what reached you is charged even if the call fails or you leave. Once you have "
                "paid money in, it grows with every charge."
            ),
            _("The receipts of your calls show what each has drawn. How it works:")
            + "\n"
            + f"{options.current().origin}/rules?version=2#allowance",
        ]
        return _("%(account)s: allowance for failed calls is low") % facts, letter(lines)


def key(language: str, *, verb: str, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for what happened to a key."""
    with translation.override(language or ENGLISH):
        said = _(_KEY_EVENTS.get(verb, _KEY_CHANGED)) % {"key": name}
        advice = _("If that was not meant to happen, revoke the key under Keys and look at its calls.")
        return said, letter([said, hint, advice])


def unused(language: str, *, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for a key that was not used for so long that it ended with its pepper."""
    with translation.override(language or ENGLISH):
        said = _("Key %(key)s has ended: it was not used for too long") % {"key": name}
        why = _("The shop has changed the secret with which it recognises keys. If you need this key, make a new one.")
        return said, letter([said, hint, why])


def codes_gone(language: str) -> tuple[str, str]:
    """Subject and text for recovery codes that ended with their pepper."""
    with translation.override(language or ENGLISH):
        said = _("Your recovery codes have ended")
        why = _("The shop has changed the secret with which it recognises them. Make new ones in your profile.")
        return said, letter([said, why])


def leaked(language: str, *, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for a key that was found where everybody could read it, and was revoked."""
    with translation.override(language or ENGLISH):
        said = _("Key %(key)s was reported as leaked and is revoked") % {"key": name}
        lines = [
            _("Somebody who has the key reported it to us: it was found where others can read it."),
            _("Look at its last calls in the request log, make a new key, and remove the old one from where it was."),
        ]
        return said, letter([said, hint, *lines])


def webhook_leaked(language: str, *, account: str, email: str) -> tuple[str, str]:
    """Subject and text for a webhook whose secret somebody found and reported; it is off, mail goes out instead."""
    with translation.override(language or ENGLISH):
        facts = {"account": in_mail(account), "email": email}
        lines = [
            _("Somebody who has the secret of the webhook of %(email)s reported it to us as leaked.") % facts,
            _("We no longer send to this webhook, and mail its notices to %(email)s instead.") % facts,
            _("Enter the webhook again under Settings to get a new secret, and remove the old one from your receiver."),
        ]
        return _("%(account)s: the secret of a webhook was reported as leaked") % facts, letter(lines)


def link_leaked(language: str, *, account: str, email: str) -> tuple[str, str]:
    """Subject and text for an invitation whose link somebody found and reported; it is revoked."""
    with translation.override(language or ENGLISH):
        facts = {"account": in_mail(account), "email": email}
        lines = [
            _("Somebody who has the link of the invitation of %(email)s reported it to us as leaked.") % facts,
            _("The invitation is revoked. If it is still needed, invite this person again under Team."),
        ]
        return _("%(account)s: an invitation link was reported as leaked and is revoked") % facts, letter(lines)
