"""Trial credit: once a mailbox, a few a day from one network, as a lot that expires and is spent first.

What it may be, an operator sets (`trial_micro` by currency, `trial_days`); otherwise no credit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from farebox.kit import audit, options, secrets, settings
from farebox.kit.db import Tx
from farebox.ledger import chart, journal, lots

from .models import Account, Trial

PER_NETWORK_DAY = 3
_DAY_US = 86_400_000_000
_DOTS_DO_NOT_COUNT = frozenset({"gmail.com", "googlemail.com"})
_PREFIX = {4: 24, 6: 48}  # what a provider gives one customer, at most


def grant(tx: Tx, *, account: Account, email: str, address: str, now_us: int) -> int:
    """Give a new account its trial credit; the micro-units, 0 where there is none for it."""
    known = settings.values(tx)
    amount_micro = int(known["trial_micro"].get(account.currency, 0))
    if amount_micro <= 0:
        return 0
    where = network(address)
    # Sign-ups at one time come one after the other: each sees what the one before was given.
    grants = chart.own("grants", account.currency)
    journal.open_account(tx, id=grants, kind="house", currency=account.currency, floor_micro=None)
    journal.lock(tx, grants)
    today = Trial.objects.filter(network=where, granted_us__gt=now_us - _DAY_US)
    if Trial.objects.filter(id__in=_digests(email)).exists() or today.count() >= PER_NETWORK_DAY:
        audit.record(tx, actor="system", verb="trial.refuse", object=account.id)
        return 0
    Trial.objects.create(id=_digests(email)[0], account=account, network=where, granted_us=now_us)
    lots.grant(
        tx,
        account=account.id,
        currency=account.currency,
        amount_micro=amount_micro,
        ref=f"trial.{account.id}",
        expires_us=now_us + int(known["trial_days"]) * _DAY_US,
        now_us=now_us,
        note="trial credit",
        requester="system",
        single_person=True,
    )
    audit.record(tx, actor="system", verb="trial.grant", object=account.id, after=amount_micro)
    return amount_micro


def mailbox(email: str) -> str:
    """The mailbox behind an address: without case and `+tags`, and for Gmail without dots."""
    local, _, host = email.strip().lower().rpartition("@")
    local = local.partition("+")[0] or local
    if host in _DOTS_DO_NOT_COUNT:
        local, host = local.replace(".", ""), "gmail.com"
    return f"{local}@{host}"


def network(address: str) -> str:
    """The network of an address: what one household or room has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network(f"{parsed}/{_PREFIX[parsed.version]}", strict=False))


def _digests(email: str) -> list[str]:
    """What stands for the mailbox, under each pepper, that of now first: the store lists no addresses for this."""
    peppers = secrets.in_order(secrets.peppers(options.current()))
    return [secrets.digest_code(pepper, mailbox(email), label="trial") for pepper in peppers]


def rehash(tx: Tx, emails: Sequence[str]) -> int:
    """Put what stands for these mailboxes under the pepper that mints; how many."""
    del tx  # the ORM writes in the same transaction
    moved = 0
    for email in emails:
        now, *others = _digests(email)
        moved += Trial.objects.filter(id__in=others).update(id=now)
    return moved
