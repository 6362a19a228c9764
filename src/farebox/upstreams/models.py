"""Tables of whom we buy from."""

from __future__ import annotations

from django.db import models


class Upstream(models.Model):
    """A vendor we buy from. `cancel_billing`: `stops`, `bills_all` or `unknown` when we cancel (promises 3.1)."""

    name = models.CharField(primary_key=True, max_length=64)
    about = models.CharField(max_length=200, default="")
    cancel_billing = models.CharField(max_length=10, default="unknown")
    cost_currency = models.CharField(max_length=3, default="USD")


class Channel(models.Model):
    """One credentialed way to reach an upstream. `quirks` is a JSON object, see dialect.py; the secret is encrypted."""

    id = models.CharField(primary_key=True, max_length=40)
    name = models.CharField(max_length=64, unique=True)
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT)
    dialect = models.CharField(max_length=16, default="openai")
    base_url = models.CharField(max_length=300)
    local = models.BooleanField(default=False)
    secret = models.TextField(default="")
    tier = models.IntegerField(default=1)
    weight = models.IntegerField(default=1)
    concurrency_max = models.IntegerField(default=0)
    quirks = models.TextField(default="{}")
    state = models.CharField(max_length=10, default="active")
    state_why = models.CharField(max_length=200, default="")
    created_us = models.BigIntegerField()


class Offering(models.Model):
    """A model that a channel can answer, the name it has there, and what it costs us.

    `costs` is a JSON object: usage class -> micro-units of the upstream's cost currency for 1,000,000 units.
    """

    id = models.CharField(primary_key=True, max_length=40)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE)
    model = models.CharField(max_length=128)
    upstream_model = models.CharField(max_length=200)
    costs = models.TextField(default="{}")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["channel", "model"], name="upstreams_offering_once")]
