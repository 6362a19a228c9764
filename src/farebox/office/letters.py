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
    """Send an operator his one-time link, in his language, or else in that of the page of who lets him in."""
    chosen = options.current()
    with translation.override(language or translation.get_language()):
        facts = {"shop": _shop(tx), "email": email}
        lines = [
            _("You work in the office of %(shop)s, as %(email)s. Choose a password and a second factor here:") % facts,
            chosen.origin + PATH + code,
            _("The link is yours alone and works once, within 72 hours. Give it to nobody, also not to a colleague."),
            _("If you expect nothing of the kind, leave it alone and tell an administrator of the shop."),
        ]
        subject = _("Your way into the office of %(shop)s") % facts
    _send(tx, email, subject, lines)


def second_failed(tx: Tx, person: Person, address: str) -> None:
    """Tell an operator that somebody with his password keeps failing at the second factor, from this address."""
    chosen = options.current()
    with translation.override(person.language or translation.get_language()):
        facts = {"shop": _shop(tx), "address": address}
        lines = [
            _("Somebody who knows your password for the office of %(shop)s has given a wrong second factor five times.")
            % facts,
            _("It came from the address %(address)s. Further tries have to wait.") % facts,
            _("If that was not you, your password is known. Change it now, and tell an administrator:"),
            chosen.origin + reverse("office:profile"),
        ]
        subject = _("%(shop)s: wrong second factors at your sign-in") % facts
    _send(tx, person.email, subject, lines)


def owner(tx: Tx, row: Invitation, code: str) -> None:
    """Send a customer the link by which he becomes an owner of his account, in the language of who invites him."""
    with translation.override(translation.get_language() or "en"):
        facts = {"shop": _shop(tx), "account": row.account.name}
        lines = [
            _("%(shop)s invites you to be the owner of the account %(account)s.") % facts,
            _("Join here:") + "\n" + options.current().origin + JOIN + code,
            _("The link is yours alone and works once. If you expect no invitation, ignore this mail."),
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
                "Keep this message. If the trail is ever in doubt, enter the line above in the office under "
                "Audit trail, Check the chain, or give it to `farebox doctor --head`: what was changed before it, or "
                "cut off, will show."
            ),
        ]
        subject = _("Head of the audit trail of %(shop)s, %(day)s") % facts
    _send(tx, person.email, subject, lines)


def doctor(tx: Tx, person: Person, wrong: Sequence[Mapping[str, str]]) -> None:
    """Send an administrator what the daily look of the doctor found wrong: rows of `check`, `seen`, `todo`."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx)}
        lines = [
            _("The daily look at %(shop)s found what needs you now:") % facts,
            *(f"- {row['check']}: {row['seen']}\n  {row['todo']}" for row in wrong),
            _("`farebox doctor` says it again at any time, and all that is in order."),
        ]
        subject = _("Something is wrong with %(shop)s") % facts
    _send(tx, person.email, subject, lines)


_CHANNEL = {
    "channel.add": gettext_noop("The channel %(channel)s is new."),
    "channel.secret": gettext_noop("The channel %(channel)s has another key."),
    "channel.address": gettext_noop("The channel %(channel)s leads to another address."),
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
                _("It was done by %(who)s.") % facts,
                *([_("It is paused until a person switches it on.")] if row["state"] != "active" else []),
                _("Prompts of your customers go where a channel leads. If you expect no such change, pause it now:"),
                options.current().origin + reverse("office:channel", args=[ident]),
            ]
            subject = _("%(shop)s: the channel %(channel)s was changed") % facts
        _send(tx, person.email, subject, lines)


def refused(tx: Tx, person: Person, channel: str, why: str, *, page: str) -> None:
    """Tell an administrator that an upstream refuses our key, our account or a mapping of this channel.

    `page` is the id of the channel, by which its page is found; empty where the channel is gone.
    """
    chosen = options.current()
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "channel": channel}
        lines = [
            _("The upstream of the channel %(channel)s refuses us:") % facts,
            why,
            _("Its key, its account there or the name of a model is wrong. Meanwhile calls go to other channels:"),
            chosen.origin + (reverse("office:channel", args=[page]) if page else reverse("office:upstreams")),
        ]
        subject = _("%(shop)s: the channel %(channel)s is refused") % facts
    _send(tx, person.email, subject, lines)


def token_unused(tx: Tx, person: Person, name: str) -> tuple[str, str]:
    """Subject and text for an operator's token that was not used for so long that it ended with its pepper."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "name": name}
        return _("Token %(name)s of %(shop)s has ended") % facts, _(
            "The shop has changed the secret with which it recognises tokens, and this one was not used since. If a "
            "script needs it, make a new one.\n"
        )


def token_leaked(tx: Tx, person: Person, name: str) -> tuple[str, str]:
    """Subject and text for an operator's token that somebody found and reported; it is revoked."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "name": name}
        return _("Token %(name)s of %(shop)s was reported as leaked and is revoked") % facts, _(
            "Somebody who has the token reported it to us: it was found where others can read it. Look at what it did "
            "in the audit trail, and make a new one for your script.\n"
        )


def secret_leaked(tx: Tx, person: Person, channel: str) -> tuple[str, str]:
    """Subject and text for an upstream's secret that somebody found and reported; only its vendor can revoke it."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "channel": channel}
        return _("The secret of channel %(channel)s of %(shop)s was reported as leaked") % facts, _(
            "Somebody who has the secret reported it to us: it was found where others can read it. The channel "
            "goes on. Make a new secret at the upstream, enter it for the channel, and revoke the old one at the "
            "upstream.\n"
        )


def link_leaked(tx: Tx, person: Person, email: str) -> tuple[str, str]:
    """Subject and text for a link into the office that somebody found and reported; it is void."""
    with translation.override(person.language or "en"):
        facts = {"shop": _shop(tx), "email": email}
        return _("A link into the office of %(shop)s was reported as leaked") % facts, _(
            "Somebody who has the link for %(email)s reported it to us: it was found where others can read it. The "
            "link no longer works. If it is still needed, make a new one under Operators.\n"
        ) % facts


def _shop(tx: Tx) -> str:
    return str(settings.values(tx)["shop_name"] or options.current().shop_name)


def _send(tx: Tx, email: str, subject: str, lines: Sequence[str]) -> None:
    outbox.mail(tx, to=email, subject=" ".join(subject.split()), text="\n\n".join(lines) + "\n")
