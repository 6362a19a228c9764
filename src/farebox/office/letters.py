"""What the office mails: an operator's link to a password and a second factor; the audit trail's head to auditors.

And to administrators what the doctor found wrong, and which channel is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from farebox.accounts import customers
from farebox.accounts.models import Invitation, Person
from farebox.kit import options, outbox, settings
from farebox.kit.chain import Head
from farebox.kit.db import Tx
from farebox.upstreams import channels

PATH = "/office/set-up?code="
JOIN = "/join/"


def way_in(tx: Tx, email: str, language: str, code: str) -> None:
    """Send an operator their one-time link, in their language, or else in that of the page of who lets them in."""
    chosen = options.current()
    with translation.override(language or translation.get_language()):
        facts = {"shop": _shop(tx), "email": email}
        lines = [
            _("You have access to the office of %(shop)s as %(email)s. Set a password and a second factor here:")
            % facts,
            chosen.origin + PATH + code,
            _(
                "The link is personal and works once, within 72 hours. Don't share it with anyone, including "
                "colleagues."
            ),
            _("If you did not expect this, don't open the link, and tell an administrator."),
        ]
        subject = _("Your access to the office of %(shop)s") % facts
    _send(tx, email, subject, lines)


def second_failed(tx: Tx, person: Person, address: str) -> None:
    """Tell an operator that somebody with their password keeps failing at the second factor, from this address."""
    chosen = options.current()
    with translation.override(person.language or translation.get_language()):
        facts = {"shop": _shop(tx), "address": address}
        lines = [
            _("Someone who knows your password for the office of %(shop)s entered a wrong second factor five times.")
            % facts,
            _("IP address: %(address)s. Further attempts are delayed.") % facts,
            _("If this was not you, your password is known to others. Change it now, and tell an administrator:"),
            chosen.origin + reverse("office:profile"),
        ]
        subject = _("%(shop)s: failed second factors at your sign-in") % facts
    _send(tx, person.email, subject, lines)


def owner(tx: Tx, row: Invitation, code: str) -> None:
    """Send a customer the link by which he becomes an owner of his account, in the language of who invites him."""
    with translation.override(translation.get_language() or "en"):
        facts = {"shop": _shop(tx), "account": row.account.name}
        lines = [
            _("%(shop)s invites you to be the owner of the account %(account)s.") % facts,
            _("Join here:") + "\n" + options.current().origin + JOIN + code,
            _("The link is personal and works once. If you did not expect an invitation, ignore this message."),
        ]
        subject = _("Your account at %(shop)s") % facts
    outbox.mail(tx, to=row.email, subject=" ".join(subject.split()), text="\n\n".join(lines) + "\n")


def head(tx: Tx, person: Person, newest: Head, day: str) -> None:
    """Send an auditor the head of the audit trail's chain on a UTC day (ISO), to be kept where the shop is not."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "day": day}
        lines = [
            _("The head of the audit trail of %(shop)s on %(day)s:") % facts,
            str(newest),
            _(
                "Keep this message. To check the trail later, enter the line above in the office under Audit "
                "trail, Check the chain, or pass it to `farebox doctor --head`: earlier changes or removals "
                "will show."
            ),
        ]
        subject = _("Head of the audit trail of %(shop)s, %(day)s") % facts
    _send(tx, person.email, subject, lines)


