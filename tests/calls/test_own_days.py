"""A day is the account's own: on totals, pages and statements, for calls of before too."""

from __future__ import annotations

import importlib
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from kit import past
from kit.talk import on_sale

pytestmark = pytest.mark.store

DAY = 86_400_000_000
AHEAD, BEHIND = "Pacific/Kiritimati", "Pacific/Niue"  # 25 hours apart: never the same date


def zone(shop, me, name):
    from farebox.accounts.models import Account

    shop.write(lambda tx: (Account.objects.filter(id=me.account).update(time_zone=name), shop.db.bump(tx, "keys")))
    shop.refresh()


def totals(account):
    from farebox.calls.models import DayTotal

    facts = [field.name for field in DayTotal._meta.fields]
    return sorted(DayTotal.objects.filter(account=account).values_list(*facts))


@pytest.mark.slow
def test_calls_of_today_are_charged_on_the_day_of_the_account(shop):
    model = on_sale(shop, shop.model(f"own-days-{time.monotonic_ns()}", {"input": "0", "output": "100"}))
    seen = set()
    for name in (AHEAD, BEHIND, "UTC"):
        me = shop.account("1")
        zone(shop, me, name)
        assert me.receipt(me.chat(model, "sandbox: full", max_tokens=100))["charge_micro"] == 10_000
        today = datetime.now(ZoneInfo(name)).date().isoformat()
        (row,) = totals(me.account)
        assert (row[1], row[2]) == (datetime.now(UTC).date().isoformat(), today)
        seen.add(today)

        def spent(day, me=me):
            answer = me.get(f"/v1/dashboard/billing/usage?start_date={day}&end_date={day}")
            return answer.json["total_usage"]

        assert (spent(today), spent("2020-01-01")) == (1.0, 0.0)
        assert me.get("/v1/dashboard/billing/usage").json["total_usage"] == 1.0
    assert len(seen) >= 2


def test_totals_of_before_are_split_as_settlements_write_them_now(shop):
    """What the migration makes of the calls is what the settlements of these calls have written."""
    from django.apps import apps

    from farebox.calls import log
    from farebox.calls.models import DayTotal

    me = shop.account("1000")
    zone(shop, me, "Asia/Shanghai")
    midnight = int(datetime(2026, 2, 3, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()) * 1_000_000
    for n, (opened_us, facts) in enumerate((
        (midnight - 1, {}), (midnight, {}), (midnight + 9 * 3_600_000_000, {"model": "gpt-4", "attempts": 2}),
        (midnight + 1, {"rule": "R13", "outcome": "failed"}), (midnight + 2, {"ends": False}), (midnight + 3, {}),
        (midnight + DAY, {"usage": {"input": 3, "cached_read": 4, "reasoning": 5}}),
    )):  # fmt: skip
        call = shop.write(past.call, me.account, opened_us=opened_us, **facts)
        if n == 5:
            assert shop.write(log.give_back, call, me.account, now_us=midnight + 9)
    shop.write(log.expire, epoch=past.EPOCH, now_us=midnight + 9)
    written = totals(me.account)
    assert {row[1:3] for row in written} == {
        ("2026-02-02", "2026-02-02"), ("2026-02-02", "2026-02-03"), ("2026-02-03", "2026-02-03"),
        ("2026-02-03", "2026-02-04"),
    }  # fmt: skip
    sums = [sum(row[place] for row in written) for place in (-5, -4, -3, -2, -1)]
    DayTotal.objects.filter(account=me.account).update(own_day=None)
    migration = importlib.import_module("farebox.calls.migrations.0007_own_days")
    migration._split(apps, None)
    assert totals(me.account) == written
    assert [sum(row[place] for row in totals(me.account)) for place in (-5, -4, -3, -2, -1)] == sums
