"""What a key may know of its own account: balance, calls, receipts, and OpenAI's old billing pages (R33: free)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from farebox.accounts import allowed
from farebox.accounts.keys.caller import Caller
from farebox.calls import log
from farebox.kit import errors, money
from farebox.kit.db import Tx
from farebox.ledger import allowance, holds

from .ports import Ports

_SECONDS_DIGITS_MAX = 12
_PAGE_MAX = 100
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_CALL_ID = re.compile(r"call_[0-9A-Za-z]{25}\Z")
_FAR_S = 4_102_444_800  # 2100-01-01


async def balance(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """Balance, held and available of the account, in micro-units and as text, and what it may be forgiven."""
    del name, query
    (posted_micro, held_micro, available_micro), left = await ports.store.read(_left, ports, caller)
    return {
        "object": "balance",
        "currency": caller.currency,
        "balance_micro": posted_micro,
        "held_micro": held_micro,
        "available_micro": available_micro,
        "balance": money.exact(posted_micro),
        "held": money.exact(held_micro),
        "available": money.exact(available_micro),
        "allowance": left,
    }


async def calls(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """Calls of this key, newest first: `limit` (1 to 100, 20), `after` (the last id of the page before)."""
    del name
    limit = _limit(query.get("limit"))
    after = query.get("after")
    if after is not None and not _CALL_ID.match(after):
        raise errors.BadRequest("Invalid value for 'after': the id of a call.", param="after")
    rows = await ports.store.read(_recent, caller.account, caller.key, after, limit + 1)
    page = [_shown(row) for row in rows[:limit]]
    return {
        "object": "list",
        "data": page,
        "has_more": len(rows) > limit,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


async def receipt(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """The receipt of one call of this key; NotFound for another's."""
    del query
    found = await ports.store.read(log.receipt, name, caller.account) if _CALL_ID.match(name) else None
    if found is None or found["key"] != caller.key:
        raise errors.NotFound(f"There is no call `{name[:64]}` of this key.", code="call_not_found")
    return _shown(found)


async def subscription(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """OpenAI's old page of the limit, as NextChat reads it: money left plus used this month, in dollars."""
    del name, query
    _, held_micro, available_micro = await ports.store.read(holds.balance, caller.account)
    today = caller.day(ports.clock.now_us())
    spent_micro = await ports.store.read(_spent, caller.account, today[:8] + "01", today)
    limit = _usd(ports, caller, max(0, available_micro + held_micro) + spent_micro)
    return {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": caller.expires_us // 1_000_000 if caller.expires_us is not None else _FAR_S,
    }


async def usage(ports: Ports, caller: Caller, name: str, query: dict[str, str]) -> dict[str, Any]:
    """OpenAI's old page of usage: `total_usage` in cents from `start_date` to `end_date`, or of this month.

    Days and months are the account's own.
    """
    del name
    today = caller.day(ports.clock.now_us())
    from_day = _day(query.get("start_date"), today[:8] + "01", "start_date")
    until_day = _day(query.get("end_date"), today, "end_date")
    spent_micro = await ports.store.read(_spent, caller.account, from_day, until_day)
    return {"object": "list", "total_usage": _usd(ports, caller, spent_micro * 100)}


def _left(tx: Tx, ports: Ports, caller: Caller) -> tuple[tuple[int, int, int], dict[str, Any] | None]:
    """The account's balance, and what it may still be forgiven and at most; None where that is not counted."""
    money_left, stock, now_us = holds.balance(tx, caller.account), ports.shop.shelf.current, ports.clock.now_us()
    if not allowed.has_one(stock, house=caller.house, trusted=caller.trusted, now_us=now_us):
        return money_left, None
    found = allowance.view(allowance.read(tx, caller.account), allowed.terms(stock, caller.price_list, now_us))
    return money_left, None if found is None else {name: found[name] for name in ("left_micro", "most_micro")}


def _recent(tx: Tx, account: str, key: str, after: str | None, limit: int) -> list[dict[str, Any]]:
    return log.recent(tx, account=account, key=key, before=after, limit=limit)


def _spent(tx: Tx, account: str, from_day: str, until_day: str) -> int:
    return log.spent(tx, account=account, from_day=from_day, until_day=until_day)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A call as its owner sees it: without what is only ours."""
    hidden = {"account", "error"}
    shown = {name: value for name, value in row.items() if name not in hidden}
    shown.setdefault("object", "call")
    return shown


def _usd(ports: Ports, caller: Caller, amount_micro: int) -> float:
    """The amount in dollars, at the rate that the price-list version in force has frozen."""
    version = ports.shop.shelf.current.version(caller.price_list, ports.clock.now_us())
    rate = Decimal(version.usd_rate) if version is not None else Decimal(1)
    return float(round(Decimal(amount_micro) / money.MICRO / rate, 6))


def _day(text: str | None, default: str, param: str) -> str:
    if not text:
        return default
    try:
        if _DATE.match(text):
            return date.fromisoformat(text[:10]).isoformat()
        if text.isascii() and text.isdigit() and len(text) <= _SECONDS_DIGITS_MAX:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text))).date().isoformat()
    except (ValueError, OverflowError):
        pass
    raise errors.BadRequest(f"Invalid value for '{param}': a date such as 2026-11-24.", param=param)


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _PAGE_MAX):
        raise errors.BadRequest(f"Invalid value for 'limit': 1 to {_PAGE_MAX}.", param="limit")
    return int(text)
