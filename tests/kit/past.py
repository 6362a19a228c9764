"""Calls of the past: written by the verbs that serve real ones, with times of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PRICES = {"input": 150_000, "cached_read": 75_000, "output": 600_000}
EPOCH = "ep_past"


def call(
    tx: Any,
    account: str,
    *,
    opened_us: int,
    lasted_us: int = 1_500_000,
    usage: Mapping[str, int] | None = None,
    prices: Mapping[str, int] | None = None,
    rule: str = "R02",
    outcome: str = "served",
    key: str = "key_past",
    project: str = "prj_past",
    member: str | None = None,
    model: str = "gpt-4o-mini",
    flags: tuple[str, ...] = (),
    error: str = "",
    attempts: int = 1,
    hold_micro: int | None = None,
    begun_us: int = 0,
    ends: bool = True,
) -> str:
    """One call, opened and, unless `ends` is false, ended; its id. Charged what its receipt recomputes to."""
    from farebox.accounts import zones
    from farebox.calls import log
    from farebox.calls.log import AttemptFacts, CallEnd, CallStart
    from farebox.catalog import pricing
    from farebox.kit import ids
    from farebox.ledger.holds import Purse

    usage = {"input": 1200, "output": 350} if usage is None else usage
    prices = PRICES if prices is None else prices
    due_micro = pricing.due(pricing.ReceiptMoney(rule, 1, usage, prices, 2**60)).charge_micro
    opened = CallStart(
        id=ids.new("call", begun_us or opened_us), account=account, project=project, key=key, member=member,
        endpoint="chat", model=model, asked=model, stream=False, epoch=EPOCH, currency="USD", limit_tokens=None,
        price_list="usd", price_version=1, prices=json.dumps(dict(prices)), rule_version=1, opened_us=opened_us,
        purses=(Purse(account),), own_day=zones.day(opened_us, zones.of(tx, account)),
    )  # fmt: skip
    held_micro = log.open_call(tx, opened, due_micro + 10 if hold_micro is None else hold_micro, lambda _: -1)
    if not ends:
        return opened.id
    tries = [
        AttemptFacts(
            upstream="secret-upstream", channel="secret-channel", model=model, started_us=opened_us + 5_000 * number,
            outcome="served" if number == attempts and outcome == "served" else "failed", status=200,
            error="" if number == attempts and outcome == "served" else "busy: slow down, secret-upstream",
            charged=number == attempts and due_micro > 0, cost_micro=7, cost_currency="USD",
            first_byte_us=opened_us + 5_000 * number + 200_000, ended_us=opened_us + lasted_us,
        )
        for number in range(1, attempts + 1)
    ]  # fmt: skip
    ended = CallEnd(
        outcome=outcome, rule=rule, status=200 if outcome == "served" else 502,
        charge_micro=min(due_micro, held_micro), usage=dict(usage), usage_source="reported", finish_reason="stop",
        flags=list(flags), attempts=tries, ended_us=opened_us + lasted_us, error=error,
    )  # fmt: skip
    log.end_call(tx, opened, ended)
    return opened.id
