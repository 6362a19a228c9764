"""Tables of the record: one row a call, one an attempt, day totals."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Call(models.Model):
    """One API call from authentication to settlement, with the facts of its receipt, kept for ever (promises 1.11).

    `delivered_us` is when the whole answer had left us, noted within a second, for calls that are not streamed (R25).
    `usage` and `prices` are JSON objects by usage class; `flags` and `ignored` are words joined by spaces;
    `diagnostics` is a JSON object that may be dropped and is forgotten in time; `reported` the upstream's own usage
    report as it came, JSON of at most 4 KiB. From version 2 of the rules on: what the call was worth (by `valued`, a
    JSON object by usage class, where that is not `usage`), what of it was forgiven and drawn, and the word for why.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=40)
    project = models.CharField(max_length=40)
    key = models.CharField(max_length=40)
    member = models.CharField(max_length=40, null=True)
    endpoint = models.CharField(max_length=24)
    model = models.CharField(max_length=128)
    asked = models.CharField(max_length=128)
    stream = models.BooleanField()
    epoch = models.CharField(max_length=40)
    opened_us = models.BigIntegerField()
    ended_us = models.BigIntegerField(null=True)
    delivered_us = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3)
    hold_micro = models.BigIntegerField()
    limit_tokens = models.BigIntegerField(null=True)
    price_list = models.CharField(max_length=64)
    price_version = models.IntegerField()
    prices = models.TextField()
    rule_version = models.IntegerField(default=1)
    outcome = models.CharField(max_length=10, default="open")
    rule = models.CharField(max_length=3, default="")
    status = models.IntegerField(null=True)
    charge_micro = models.BigIntegerField(null=True)
    usage = models.TextField(default="{}")
    usage_source = models.CharField(max_length=10, default="")
    finish_reason = models.CharField(max_length=24, default="")
    flags = models.CharField(max_length=200, default="")
    attempts = models.IntegerField(default=0)
    error = models.CharField(max_length=300, default="")
    diagnostics = models.TextField(default="")
    reported = models.TextField(null=True)
    value_micro = models.BigIntegerField(null=True)
    forgiven_micro = models.BigIntegerField(null=True)
    drawn_micro = models.BigIntegerField(null=True)
    cause = models.CharField(max_length=12, default="", db_default="")
    valued = models.TextField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["account", "id"], name="calls_of_account"),
            models.Index(fields=["key", "id"], name="calls_of_key"),
            models.Index(fields=["epoch"], condition=Q(outcome="open"), name="calls_open"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome="open", charge_micro__isnull=True)
                | (
                    Q(charge_micro__gte=0, charge_micro__lte=models.F("hold_micro"), ended_us__isnull=False)
                    & ~Q(rule="")
                ),
                name="calls_charge_within_hold",
            )
        ]


class Attempt(models.Model):
    """One try of a call on a channel, with its cost beside the charge; at most one of a call is charged (I11)."""

    id = models.CharField(primary_key=True, max_length=44)
    call = models.ForeignKey(Call, on_delete=models.PROTECT, db_constraint=False)
    n = models.IntegerField()
    upstream = models.CharField(max_length=64)
    channel = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    outcome = models.CharField(max_length=12)
    status = models.IntegerField(null=True)
    error = models.CharField(max_length=300, default="")
    charged = models.BooleanField(default=False)
    cost_micro = models.BigIntegerField(null=True)
    cost_currency = models.CharField(max_length=3, default="")
    started_us = models.BigIntegerField()
    first_byte_us = models.BigIntegerField(null=True)
    ended_us = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["call", "n"], name="calls_attempt_n"),
            models.UniqueConstraint(fields=["call"], condition=Q(charged=True), name="calls_one_charged_attempt"),
        ]


class DayTotal(models.Model):
    """Sums of one UTC day by account, project, key, model, channel; kept in the settling transaction.

    `own_day` is the account's own day, in its time zone, by which its pages and statements count; empty where it is the
    UTC day. The id joins them with `|`, account first.
    """

    id = models.CharField(primary_key=True, max_length=500)
    day = models.CharField(max_length=10)
    own_day = models.CharField(max_length=10, null=True)
    account = models.CharField(max_length=40)
    project = models.CharField(max_length=40)
    key = models.CharField(max_length=40)
    model = models.CharField(max_length=128)
    channel = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    cost_currency = models.CharField(max_length=3, default="")
    calls = models.BigIntegerField()
    charge_micro = models.BigIntegerField()
    cost_micro = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["account", "day"], name="calls_day_of_account"),
            # For the office, over all accounts; a row is new once a day, so it costs a call nothing to speak of.
            models.Index(fields=["day"], name="calls_day_of_all"),
        ]


class ForgivenTotal(models.Model):
    """What was forgiven on one UTC day by account, model, channel and cause; kept in the settling transaction.

    Beside the day's totals, not in them: most calls are forgiven nothing, and then nothing is written here. What is
    refunded later stays: it was forgiven and then given back. The id joins day to cause with `|`.
    """

    id = models.CharField(primary_key=True, max_length=300)
    day = models.CharField(max_length=10)
    account = models.CharField(max_length=40)
    model = models.CharField(max_length=128)
    channel = models.CharField(max_length=64)
    cause = models.CharField(max_length=12)
    currency = models.CharField(max_length=3)
    calls = models.BigIntegerField()
    forgiven_micro = models.BigIntegerField()
    drawn_micro = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["day"], name="calls_forgiven_day")]


class Mark(models.Model):
    """How far a job has come through the calls: the id of the last one that it is done with."""

    name = models.CharField(primary_key=True, max_length=24)
    call = models.CharField(max_length=40)


class Once(models.Model):
    """An `Idempotency-Key` of the last 24 hours, as a digest with its project, and the call that used it last."""

    id = models.CharField(primary_key=True, max_length=48)
    call = models.CharField(max_length=40)
    at_us = models.BigIntegerField(db_index=True)


class RefusalTotal(models.Model):
    """How many calls were refused before a hold, by UTC day, account (empty if unknown) and error code."""

    id = models.CharField(primary_key=True, max_length=120)
    day = models.CharField(max_length=10)
    account = models.CharField(max_length=40)
    code = models.CharField(max_length=40)
    refusals = models.BigIntegerField()


class Seen(models.Model):
    """The first receipt that somebody of an account has looked at; console home ticks a step for it."""

    account = models.CharField(primary_key=True, max_length=40)
    call = models.CharField(max_length=40)
    at_us = models.BigIntegerField()
