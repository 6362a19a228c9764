"""Tells members what they want to be told of their accounts (accounts.notices), once each time it comes true.

What was told is remembered in the transaction that puts the message into the outbox, so nobody hears of a thing twice
or, after a crash, not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from farebox.accounts import zones
from farebox.accounts.models import ApiKey, Notice
from farebox.accounts.people import notices
from farebox.calls import totals
from farebox.calls.scope import CallScope
from farebox.catalog.models import PriceListVersion
from farebox.console import telling
from farebox.kit.db import Tx
from farebox.kit.models import AuditEvent
from farebox.ledger import holds, lots

PACE_DAYS = 7
WEEK_US = 7 * 86_400_000_000
EVENTS_AT_ONCE = 50
QUIET_VERBS = ("key.rename", "key.set_note")


def due(tx: Tx) -> list[str]:
    """Those who want to be told anything."""
    del tx  # the ORM reads in the same transaction
    rows = Notice.objects.filter(account__state__in=["active", "frozen"], person__is_active=True)
    return [row.id for row in rows.order_by("id") if notices.wishes(row).any]


def tell(tx: Tx, notice: str, now_us: int) -> int:
    """Tell one member what has come true since he was told last; how many messages."""
    row = Notice.objects.select_related("person", "account").filter(id=notice).first()
    if row is None or not row.person.member_set.filter(account=row.account_id, state="active").exists():
        return 0
    before = notices.told(row)
    facts = dict(before)
    wanted, many = notices.wishes(row), 0
    for event, words, data in _news(tx, row, wanted, facts, now_us):
        notices.tell(tx, row, event=event, subject=words[0], text=words[1], data=data)
        many += 1
    if facts != before:
        notices.remember(tx, row, facts)
    return many


def _news(
    tx: Tx, row: Notice, wanted: notices.Wishes, facts: dict[str, Any], now_us: int
) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    if wanted.low and notices.sees_balance(person=row.person_id, account=row.account_id):
        yield from _low(tx, row, wanted, facts, now_us)
    if wanted.expiry and notices.sees_balance(person=row.person_id, account=row.account_id):
        yield from _expiry(tx, row, facts, now_us)
    if wanted.prices:
        yield from _prices(row, facts)
    if wanted.keys:
        yield from _keys(row, facts)


def _low(
    tx: Tx, row: Notice, wanted: notices.Wishes, facts: dict[str, Any], now_us: int
) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    """Once when it falls below, and again only after it has risen above."""
    left_micro = holds.balance(tx, row.account_id)[2]
    pace_micro = _pace(tx, row.account_id, now_us)
    days = max(0, left_micro) // pace_micro if pace_micro > 0 else None
    is_low = (wanted.low_micro is not None and left_micro < wanted.low_micro) or (
        wanted.low_days is not None and days is not None and days < wanted.low_days
    )
    was_low, facts["low"] = facts.get("low", False), is_low
    if is_low and not was_low:
        account = row.account
        words = telling.low(
            row.person.language, account=account.name, left_micro=left_micro, days=days, currency=account.currency
        )
        yield "balance.low", words, {"available_micro": left_micro, "currency": account.currency, "days": days}


def _expiry(
    tx: Tx, row: Notice, facts: dict[str, Any], now_us: int
) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    """Once for each lot, a week before its end."""
    soon = [lot for lot in lots.expiring(tx, row.account_id, now_us=now_us) if (lot.expires_us or 0) < now_us + WEEK_US]
    known, facts["expiry"] = facts.get("expiry", []), [lot.id for lot in soon]
    account = row.account
    for lot in soon:
        if lot.id not in known:
            words = telling.expiry(
                row.person.language,
                account=account.name,
                left_micro=lot.amount_micro,
                currency=account.currency,
                at_us=lot.expires_us or 0,
                zone=row.person.time_zone or account.time_zone,
            )
            data = {"amount_micro": lot.amount_micro, "currency": account.currency, "expires_us": lot.expires_us}
            yield "credit.expires", words, data


def _prices(row: Notice, facts: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    """Another version of the account's list, or another list: that is told once, whatever versions it has."""
    name = row.account.price_list_id
    newest = PriceListVersion.objects.filter(price_list=name).order_by("-n").first()
    key = f"prices.{name}"
    known, facts[key] = facts.get(key), newest.n if newest else 0
    before, facts["price_list"] = facts.get("price_list"), name
    if before not in {None, name}:
        facts.pop(f"prices.{before}", None)
        words = telling.moved(row.person.language, account=row.account.name, price_list=name, before=before)
        yield "prices.list", words, {"price_list": name, "before": before}
        return
    if newest is None or known is None or newest.n <= known:
        return
    words = telling.prices(row.person.language, price_list=name, version=newest.n, from_us=newest.valid_from_us)
    yield "prices.change", words, {"price_list": name, "version": newest.n, "valid_from_us": newest.valid_from_us}


def _keys(row: Notice, facts: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str], dict[str, Any]]]:
    """What the audit trail says of keys that this member may see; those of the playground come and go unsaid."""
    known = facts.get("keys")
    events = AuditEvent.objects.filter(verb__startswith="key.").exclude(verb__in=QUIET_VERBS)
    newest = events.order_by("-id").values_list("id", flat=True).first() or ""
    facts["keys"] = newest
    if known is None or newest <= known:
        return
    places = list(row.person.member_set.filter(account=row.account_id, state="active"))
    keys = ApiKey.objects.filter(account=row.account_id, kind="")
    if not any(place.role == "owner" for place in places):
        keys = keys.filter(member__in=places)
    mine = {key.id: key for key in keys}
    found = list(events.filter(id__gt=known, object__in=list(mine)).order_by("id")[:EVENTS_AT_ONCE])
    if len(found) == EVENTS_AT_ONCE:
        facts["keys"] = found[-1].id  # the rest comes with the next round
    for event in found:
        key = mine[event.object]
        words = telling.key(row.person.language, verb=event.verb, name=key.name, hint=key.hint)
        yield event.verb, words, {"key": key.id, "name": key.name, "hint": key.hint, "state": key.state}


def _pace(tx: Tx, account: str, now_us: int) -> int:
    """What the account spent a day in the last seven whole days, in micro-units."""
    today = zones.day(now_us, zones.of(tx, account))
    days = [zones.later(today, -back) for back in (PACE_DAYS, 1)]
    found = totals.days(tx, CallScope(account), from_day=days[0], until_day=days[1])
    return sum(sums.charge_micro for sums in found.values()) // PACE_DAYS
