"""Sums of days over all accounts are found by their day."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("calls", "0004_seen")]

    operations = [
        migrations.AddIndex("daytotal", models.Index(fields=["day"], name="calls_day_of_all")),
    ]
