"""Signing up: a person first, and their account when the mailbox is confirmed.

A sign-up that is never confirmed leaves nothing in the books: it makes only a person, who is deleted after a day.
With the confirmation come, in one transaction, account, ledger account, project, ownership and trial credit.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import available_timezones

from allauth.account.models import EmailAddress

from farebox.accounts import accounts, trial
from farebox.accounts.keys import rates
from farebox.accounts.models import Account, Member, Person
from farebox.accounts.people import people
from farebox.catalog import public_list
from farebox.catalog.models import PriceList
from farebox.kit import audit, options, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

UNCONFIRMED_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A new account, and the trial credit that it was given."""

    account: Account
    trial_micro: int


@dataclass(frozen=True, slots=True)
class TrialOffer:
    """Trial credit as it is told beforehand: how much, and the days that it lasts."""

    amount_micro: int
    currency: str
    days: int


def register(
    tx: Tx, *, email: str, password_hash: str | None, language: str = "", time_zone: str = "", now_us: int
) -> Person:
    """A person who signs up by himself, in his browser's time zone; CommandError where the address has a person."""
    person = people.create(tx, email=email, password_hash=password_hash, now_us=now_us, actor="sign-up")
    person.language, person.by_sign_up = language, True
    if time_zone in available_timezones():
        person.time_zone = time_zone
    person.save(update_fields=["language", "time_zone", "by_sign_up"])
    return person


def open_account(tx: Tx, person: str, *, address: str, now_us: int) -> NewAccount | None:
    """The account of a person whose mailbox is confirmed, with its trial credit; None if he has a place already.

    CommandError while the shop has said by no setting and no list in what currency it sells.
    """
    found = people.find(person)
    # He confirms twice at one time: the second one waits here, and then has a place.
    list(Person.objects.select_for_update(no_key=True).filter(id=found.id))
    if found.operator_role or Member.objects.filter(person=found, state="active").exists():
        return None
    sold_by = price_list(tx)
    if sold_by is None:
        raise CommandError("signup.no_price_list")
    actor = f"person:{found.id}"
    account, _ = accounts.open_account(
        tx,
        name=(found.name or found.email.partition("@")[0])[: accounts.NAME_CHARS_MAX],
        currency=sold_by.currency,
        price_list=sold_by.name,
        time_zone=found.time_zone,
        now_us=now_us,
        actor=actor,
    )
    people.add_member(tx, account=account.id, person=found.id, role="owner", now_us=now_us, actor=actor)
    chosen = options.current()
    if chosen.new_account_rpm or chosen.new_account_tpm:
        rates.limit(
            tx, "account", account.id, rpm=chosen.new_account_rpm or None, tpm=chosen.new_account_tpm or None,
            concurrency=None, actor="system",
        )  # fmt: skip
    given_micro = trial.grant(tx, account=account, email=found.email, address=address, now_us=now_us)
    return NewAccount(account, given_micro)


def price_list(tx: Tx) -> PriceList | None:
    """What new accounts buy by: the setting, or else the public list.

    Where no list was chosen for visitors, `signup_currency` picks; a name that fits no list is as good as none.
    """
    known = settings.values(tx)
    wanted = known["signup_price_list"] or public_list.name(tx, currency=known["signup_currency"])
    return PriceList.objects.filter(name=wanted).first()


def offered(tx: Tx) -> TrialOffer | None:
    """The trial credit that a new account is given now; None where there is none."""
    known = settings.values(tx)
    sold_by = price_list(tx) if known["trial_micro"] else None
    amount_micro = 0 if sold_by is None else int(known["trial_micro"].get(sold_by.currency, 0))
    if sold_by is None or amount_micro <= 0:
        return None
    return TrialOffer(amount_micro, sold_by.currency, int(known["trial_days"]))


def forget(tx: Tx, *, now_us: int) -> int:
    """Forget persons who signed up more than a day ago and never confirmed their mailbox; how many."""
    confirmed = EmailAddress.objects.filter(verified=True).values("user")
    rows = Person.objects.filter(by_sign_up=True, operator_role="", created_us__lt=now_us - UNCONFIRMED_US)
    gone = 0
    for person in rows.exclude(id__in=confirmed).exclude(id__in=Member.objects.values("person"))[:500]:
        audit.record(tx, actor="system", verb="person.forget", object=person.id)
        person.delete()
        gone += 1
    return gone
