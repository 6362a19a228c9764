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
    "key.issue": gettext_noop("Key %(key)s was created"),
    "key.import": gettext_noop("Key %(key)s was created"),
    "key.revoke": gettext_noop("Key %(key)s was revoked"),
    "key.rotate": gettext_noop("Key %(key)s was rotated"),
    "key.leak": gettext_noop("Key %(key)s was reported as leaked and revoked"),
}
_KEY_CHANGED = gettext_noop("Key %(key)s was changed")


def low(language: str, *, account: str, left_micro: int, days: int | None, currency: str) -> tuple[str, str]:
    """Subject and text for a balance below what was asked for."""
    with translation.override(language or ENGLISH):
        facts = {"account": account, "left": money(left_micro, currency)}
        lines = [_("%(left)s is available on the account %(account)s.") % facts]
        if days is not None:
            lines.append(_("At the rate of the last seven days it lasts about %(days)d days.") % {"days": days})
        lines.append(_("Calls that it can't cover are refused. Please add credit in time."))
        return _("%(account)s: %(left)s left") % facts, letter(lines)


def expiry(language: str, *, account: str, left_micro: int, currency: str, at_us: int, zone: str) -> tuple[str, str]:
    """Subject and text for granted credit that expires soon."""
    with translation.override(language or ENGLISH):
        at = labels.at(at_us).astimezone(ZoneInfo(zone))
        facts = {"account": account, "left": money(left_micro, currency), "at": f"{at:%Y-%m-%d %H:%M} {zone}"}
        lines = [
            _("%(left)s of account %(account)s's balance is granted credit that expires on %(at)s.") % facts,
            _("Calls spend it first. Any unused part is taken back then; money that you paid in stays."),
        ]
        return _("%(account)s: %(left)s expires on %(at)s") % facts, letter(lines)


def prices(language: str, *, price_list: str, version: int, from_us: int) -> tuple[str, str]:
    """Subject and text for another version of the account's price list."""
    with translation.override(language or ENGLISH):
        facts = {"list": price_list, "version": version, "at": labels.at(from_us).strftime("%Y-%m-%d %H:%M UTC")}
        lines = [
            _("Price list %(list)s has a new version, %(version)d, in force from %(at)s.") % facts,
            _("See Prices for the old and new price of each model."),
        ]
        return _("Prices change on %(at)s") % facts, letter(lines)


def moved(language: str, *, account: str, price_list: str, before: str) -> tuple[str, str]:
    """Subject and text for an account that buys by another price list."""
    with translation.override(language or ENGLISH):
        facts = {"account": account, "list": price_list, "before": before}
        lines = [
            _("Account %(account)s now uses the price list %(list)s instead of %(before)s.") % facts,
            _("See Prices for the price of each model."),
        ]
        return _("%(account)s: price list changed") % facts, letter(lines)


def rules(language: str, *, from_us: int, zone: str) -> tuple[str, str]:
    """Subject and text for another version of the charging rules, and from when it applies."""
    with translation.override(language or ENGLISH):
        at = labels.at(from_us).astimezone(ZoneInfo(zone or "UTC"))
        facts = {"at": f"{at:%Y-%m-%d %H:%M} {zone or 'UTC'}"}
        lines = [
            _("From %(at)s, calls are charged under version 2 of the charging rules. Prices do not change.") % facts,
            _(
                "You pay for what was delivered to you, even if you end an answer early, counted as "
                "accurately as possible."
            ),
            _("Failed calls are free, within an allowance that normal use does not reach. Home shows your allowance."),
            _("Calls that start before then are charged under version 1."),
            _("Version 2, with a link to version 1:") + "\n" + f"{options.current().origin}/rules?version=2",
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
            _("The allowance for failed calls of account %(account)s is down to %(left)s of %(most)s.") % facts,
            _(
                "When it is used up, what was delivered is charged even if the call fails or you disconnect. "
                "Once you have topped up, it grows with every charge."
            ),
            _("Each call's receipt shows what it drew. How it works:")
            + "\n"
            + f"{options.current().origin}/rules?version=2#allowance",
        ]
        return _("%(account)s: allowance for failed calls is low") % facts, letter(lines)


def key(language: str, *, verb: str, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for what happened to a key."""
    with translation.override(language or ENGLISH):
        said = _(_KEY_EVENTS.get(verb, _KEY_CHANGED)) % {"key": name}
        advice = _("If you did not expect this, revoke the key under Keys and check its calls.")
        return said, letter([said, hint, advice])


def unused(language: str, *, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for a key that was not used for so long that it ended with its pepper."""
    with translation.override(language or ENGLISH):
        said = _("Key %(key)s was revoked: not used for too long") % {"key": name}
        why = _(
            "The shop replaced the secret that it recognises keys with. If you still need this key, create a new one."
        )
        return said, letter([said, hint, why])


def codes_gone(language: str) -> tuple[str, str]:
    """Subject and text for recovery codes that ended with their pepper."""
    with translation.override(language or ENGLISH):
        said = _("Your recovery codes are no longer valid")
        why = _("The shop replaced the secret that it recognises them with. Create new ones in your profile.")
        return said, letter([said, why])


def leaked(language: str, *, name: str, hint: str) -> tuple[str, str]:
    """Subject and text for a key that was found where everybody could read it, and was revoked."""
    with translation.override(language or ENGLISH):
        said = _("Key %(key)s was reported as leaked and revoked") % {"key": name}
        lines = [
            _("Someone who has the key reported it to us: it was found in a public place."),
            _(
                "Check its latest calls in the request log, create a new key, and remove the old one from "
                "where it was exposed."
            ),
        ]
        return said, letter([said, hint, *lines])


def webhook_leaked(language: str, *, account: str, email: str) -> tuple[str, str]:
    """Subject and text for a webhook whose secret somebody found and reported; it is off, mail goes out instead."""
    with translation.override(language or ENGLISH):
        facts = {"account": in_mail(account), "email": email}
        lines = [
            _("The webhook secret of %(email)s was reported to us as leaked, by someone who has it.") % facts,
            _("We no longer send to this webhook; its notifications go to %(email)s by e-mail instead.") % facts,
            _("To get a new secret, enter the webhook again under Settings. Remove the old secret from your receiver."),
        ]
        return _("%(account)s: webhook secret reported as leaked") % facts, letter(lines)


def link_leaked(language: str, *, account: str, email: str) -> tuple[str, str]:
    """Subject and text for an invitation whose link somebody found and reported; it is revoked."""
    with translation.override(language or ENGLISH):
        facts = {"account": in_mail(account), "email": email}
        lines = [
            _("The invitation link of %(email)s was reported to us as leaked, by someone who has it.") % facts,
            _("The invitation was revoked. If it is still needed, invite this person again under Team."),
        ]
        return _("%(account)s: invitation link reported as leaked and revoked") % facts, letter(lines)
