"""What members want to be told of their account: by mail, or by a webhook signed with a secret of their own."""

from __future__ import annotations

import secrets as random_
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from farebox.accounts.models import Member, Notice
from farebox.kit import audit, clock, ids, options, outbox, secrets, webhook
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.fetch import AddressRefused

URL_CHARS_MAX = 500
SECRET = "whsec_"  # noqa: S105 - how all of them begin
LOW_DAYS_MAX = 365
LOW_DAYS = 3
# What is remembered of each kind of news, by the beginning of its name.
_TOLD = {"low": ("low",), "prices": ("price_list", "prices."), "keys": ("keys",), "expiry": ("expiry",)}


@dataclass(frozen=True, slots=True)
class Wishes:
    """When to be told (nothing by default), and how. `low_micro` and `low_days` None ask for no word."""

    low_micro: int | None = None
    low_days: int | None = None
    prices: bool = False
    keys: bool = False
    by_mail: bool = True
    webhook_url: str = ""
    expiry: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything to tell at all."""
        return self.low or self.prices or self.keys or self.expiry

    @property
    def low(self) -> bool:
        """Whether to be told of a low balance."""
        return self.low_micro is not None or self.low_days is not None


def read(tx: Tx, *, person: str, account: str) -> Wishes:
    """The wishes of a person about an account."""
    del tx  # the ORM reads in the same transaction
    row = Notice.objects.filter(person=person, account=account).first()
    return Wishes() if row is None else wishes(row)


def wishes(row: Notice) -> Wishes:
    """What is in a row."""
    return Wishes(row.low_micro, row.low_days, row.prices, row.keys, row.by_mail, row.webhook_url, row.expiry)


def begin(tx: Tx, *, person: str, account: str, now_us: int) -> None:
    """What a new owner is told by mail unless he says otherwise: three days of balance left, credit that expires.

    Who was a member before could not ask for it; what else he has asked for stays.
    """
    del tx  # the ORM writes in the same transaction
    wanted = {"low_days": LOW_DAYS, "expiry": True}
    row = {"id": ids.new("ntc", now_us), "told": _told({"since_us": now_us}), **wanted}
    _, made = Notice.objects.get_or_create(person_id=person, account_id=account, defaults=row)
    if not made:
        silent = Notice.objects.filter(person=person, account=account, low_micro=None, low_days=None, expiry=False)
        silent.update(**wanted)


def sees_balance(*, person: str, account: str) -> bool:
    """Whether this person may know what is left on the account: its owners may."""
    return Member.objects.filter(person=person, account=account, role="owner", state="active").exists()


def put(tx: Tx, *, person: str, account: str, wanted: Wishes, actor: str) -> str:
    """Keep the wishes; a new webhook's secret, to be shown once, or empty.

    What is switched on begins now, whatever was told before. CommandError for an impossible address, and for the
    balance where the person is no owner.
    """
    if (wanted.low or wanted.expiry) and not sees_balance(person=person, account=account):
        raise CommandError("notice.owners")
    if wanted.webhook_url:
        try:
            webhook.check(wanted.webhook_url)
        except AddressRefused as fault:
            raise CommandError("notice.url", why=fault.refusal) from None
    if len(wanted.webhook_url) > URL_CHARS_MAX:
        raise CommandError("notice.url_length", most=URL_CHARS_MAX)
    now_us = clock.now_us()
    row = Notice.objects.filter(person=person, account=account).first()
    if row is None:
        row = Notice(id=ids.new("ntc", now_us), person_id=person, account_id=account, told=_told({"since_us": now_us}))
    before, secret = wishes(row), ""
    row.told = _told(_kept(told(row), before, wanted))
    if wanted.webhook_url and wanted.webhook_url != before.webhook_url:
        secret = f"{SECRET}{random_.token_urlsafe(24)}"
        row.webhook_secret = _sealed(row.id, secret)
    elif not wanted.webhook_url:
        row.webhook_secret = ""
    row.low_micro, row.low_days = wanted.low_micro, wanted.low_days
    row.prices, row.keys, row.by_mail = wanted.prices, wanted.keys, wanted.by_mail
    row.webhook_url, row.expiry = wanted.webhook_url, wanted.expiry
    row.save()
    audit.record(tx, actor=actor, verb="notice.put", object=account, before=_shown(before), after=_shown(wanted))
    return secret


def by_secrets(texts: Sequence[str]) -> list[str]:
    """The ids of the notices whose webhooks are signed with one of these; each is unsealed once."""
    wanted = {text for text in texts if text.startswith(SECRET)}
    if not wanted:
        return []
    return [str(row.id) for row in Notice.objects.exclude(webhook_secret="") if _unsealed(row) in wanted]


def drop_webhook(tx: Tx, row: Notice) -> bool:
    """Send no more to a webhook, and mail in its place; whether there was one."""
    del tx  # the ORM writes in the same transaction
    rows = Notice.objects.filter(id=row.id, webhook_secret=row.webhook_secret)
    return rows.update(webhook_url="", webhook_secret="", by_mail=True) == 1


def told(row: Notice) -> dict[str, Any]:
    """What he was told last."""
    return dict(msgspec.json.decode(row.told))


def tell(tx: Tx, row: Notice, *, event: str, subject: str, text: str, data: dict[str, Any]) -> None:
    """Let one word leave, by the ways that he wants."""
    if row.by_mail:
        outbox.mail(tx, to=row.person.email, subject=subject, text=text)
    if row.webhook_url and row.webhook_secret:
        secret = _unsealed(row)
        facts = {"account": row.account_id, **data}
        outbox.webhook(tx, url=row.webhook_url, secret=secret, event=event, data=facts)


def remember(tx: Tx, row: Notice, facts: dict[str, Any]) -> None:
    """Keep what he was told, so that he is told once."""
    del tx  # the ORM writes in the same transaction
    Notice.objects.filter(id=row.id).update(told=_told(facts))


def _unsealed(row: Notice) -> str:
    master = secrets.master_keys(options.current())
    return secrets.unseal(master, row.webhook_secret, table="accounts_notice", column="webhook_secret", row=row.id)


def _sealed(row: str, secret: str) -> str:
    master = secrets.master_keys(options.current())
    return secrets.seal(master, secret, table="accounts_notice", column="webhook_secret", row=row)


def _kept(facts: dict[str, Any], before: Wishes, wanted: Wishes) -> dict[str, Any]:
    """What was told, without the kinds of news that were switched on or off."""
    gone = tuple(
        name for kind, names in _TOLD.items() if getattr(before, kind) != getattr(wanted, kind) for name in names
    )
    return {name: fact for name, fact in facts.items() if not name.startswith(gone)}


def _told(facts: dict[str, Any]) -> str:
    return msgspec.json.encode(facts).decode()


def _shown(wanted: Wishes) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in Wishes.__slots__}