def doctor(tx: Tx, person: Person, wrong: Sequence[Mapping[str, str]]) -> None:
    """Send an administrator what the daily look of the doctor found wrong: rows of `check`, `seen`, `todo`."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx)}
        lines = [
            _("The daily check of %(shop)s found problems that need attention now:") % facts,
            *(f"- {row['check']}: {row['seen']}\n  {row['todo']}" for row in wrong),
            _("Run `farebox doctor` at any time for the full report."),
        ]
        subject = _("Problems found at %(shop)s") % facts
    _send(tx, person.email, subject, lines)


_CHANNEL = {
    "channel.add": gettext_noop("Channel %(channel)s was added."),
    "channel.secret": gettext_noop("The key of channel %(channel)s was changed."),
    "channel.address": gettext_noop("The address of channel %(channel)s was changed."),
}


def channel(tx: Tx, verb: str, ident: str, *, actor: str) -> None:
    """Tell every administrator of a new channel, or of another key or address of one: prompts of customers go there.

    `verb` is that of the audit trail; what a script made is paused, and the letter says so.
    """
    row = next(each for each in channels.listed(tx) if each["id"] == ident)
    who = customers.named(actor, customers.names(tx, [actor]))
    for person in Person.objects.filter(operator_role="admin", is_active=True).order_by("id"):
        with translation.override(person.language or "en"):
            facts = {"shop": _shop(tx), "channel": row["name"], "who": who}
            lines = [
                _(_CHANNEL[verb]) % facts,
                row["base_url"],
                _("Changed by %(who)s.") % facts,
                *([_("It is paused until a person enables it.")] if row["state"] != "active" else []),
                _("Customers' prompts go to the channel's address. If you did not expect this change, pause it now:"),
                options.current().origin + reverse("office:channel", args=[ident]),
            ]
            subject = _("%(shop)s: channel %(channel)s was changed") % facts
        _send(tx, person.email, subject, lines)


def refused(tx: Tx, person: Person, channel: str, why: str, *, page: str) -> None:
    """Tell an administrator that an upstream refuses our key, our account or a mapping of this channel.

    `page` is the id of the channel, by which its page is found; empty where the channel is gone.
    """
    chosen = options.current()
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "channel": channel}
        lines = [
            _("The upstream of the channel %(channel)s refuses our calls:") % facts,
            why,
            _("The key, the upstream account or a model name may be wrong. Meanwhile, calls go to other channels:"),
            chosen.origin + (reverse("office:channel", args=[page]) if page else reverse("office:upstreams")),
        ]
        subject = _("%(shop)s: channel %(channel)s is refused") % facts
    _send(tx, person.email, subject, lines)


def token_unused(tx: Tx, person: Person, name: str) -> tuple[str, str]:
    """Subject and text for an operator's token that was not used for so long that it ended with its pepper."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "name": name}
        return _("Token %(name)s of %(shop)s has been revoked") % facts, _(
            "The shop replaced the secret that it recognises tokens with, and this token has not been used "
            "since. If a script needs it, create a new one.\n"
        )


def token_leaked(tx: Tx, person: Person, name: str) -> tuple[str, str]:
    """Subject and text for an operator's token that somebody found and reported; it is revoked."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "name": name}
        return _("Token %(name)s of %(shop)s was reported as leaked and is revoked") % facts, _(
            "Someone who has the token reported it to us: it was found in a public place. Check its actions "
            "in the audit trail, and create a new one for your script.\n"
        )


def secret_leaked(tx: Tx, person: Person, channel: str) -> tuple[str, str]:
    """Subject and text for an upstream's secret that somebody found and reported; only its vendor can revoke it."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "channel": channel}
        return _("The secret of channel %(channel)s of %(shop)s was reported as leaked") % facts, _(
            "Someone who has the secret reported it to us: it was found in a public place. The channel keeps "
            "working. Create a new secret at the upstream, enter it for the channel, and revoke the old one "
            "at the upstream.\n"
        )


def link_leaked(tx: Tx, person: Person, email: str) -> tuple[str, str]:
    """Subject and text for a link into the office that somebody found and reported; it is void."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "email": email}
        return _("A link to the office of %(shop)s was reported as leaked") % facts, _(
            "Someone who has the link for %(email)s reported it to us: it was found in a public place. The "
            "link no longer works. If it is still needed, create a new one under Operators.\n"
        ) % facts


def _shop(tx: Tx) -> str:
    return str(settings.values(tx)["shop_name"] or options.current().shop_name)


def _send(tx: Tx, email: str, subject: str, lines: Sequence[str]) -> None:
    outbox.mail(tx, to=email, subject=" ".join(subject.split()), text="\n\n".join(lines) + "\n")
