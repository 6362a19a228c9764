"""Day totals know the account's own day: pages, caps and statements mean the same by a day."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.db import migrations, models

_IN, _OUT = ("input", "cached_read", "cache_write"), ("output", "reasoning")


def _split(apps: Any, _editor: Any) -> None:
    """The totals of accounts that don't live by UTC, made anew from their calls; those of the others are right."""
    accounts = apps.get_model("accounts", "Account").objects.exclude(time_zone="UTC")
    for account, zone in accounts.values_list("id", "time_zone"):
        _account(apps, account, ZoneInfo(zone))


def _account(apps: Any, account: str, zone: ZoneInfo) -> None:
    total, call = apps.get_model("calls", "DayTotal"), apps.get_model("calls", "Call")
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * 5)
    last, costs = _attempts(apps, account)
    names = ("id", "project", "key", "model", "currency", "opened_us", "charge_micro", "usage", "flags", "attempts")
    ended = call.objects.filter(account=account).exclude(outcome="open").values_list(*names)
    for ident, project, key, model, currency, opened_us, charge_micro, usage, flags, _n in ended.iterator():
        words = flags.split()
        if "expired" in words:
            continue
        used = msgspec.json.decode(usage)
        channel, cost_currency = last.get(ident, ("", ""))
        day = f"{datetime.fromtimestamp(opened_us // 1_000_000, UTC):%Y-%m-%d}"
        own = f"{datetime.fromtimestamp(opened_us // 1_000_000, zone):%Y-%m-%d}"
        row = sums[day, own, project, key, model, channel, currency, cost_currency]
        for place, units in enumerate((
            1, 0 if "refunded" in words else charge_micro or 0, costs.get(ident, 0),
            sum(used.get(name, 0) for name in _IN), sum(used.get(name, 0) for name in _OUT),
        )):  # fmt: skip
            row[place] += units
    total.objects.filter(account=account).delete()
    merged: dict[str, Any] = {}
    for (day, own, project, key, model, channel, currency, cost_currency), found in sums.items():
        days = day if own == day else f"{day}/{own}"
        ident = f"{account}|{days}|{project}|{key}|{model}|{channel}"
        row = merged.setdefault(ident, total(
            id=ident, day=day, own_day=own, account=account, project=project, key=key, model=model, channel=channel,
            currency=currency, cost_currency=cost_currency, calls=0, charge_micro=0, cost_micro=0, input_tokens=0,
            output_tokens=0,
        ))  # fmt: skip
        row.cost_currency = row.cost_currency or cost_currency
        for name, units in zip(
            ("calls", "charge_micro", "cost_micro", "input_tokens", "output_tokens"), found, strict=True
        ):
            setattr(row, name, getattr(row, name) + units)
    total.objects.bulk_create(list(merged.values()), batch_size=200)


def _attempts(apps: Any, account: str) -> tuple[dict[str, tuple[str, str]], dict[str, int]]:
    """The last channel of each call with its currency, and what all attempts of the call cost."""
    last: dict[str, tuple[str, str]] = {}
    costs: dict[str, int] = defaultdict(int)
    calls = apps.get_model("calls", "Call").objects.filter(account=account).values("id")
    rows = apps.get_model("calls", "Attempt").objects.filter(call_id__in=calls).order_by("call_id", "n")
    for call, channel, currency, cost_micro in rows.values_list(
        "call_id", "channel", "cost_currency", "cost_micro"
    ).iterator():
        last[call] = (channel, currency)
        costs[call] += cost_micro or 0
    return last, costs


class Migration(migrations.Migration):
    """A column that may be empty: an older node leaves it out, and its totals stand on the UTC day."""

    dependencies = [("calls", "0006_reported"), ("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="daytotal",
            name="own_day",
            field=models.CharField(max_length=10, null=True),
        ),
        migrations.RunPython(_split, migrations.RunPython.noop),
    ]
